"""blkparse's text. Golden lines: the default format of blkparse(1)."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvdev.errors import ConfigError
from pvscsi.block.backend import Op
from pvscsi.traces.blkparse import meaning, parse, recognises
from pvscsi.traces.trace import LINE_MOST, Event, Record, numbered

SAMPLE = Path(__file__).parents[3] / "data" / "disk.blkparse"
READ = "  8,0    3        1     1.000000007   697  D   R 223490 + 8 [kjournald]\n"


def records(text: str | bytes) -> list[Record]:
    data = text.encode() if isinstance(text, str) else text
    return list(parse(numbered(io.BytesIO(data), "x"), "x"))


def test_a_line_in_full() -> None:
    event = Event(1_000_000_007, Op.READ, 223490 * 512, 4096)

    assert records(READ) == [Record("8,0", "D", (event,))]


@pytest.mark.parametrize(
    ("rwbs", "where", "events"),
    [
        ("W", "8 + 8", [Event(0, Op.WRITE, 4096, 4096)]),
        ("WS", "8 + 1", [Event(0, Op.WRITE, 4096, 512)]),
        ("WFS", "8 + 8", [Event(0, Op.WRITE, 4096, 4096, True)]),
        ("FWS", "8 + 8", [Event(0, Op.FLUSH), Event(0, Op.WRITE, 4096, 4096)]),
        ("FWFSM", "8 + 8", [Event(0, Op.FLUSH), Event(0, Op.WRITE, 4096, 4096, True)]),
        ("RAM", "8 + 8", [Event(0, Op.READ, 4096, 4096)]),
        ("D", "8 + 8", [Event(0, Op.DISCARD, 4096, 4096)]),
        ("DE", "8 + 8", [Event(0, Op.DISCARD, 4096, 4096)]),
        ("N", "8 + 8", [Event(0, Op.ZERO, 4096, 4096)]),
        ("F", "", [Event(0, Op.FLUSH)]),
        ("FF", "8 + 8", [Event(0, Op.FLUSH)]),
        ("FN", "", [Event(0, Op.FLUSH)]),
        ("FWS", "", [Event(0, Op.FLUSH)]),
        ("FWS", "0 + 0", [Event(0, Op.FLUSH)]),
        ("R", "8 + 8 (    1001)", [Event(0, Op.READ, 4096, 4096)]),
    ],
)
def test_what_was_asked(rwbs: str, where: str, events: list[Event]) -> None:
    found = records(f"  8,0 0 1 0.000000000 1 Q {rwbs:>3} {where}{' ' if where else ''}[a b]\n")

    assert [record.events for record in found] == [tuple(events)]


@pytest.mark.parametrize(
    ("rest", "why"),
    [
        ("R 36 (12 00 00 00 24 00 ..) [sg_inq]", "of pass-through commands"),
        ("N 0 [sg]", "of pass-through commands"),
        ("N [swapper]", "without sectors"),
        ("W 0 + 0 [x]", "without sectors"),
    ],
)
def test_what_cannot_be_replayed_says_why(rest: str, why: str) -> None:
    assert records(f"8,0 0 1 0.000000000 1 D {rest}\n") == [Record("8,0", "D", (), why)]


@pytest.mark.parametrize("action", ["C", "G", "I", "M", "P", "U", "UT", "A", "X", "m"])
def test_other_actions_are_no_requests(action: str) -> None:
    assert records(f"  8,0 0 1 0.000000000 1 {action:>2} R 8 + 8 [x]\n") == []


def test_a_process_name_is_anything() -> None:
    names = "a b", "D W 8 + 8", "[x]", "tracker (7)", "", "é"
    text = "".join(f"8,0 0 1 0.000000000 1 D W 8 + 8 [{name}]\n" for name in names)

    assert len(records(text)) == len(names)


def test_the_sample_up_to_its_summary() -> None:
    found = records(SAMPLE.read_bytes())

    assert [record.action for record in found].count("Q") == 10
    assert [
        (e.op.value, e.offset // 512, e.length // 512, e.fua) for r in found if r.action == "D" for e in r.events
    ] == [
        ("read", 2048, 8, False),
        ("write", 4088, 24, False),
        ("read", 4088, 32, False),
        ("flush", 0, 0, False),
        ("write", 6144, 8, True),
        ("discard", 4088, 8, False),
        ("read", 4088, 16, False),
        ("read", 6144, 8, False),
    ]


@pytest.mark.parametrize(
    "end",
    [
        "CPU0 (sda):\n",
        "CPU 1 (8,0):\n",
        "Total (sda):\n",
        "bash (412, ...)\n",
        "Web Content (412)\n",
        "Throughput (R/W): 1/2\n",
    ],
)
def test_nothing_is_read_behind_the_events(end: str) -> None:
    assert len(records(READ + "\n" + end + " Reads Queued: 4\nanything\n" + READ)) == 1


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("hello world\n", "line 2: device 'hello': not MAJOR,MINOR (blkparse's default format is wanted)"),
        ("8,0 x 1 0.000000000 1 D R 8 + 8 [x]\n", "line 2: CPU 'x': not a number"),
        ("8,0 0 -1 0.000000000 1 D R 8 + 8 [x]\n", "line 2: sequence '-1': not a number"),
        ("8,0 0 1 0.5 1 D R 8 + 8 [x]\n", "line 2: time '0.5': not SECONDS.NANOSECONDS"),
        ("8,0 0 1 0.000000000 bash D R 8 + 8 [x]\n", "line 2: process 'bash': not a number"),
        ("8,0 0 1 0.000000000 1 ??? R 8 + 8 [x]\n", "line 2: action '???': not one or two letters"),
        ("8,0 0 1 0.000000000 1 D rw 8 + 8 [x]\n", "line 2: RWBS 'rw': not capital letters"),
        ("8,0 0 1 0.000000000 1 D XS 8 + 8 [x]\n", "line 2: RWBS 'XS': not R, W, D, F or N"),
        ("8,0 0 1 0.000000000 1 D WX 8 + 8 [x]\n", "line 2: RWBS 'WX': not R, W, D, F or N"),
        ("8,0 0 1 0.000000000 1 D R 8 - 8 [x]\n", "line 2: '8 - 8 [x]': not SECTOR + COUNT"),
        ("8,0 0 1 0.000000000 1 D R 8 +", "line 2: '8 +': not SECTOR + COUNT"),
        ("8,0 0 1 0.0000", "line 2: time '0.0000': not SECONDS"),
        ("8,0 0 1", "line 2: ends after 3 fields: cut short?"),
        ("8,0 0 1 0.000000000 1 D R 18446744073709551615 + 8 [x]\n", "line 2: sector 18446744073709551615: no disk"),
        ("\0" * 20 + "\n", r"line 2: device '\x00"),
        ("8" * LINE_MOST, f"line 2: longer than {LINE_MOST} bytes"),
    ],
)
def test_a_malformed_line_says_what_is_wrong(line: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        records(READ + line)

    assert str(caught.value).startswith(f"x: {says}")
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=200))
def test_any_bytes_are_records_or_one_line_of_complaint(data: bytes) -> None:
    said = []
    try:
        said += [record.left_out for record in records(READ.encode() + data)]
    except ConfigError as error:
        said.append(str(error))

    assert said
    assert "\n" not in "".join(said)


@given(st.text("FRWDNESMAB", min_size=1, max_size=8))
def test_rwbs_has_one_meaning_or_none(letters: str) -> None:
    try:
        op, flush, fua = meaning(letters.encode())
    except ValueError:
        return
    assert flush == letters.startswith("F")
    assert not fua or op is Op.WRITE


@pytest.mark.parametrize(
    ("head", "is_one"),
    [
        (READ, True),
        ("Input file sda.blktrace.0 added\n\n" + READ[:80], True),
        ("8,0 0 1 0.000000000 1 m N cfq1234S slice expired\n", True),
        ("", False),
        ("\n\n", False),
        ("8,0 is not enough\n", False),
        ("fio version 3 iolog\n", False),
    ],
)
def test_its_first_line_tells(head: str, is_one: bool) -> None:
    assert recognises(head.encode()) is is_one
