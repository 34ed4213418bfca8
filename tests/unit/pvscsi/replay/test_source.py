"""Trace files: looked through, then read round by round."""

import io
import sys
from pathlib import Path

import pytest

from pvdev.errors import ConfigError
from pvscsi.replay.source import BATCH, Trace
from pvscsi.traces.blkparse import ACTIONS

DATA = Path(__file__).parents[3] / "data"


def lines(count: int, *, device: str = "8,0") -> str:
    return "".join(f"{device} 0 {n} 0.{n:09} 1 {a} W {8 * n} + 8 [x]\n" for n in range(count) for a in ACTIONS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "trace.txt"
    path.write_text(lines(2 * BATCH + 1))
    return path


def test_every_round_has_all_events_of_what_was_chosen(path: Path) -> None:
    trace, heard = Trace(str(path)), list[int]()
    chosen = trace.survey(heard.append)
    first, second = list(trace.round()), list(trace.round())
    trace.close()

    assert (chosen.device, chosen.action, chosen.content.events) == ("8,0", "D", 2 * BATCH + 1)
    assert heard[-1] == trace.size == path.stat().st_size
    assert [len(batch) for batch in first] == [BATCH, BATCH, 1]
    assert [event.offset for batch in first for event in batch] == [4096 * n for n in range(2 * BATCH + 1)]
    assert second == first
    assert trace.bytes_read == 2 * trace.size


@pytest.mark.parametrize(("name", "form"), [("disk.blkparse", "blkparse"), ("disk.iolog", "iolog")])
def test_the_samples(name: str, form: str) -> None:
    trace = Trace(str(DATA / name))
    chosen = trace.survey()
    events = [event for batch in trace.round() for event in batch]
    trace.close()

    assert (trace.format.name, chosen.content.events) == (form, len(events))
    assert chosen.content.end == 6152 * 512


def test_partial_ends_before_the_first_malformed_line(path: Path) -> None:
    path.write_text(lines(2) + "8,0 0 9 0.0\n" + lines(9))
    trace = Trace(str(path), partial=True)

    assert trace.survey().content.events == 2
    assert [len(batch) for batch in trace.round()] == [2]
    assert trace.cut == f"{path}: line 5: time '0.0': not SECONDS.NANOSECONDS, nine digits behind the point" + (
        " (blkparse's default format is wanted)"
    )
    trace.close()


def test_standard_input_is_played_as_often_as_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines(3).encode())))
    trace = Trace("-")
    trace.survey()

    assert [len(batch) for batch in trace.round()] == [len(batch) for batch in trace.round()] == [3]
    trace.close()


@pytest.mark.parametrize("path_", ["/nowhere", "/proc/self/mem", "/"])
def test_what_cannot_be_read_is_told(path_: str) -> None:
    with pytest.raises(ConfigError, match=f"{path_}: cannot be read: "):
        Trace(path_)
