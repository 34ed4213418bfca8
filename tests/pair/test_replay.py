"""`pvdev replay` end to end: paces, transports, what it writes, and its memory on a large capture."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pvdev.errors import ConfigError
from tests.bench.bench_replay import big_capture, replay
from vmxnet3.capture import Captured, CaptureReader
from vmxnet3.pace import Pace
from vmxnet3.replay import Options, Replay, Report

LAN = Path(__file__).parents[1] / "data" / "lan.pcapng"


class Silent:
    def at(self, done: int, text: str = "") -> None:
        pass


@contextmanager
def silent(label: str, total: int | None) -> Iterator[Silent]:
    yield Silent()


def run(**options: object) -> Report:
    return Replay(Options(str(LAN), **options)).run(silent)  # type: ignore[arg-type]


def frames(path: Path) -> list[Captured]:
    with path.open("rb") as file:
        return [frame for batch in CaptureReader(file).batches() for frame in batch]


@pytest.mark.parametrize("transmit", [False, True], ids=["receive", "transmit"])
@pytest.mark.parametrize("via", ["local", "vfio-user"])
@pytest.mark.parametrize("pace", ["max", "x20", "pps:5000"])
def test_everything_arrives_byte_for_byte(via: str, transmit: bool, pace: str) -> None:
    report = run(via=via, transmit=transmit, pace=Pace.parse(pace))

    assert report.intact
    assert report.received.frames == len(frames(LAN))
    assert [str(violation) for violation in report.violations] == []


@pytest.mark.parametrize("via", ["local", "vfio-user"])
def test_out_holds_the_frames_in_order_with_rising_stamps(via: str, tmp_path: Path) -> None:
    run(via=via, out=str(tmp_path / "out.pcapng"), pace=Pace.parse("x20"))

    sent, got = frames(LAN), frames(tmp_path / "out.pcapng")
    assert [frame[1] for frame in got] == [frame[1] for frame in sent]
    stamps = [frame[0] for frame in got]
    assert stamps == sorted(stamps)
    assert stamps[0] >= sent[0][0]


def test_frames_longer_than_the_mtu_are_named(tmp_path: Path) -> None:
    long = sum(len(frame[1]) > 1518 for frame in frames(LAN))

    report = run(mtu=1500)

    assert report.dropped == {"longer than the MTU of 1500 allows": long}
    assert not report.intact


@pytest.mark.parametrize("transmit", [False, True], ids=["receive", "transmit"])
@pytest.mark.parametrize("via", ["local", "vfio-user"])
def test_a_capture_cut_short_says_so_on_every_way(via: str, transmit: bool, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcapng"
    cut.write_bytes(LAN.read_bytes()[:50_000])

    with pytest.raises(ConfigError, match=r"record 95 .* is cut short; the 92 frames before it are whole"):
        Replay(Options(str(cut), via=via, transmit=transmit)).run(silent)


@pytest.mark.slow
def test_a_large_capture_needs_no_more_memory(tmp_path: Path) -> None:
    path = big_capture(300, str(tmp_path))

    facts, kilobytes = replay(path)

    assert facts["intact"]
    assert kilobytes < 150 << 10
