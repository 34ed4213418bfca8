from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pvdev.errors import ConfigError
from vmxnet3.captures.marking import parse_rule
from vmxnet3.captures.pace import Pace
from vmxnet3.captures.pcapng import PcapngWriter
from vmxnet3.captures.player import Capture, Player
from vmxnet3.shape import Shaped

START = 5_000


def capture(path: Path, name: str, *stamps: int, interface: str = "x") -> str:
    """A capture whose frames hold its name and their place in it."""
    with (path / name).open("wb") as file:
        writer = PcapngWriter(file)
        writer.add_interface(interface)
        other = writer.add_interface("other")
        for i, stamp in enumerate(stamps):
            writer.write(0, stamp, f"{name}{i}".encode())
        writer.write(other, stamps[-1] if stamps else 0, b"other")
    return str(path / name)


def played(player: Player, limit: int = 9, most: int = 100) -> list[tuple[int, str]]:
    """(when, frame) on a clock that jumps to each due time."""
    now = START
    got: list[tuple[int, str]] = []
    while len(got) < most and (due := player.due()) is not None:
        now = max(now, due)
        got += [(now - START, item[1].decode()) for item in player.take(limit, now)]
    return got


Make = Callable[..., Player]


@pytest.fixture
def player() -> Iterator[Make]:
    """Makes players and closes them."""
    with ExitStack() as owns:

        def make(*captures: Capture, pace: str = "original", rounds: int = 1, by_stamp: bool = False) -> Player:
            made = Player(captures, Pace.parse(pace), rounds=rounds, by_stamp=by_stamp)
            owns.callback(made.close)
            return made

        yield make


def only(path: str, at_ns: int = 0) -> Capture:
    return Capture(path, interface="x", at_ns=at_ns)


@pytest.mark.parametrize("limit", [1, 9])
def test_captures_are_merged_by_due_time(player: Make, tmp_path: Path, limit: int) -> None:
    a, b = capture(tmp_path, "a", 100, 110, 140), capture(tmp_path, "b", 900, 905, 920, 990)

    assert played(player(only(a), only(b)), limit) == [
        (0, "a0"),
        (0, "b0"),
        (5, "b1"),
        (10, "a1"),
        (20, "b2"),
        (40, "a2"),
        (90, "b3"),
    ]


def test_one_capture_can_begin_later(player: Make, tmp_path: Path) -> None:
    a, b = capture(tmp_path, "a", 100, 110), capture(tmp_path, "b", 900, 905)

    assert played(player(only(a), only(b, at_ns=7))) == [(0, "a0"), (7, "b0"), (10, "a1"), (12, "b1")]
    assert played(player(only(a, at_ns=7))) == [(7, "a0"), (17, "a1")]


def test_an_empty_capture_holds_nobody_up(player: Make, tmp_path: Path) -> None:
    a, empty = capture(tmp_path, "a", 100, 110), capture(tmp_path, "empty")
    nothing = only(empty)

    assert played(player(only(a), nothing)) == [(0, "a0"), (10, "a1")]
    assert played(player(nothing, nothing)) == []


@pytest.mark.parametrize(("pace", "scale"), [("original", 1), ("x2", 2)])
def test_by_stamp_captures_keep_their_distance(player: Make, tmp_path: Path, pace: str, scale: int) -> None:
    a, b = capture(tmp_path, "a", 100, 200), capture(tmp_path, "b", 150, 160)

    assert played(player(only(a), only(b), pace=pace, by_stamp=True)) == [
        (0, "a0"),
        (50 // scale, "b0"),
        (60 // scale, "b1"),
        (100 // scale, "a1"),
    ]


def test_without_pacing_captures_take_turns(player: Make, tmp_path: Path) -> None:
    a, b = capture(tmp_path, "a", 1, 2, 3), capture(tmp_path, "b", 1)

    assert [name for _, name in played(player(only(a), only(b), pace="max"))] == ["a0", "b0", "a1", "a2"]


def test_rounds_of_each_capture(player: Make, tmp_path: Path) -> None:
    a, b = capture(tmp_path, "a", 1, 2), capture(tmp_path, "b", 1)
    names = [name for _, name in played(player(only(a), only(b), rounds=2))]

    assert sorted(names) == ["a0", "a0", "a1", "a1", "b0", "b0"]
    assert len(played(player(only(a), rounds=0), most=50)) >= 50


def test_after_a_pause_everything_is_as_much_later(player: Make, tmp_path: Path) -> None:
    a, b = capture(tmp_path, "a", 0, 10), capture(tmp_path, "b", 0, 30)
    both = player(only(a), only(b))
    assert len(both.take(9, START)) == 2

    both.resume()

    assert [item[1] for item in both.take(9, START + 1000)] == [b"a1"]
    assert both.due() in (0, START + 1020)
    assert both.take(9, START + 1019) == []
    assert [item[1] for item in both.take(9, START + 1020)] == [b"b1"]


def test_lateness_counts_from_each_frames_own_due_time(player: Make, tmp_path: Path) -> None:
    both = player(only(capture(tmp_path, "a", 0, 10)), only(capture(tmp_path, "b", 0, 20)))

    both.take(9, START)
    both.handed_over(START + 3)
    both.handed_over(START + 9)
    both.take(1, START + 25)
    both.take(9, START + 25)
    both.handed_over(START + 26)

    assert (both.lateness.count, both.lateness.max) == (4, 16)


def test_marks_belong_to_their_capture_and_are_counted_together(player: Make, tmp_path: Path) -> None:
    a, b = capture(tmp_path, "a", 1, 2), capture(tmp_path, "b", 1, 2)
    rules = (parse_rule("frame 2: err"),)
    both = player(Capture(a, rules), Capture(b, rules, queue=3), pace="max")
    shaped = [item[1] for item in both.take(9, START) + both.take(9, START) if isinstance(item[1], Shaped)]

    assert sorted(map(bytes, shaped)) == [b"a1", b"b0", b"b1", b"other"]
    assert (both.facts, both.marked) == ({"err": 2, "queue=3": 3}, 4)


def test_an_interface_that_is_not_there_is_told(player: Make, tmp_path: Path) -> None:
    path = capture(tmp_path, "a", 1, interface="rx0")
    with pytest.raises(ConfigError, match="a: no interface 'rx9' in it; there is other, rx0"):
        player(Capture(path, interface="rx9"))


def test_stop_ends_it(player: Make, tmp_path: Path) -> None:
    both = player(only(capture(tmp_path, "a", 0, 10)), only(capture(tmp_path, "b", 0, 20)))
    assert both.first_stamp == 0

    both.stop()

    assert (both.finished, both.due(), both.take(9, START)) == (True, None, [])


# The words of a command line --------------------------------------------------------------------------------------


def test_a_capture_with_options(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("udp: err\n")
    found = Capture.parse(f"x.pcap,queue=2,marks={tmp_path / 'm'},interface=rx0,at=5", [parse_rule("tcp: err")])

    assert (found.path, found.queue, found.interface, found.at_ns) == ("x.pcap", 2, "rx0", 5_000_000)
    assert [rule.text for rule in found.rules] == ["udp: err", "tcp: err"]


def test_a_file_of_that_very_name_wins(tmp_path: Path) -> None:
    odd = tmp_path / "a,b=c.pcap"
    odd.touch()

    assert Capture.parse(str(odd)) == Capture(str(odd))
    assert Capture.parse("-") == Capture("-")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x,queue=32", "capture: queue=32: give a number from 0 to 31"),
        ("x,que=1", "capture: no option 'que'; allowed: at, interface, mark, marks, queue"),
        (
            "x,marks=/nowhere",
            "/nowhere: cannot be read: No such file or directory; give a file of lines SELECTOR: FACTS",
        ),
        ("x,mark=udp", "mark: 'udp' is no rule; write SELECTOR: FACTS"),
    ],
)
def test_a_capture_that_cannot_be_is_told(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Capture.parse(text)
    assert str(caught.value).startswith(says)


def test_standard_input_plays_once(player: Make) -> None:
    with pytest.raises(ConfigError, match="standard input cannot be played twice; give a file, or play it once"):
        player(Capture("-"), rounds=0)
