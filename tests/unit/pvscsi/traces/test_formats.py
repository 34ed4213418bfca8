import pytest

from pvdev.errors import ConfigError
from pvscsi.block.backend import Op
from pvscsi.traces.formats import BLKPARSE, IOLOG, LISTED, Chosen, Survey, format_of, recognises
from pvscsi.traces.trace import Event, Record

READ, LATER = Event(0, Op.READ, 0, 4096), Event(5, Op.WRITE, 1 << 20, 512)
TRIM = Event(9, Op.DISCARD, 0, 1 << 30)


def test_what_is_in_it_is_counted() -> None:
    survey = Survey(
        [Record("8,0", "D", (READ,)), Record("8,0", "D", (LATER, TRIM)), Record("8,0", "D", (), "of no bytes")]
    )
    content = survey.devices["8,0"]["D"]

    assert (content.events, content.end, content.longest, content.left_out) == (3, 1 << 30, 4096, {"of no bytes": 1})


@pytest.mark.parametrize(
    ("actions", "wanted", "chosen"), [("QD", None, "D"), ("Q", None, "Q"), ("DQ", "Q", "Q"), ("D", "D", "D")]
)
def test_issued_is_better_than_queued(actions: str, wanted: str | None, chosen: str) -> None:
    found = Survey(Record("8,0", action, (READ,)) for action in actions).choose("x", BLKPARSE, None, wanted)

    assert (found.device, found.action, found.content.events) == ("8,0", chosen, 1)


def test_a_device_without_requests_is_none_to_choose_from() -> None:
    survey = Survey([Record("8,0", "D", (READ,)), Record("8,16", "D", (), "without sectors")])

    assert survey.choose("x", BLKPARSE, None, None).device == "8,0"


def test_one_of_several_is_chosen_by_name() -> None:
    survey = Survey([Record("/a", "", (READ,)), Record("/b", "", (LATER,))])

    assert survey.choose("x", IOLOG, "/b", None) == Chosen("/b", "", survey.devices["/b"][""])


@pytest.mark.parametrize(
    ("records", "device", "action", "says"),
    [
        ([], None, None, "x: nothing in it can be replayed"),
        ([Record("8,0", "D", (), "without sectors")], None, None, "x: nothing in it can be replayed"),
        ([Record("8,0", "Q", (READ,))], None, "D", "x: nothing in it can be replayed as --action D; there is Q"),
        (
            [Record("8,0", "D", (READ,)), Record("8,16", "D", (READ, READ))],
            None,
            None,
            "x: several devices: 8,0 (1 requests), 8,16 (2 requests); choose one with --device",
        ),
        ([Record("8,0", "D", (READ,))], "8,1", None, "x: --device 8,1: not in it; there is 8,0 (1 requests)"),
    ],
)
def test_what_cannot_be_chosen_is_told(
    records: list[Record], device: str | None, action: str | None, says: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Survey(records).choose("x", BLKPARSE, device, action)

    assert str(caught.value) == says


def test_of_many_devices_a_few_are_listed() -> None:
    survey = Survey(Record(f"8,{n}", "D", (READ,)) for n in range(LISTED + 3))

    with pytest.raises(ConfigError, match=r"8,7 \(1 requests\) and 3 more; choose"):
        survey.choose("x", BLKPARSE, None, None)


def test_an_iolog_has_no_actions() -> None:
    with pytest.raises(ConfigError, match="--action is for blkparse's text; x is an iolog"):
        Survey([Record("/a", "", (READ,))]).choose("x", IOLOG, None, "D")


@pytest.mark.parametrize("head", [b"\x07tae\0\0\0\0", b"eat\x07\0\0\0\0"])
def test_what_blktrace_writes_itself_is_known_and_refused_with_the_mend(head: bytes) -> None:
    assert recognises(head)
    with pytest.raises(ConfigError, match=r"sda.blktrace.0: binary.*blkparse -i sda.blktrace.0"):
        format_of(head, "sda.blktrace.0")


def test_the_format_is_told_by_content() -> None:
    assert format_of(b"fio version 2 iolog\n", "x") is IOLOG
    assert format_of(b"8,0 0 1 0.000000000 1 D R 8 + 8 [x]\n", "x") is BLKPARSE
    with pytest.raises(ConfigError, match="x: not a trace"):
        format_of(b"hello", "x")
    assert not recognises(b"\xd4\xc3\xb2\xa1")
