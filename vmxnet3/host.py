"""Network ports from a line of text, and the port that plays and records capture files."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from operator import gt
from pathlib import Path
from typing import BinaryIO

from pvdev.errors import ConfigError
from pvdev.spec import Spec, parse
from vmxnet3.backend import Frame
from vmxnet3.capture import Captured, CaptureReader, PcapngWriter
from vmxnet3.pace import Pace, Paced
from vmxnet3.port import LoopbackPort, NullPort, Port
from vmxnet3.tap import TapPort
from vmxnet3.tunnel import DgramPort, StreamPort

__all__ = ["KINDS", "PcapPort", "open_capture", "open_port"]

KINDS = {  # each kind of network port and the options it takes
    "null": (),
    "loopback": (),
    "pcap": ("out", "pace", "loop", "partial", "delay"),
    "tap": ("address", "bridge", "mtu", "up"),
    "dgram": ("peer",),
    "stream": ("listen",),
}
MTU_LOW, MTU_HIGH = 68, 65521  # bytes; what Linux lets a TAP have


def open_port(text: str) -> Port:
    """The port that `text` names (`kind:argument,key=value`). ConfigError when it cannot be had, in one line."""
    spec = parse(text, KINDS, "network port")
    return _OPEN[spec.kind](spec)


def open_capture(path: str) -> BinaryIO:
    """A capture file for a CaptureReader, `-` for standard input. ConfigError when it cannot be opened."""
    if path == "-":
        return sys.stdin.buffer
    try:
        return Path(path).open("rb", buffering=0)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be opened: {error.strerror}; give a pcap or pcapng file") from error


class PcapPort(Port):
    """Plays the frames of a capture to the guest and records, as pcapng, what the guest sends. Loses nothing.

    `source`: capture to play (`-` standard input), "" for none. `out`: file to write anew, "" for none. The first
    frame is due `delay_ms` after the first `receive`, which comes when the driver opens its filter; while the NIC is
    closed the capture stands still. `loop` begins it again at its end. `clock` gives the stamps recorded, ns since
    1970. A capture found broken half way ends there with `fault` set, unless `partial`; so does a recording that
    cannot be written.
    """

    def __init__(
        self,
        source: str,
        *,
        out: str = "",
        pace: Pace = Pace("original"),  # noqa: B008 (immutable)
        loop: bool = False,
        partial: bool = False,
        delay_ms: int = 0,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        super().__init__(source or out)
        if not source and not out:
            raise ConfigError("pcap: nothing to play and nothing to record; write pcap:IN or pcap:,out=OUT")
        if loop and source == "-":
            raise ConfigError("pcap: standard input cannot be played twice; give a file, or loop=no")
        self.truncated = 0  # frames of which the capture holds only the start; played as far as they go
        self._source, self._out, self._clock, self._partial = source, out, clock, partial
        self._paced: Paced | None = None
        self._delay_ns, self._begins_ns = delay_ms * 1_000_000, 0
        self._record: BinaryIO | None = None
        self._files = contextlib.ExitStack()
        try:
            if source:
                self._paced = Paced(self._batches, pace, loop=loop)
            if out:
                self._open_out(out)
        except BaseException:
            self.close()
            raise

    def _batches(self) -> Iterable[list[Captured]]:
        """One round of the capture. Opens it at once, so that a bad file is told before the first frame is asked."""
        self._files.close()
        file = open_capture(self._source)
        if self._source != "-":
            self._files.enter_context(file)
        return CaptureReader(file, name=self._source, partial=self._partial).batches()

    def _open_out(self, out: str) -> None:
        path = Path(out)
        try:
            if self._source and self._source != "-" and path.exists() and path.samefile(self._source):
                raise ConfigError(f"pcap: out={out} is the capture being played; give another file")
            self._record = path.open("wb")
            self._writer = PcapngWriter(self._record)
            self._interface = self._writer.add_interface("tx", description="frames sent by the guest")
        except OSError as error:
            raise ConfigError(f"pcap: out={out}: {error.strerror}; give a file that can be written") from error

    @property
    def finished(self) -> bool:
        """All frames of the capture were handed out (or there is none to play)."""
        return self._paced is None or self._paced.finished

    @property
    def backwards(self) -> int:
        """Frames whose stamp lay before that of an earlier frame."""
        return self._paced.backwards if self._paced else 0

    def send(self, frames: Sequence[Frame]) -> int:
        if self._record is None:
            self.dropped += len(frames) if self._out else 0  # recording was asked for and has failed
            self.frames_out += 0 if self._out else len(frames)
            return len(frames)
        now = self._clock()
        flat = [(now, b"".join(frame)) for frame in frames]
        try:
            self._writer.write_batch(self._interface, flat)
        except OSError as error:
            self._end_record(error)
            self.dropped += len(frames)
            return len(frames)
        self.frames_out += len(flat)
        self.bytes_out += sum(len(data) for _, data in flat)
        return len(frames)

    def receive(self, limit: int, now_ns: int) -> Sequence[bytes]:
        if self._paced is None or self._paced.finished:
            return ()
        if self._delay_ns:
            self._delay_ns, self._begins_ns = 0, now_ns + self._delay_ns
        if now_ns < self._begins_ns:
            return ()
        try:
            taken = self._paced.take(limit, now_ns)
        except ConfigError as error:
            self.fault = self.fault or str(error)
            return ()
        if not taken:
            return ()
        _, data, wires, _, _ = zip(*taken, strict=True)
        self.truncated += sum(map(gt, wires, map(len, data)))
        return self._count_in(list(data))

    def deadline(self) -> int | None:
        due = self._paced.due() if self._paced else None
        return due if due is None else max(due, self._begins_ns)

    def link(self, up: bool) -> None:
        if up and self._paced:
            self._paced.resume()
        if not up and self._record is not None:
            try:
                self._record.flush()
            except OSError as error:
                self._end_record(error)

    def close(self) -> None:
        self._files.close()
        if self._record is not None:
            try:
                self._record.close()
            except OSError as error:
                self._end_record(error)
            self._record = None

    def _end_record(self, error: OSError) -> None:
        self.fault = self.fault or f"{self._out}: {error.strerror}; what was recorded before may be cut short"
        if self._record is not None:
            with contextlib.suppress(OSError):  # closing tries to write the rest once more
                self._record.close()
            self._record = None


def _open_pcap(spec: Spec) -> Port:
    return PcapPort(
        spec.argument,
        out=spec.text("out") or "",
        pace=Pace.parse(spec.text("pace") or "original"),
        loop=spec.flag("loop"),
        partial=spec.flag("partial"),
        delay_ms=spec.integer("delay", 0) or 0,
    )


def _open_tap(spec: Spec) -> Port:
    return TapPort(
        spec.argument,
        address=spec.text("address"),
        bridge=spec.text("bridge"),
        mtu=spec.integer("mtu", low=MTU_LOW, high=MTU_HIGH),
        up=spec.flag("up", True),
    )


_OPEN: dict[str, Callable[[Spec], Port]] = {
    "null": lambda spec: NullPort("null"),
    "loopback": lambda spec: LoopbackPort("loopback"),
    "pcap": _open_pcap,
    "tap": _open_tap,
    "dgram": lambda spec: DgramPort(spec.argument, spec.text("peer") or ""),
    "stream": lambda spec: StreamPort(spec.argument, listen=spec.flag("listen")),
}
