import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pvdev.errors import ConfigError
from pvdev.spec import parse
from vmxnet3.captures.capture import CaptureReader
from vmxnet3.captures.pace import Pace
from vmxnet3.captures.pcapng import PcapngWriter
from vmxnet3.captures.player import Capture
from vmxnet3.ports.pcap import OPTIONS, PcapPort, open_pcap
from vmxnet3.ports.port import Port
from vmxnet3.shape import Shape, Shaped

LAN = Path(__file__).parents[3] / "data" / "lan.pcapng"
FRAMES = [bytes([i]) * (14 + i) for i in range(5)]


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Five frames, 10 ns apart."""
    path = tmp_path / "in.pcapng"
    with path.open("wb") as file:
        writer = PcapngWriter(file)
        writer.add_interface("x")
        writer.write_batch(0, [(1000 + 10 * i, frame) for i, frame in enumerate(FRAMES)])
    return path


def open_port(text: str) -> PcapPort:
    return open_pcap(parse(text, {"pcap": OPTIONS}))


def frames_of(path: Path) -> list[tuple[int, bytes]]:
    with path.open("rb") as file:
        return [(frame[0], frame[1]) for batch in CaptureReader(file).batches() for frame in batch]


def all_of(port: Port, limit: int = 3) -> list[bytes]:
    """Every frame the port has, on a clock that jumps to each deadline."""
    got: list[bytes] = []
    now = 0
    while (due := port.deadline()) is not None:
        now = max(now, due)
        got += port.receive(limit, now)
    return got


# Playing --------------------------------------------------------------------------------------------------------


def test_pcap_plays_everything_in_order(capture: Path) -> None:
    with open_port(f"pcap:{capture}") as port:
        assert port.waits
        assert all_of(port) == FRAMES
        assert (port.frames_in, port.bytes_in) == (5, sum(map(len, FRAMES)))
        assert port.finished
        assert port.fault is None


def test_pcap_plays_the_real_capture_byte_for_byte() -> None:
    with open_port(f"pcap:{LAN},pace=max") as port:
        assert all_of(port, 64) == [data for _, data in frames_of(LAN)]


def test_pcap_waits_before_it_begins(capture: Path) -> None:
    with open_port(f"pcap:{capture},pace=max,delay=20") as port:
        assert list(port.receive(1, 1000)) == []
        assert port.deadline() == 20_001_000
        assert list(port.receive(1, 20_000_999)) == []
        assert len(port.receive(1, 20_001_000)) == 1


def test_pcap_keeps_the_pace(capture: Path) -> None:
    with open_port(f"pcap:{capture},pace=x2") as port:
        assert port.deadline() == 0
        assert port.receive(9, 500) == FRAMES[:1]
        assert port.deadline() == 505
        assert port.receive(9, 504) == ()
        assert port.receive(9, 510) == FRAMES[1:3]
        port.link(up=False)
        port.link(up=True)
        assert port.receive(9, 1000) == FRAMES[3:4]
        assert port.deadline() == 1005


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pcap:", "pcap: nothing to play and nothing to record; write pcap:IN or pcap:,out=OUT"),
        ("pcap:x,pace=slow", "pace 'slow' is not understood; give original, xN (x2: twice as fast), pps:N (frames a"),
        ("pcap:-,loop=yes", "standard input cannot be played twice; give a file, or play it once"),
        ("pcap:x,mark=udp", "mark: 'udp' is no rule; write SELECTOR: FACTS"),
        ("pcap:x,queue=40", "pcap: queue=40: give a number from 0 to 31"),
    ],
)
def test_pcap_that_cannot_be_is_told_in_one_line(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_port(text)
    assert str(caught.value).startswith(says)


def test_pcap_tells_how_late_frames_were(capture: Path) -> None:
    clock = iter([1_000, 1_025])
    with PcapPort(str(capture), now=lambda: next(clock)) as port:
        port.receive(9, 1_000)
        port.receive(9, 1_020)

        assert port.player is not None
        assert (port.player.lateness.count, port.player.lateness.max) == (3, 15)


def test_pcap_marks_frames(capture: Path, tmp_path: Path) -> None:
    (tmp_path / "m").write_text("frame 1: err\nframe 2: trunc=20\n")
    with open_port(f"pcap:{capture},pace=max,queue=1,marks={tmp_path / 'm'},mark=frame 2: trunc=30") as port:
        got = all_of(port)

    assert got == FRAMES
    assert all(isinstance(frame, Shaped) for frame in got)
    assert [frame.shape for frame in got if isinstance(frame, Shaped)][1:] == [
        Shape(queue=1, length=30),
        *[Shape(queue=1)] * 3,
    ]


def test_pcap_plays_several_captures(capture: Path) -> None:
    with PcapPort([Capture(str(capture)), Capture(str(capture), at_ns=5)]) as port:
        assert all_of(port, 1) == [frame for frame in FRAMES for _ in range(2)]
        assert port.name == f"{capture}, {capture}"


def test_pcap_loops(capture: Path) -> None:
    with open_port(f"pcap:{capture},pace=max,loop=yes") as port:
        got = [frame for _ in range(6) for frame in port.receive(2, 0)]

    assert got == (FRAMES * 2)[: len(got)]
    assert len(got) > 7


def test_pcap_counts_frames_the_capture_holds_in_part(tmp_path: Path) -> None:
    with (tmp_path / "cut").open("wb") as file:
        writer = PcapngWriter(file)
        writer.add_interface("x")
        writer.write(0, 0, FRAMES[0], wire_len=1514)
        writer.write(0, 0, FRAMES[1])

    with PcapPort(str(tmp_path / "cut")) as port:
        assert all_of(port) == FRAMES[:2]
        assert port.truncated == 1


def test_pcap_from_standard_input(capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(capture.read_bytes())))

    with open_port("pcap:-") as port:
        assert all_of(port) == FRAMES


def test_pcap_cut_short_plays_the_good_frames_then_says_so(capture: Path) -> None:
    capture.write_bytes(capture.read_bytes()[:-3])

    with open_port(f"pcap:{capture}") as port:
        assert all_of(port) == FRAMES[:4]
        assert "is cut short; the 4 frames before it are whole" in str(port.fault)
    with open_port(f"pcap:{capture},partial=yes") as port:
        assert all_of(port) == FRAMES[:4]
        assert port.fault is None


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "cannot be opened: No such file or directory; give a pcap or pcapng file"),
        (lambda path: path.mkdir(), "cannot be opened: Is a directory; give a pcap or pcapng file"),
        (lambda path: path.write_bytes(b""), "empty file, not a capture"),
        (lambda path: path.write_text("hello"), "not a capture (starts with 68 65 6c 6c)"),
    ],
)
def test_pcap_that_cannot_be_played_is_told_when_opened(
    tmp_path: Path, make: Callable[[Path], object], says: str
) -> None:
    make(tmp_path / "bad")

    with pytest.raises(ConfigError) as caught:
        open_port(f"pcap:{tmp_path / 'bad'}")
    assert str(caught.value).startswith(f"{tmp_path / 'bad'}: {says}")


# Recording ------------------------------------------------------------------------------------------------------


def test_pcap_records_what_the_guest_sends(tmp_path: Path) -> None:
    out = tmp_path / "out.pcapng"
    stamps = iter([5_000_000_001, 5_000_000_002])
    with PcapPort("", out=str(out), clock=lambda: next(stamps)) as port:
        assert port.send([[FRAMES[0][:6], memoryview(FRAMES[0])[6:]], [FRAMES[1]]]) == 2
        assert port.send([[FRAMES[2]]]) == 1
        assert (port.frames_out, port.bytes_out) == (3, sum(map(len, FRAMES[:3])))
        assert (port.receive(9, 0), port.deadline(), port.finished) == ((), None, True)
        port.link(up=False)
        assert len(frames_of(out)) == 3

    assert frames_of(out) == [(5_000_000_001, FRAMES[0]), (5_000_000_001, FRAMES[1]), (5_000_000_002, FRAMES[2])]


def test_pcap_plays_and_records_at_once(capture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.pcapng"
    with open_port(f"pcap:{capture},pace=max,out={out}") as port:
        assert port.send([[frame] for frame in all_of(port)]) == 5

    assert [data for _, data in frames_of(out)] == FRAMES


def test_pcap_without_out_takes_and_forgets(capture: Path) -> None:
    with open_port(f"pcap:{capture}") as port:
        assert port.send([[b"x"]]) == 1
        assert (port.frames_out, port.dropped, port.fault) == (1, 0, None)


def test_pcap_does_not_write_over_the_capture_it_plays(capture: Path) -> None:
    before = capture.read_bytes()

    with pytest.raises(ConfigError, match="is the capture being played; give another file"):
        open_port(f"pcap:{capture},out={capture}")
    assert capture.read_bytes() == before


def test_pcap_out_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory; give a file that can be written"):
        open_port(f"pcap:,out={tmp_path / 'no' / 'x'}")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this machine")
def test_a_full_disk_is_a_fault_and_nothing_is_said_to_be_recorded() -> None:
    with PcapPort("", out="/dev/full") as port:
        assert port.send([[bytes(1500)]] * 100) == 100
        assert port.send([[bytes(1500)]]) == 1
        assert (port.frames_out, port.dropped) == (0, 101)
        assert port.fault == "/dev/full: No space left on device; what was recorded before may be cut short"


def test_a_full_disk_found_at_the_end_is_a_fault_too() -> None:
    port = PcapPort("", out="/dev/full", pace=Pace("max"))
    port.send([[b"short enough to stay in the buffer"]])

    port.close()

    assert "No space left on device" in str(port.fault)
    port.close()
