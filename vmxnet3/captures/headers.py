"""The few header fields by which marks choose frames: addresses, protocol, ports. Outermost headers only."""

from typing import NamedTuple

PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 50: "esp", 58: "icmp6"}
_ETHERTYPES = {0x0806: "arp", 0x0800: "ip", 0x86DD: "ip6"}
_TAGS = (0x8100, 0x88A8)
_EXTENSIONS = frozenset((0, 43, 60, 135))  # hop-by-hop, routing, destination options, mobility
_EXTENSIONS_MOST = 8


class Headers(NamedTuple):
    """`version` 4, 6 or 0 (not IP); `protocol` a name of PROTOCOLS, "arp" or ""; addresses as bytes; port -1: none."""

    version: int = 0
    protocol: str = ""
    source: bytes = b""
    target: bytes = b""
    source_port: int = -1
    target_port: int = -1
    vlan: int | None = None  # id of the outermost tag
    fragment: bool = False


def headers(frame: bytes) -> Headers:
    """What `frame` says of itself, as far as it goes; never raises."""
    kind, at, vlan = int.from_bytes(frame[12:14], "big"), 14, None
    while kind in _TAGS and len(frame) >= at + 4:
        if vlan is None:
            vlan = int.from_bytes(frame[at : at + 2], "big") & 0xFFF
        kind, at = int.from_bytes(frame[at + 2 : at + 4], "big"), at + 4
    name = _ETHERTYPES.get(kind)
    if name == "ip" and len(frame) >= at + 20 and frame[at] >> 4 == 4:
        fragment = bool(frame[at + 6] & 0x3F or frame[at + 7])
        found = Headers(4, PROTOCOLS.get(frame[at + 9], ""), frame[at + 12 : at + 16], frame[at + 16 : at + 20])
        at += 4 * (frame[at] & 15)
    elif name == "ip6" and len(frame) >= at + 40 and frame[at] >> 4 == 6:
        found = Headers(6, "", frame[at + 8 : at + 24], frame[at + 24 : at + 40])
        following, at = frame[at + 6], at + 40
        for _ in range(_EXTENSIONS_MOST):
            if following not in _EXTENSIONS or len(frame) < at + 8:
                break
            following, at = frame[at], at + 8 + 8 * frame[at + 1]
        fragment = following == 44
        found = found._replace(protocol=PROTOCOLS.get(following, ""))
    else:
        return Headers(protocol="arp" if name == "arp" else "", vlan=vlan)
    if found.protocol in ("tcp", "udp") and not fragment and len(frame) >= at + 4:
        ports = int.from_bytes(frame[at : at + 2], "big"), int.from_bytes(frame[at + 2 : at + 4], "big")
        found = found._replace(source_port=ports[0], target_port=ports[1])
    return found._replace(vlan=vlan, fragment=fragment)
