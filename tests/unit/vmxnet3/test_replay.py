"""The pieces of `pvdev replay` and its command line; tests/pair/test_replay.py runs it whole."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pvdev import cli
from pvdev.playing import Stop
from vmxnet3.captures.marking import parse_rule
from vmxnet3.captures.pace import Pace
from vmxnet3.captures.pcapng import PcapngWriter
from vmxnet3.captures.player import Capture, Player
from vmxnet3.replay.flows import Flows, Source, Tally

FRAMES = [bytes([i]) * (60 + i) for i in range(5)]


@pytest.fixture
def capture(tmp_path: Path) -> str:
    """Five frames, 10 ns apart."""
    with (tmp_path / "in.pcapng").open("wb") as file:
        writer = PcapngWriter(file)
        writer.add_interface("x")
        writer.write_batch(0, [(1000 + 10 * i, frame) for i, frame in enumerate(FRAMES)])
    return str(tmp_path / "in.pcapng")


# Both ends ----------------------------------------------------------------------------------------------------------


def tally(*frames: bytes) -> Tally:
    made = Tally()
    made.add(frames)
    return made


def test_a_digest_knows_bytes_and_boundaries_but_not_batches() -> None:
    once, twice = tally(b"ab", b"c"), tally(b"ab")
    twice.add([memoryview(b"c")])

    assert once.digest() == twice.digest()
    assert (once.frames, once.bytes) == (2, 3)
    assert len({tally(b"ab", b"c").digest(), tally(b"a", b"bc").digest(), tally(b"c", b"ab").digest()}) == 3


def flows(*parts: tuple[int, bytes]) -> Flows:
    made = Flows()
    for queue, frame in parts:
        made.add(queue, [frame])
    return made


def test_order_counts_within_a_queue_only() -> None:
    ab = flows((0, b"a"), (1, b"b"), (0, b"c"))

    assert ab.digest() == flows((1, b"b"), (0, b"a"), (0, b"c")).digest()
    assert ab.digest() != flows((0, b"c"), (1, b"b"), (0, b"a")).digest()
    assert ab.digest() != flows((0, b"a"), (2, b"b"), (0, b"c")).digest()
    assert (ab.frames, ab.bytes) == (3, 3)
    assert flows((0, b"a")).digest() == tally(b"a").digest()
    assert flows((1, b"a")).digest() != tally(b"a").digest()


@pytest.fixture
def source(capture: str) -> Iterator[Callable[..., Source]]:
    players = []

    def make(*rules: str, longest: int = 1518, queues: int = 1) -> Source:
        players.append(Player([Capture(capture, tuple(map(parse_rule, rules)))], Pace("max")))
        return Source(players[-1], longest, queues)

    yield make
    for player in players:
        player.close()


def test_a_source_expects_what_marks_leave_where_they_ask_for(source: Callable[..., Source]) -> None:
    made = source("frame 1: queue=1", "frame 2: trunc=20", "frame 3: err", "frame 4: queue=3 gen=hold:2ms", queues=2)

    assert list(made.receive(9, 0)) == FRAMES
    expected = flows((1, FRAMES[0]), (0, FRAMES[1][:20]), (1, FRAMES[3]), (0, FRAMES[4]))
    assert made.offered.digest() == expected.digest()
    assert (made.erroneous, made.held_ns, made.marked) == (1, 2_000_000, True)


def test_a_source_leaves_out_what_a_nic_cannot_carry(source: Callable[..., Source]) -> None:
    made = source("frame 5: lro=3", longest=62)

    assert list(made.receive(9, 0)) == [*FRAMES[:3], FRAMES[4]]  # the last is a merged packet
    assert (made.offered.frames, made.long, made.short) == (5, 1, 0)


def test_a_source_gives_nothing_before_it_is_opened_and_after_it_is_stopped(source: Callable[..., Source]) -> None:
    made = source()
    made.opened = False
    assert (list(made.receive(2, 0)), made.deadline()) == ([], None)

    made.opened = True
    assert (made.deadline(), len(made.receive(2, 0))) == (0, 2)
    made.stop()
    assert (made.deadline(), list(made.receive(2, 0))) == (0, [])
    assert (made.finished, made.deadline()) == (True, None)


def test_a_source_keeps_what_is_wrong_with_a_capture_for_later(source: Callable[..., Source], capture: str) -> None:
    Path(capture).write_bytes(Path(capture).read_bytes()[:-3])
    made = source()

    assert len(made.receive(9, 0)) == 4
    assert list(made.receive(9, 0)) == []
    assert "is cut short" in str(made.fault)


# The command ----------------------------------------------------------------------------------------------------------


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def replay(*words: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(["replay", *map(str, words)])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return replay


def test_marks_from_everywhere_in_their_order(run: Run, capture: str, tmp_path: Path) -> None:
    (tmp_path / "m").write_text("frame 1: csum=bad\nframe 2: csum=bad  # and no more\n")

    code, out, err = run(
        f"{capture},mark=frame 3: err", "--marks", tmp_path / "m", "--mark", "frame 1: csum=unknown", "--json"
    )

    facts = json.loads(out)
    assert (code, err) == (0, "")
    assert facts["marks"] == {"csum=unknown": 1, "csum=bad": 1, "err": 1}
    assert facts["thrown_away_as_bad"] == 1
    assert facts["seen"]["packets"] == 5
    assert facts["intact"]


def test_the_table_tells_facts_queues_and_pacing(run: Run, capture: str) -> None:
    code, out, _ = run(capture, f"{capture},queue=1", "--mark", "frame 1: err", "--pace", "bps:1M")

    rows = {line.split("│")[1].strip(): line.split("│")[2].strip() for line in out.splitlines() if "│" in line}
    assert code == 0
    assert rows["received"] == "8 frames, 500 bytes"
    assert (rows["in queue 0"], rows["in queue 1"]) == ("4 frames", "4 frames")
    assert rows["thrown away, marked as bad"] == "2 frames"
    assert rows["mark err"] == "2 frames"
    assert rows["driver saw: errors"] == "2"
    assert rows["pacing error"].startswith("p50 ")


def test_rounds_on_the_command_line(run: Run, capture: str) -> None:
    code, out, _ = run(capture, "--times", "3", "--json")

    assert (code, json.loads(out)["received"]["frames"]) == (0, 15)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--mark", "every 10 csum=bad"], "--mark: 'every 10 csum=bad' is no rule; write SELECTOR: FACTS"),
        (["--mark", "udp: csm=bad"], "--mark: mark 'csm=bad': not known; known: csum=good|bad|unknown"),
        (["--marks", "/nowhere"], "/nowhere: cannot be read: No such file or directory"),
        (["--tx", "--mark", "udp: err"], "--tx sends, and marks speak of received frames: leave one of them out"),
        (["--stay"], "--stay needs --socket"),
        (["--delay", "5"], "--delay needs --socket"),
        (["--socket", "x", "--tx"], "--tx does not go with --socket"),
        (["--socket", "x", "--mtu", "1500"], "--mtu does not go with --socket"),
        (["--pace", "bps:fast"], "pace 'bps:fast' is not understood"),
        (["--record", "/no/such/file"], "/no/such/file: No such file or directory; give a file that can be written"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(run: Run, capture: str, words: list[str], says: str) -> None:
    code, out, err = run(capture, *words)

    assert (code, out) == (2, "")
    assert err.startswith(f"pvdev: {says}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("option", ["--out", "--record"])
def test_a_capture_is_not_written_over(run: Run, capture: str, option: str) -> None:
    before = Path(capture).read_bytes()

    code, _, err = run(capture, option, capture)

    assert (code, err) == (2, f"pvdev: {option} {capture} is the capture itself; give another file\n")
    assert Path(capture).read_bytes() == before


@pytest.mark.parametrize(("option", "code"), [("--loop", 0), ("--times=1000000", 130)])
def test_ctrl_c_ends_with_the_report(
    run: Run, capture: str, option: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal comes at the tenth look for one."""
    looks = iter(range(1_000_000))

    def look(stop: Stop) -> bool:
        if next(looks) == 10:
            signal.raise_signal(signal.SIGINT)
        return stop.given

    monkeypatch.setattr(Stop, "__call__", look)
    ended, out, err = run(capture, option, "--json")

    facts = json.loads(out)
    assert (ended, err) == (code, "")
    assert (facts["interrupted"], facts["intact"]) == (True, True)
    assert facts["received"]["frames"] > 0


def test_realtime_is_asked_for_and_given_back(run: Run, capture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(
        os, "sched_setscheduler", lambda pid, policy, param: asked.append((policy, param.sched_priority))
    )
    before = os.sched_getscheduler(0), os.sched_getparam(0).sched_priority

    assert run(capture, "--realtime", "--json")[0] == 0
    assert asked == [(os.SCHED_RR, 1), before]


def test_realtime_without_the_right_is_told(run: Run, capture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, policy: int, param: os.sched_param) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)

    assert run(capture, "--realtime") == (
        2,
        "",
        "pvdev: --realtime: no right to it; run as root, or with `ulimit -r 1` or more\n",
    )


def test_a_comment_with_a_bad_word_ends_the_replay(run: Run, tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file:
        writer = PcapngWriter(file)
        writer.write(writer.add_interface("x"), 0, FRAMES[0], comment="pvdev: csum=worse")

    code, _, err = run(tmp_path / "x", "--json")

    assert code == 2
    assert err == f"pvdev: {tmp_path / 'x'}: comment of frame 1: mark 'csum=worse': give good, bad or unknown\n"


def test_a_second_ctrl_c_is_heard_even_where_a_read_waits_and_handlers_are_given_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Stop().listening() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    assert signal.getsignal(signal.SIGINT) is before
