"""Frames as Linux hands them between its own ends: checksums not yet made, packets not yet cut; here they get both.

Pure functions. A virtio-net header of ten bytes before the frame says what is left to do.

Ref: virtio 1.2, 5.1.6 (struct virtio_net_hdr); Linux include/uapi/linux/virtio_net.h, include/linux/virtio_net.h.
"""

from collections.abc import Iterable, Iterator

from pvdev.layout import Layout
from vmxnet3.offloads.encap import parse, tunnel_segments
from vmxnet3.offloads.plain import BadPacket, fill_checksum, ip_at, ones_sum, seed, segments

VNET_HDR = Layout(
    "virtio_net_hdr",
    10,
    (
        ("flags", "B"),
        ("gso_type", "B"),
        ("hdr_len", "H"),  # a hint only
        ("gso_size", "H"),  # payload bytes of one segment
        ("csum_start", "H"),  # bytes from the start of the frame
        ("csum_offset", "H"),  # bytes from csum_start
    ),
    ref="virtio_net_hdr",
)
NEEDS_CSUM = 1
GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, GSO_ECN = 0, 1, 4, 5, 0x80
_TCP_FIELD, _UDP_FIELD, _UDP_SIZE = 16, 6, 8  # offsets of the checksums in their headers; bytes of the UDP header


def finish(frame: bytes, flags: int, gso_type: int, gso_size: int, start: int, offset: int) -> Iterable[bytes]:
    """The frames that would go out on a wire for this one. Raises `BadPacket` before the first of them."""
    kind = gso_type & ~GSO_ECN
    if kind == GSO_NONE:
        if not flags & NEEDS_CSUM:
            return (frame,)
        if start + offset + 2 > len(frame):
            raise BadPacket("the checksum lies behind the end", start + offset)
        made = bytearray(frame)
        fill_checksum(made, start, start + offset)
        return (bytes(made),)
    field = _UDP_FIELD if kind == GSO_UDP_L4 else _TCP_FIELD
    if not flags & NEEDS_CSUM:  # merged by hardware that has verified it: the header does not say where L4 begins
        found = seed(frame, ip_at(frame))
        start = found[0] - field if found is not None else len(frame)
    if not gso_size or start + field + 2 > len(frame):
        raise BadPacket("cut into nothing, or behind the end", gso_size)
    if kind == GSO_UDP_L4:
        return _cut_udp(frame, start, gso_size)
    if kind not in (GSO_TCPV4, GSO_TCPV6):
        raise BadPacket("to be cut in an unknown way", gso_type)
    headers = start + 4 * (frame[start + 12] >> 4)
    tunnel = parse(frame)
    if tunnel is not None and tunnel.inner_l4 == start:
        return tunnel_segments(frame, headers, gso_size, tunnel, outer=False)
    return segments(frame, headers, gso_size)


def _cut_udp(frame: bytes, l4: int, size: int) -> Iterator[bytes]:
    """Datagrams of `size` bytes each, the last perhaps shorter: lengths, IPv4 ids and checksums made anew."""
    l3 = ip_at(frame)
    found = seed(frame, l3)
    if found is None or found[0] != l4 + _UDP_FIELD:
        raise BadPacket("datagrams to be cut that are not UDP over IP", l4)
    return _datagrams(frame, l3, l4, size)


def _datagrams(frame: bytes, l3: int, l4: int, size: int) -> Iterator[bytes]:
    headers, ident = l4 + _UDP_SIZE, int.from_bytes(frame[l3 + 4 : l3 + 6], "big")
    for n, at in enumerate(range(headers, len(frame), size)):
        made = bytearray(frame[:headers] + frame[at : at + size])
        made[l4 + 4 : l4 + 6] = (len(made) - l4).to_bytes(2, "big")
        if made[l3] >> 4 == 4:
            made[l3 + 2 : l3 + 4] = (len(made) - l3).to_bytes(2, "big")
            made[l3 + 4 : l3 + 6] = (ident + n & 0xFFFF).to_bytes(2, "big")
            made[l3 + 10 : l3 + 12] = b"\0\0"
            made[l3 + 10 : l3 + 12] = (0xFFFF - ones_sum(made[l3 : l3 + 4 * (made[l3] & 15)])).to_bytes(2, "big")
        else:
            made[l3 + 4 : l3 + 6] = (len(made) - l3 - 40).to_bytes(2, "big")
        found = seed(made, l3)
        assert found is not None
        made[l4 + 6 : l4 + 8] = found[1].to_bytes(2, "big")
        fill_checksum(made, l4, l4 + 6)
        yield bytes(made)
