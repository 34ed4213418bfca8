import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet

from vmxnet3.captures.headers import Headers, headers

MAC = "02:00:00:00:00:02"
ETHER = Ether(dst=MAC, src=MAC)  # given both, scapy asks nobody
A4, B4 = bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2])
A6, B6 = bytes.fromhex("20010db8" + "00" * 11 + "01"), bytes.fromhex("20010db8" + "00" * 11 + "02")
V4 = IP(src="192.0.2.1", dst="192.0.2.2")
V6 = IPv6(src="2001:db8::1", dst="2001:db8::2")


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (ETHER / V4 / TCP(sport=1, dport=2), Headers(4, "tcp", A4, B4, 1, 2)),
        (ETHER / Dot1Q(vlan=9) / V4 / UDP(sport=3, dport=4), Headers(4, "udp", A4, B4, 3, 4, 9)),
        (ETHER / Dot1AD(vlan=8) / Dot1Q(vlan=9) / V4 / UDP(sport=3, dport=4), Headers(4, "udp", A4, B4, 3, 4, 8)),
        (ETHER / V4 / ICMP(), Headers(4, "icmp", A4, B4)),
        (ETHER / IP(src="192.0.2.1", dst="192.0.2.2", frag=3, proto=17), Headers(4, "udp", A4, B4, fragment=True)),
        (ETHER / V6 / UDP(sport=5, dport=6), Headers(6, "udp", A6, B6, 5, 6)),
        (
            ETHER / V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / TCP(sport=7, dport=8),
            Headers(6, "tcp", A6, B6, 7, 8),
        ),
        (ETHER / V6 / IPv6ExtHdrFragment() / UDP(), Headers(6, "", A6, B6, fragment=True)),
        (ETHER / ARP(), Headers(protocol="arp")),
        (Ether(dst=MAC, src=MAC, type=0x88CC) / b"lldp", Headers()),
    ],
)
def test_headers_of(packet: Packet, expected: Headers) -> None:
    assert headers(bytes(packet)) == expected


@given(st.binary(max_size=80), st.sampled_from([b"\x08\x00", b"\x86\xdd", b"\x81\x00", b"\x08\x06"]))
def test_any_bytes_have_some_headers(data: bytes, kind: bytes) -> None:
    found = headers(bytes(12) + kind + data)

    assert found.version in (0, 4, 6)
    assert -1 <= found.source_port <= 65535
