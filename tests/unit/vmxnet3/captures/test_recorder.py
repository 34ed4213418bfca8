from pathlib import Path

import pytest

from pvdev.errors import ConfigError
from vmxnet3.captures.capture import CaptureReader, PacketOptions
from vmxnet3.captures.marking import Marking
from vmxnet3.captures.recorder import Recorder
from vmxnet3.shape import Lro, Override, Shape, Shaped

FRAMES = [bytes([i]) * (14 + i) for i in range(5)]


def recorded(path: Path) -> list[tuple[int, bytes, str, PacketOptions | None]]:
    with path.open("rb") as file:
        reader = CaptureReader(file)
        return [
            (stamp, data, reader.interfaces[number].name, options)
            for batch in reader.batches()
            for stamp, data, _, number, options in batch
        ]


def test_each_queue_and_direction_has_an_interface(tmp_path: Path) -> None:
    with Recorder(str(tmp_path / "x"), epoch_ns=1000) as recorder:
        recorder.received(1, FRAMES[:2], 5)
        recorder.sent(0, [(FRAMES[2][:6], memoryview(FRAMES[2])[6:]), (FRAMES[3],)], 7)
        recorder.received(0, FRAMES[4:], 8)
        recorder.received(1, FRAMES[:1], 9)
        assert recorder.frames == 6

    assert recorded(tmp_path / "x") == [
        (1005, FRAMES[0], "rx1", None),
        (1005, FRAMES[1], "rx1", None),
        (1007, FRAMES[2], "tx0", None),
        (1007, FRAMES[3], "tx0", None),
        (1008, FRAMES[4], "rx0", None),
        (1009, FRAMES[0], "rx1", None),
    ]


def test_facts_are_comments_and_come_back_when_played(tmp_path: Path) -> None:
    shapes = [
        Shape(lro=Lro(3, 1448), queue=2, strip=0xA064, hold_ns=2_000_000),
        Shape(last=Override((0x4000_0000, 0, 0, 0x1_0000), (0x4000_0000, 0, 0, 0))),
    ]
    frames = [FRAMES[0], *(Shaped(FRAMES[1], shape) for shape in shapes), Shaped(FRAMES[2], Shape())]
    with Recorder(str(tmp_path / "x"), epoch_ns=0) as recorder:
        recorder.received(0, frames, 1)

    assert [options.comment if options else None for _, _, _, options in recorded(tmp_path / "x")] == [
        None,
        "pvdev: lro=3:1448 queue=2 vlan=100.5 gen=hold:2ms",
        "pvdev: csum=unknown",
        None,
    ]
    with (tmp_path / "x").open("rb") as file:
        reader = CaptureReader(file)
        again = [item[1] for batch in Marking().batches(reader, reader.batches()) for item in batch]
    assert [frame.shape for frame in again if isinstance(frame, Shaped)] == shapes
    assert again == frames


def test_a_file_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory; give a file that can be written"):
        Recorder(str(tmp_path / "no" / "x"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this machine")
def test_a_full_disk_ends_the_recording_and_is_told() -> None:
    recorder = Recorder("/dev/full")
    recorder.received(0, [bytes(9000)] * 100, 0)
    recorder.received(0, [Shaped(bytes(9000), Shape(queue=1))], 0)
    recorder.close()

    assert recorder.fault == "/dev/full: No space left on device; what was recorded before may be cut short"
