"""`pvdev replay TRACE` on the command line; tests/pair/test_trace_replay.py runs it whole."""

import io
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pvdev import cli
from pvdev.playing import Stop

DATA = Path(__file__).parents[3] / "data"
TRACE = str(DATA / "disk.blkparse")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def replay(*words: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(["replay", *map(str, words)])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return replay


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """No row of a table is wrapped."""
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A trace of two devices."""
    path = tmp_path / "two"
    path.write_text(f"8,0 0 1 0.0000000{1:02} 1 D W 0 + 8 [x]\n8,16 0 1 0.0000000{1:02} 1 D W 8 + 8 [x]\n" * 2)
    return path


def test_json(run: Run) -> None:
    code, out, err = run(TRACE, "--json", "--verify", "--pace", "original")

    facts = json.loads(out)
    assert (code, err) == (0, "")
    assert facts["trace"] == {
        "format": "blkparse",
        "device": "8,0",
        "action": "D",
        "left_out": {"of pass-through commands": 1},
        "cut": None,
    }
    assert facts["disk"] == {"name": "mem:4M", "bytes": 4194304}
    assert {kind: (each["requests"], each["bytes"]) for kind, each in facts["requests"].items()} == {
        "read": (4, 32768),
        "write": (2, 16384),
        "flush": (1, 0),
        "discard": (1, 4096),
    }
    latency = facts["requests"]["read"]["latency_us"]
    assert 0 < latency["min"] <= latency["p50"] <= latency["p99"] <= latency["max"]
    assert facts["driver"] == facts["medium"]
    assert (facts["driver"]["requests"], facts["driver"]["bytes"]) == (6, 49152)
    verified = facts["verified"]
    assert (verified["sectors"], verified["unknown"], verified["wrong"], verified["first"]) == (64, 0, 0, None)
    assert (facts["intact"], facts["errors"], facts["never_completed"], facts["violations"]) == (True, {}, 0, [])
    assert facts["pacing_error_us"]["requests"] == 8


def test_the_table(run: Run) -> None:
    code, out, _ = run(TRACE, "--verify", "--pace", "iops:10k", "--disk", "faulty,bad=0+1,of=mem:8M")

    rows = {line.split("│")[1].strip(): line.split("│")[2].strip() for line in out.splitlines() if "│" in line}
    assert code == 0
    assert f"replay of {TRACE} (8,0) through the request ring, local" in out
    assert rows["disk"] == "faulty mem:8M, 8,388,608 bytes"
    assert rows["read"] == "4 requests, 32,768 bytes"
    assert rows["latency"].startswith("min ")
    assert rows["left out: lines of pass-through commands"] == "1"
    assert rows["digest at the medium"] == f"{rows['digest at the driver']} (equal)"
    assert rows["verified"] == "32,768 bytes read, all as written"
    assert rows["pacing error"].startswith("p50 ")
    assert "rules broken: none" in out


def test_failures_make_it_1_and_are_named(run: Run) -> None:
    code, out, _ = run(TRACE, "--disk", "faulty,badread=2093056+512,of=null:8M", "--verify")

    rows = {line.split("│")[1].strip(): line.split("│")[2].strip() for line in out.splitlines() if "│" in line}
    assert code == 1
    assert rows["failed: 03/11/00"] == "2 requests"
    assert rows["verified"] == "8,192 bytes read, 8 WRONG"
    assert rows["first"] == "sector 6144: write 2 of sector 6144 wanted, zeros found"


def test_what_was_not_written_by_the_replay_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"old." * (1 << 20))
    code, out, _ = run(TRACE, "--verify", "--disk", f"file:{tmp_path}/x")

    assert code == 0
    assert re.search(r"not written by this replay\s*│ 8,192 bytes", out)


def test_one_device_is_chosen(run: Run, two: Path) -> None:
    code, out, _ = run(two, "--device", "8,16", "--json")

    assert (code, json.loads(out)["requests"]["write"]["requests"]) == (0, 2)


def test_rounds(run: Run) -> None:
    code, out, _ = run(TRACE, "--times", "5", "--json")

    assert (code, json.loads(out)["driver"]["requests"]) == (0, 30)


def test_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with (DATA / "disk.iolog").open(encoding="ascii") as file:
        monkeypatch.setattr(sys, "stdin", file)
        code, out, _ = run("-", "--json", "--times", "2")

    assert (code, json.loads(out)["driver"]["requests"]) == (0, 12)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["--mark", "all: err"],
            f"--mark is for packet captures (pcap, pcapng), and {TRACE} is none of these; leave it out",
        ),
        (["--tx"], f"--tx is for packet captures (pcap, pcapng), and {TRACE} is none of these; leave it out"),
        ([TRACE], "one trace at a time is replayed; give one file"),
        ([str(DATA / "lan.pcapng")], f"{TRACE} and {DATA / 'lan.pcapng'} do not go together, being block traces"),
        (["--pace", "pps:5"], "pace 'pps:5' is not understood; give original, xN (x2: twice as fast), iops:N"),
        (["--device", "8,1"], f"{TRACE}: --device 8,1: not in it; there is 8,0 (8 requests)"),
        (["--disk", "mem:1M"], "--disk mem:1M: 1,048,576 bytes, and the trace reaches 3,149,824; give a larger one"),
        (["--disk", "floppy:"], "disk 'floppy:': no kind 'floppy'"),
        (["--out", TRACE], f"--out {TRACE} is the trace itself; give another file"),
        (["--out", "/no/such/file"], "record /no/such/file: No such file or directory; give a file to write"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(run: Run, words: list[str], says: str) -> None:
    code, _, err = run(TRACE, *words, "--json")

    assert code == 2
    assert err.startswith(f"pvdev: {says}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            "8,0 0 1 0.000000000 1 D R 8 + 8 [x]\n8,0 0 2 0.1 1 D R 8 + 8 [x]\n",
            "line 2: time '0.1': not SECONDS.NANOSECONDS",
        ),
        ("fio version 4 iolog\n", "line 1: 'fio version 4 iolog': not 'fio version 2 iolog' or 'fio version 3 iolog'"),
        ("fio version 2 iolog\n/a read 5 512\n", "line 2: offset 5: no multiple of 512, a sector"),
        ("fio version 2 iolog\n/a add\n", "nothing in it can be replayed"),
        ("\x07tae", "binary, as blktrace writes it; make text of it: blkparse -i"),
    ],
)
def test_a_trace_that_cannot_be_replayed(run: Run, tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "x").write_text(content)

    code, out, err = run(tmp_path / "x", "--json")
    assert (code, out) == (2, "")
    assert err.startswith(f"pvdev: {tmp_path / 'x'}: {says}")
    assert err.count("\n") == 1


def test_several_devices_are_listed(run: Run, two: Path) -> None:
    assert run(two, "--json") == (
        2,
        "",
        f"pvdev: {two}: several devices: 8,0 (2 requests), 8,16 (2 requests); choose one with --device\n",
    )


@pytest.mark.parametrize(("option", "code"), [("--loop", 0), ("--times=1000000", 130)])
def test_ctrl_c_ends_with_the_report(run: Run, option: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal comes at the tenth look for one."""
    looks = iter(range(1_000_000))

    def look(stop: Stop) -> bool:
        if next(looks) == 10:
            signal.raise_signal(signal.SIGINT)
        return stop.given

    monkeypatch.setattr(Stop, "__call__", look)
    ended, out, err = run(TRACE, option, "--json")

    facts = json.loads(out)
    assert (ended, err) == (code, "")
    assert (facts["interrupted"], facts["intact"]) == (True, True)


def test_realtime_is_asked_for_and_given_back(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(os, "sched_setscheduler", lambda pid, policy, param: asked.append(policy))
    before = os.sched_getscheduler(0)

    assert run(TRACE, "--realtime", "--json")[0] == 0
    assert asked == [os.SCHED_RR, before]


def test_a_trace_on_a_pipe_is_told_how_to_come(run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    holder = os.open(tmp_path / "pipe", os.O_RDWR)

    code, _, err = run(tmp_path / "pipe")
    os.close(holder)
    assert code == 2
    assert "a pipe cannot be read twice" in err


def test_a_stream_without_a_buffer_has_no_head(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"fio version 3 iolog\n")))

    assert run("-")[0] == 2
