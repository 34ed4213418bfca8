"""Capture at the device: what passes the rings, a pcapng interface for each queue and direction, facts as comments."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pvdev.errors import ConfigError
from vmxnet3.backend import Frame
from vmxnet3.captures.marking import COMMENT
from vmxnet3.captures.marks import describe
from vmxnet3.captures.pcapng import PcapngWriter
from vmxnet3.shape import Shaped


class Recorder:
    """A `Tap` that writes pcapng: interfaces rx0, rx1 …, tx0 …, ns stamps; a frame's facts as a comment.

    Played again, the recorded frames get the same facts. Stamps are the device's clock moved to 1970 by `epoch_ns`
    (None: that of `time.monotonic_ns`). A disk that fails ends the recording and is told in `fault`. Raises
    `ConfigError` when `path` cannot be written.
    """

    def __init__(self, path: str, *, epoch_ns: int | None = None) -> None:
        self._path = path
        self._epoch_ns = time.time_ns() - time.monotonic_ns() if epoch_ns is None else epoch_ns
        self.fault: str | None = None
        self.frames = 0
        self._interfaces: dict[str, int] = {}
        try:
            self._file = Path(path).open("wb")  # noqa: SIM115 (closed by `close`)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}; give a file that can be written") from error
        self._writer = PcapngWriter(self._file)

    def sent(self, queue: int, frames: Sequence[Frame], now_ns: int) -> None:
        stamp = self._epoch_ns + now_ns
        self._guarded(lambda: self._write(f"tx{queue}", [(stamp, b"".join(frame)) for frame in frames]))

    def received(self, queue: int, frames: Sequence[bytes], now_ns: int) -> None:
        stamp = self._epoch_ns + now_ns
        if set(map(type, frames)) == {bytes}:
            self._guarded(lambda: self._write(f"rx{queue}", [(stamp, frame) for frame in frames]))
        else:
            self._guarded(lambda: self._write_each(f"rx{queue}", frames, stamp))

    def close(self) -> None:
        """Finish the file; a second call does nothing."""
        try:
            self._file.close()
        except OSError as error:
            self._failed(error)

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _write(self, name: str, frames: list[tuple[int, bytes]]) -> None:
        self.frames += self._writer.write_batch(self._interface(name), frames)

    def _write_each(self, name: str, frames: Sequence[bytes], stamp: int) -> None:
        interface = self._interface(name)
        for frame in frames:
            words = describe(frame) if isinstance(frame, Shaped) else ""
            self._writer.write(interface, stamp, bytes(frame), comment=f"{COMMENT} {words}" if words else None)
            self.frames += 1

    def _interface(self, name: str) -> int:
        if name not in self._interfaces:
            way = "received by the driver" if name.startswith("rx") else "sent by the driver"
            self._interfaces[name] = self._writer.add_interface(name, description=f"{way}, queue {name[2:]}")
        return self._interfaces[name]

    def _guarded(self, write: Callable[[], None]) -> None:
        if self.fault is not None:
            return
        try:
            write()
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        self.fault = self.fault or f"{self._path}: {error.strerror}; what was recorded before may be cut short"
