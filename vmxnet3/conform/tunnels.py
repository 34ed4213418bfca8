"""Geneve and VXLAN packets made by scapy, and scapy as the judge of what a device made of them."""

from dataclasses import dataclass
from typing import Any

from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN

from vmxnet3.conform.packets import IP, TCP, UDP, IPv6, Raw, ether, fold, lay, offsets, payload, rebuilt, seed

OUTER = {
    4: IP(src="203.0.113.1", dst="203.0.113.2", id=0x77),
    6: IPv6(src="2001:db8:ffff::1", dst="2001:db8:ffff::2"),
}
INNER = {4: IP(src="192.0.2.1", dst="198.51.100.9", id=0x1234), 6: IPv6(src="2001:db8::1", dst="2001:db8::9")}
KINDS = ("geneve", "geneve options", "vxlan", "vxlan 8472")


@dataclass(frozen=True)
class Tunnel:
    """One tunnel frame with every length and checksum right, and where its layers begin (bytes)."""

    data: bytes
    outer_udp: int
    inner: int  # the inner Ethernet header
    field: int  # the inner checksum field
    hlen: int  # all headers

    def seeded(self, *, length: bool = True, outer: bool = False) -> bytes:
        """As a driver leaves it: pseudo-header sums inside (as `seed`), and with `outer` in the outer UDP header."""
        data = self.data[: self.inner] + seed(self.data[self.inner :], length=length)
        if not outer:
            return data
        at = self.outer_udp + 6
        return data[:at] + seed_udp(self.data, self.outer_udp) + data[at + 2 :]


def seed_udp(data: bytes, at: int) -> bytes:
    """The pseudo-header sum for the UDP header at `at`, right behind the IP header: 2 bytes."""
    addresses = data[at - 8 : at] if data[at - 22 : at - 20] == b"\x08\x00" else data[at - 32 : at]
    return fold(addresses + bytes((0, 17)) + data[at + 4 : at + 6]).to_bytes(2, "big")


def tunnel(
    kind: str = "geneve", *, outer: int = 4, inner: int = 4, udp: bool = False, size: int = 300, outer_sum: bool = False
) -> Tunnel:
    """A TCP segment (or UDP datagram) of `size` payload bytes in a tunnel; `outer` and `inner` are IP versions.

    Without `outer_sum` the outer UDP checksum is 0: none.
    """
    port = {"geneve": 6081, "geneve options": 6081, "vxlan": 4789, "vxlan 8472": 8472}[kind]
    options = [GeneveOptions(classid=1, type=2, length=2, data=bytes(range(8)))] if kind == "geneve options" else []
    head = VXLAN(vni=7) if port != 6081 else GENEVE(vni=7, proto=0x6558, options=options)
    l4 = UDP(sport=99, dport=5000) if udp else TCP(sport=99, dport=5000, seq=0xFFFF_F000, flags="PA")
    inside = bytes(Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01") / INNER[inner] / l4 / Raw(payload(size)))
    zero: dict[str, Any] = {} if outer_sum else {"chksum": 0}
    data = ether(OUTER[outer], UDP(sport=50000, dport=port, **zero), head, Raw(inside))
    at = len(data) - len(inside)
    _, field = offsets(inside)
    return Tunnel(data, 14 + (20 if outer == 4 else 40), at, at + field, len(data) - size)


def retold(data: bytes, inner: int) -> bytes:
    """The frame with every length and checksum made anew by scapy, inside and outside; an outer checksum of 0 stays."""
    packet = lay(data[:inner] + rebuilt(data[inner:]))
    ip = packet.payload
    for name in ("len", "chksum") if ip.name == "IP" else ("plen",):
        delattr(ip, name)
    delattr(ip.payload, "len")
    if ip.payload.chksum:
        delattr(ip.payload, "chksum")
    return bytes(packet)
