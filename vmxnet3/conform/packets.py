"""Packets made by scapy, and scapy as the judge of checksums and lengths: a witness of its own."""

from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP, in4_pseudoheader
from scapy.layers.inet6 import IPv6, in6_pseudoheader
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw
from scapy.utils import checksum

from vmxnet3.conform.rig import MAC, PEER

__all__ = [
    "ARP",
    "ICMP",
    "IP",
    "TCP",
    "UDP",
    "Dot1Q",
    "Ether",
    "IPv6",
    "Raw",
    "ether",
    "fold",
    "lay",
    "offsets",
    "payload",
    "rebuilt",
    "seed",
]


def payload(size: int) -> bytes:
    """`size` bytes without a pattern a checksum would hide."""
    return bytes((i * 131 + (i >> 3) * 7 + 17) & 0xFF for i in range(size))


def ether(*layers: Any, dst: bytes = MAC, src: bytes = PEER) -> bytes:
    """The bytes of a frame with these layers, every length and checksum filled in by scapy."""
    packet = Ether(dst=dst.hex(":"), src=src.hex(":"))
    for layer in layers:
        packet = packet / layer
    return bytes(packet)


def lay(data: bytes) -> Any:
    """A frame taken apart by scapy."""
    return Ether(data)


def fold(data: bytes) -> int:
    """The ones' complement sum of `data` (not inverted)."""
    return ~int(checksum(data)) & 0xFFFF


def offsets(data: bytes) -> tuple[int, int]:
    """(offset of the TCP, UDP or ICMP header, offset of its checksum field) in a frame."""
    packet = lay(data)
    name = next(name for name in ("TCP", "UDP", "ICMP") if name in packet)
    layer = packet[name]
    start = len(data) - len(bytes(layer))
    return start, start + {"TCP": 16, "UDP": 6, "ICMP": 2}[name]


def seed(data: bytes, *, length: bool = True) -> bytes:
    """The frame with its TCP or UDP checksum replaced by the pseudo-header sum a driver leaves there.

    `length=False`: the sum without the length, and an IPv4 header checksum of 0, as for TSO.
    """
    packet = lay(data)
    ip = packet["IPv6"] if "IPv6" in packet else packet["IP"]
    number = 6 if "TCP" in packet else 17
    start, field = offsets(data)
    size = len(data) - start if length else 0
    pseudo = in6_pseudoheader(number, ip, size) if "IPv6" in packet else in4_pseudoheader(number, ip, size)
    out = bytearray(data)
    out[field : field + 2] = fold(bytes(pseudo)).to_bytes(2, "big")
    if not length and "IP" in packet:
        at = len(data) - len(bytes(packet["IP"])) + 10
        out[at : at + 2] = b"\0\0"
    return bytes(out)


def rebuilt(data: bytes) -> bytes:
    """The frame with every IP and L4 length and checksum made anew by scapy."""
    packet = lay(data)
    for name, fields in (
        ("IP", ("len", "chksum")),
        ("IPv6", ("plen",)),
        ("TCP", ("chksum",)),
        ("UDP", ("len", "chksum")),
        ("ICMP", ("chksum",)),
    ):
        if name in packet:
            for field in fields:
                delattr(packet[name], field)
    return bytes(packet)
