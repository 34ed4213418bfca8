"""Flows for receive side scaling: frames that each say which queue and hash they must be received with."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vmxnet3.offloads.rss import toeplitz

TCP, UDP = 6, 17
ANY = 0xFFFFFFFF  # of a queue; 0 of a hash


@dataclass(frozen=True)
class Flow:
    """One TCP or UDP flow; addresses are 4 or 16 bytes."""

    protocol: int
    source: bytes
    target: bytes
    ports: tuple[int, int]

    @property
    def addresses(self) -> bytes:
        return self.source + self.target

    @property
    def with_ports(self) -> bytes:
        return self.addresses + struct.pack(">HH", *self.ports)


def flows(count: int) -> Iterator[Flow]:
    """As many different flows, TCP and UDP over IPv4 and IPv6 in turn."""
    for n in range(count):
        kind, number = n % 4, n // 4 + 1
        protocol, ports = (TCP, UDP)[kind % 2], (1024 + number * 7 % 60000, 80 + number % 13)
        if kind < 2:
            source, target = (0xC612_0000 + number).to_bytes(4, "big"), bytes((203, 0, 113, number % 250 + 1))
        else:
            prefix = bytes.fromhex("20010db8")
            source, target = prefix + number.to_bytes(12, "big"), prefix + (1 << 90 | number % 99).to_bytes(12, "big")
        yield Flow(protocol, source, target, ports)


def predict(flow: Flow, key: bytes, table: Sequence[int], udp_ports: bool) -> tuple[int, int]:
    """(queue, hash): over the ports of TCP always, of UDP when the driver asked for it, else over the addresses."""
    data = flow.with_ports if flow.protocol == TCP or udp_ports else flow.addresses
    value = toeplitz(key, data)
    return table[value % len(table)], value


def claim(queue: int = ANY, value: int = 0) -> bytes:
    """The payload; with four bytes before, so that no frame is so short that padding would hide its claim."""
    return struct.pack(">I8sII", 0, b"PVDEVSAY", value, queue)


def frame(flow: Flow, target: bytes, source: bytes, queue: int = ANY, value: int = 0, payload_size: int = 0) -> bytes:
    """One frame of the flow with valid checksums, ending in its claim (programs/seen.c)."""
    payload = claim(queue, value)
    payload = bytes(max(payload_size - len(payload), 0)) + payload
    if flow.protocol == TCP:
        l4 = struct.pack(">HHIIBBHHH", *flow.ports, 1, 1, 5 << 4, 0x10, 512, 0, 0)
    else:
        l4 = struct.pack(">HHHH", *flow.ports, 8 + len(payload), 0)
    size, at = len(l4) + len(payload), 16 if flow.protocol == TCP else 6
    pseudo = flow.addresses + struct.pack(">II", size, flow.protocol)
    l4 = l4[:at] + checksum(pseudo + l4 + payload) + l4[at + 2 :]
    if len(flow.source) == 4:
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + size, 0, 0, 64, flow.protocol, 0) + flow.addresses
        head = b"\x08\x00" + ip[:10] + checksum(ip) + ip[12:]
    else:
        head = b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, size, flow.protocol, 64) + flow.addresses
    return target + source + head + l4 + payload


def checksum(data: bytes) -> bytes:
    """The Internet checksum, with 0 as ffff."""
    total = int.from_bytes(data + bytes(len(data) % 2), "big") % 0xFFFF
    return (0xFFFF - total or 0xFFFF).to_bytes(2, "big")
