"""Golden bytes are worked out from draft-ietf-opsawg-pcapng."""

import io
import random
from collections.abc import Callable

import pytest
from scapy.utils import RawPcapNgReader

from vmxnet3.captures.capture import CaptureReader
from vmxnet3.captures.pcapng import PcapngWriter

ONE = bytes.fromhex("ffffffffffff 00005e005301 0806")
TWO = bytes.fromhex("00005e005302 00005e005301 0800 45")
INTERFACE = bytes.fromhex(  # resolution 10^-9, name "a"
    "01000000 28000000 0100 0000 00000400 0200 0100 61000000 0900 0100 09000000 0000 0000 28000000"
)


def written(write: Callable[[PcapngWriter], object]) -> bytes:
    file = io.BytesIO()
    write(PcapngWriter(file))
    return file.getvalue()


def test_writer_golden_bytes() -> None:
    def write(writer: PcapngWriter) -> None:
        writer.write(writer.add_interface("a", snaplen=1 << 18), 1_000_000_002, ONE, comment="hi")
        writer.write(0, 3_000_000_004, [TWO[:6], memoryview(TWO)[6:]], wire_len=60)

    head = bytes.fromhex(
        "0a0d0d0a 2c000000 4d3c2b1a 0100 0000 ffffffffffffffff 0400 0500 7076646576000000 0000 0000 2c000000"
    )
    frame = (
        bytes.fromhex("06000000 3c000000 00000000 00000000 02ca9a3b 0e000000 0e000000")
        + ONE
        + bytes.fromhex("0000 0100 0200 68690000 0000 0000 3c000000")
    )
    second = bytes.fromhex("06000000 30000000 00000000 00000000 045ed0b2 0f000000 3c000000") + TWO
    second += bytes.fromhex("00 30000000")
    assert written(write) == head + INTERFACE + frame + second


def test_batch_and_single_writes_give_the_same_bytes() -> None:
    frames = [(5 << 40 | size, random.Random(size).randbytes(size)) for size in range(14, 80)]

    def one_by_one(writer: PcapngWriter) -> None:
        writer.add_interface("x")
        for stamp, data in frames:
            writer.write(0, stamp, data)

    def at_once(writer: PcapngWriter) -> None:
        writer.add_interface("x")
        assert writer.write_batch(0, [(stamp, [data[:9], data[9:]]) for stamp, data in frames]) == len(frames)
        assert writer.frames == len(frames)

    assert written(one_by_one) == written(at_once)
    read = [frame for batch in CaptureReader(io.BytesIO(written(at_once))).batches() for frame in batch]
    assert [(frame[0], frame[1]) for frame in read] == frames


def test_scapy_reads_what_is_written() -> None:
    def write(writer: PcapngWriter) -> None:
        writer.add_interface("first", description="one")
        writer.add_interface("second")
        for size in (14, 15, 16, 17):
            writer.write(
                size & 1, 1_700_000_000_000_000_000 + size, b"\x5a" * size, comment="x" * size, wire_len=size + 1
            )

    packets = list(RawPcapNgReader(io.BytesIO(written(write))))
    assert [data for data, _ in packets] == [b"\x5a" * size for size in (14, 15, 16, 17)]
    assert [meta.wirelen for _, meta in packets] == [15, 16, 17, 18]
    assert [(meta.tshigh << 32 | meta.tslow) for _, meta in packets] == [
        1_700_000_000_000_000_000 + n for n in range(14, 18)
    ]
    assert {meta.ifname for _, meta in packets} == {b"first", b"second"}
    assert {meta.tsresol for _, meta in packets} == {10**9}


def test_writing_to_an_interface_that_was_not_added() -> None:
    writer = PcapngWriter(io.BytesIO())

    with pytest.raises(ValueError, match="interface 0 was not added"):
        writer.write(0, 0, ONE)
    with pytest.raises(ValueError, match="interface 0 was not added"):
        writer.write_batch(0, [(0, ONE)])
