"""Iologs of fio. Golden lines: fio(1), "Trace file format v2" and "v3"."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvdev.errors import ConfigError
from pvscsi.block.backend import Io, Op
from pvscsi.block.mem import MemDisk
from pvscsi.block.record import RecordDisk
from pvscsi.traces.iolog import parse, recognises
from pvscsi.traces.trace import Event, Record, numbered

V2, V3 = "fio version 2 iolog\n", "fio version 3 iolog\n"


def records(text: str | bytes) -> list[Record]:
    data = text.encode() if isinstance(text, str) else text
    return list(parse(numbered(io.BytesIO(data), "x"), "x"))


def test_version_3_has_stamps_in_microseconds() -> None:
    text = V3 + (
        "0 /dev/sda add\n1 /dev/sda open\n10 /dev/sda read 4096 8192\n11 /dev/sda write 0 512\n"
        "12 /dev/sda sync 0 0\n13 /dev/sda datasync 77 1\n14 /dev/sda trim 512 1024\n15 /dev/sda close\n"
    )

    assert records(text) == [
        Record("/dev/sda", "", (Event(10_000, Op.READ, 4096, 8192),)),
        Record("/dev/sda", "", (Event(11_000, Op.WRITE, 0, 512),)),
        Record("/dev/sda", "", (Event(12_000, Op.FLUSH),)),
        Record("/dev/sda", "", (Event(13_000, Op.FLUSH),)),
        Record("/dev/sda", "", (Event(14_000, Op.DISCARD, 512, 1024),)),
    ]


def test_version_2_waits() -> None:
    text = (
        V2
        + "/a add\n/a open\n/a read 0 512\n/a wait 99 0\n/a wait 250 0\n\n"
        + "/a write 512 512\n/a wait 100 0\n/a sync 0 0\n"
    )

    assert [record.events[0].stamp for record in records(text)] == [0, 250_000, 350_000]


def test_what_asks_for_nothing_is_left_out() -> None:
    assert records(V3 + "0 /a read 512 0\n5 /a wait 100 0\n") == [
        Record("/a", "", (), "of no bytes"),
        Record("/a", "", (), "that wait, which version 3 does not"),
    ]


def test_what_a_recording_disk_writes_is_read_back(tmp_path: Path) -> None:
    ticks = iter(range(0, 1000_000, 7000))
    with RecordDisk(MemDisk("a disk", 1 << 20), str(tmp_path / "log"), clock=lambda: next(ticks)) as disk:
        disk.submit(
            [Io(Op.WRITE, 4096, 512, (memoryview(bytes(512)),), fua=True), Io(Op.DISCARD, 0, 4096), Io(Op.FLUSH)]
        )

    found = [event for record in records((tmp_path / "log").read_bytes()) for event in record.events]
    assert found == [
        Event(7000, Op.WRITE, 4096, 512),
        Event(7000, Op.FLUSH),
        Event(7000, Op.DISCARD, 0, 4096),
        Event(7000, Op.FLUSH),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("fio version 1 iolog\n", "line 1: 'fio version 1 iolog': not 'fio version 2 iolog' or 'fio version 3 iolog'"),
        ("fio version 3\n", "line 1: 'fio version 3': not 'fio version 2 iolog'"),
        (V3 + "/a read 0 512\n", "line 2: time '/a': not a number"),
        (V3 + "0 /a read 0\n", "line 2: 4 words: not TIME FILE ACTION [OFFSET LENGTH]"),
        (V2 + "/a\n", "line 2: 1 words: not FILE ACTION [OFFSET LENGTH]"),
        (V2 + "/a read 0 512 9\n", "line 2: 5 words: not FILE ACTION [OFFSET LENGTH]"),
        (V2 + "/a read\n", "line 2: action 'read': not add, open or close, which stand alone"),
        (V2 + "/a erase 0 512\n", "line 2: action 'erase': not read, write, trim, sync, datasync or wait"),
        (V2 + "/a read -1 512\n", "line 2: offset '-1': not a number"),
        (V2 + "/a read 0 4k\n", "line 2: length '4k': not a number"),
        (V2 + "/a read 100 512\n", "line 2: offset 100: no multiple of 512, a sector"),
        (V2 + "/a read 512 100\n", "line 2: length 100: no multiple of 512, a sector"),
        (V2 + "/a read 9223372036854775296 512\n", "line 2: offset 9223372036854775296: no disk is that large"),
    ],
)
def test_a_malformed_line_says_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        records(text)

    assert str(caught.value).startswith(f"x: {says}")
    assert "\n" not in str(caught.value)


@given(st.sampled_from([V2, V3]), st.binary(max_size=200))
def test_any_bytes_are_records_or_one_line_of_complaint(head: str, data: bytes) -> None:
    said = [""]
    try:
        said += [record.left_out for record in records(head.encode() + b"\n" + data)]
    except ConfigError as error:
        said.append(str(error))

    assert "\n" not in "".join(said)


def test_its_first_line_tells() -> None:
    assert recognises(V3.encode())
    assert recognises(b"fio version 9 iolog\n")
    assert not recognises(b"8,0 0 1 0.000000000 1 D R 8 + 8 [fio version]\n")
