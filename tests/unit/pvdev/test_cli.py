"""The command line: help, exit codes, one clear line for every mistake."""

import json
import subprocess
import sys
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from struct import pack

import click
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import wrpcap

from pvdev import __version__, cli
from pvdev.errors import ConfigError

Run = Callable[..., tuple[int, str, str]]

HEADER = pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)  # pcap, µs, Ethernet
FRAMES = [
    bytes(Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02") / IP() / UDP() / Raw(bytes([n]) * (20 + n)))
    for n in range(50)
]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `pvdev` in this process: exit code, standard output, standard error."""

    def call(*args: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main([str(arg) for arg in args])
        out, err = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return code, out, err

    return call


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A pcap of 50 UDP frames, written by scapy."""
    path = tmp_path / "fine.pcap"
    wrpcap(str(path), [Ether(data) for data in FRAMES])
    return path


def assert_one_line(result: tuple[int, str, str], *words: str) -> None:
    """Exit code 2 and one line on standard error that has these words."""
    code, out, err = result
    assert code == 2
    assert out == ""
    assert err.startswith("pvdev: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert [word for word in words if word not in err] == []


# -- help ----------------------------------------------------------------------------------------------------------


def test_help_lists_the_commands(run: Run) -> None:
    code, out, err = run("--help")

    assert (code, err) == (0, "")
    for name in cli.COMMANDS:
        assert f"  {name} " in out


@pytest.mark.parametrize("words", [[name] for name in cli.COMMANDS] + [["serve", "vmxnet3"]], ids=" ".join)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_has_help(run: Run, words: list[str], flag: str) -> None:
    code, out, err = run(*words, flag)

    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: pvdev {' '.join(words)} ")


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"pvdev, version {__version__}\n", "")


def test_help_loads_nothing_heavy() -> None:
    heavy = ["rich", "pyroute2", "scapy", "vmxnet3", "pvdev.commands.replay", "pvdev.transport"]
    program = f"""
import sys
from pvdev.cli import main
try:
    main(["--help"])
except SystemExit as ended:
    assert ended.code == 0
print([name for name in {heavy} if name in sys.modules], file=sys.stderr)
"""

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "replay" in done.stdout
    assert done.stderr == "[]\n"


# -- mistakes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [["nosuch"], ["replay"], ["replay", "a", "--pace"], ["serve", "nosuch"]], ids=" ".join
)
def test_a_wrong_command_line_is_2(run: Run, words: list[str]) -> None:
    code, out, err = run(*words)

    assert (code, out) == (2, "")
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("Error: ")


def test_a_missing_file(run: Run, tmp_path: Path) -> None:
    assert_one_line(run("replay", tmp_path / "none.pcap"), "none.pcap", "No such file")


def test_an_unreadable_file(run: Run, tmp_path: Path) -> None:
    assert_one_line(run("replay", tmp_path), str(tmp_path))  # a folder


def test_a_file_that_breaks_while_it_is_read(run: Run) -> None:
    assert_one_line(run("replay", "/proc/self/mem"), "/proc/self/mem")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty file"),
        (b"GET / HTTP/1.1\r\n\r\n", "not a recording"),
        (b"\x1f\x8b\x08\x00" + bytes(40), "gunzip"),
        (HEADER[:20], "fine.pcap"),
        (HEADER + pack("<IIII", 0, 0, 60, 60) + bytes(59), "record 1"),
        (HEADER + pack("<IIII", 0, 0, 60, 60) + bytes(60) + b"\0\0\0", "record 2"),
        (HEADER[:20] + pack("<I", 105) + pack("<IIII", 0, 0, 60, 60) + bytes(60), "IEEE 802.11"),
    ],
    ids=["empty", "text", "packed", "no header", "cut in a frame", "cut in a header", "not Ethernet"],
)
def test_what_is_no_whole_capture(run: Run, tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "fine.pcap"
    path.write_bytes(content)

    assert_one_line(run("replay", path, "--json"), says)


def test_a_pace_that_is_none(run: Run, capture: Path) -> None:
    assert_one_line(run("replay", capture, "--pace", "quickly"), "quickly")


def test_out_is_not_the_capture_itself(run: Run, capture: Path) -> None:
    before = capture.read_bytes()

    assert_one_line(run("replay", capture, "--out", capture), "is the capture itself")
    assert capture.read_bytes() == before


def test_out_that_cannot_be_written(run: Run, capture: Path, tmp_path: Path) -> None:
    assert_one_line(run("replay", capture, "--out", tmp_path / "no" / "such.pcapng"), "such.pcapng")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["boot"], "nothing to boot"),
        (["boot", "--initrd", "{file}", "--disk", "{file}"], "--initrd needs --kernel"),
        (["serve", "vmxnet3", "--socket", "{file}.sock", "--mac", "xyz"], "no unicast MAC"),
        (["serve", "vmxnet3", "--socket", "{file}.sock", "--port", "pigeon:"], "pigeon"),
    ],
    ids=["nothing to boot", "initrd alone", "mac", "port"],
)
def test_options_that_make_no_sense(run: Run, capture: Path, words: list[str], says: str) -> None:
    assert_one_line(run(*(word.format(file=capture) for word in words)), says)


def test_an_error_of_ours_is_one_line_and_2(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise ConfigError("the cat is on the keyboard; lift it off")

    monkeypatch.setattr(cli.root, "main", fail)

    assert run("replay") == (2, "", "pvdev: the cat is on the keyboard; lift it off\n")


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (click.Abort(), 130)])
def test_interrupted_is_130(run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(cli.root, "main", fail)

    assert run("replay")[0] == code


# -- replay --------------------------------------------------------------------------------------------------------


def digest(frames: list[bytes]) -> str:
    """Two digests in one: over all bytes, and over the 32-bit lengths."""

    def short(data: bytes) -> bytes:
        return blake2b(data, digest_size=16).digest()

    return short(short(b"".join(frames)) + short(b"".join(pack("<I", len(frame)) for frame in frames))).hex()


@pytest.mark.parametrize("extra", [[], ["--tx"], ["--mtu", "1500"]], ids=["receive", "transmit", "mtu"])
def test_replay_loses_nothing(run: Run, capture: Path, extra: list[str]) -> None:
    code, out, err = run("replay", capture, "--json", *extra)

    facts = json.loads(out)
    expected = {"frames": 50, "bytes": sum(map(len, FRAMES)), "digest": digest(FRAMES)}
    assert (code, err) == (0, "")
    assert (facts["offered"], facts["received"]) == (expected, expected)
    assert (facts["intact"], facts["dropped"], facts["violations"]) == (True, {}, [])


def test_replay_shows_both_digests(run: Run, capture: Path) -> None:
    code, out, _ = run("replay", capture)

    assert code == 0
    assert out.count(digest(FRAMES)) == 2
    assert "50 frames" in out
    assert "rules broken: none" in out


def test_frames_that_did_not_fit_make_it_1(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "long.pcap"
    wrpcap(str(path), [Ether(FRAMES[0]), Ether(FRAMES[1] + bytes(2000))])

    code, out, _ = run("replay", path, "--mtu", "1500", "--json")

    facts = json.loads(out)
    assert (code, facts["intact"]) == (1, False)
    assert facts["dropped"] == {"longer than the MTU of 1500 allows": 1}
    assert facts["received"]["frames"] == 1


def test_out_holds_what_the_driver_received(run: Run, capture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.pcapng"
    run("replay", capture, "--out", out)

    code, printed, _ = run("replay", out, "--json")

    assert code == 0
    assert json.loads(printed)["offered"]["digest"] == digest(FRAMES)
