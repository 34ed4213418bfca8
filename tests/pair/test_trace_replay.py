"""`pvdev replay` of block traces end to end: paces, transports, disks, what it verifies and writes, its memory."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from pvdev.errors import ConfigError
from pvscsi.block.backend import Io, Op
from pvscsi.block.medium import Medium
from pvscsi.block.wrapper import Wrapper
from pvscsi.driver import DeviceBroke, Done, Slots
from pvscsi.replay import Options, Pace, Replay, Report
from pvscsi.replay.source import Trace
from pvscsi.traces.trace import Event
from tests.bench.bench_replay import replay

DATA = Path(__file__).parents[1] / "data"
BLKPARSE, IOLOG = str(DATA / "disk.blkparse"), str(DATA / "disk.iolog")
VIA = pytest.mark.parametrize("via", ["local", "vfio-user"])


class Silent:
    def at(self, done: int, text: str = "") -> None:
        pass


@contextmanager
def silent(label: str, total: int | None) -> Iterator[Silent]:
    yield Silent()


def run(trace: str | Path, **options: object) -> Report:
    return Replay(Options(str(trace), **options)).run(silent)  # type: ignore[arg-type]


def counts(report: Report) -> dict[str, tuple[int, int]]:
    return {op.value: (kind.good, kind.bytes) for op, kind in report.results.kinds.items() if kind.times.count}


def iolog(path: Path, *lines: str) -> Path:
    path.write_text("fio version 2 iolog\n/a add\n/a open\n" + "".join(f"/a {line}\n" for line in lines))
    return path


def events(path: str | Path) -> list[Event]:
    trace = Trace(str(path))
    trace.survey()
    found = [event for batch in trace.round() for event in batch]
    trace.close()
    return found


@VIA
@pytest.mark.parametrize("pace", ["max", "original", "x0.5", "iops:2k"])
@pytest.mark.parametrize("trace", [BLKPARSE, IOLOG], ids=["blkparse", "iolog"])
def test_everything_is_done_and_found_as_written(trace: str, pace: str, via: str) -> None:
    report = run(trace, via=via, pace=Pace.parse(pace), verify=True)

    assert report.intact
    assert counts(report) == {
        "read": (4, 32768),
        "write": (2, 16384),
        "flush": (1 + (trace == IOLOG), 0),
        "discard": (1, 4096),
    }
    assert report.results.verified is not None
    assert (report.results.verified.compared, report.results.verified.unknown) == (64, 0)
    assert report.results.tally.digest() == report.medium.digest()
    assert [str(violation) for violation in report.violations] == []
    assert report.results.complaints == {}
    assert report.results.lateness.count == (0 if pace == "max" else len(events(trace)))


def test_queued_and_issued_are_not_the_same() -> None:
    assert counts(run(BLKPARSE, action="Q"))["write"] == (4, 16384)


@VIA
def test_original_timing_takes_its_time(via: str) -> None:
    report = run(IOLOG, via=via, pace=Pace.parse("x0.1"))

    assert report.results.seconds >= 0.0418
    assert report.results.lateness.max >= report.results.lateness.percentile(50) > 0


@VIA
@pytest.mark.parametrize("depth", [1, 32, 1000])
def test_any_number_at_a_time(via: str, depth: int, tmp_path: Path) -> None:
    lines = [f"{'write' if n % 3 else 'read'} {n * 7 % 500 * 4096} {(n % 4 + 1) * 4096}" for n in range(2000)]
    report = run(iolog(tmp_path / "log", *lines), via=via, depth=depth, verify=True)

    assert report.intact
    assert report.done == 2000
    assert report.results.lost == 0


@VIA
@pytest.mark.parametrize(
    "disk", ["file:{}/x.img,create=yes,size=8M", "slow,latency=1ms,jitter=1ms,of=mem:8M", "mem:8M"]
)
def test_any_disk(via: str, disk: str, tmp_path: Path) -> None:
    report = run(BLKPARSE, via=via, disk=disk.format(tmp_path), verify=True, rounds=3)

    assert report.intact
    assert report.done == 24
    assert report.results.verified is not None
    assert report.results.verified.unknown == 0


@VIA
def test_what_overlaps_waits_so_that_what_a_read_finds_is_known(via: str, tmp_path: Path) -> None:
    lines = [line for n in range(50) for line in (f"write {n * 512} 8192", f"read {n * 512} 4096", "trim 0 4096")]
    path = iolog(tmp_path / "log", *lines)
    report = run(path, via=via, verify=True, disk="slow,latency=200us,jitter=200us,of=mem:1M")

    assert report.intact
    assert report.results.held > 50
    assert run(path, via=via).results.held == 0


def test_a_disk_that_was_used_before_is_not_blamed(tmp_path: Path) -> None:
    (tmp_path / "x.img").write_bytes(b"old" * (8 << 20 >> 1))
    report = run(BLKPARSE, disk=f"file:{tmp_path}/x.img", verify=True)

    assert report.intact
    assert report.results.verified is not None
    assert (report.results.verified.compared, report.results.verified.unknown) == (24 + 16 + 8, 8 + 8)


def test_writes_too_long_for_one_request_are_split(tmp_path: Path) -> None:
    report = run(iolog(tmp_path / "log", f"write 0 {5 << 19}", f"read 0 {5 << 19}", f"trim 0 {9 << 30}"), verify=True)

    assert report.intact
    assert counts(report) == {"write": (3, 5 << 19), "read": (3, 5 << 19), "discard": (18, 9 << 30)}
    assert report.results.split == 3


def test_a_vast_request_is_cut_as_it_goes(tmp_path: Path) -> None:
    """All its pieces at once would be half a billion."""
    options = Options(str(iolog(tmp_path / "log", f"trim 0 {1 << 61}")), verify=True)
    looks = iter(range(100))
    report = Replay(options).run(silent, lambda: next(looks) >= 5)

    assert report.interrupted
    assert report.intact
    assert 0 < report.done < 1000


def test_zeroing_and_fua_reach_the_disk(tmp_path: Path) -> None:
    path, out = tmp_path / "trace", tmp_path / "out"
    path.write_text(
        "8,0 0 1 0.000000000 1 Q WFS 0 + 16 [x]\n"
        "8,0 0 2 0.000000001 1 Q N 8 + 8 [x]\n"
        "8,0 0 3 0.000000002 1 Q R 0 + 16 [x]\n"
    )
    report = run(path, verify=True, out=str(out))

    assert report.intact
    assert [event[1:4] for event in events(out)] == [
        (Op.WRITE, 0, 8192),
        (Op.FLUSH, 0, 0),
        (Op.DISCARD, 4096, 4096),
        (Op.READ, 0, 8192),
    ]


@VIA
def test_out_is_a_trace_of_the_same(via: str, tmp_path: Path) -> None:
    report = run(IOLOG, via=via, out=str(tmp_path / "out"), depth=1)
    found = events(tmp_path / "out")

    assert [event[1:] for event in found] == [event[1:] for event in events(IOLOG)]
    assert [event.stamp for event in found] == sorted(event.stamp for event in found)
    assert run(tmp_path / "out", depth=1).medium.digest() == report.medium.digest()


# What goes wrong ------------------------------------------------------------------------------------------------------


@VIA
def test_errors_are_told_by_their_sense(via: str) -> None:
    report = run(BLKPARSE, via=via, disk="faulty,bad=2093056+512,of=mem:8M", verify=True)

    assert not report.intact
    assert report.results.errors == {"03/0C/00": 2, "03/11/00": 2}  # a write and a discard, two reads
    assert report.results.tally.digest() == report.medium.digest()
    assert report.results.verified is not None
    assert report.results.verified.wrong == 0


def test_a_disk_that_forgets_is_found_out() -> None:
    report = run(IOLOG, disk="null:8M", verify=True)

    assert not report.intact
    assert report.results.verified is not None
    assert report.results.verified.wrong == 24 + 8 + 8
    assert report.results.verified.first == "sector 4088: write 1 of sector 4088 wanted, zeros found"
    assert run(IOLOG, disk="null:8M").intact  # nobody looks


class Flips(Wrapper):
    """Changes a bit of what is read on its way to the adapter."""

    def __init__(self, inner: Medium, path: str) -> None:
        super().__init__("flips", inner)

    def submit(self, ios: Sequence[Io]) -> None:
        self.inner.submit(ios)
        for io in ios:
            if io.op is Op.READ:
                io.buffers[0][100] ^= 1


@VIA
def test_a_bit_lost_on_the_way_makes_the_digests_differ(via: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pvscsi.replay.local.RecordDisk", Flips)
    report = run(IOLOG, via=via, out="flips")

    assert not report.intact
    assert report.results.tally.requests == report.medium.requests
    assert report.results.tally.digest() != report.medium.digest()


@VIA
def test_a_request_that_is_never_done_ends_in_time(via: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pvscsi.replay.player.IDLE_S", 0.02)
    report = run(IOLOG, via=via, disk="faulty,hang=4,of=mem:8M")

    assert (report.results.lost, report.done) == (1, 8)
    assert not report.intact


def test_a_device_that_breaks_its_duty_ends_the_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    def reap(slots: Slots) -> list[Done]:
        raise DeviceBroke("PVS-V-050", "a completion nobody waits for")

    monkeypatch.setattr(Slots, "reap", reap)
    report = run(IOLOG)

    assert report.fault == "PVS-V-050: a completion nobody waits for"
    assert (report.results.lost, report.intact) == (9, False)


def test_a_disk_too_small_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"--disk mem:1M: 1,048,576 bytes, and the trace reaches 3,149,824; give a larger"
    ):
        run(BLKPARSE, disk="mem:1M")


@VIA
def test_a_write_protected_disk_says_so(via: str) -> None:
    assert run(IOLOG, via=via, disk="mem:8M,readonly=yes").results.errors == {"07/27/00": 3}


def test_partial_replays_what_comes_before_the_damage(tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(Path(IOLOG).read_bytes()[:150])
    with pytest.raises(ConfigError, match=re.escape(f"{tmp_path}/cut: line 7: ")):
        run(tmp_path / "cut")

    report = run(tmp_path / "cut", partial=True)
    assert report.intact
    assert (report.done, "line 7" in (report.cut or "")) == (3, True)


@VIA
def test_an_endless_replay_ends_when_it_is_told_to(via: str) -> None:
    looks = iter(range(1000))
    report = Replay(Options(BLKPARSE, via=via, rounds=0, verify=True)).run(silent, lambda: next(looks) >= 40)

    assert report.interrupted
    assert report.intact
    assert report.done > 8


@pytest.mark.slow
def test_a_long_trace_needs_no_more_memory(tmp_path: Path) -> None:
    with (tmp_path / "long").open("w") as file:
        for n in range(3000):
            line = f"  8,0    3 {n:8} {n:5}.000000007   697  {{}}   W {n * 8 % 1024} + 8 [some process]\n"
            file.write(line.format("D") + line.format("G") * 100)

    facts, kilobytes = replay(tmp_path / "long")

    assert facts["requests"] == {"write": facts["requests"]["write"]}  # type: ignore[index]
    assert kilobytes < 100 << 10
