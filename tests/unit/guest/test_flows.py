"""The flows guest tests send, judged by scapy."""

import struct

import pytest
from scapy.layers.l2 import Ether

from tests.guest.flows import TCP, UDP, checksum, flows, frame, predict
from tests.guest.stack import wrong_checksums

TARGET, SOURCE = bytes.fromhex("020000000001"), bytes.fromhex("0200000000fe")
KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")


def test_flows_are_different_and_of_all_kinds() -> None:
    found = list(flows(1000))

    assert len({(flow.protocol, flow.with_ports) for flow in found}) == 1000
    assert {(flow.protocol, len(flow.source)) for flow in found} == {(TCP, 4), (UDP, 4), (TCP, 16), (UDP, 16)}


@pytest.mark.parametrize("size", [0, 1001, 5000])
def test_checksums_are_right(size: int) -> None:
    frames = [frame(flow, TARGET, SOURCE, 3, 0x1234, payload_size=size) for flow in flows(4)]

    assert wrong_checksums(frames) == []
    assert {Ether(data).sprintf("%dst% %src%") for data in frames} == {"02:00:00:00:00:01 02:00:00:00:00:fe"}
    assert all(data.endswith(b"PVDEVSAY" + struct.pack(">II", 0x1234, 3)) for data in frames)
    assert min(map(len, frames)) >= 60


def test_a_changed_byte_is_found() -> None:
    data = frame(next(flows(1)), TARGET, SOURCE)

    assert len(wrong_checksums([data[:-1] + b"\0"])) == 1


@pytest.mark.parametrize(("data", "sum_"), [(b"", b"\xff\xff"), (b"\xff\xff", b"\xff\xff"), (b"\0\1\2", b"\xfd\xfe")])
def test_checksum(data: bytes, sum_: bytes) -> None:
    assert checksum(data) == sum_


def test_udp_is_predicted_by_what_was_asked_for() -> None:
    tcp, udp, *_ = flows(2)
    table = list(range(128))

    assert predict(tcp, KEY, table, udp_ports=False) == predict(tcp, KEY, table, udp_ports=True)
    assert predict(udp, KEY, table, udp_ports=False) != predict(udp, KEY, table, udp_ports=True)
