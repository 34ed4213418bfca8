"""What offloads look like in a descriptor."""

import pytest

from vmxnet3 import wire
from vmxnet3.driver import Csum, Encap, Tso, describe
from vmxnet3.driver.offloads import Offload, cut, segments

FIELDS = ("om", "hlen", "msscof", "ext1", "oco")
CASES: list[tuple[Offload, tuple[int, ...]]] = [
    (Csum(34, 50), (2, 34, 50, 0, 0)),
    (Csum(104, 100, inner=True), (2, 104, 100, 1, 0)),
    (Tso(54, 1448), (3, 54, 1448, 0, 0)),
    (Tso(104, 1398, inner=True, outer=True), (3, 104, 1398, 1, 1)),
    (Encap(104), (1, 104, 0, 0, 0)),
    (Encap(104, 1398, outer=True), (1, 104, 1398, 0, 1)),
]


@pytest.mark.parametrize(("offload", "fields"), CASES)
def test_first_descriptor_carries_the_offload(offload: Offload, fields: tuple[int, ...]) -> None:
    first, last = describe([(0x1000, 100), (0x2000, 50)], offload)

    found = wire.TX_DESC.decode(b"".join(n.to_bytes(s, "little") for n, s in zip(first, (8, 4, 4), strict=True)))
    assert tuple(found[name] for name in FIELDS) == fields
    assert (found["len"], found["eop"], found["cq"]) == (100, 0, 0)
    assert (last.word2, last.word3) == (50, wire.TXD_EOP | wire.TXD_CQ)


@pytest.mark.parametrize(
    ("offload", "count"), [(None, 1), (Csum(0, 0), 1), (Tso(100, 300), 3), (Encap(100, 300), 3), (Encap(100), 1)]
)
def test_packets_a_packet_stands_for(offload: Offload | None, count: int) -> None:
    assert segments(1000, offload) == count


def test_long_frames_are_cut_where_a_descriptor_ends() -> None:
    assert cut(40000) == [16384, 16384, 7232]
