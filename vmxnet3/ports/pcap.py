"""The port that plays and records capture files."""

import contextlib
import time
from collections.abc import Callable, Sequence
from operator import gt
from pathlib import Path
from typing import BinaryIO

from pvdev.errors import ConfigError
from pvdev.spec import Spec
from vmxnet3.backend import Frame
from vmxnet3.captures.pace import Pace
from vmxnet3.captures.pcapng import PcapngWriter
from vmxnet3.captures.player import Capture, Player
from vmxnet3.ports.port import Port

# What `pcap:` takes in the port language.
OPTIONS = ("out", "pace", "loop", "partial", "delay", "queue", "marks", "mark", "interface")


class PcapPort(Port):
    """Plays the frames of captures to the guest and records, as pcapng, what the guest sends. Loses nothing.

    `source`: what to play, a path (`-` standard input) or captures with their marks; "" for nothing. `out`: file to
    write anew, "" for none. The first frame is due `delay_ms` after the first `receive`, which comes when the driver
    opens its filter; while the NIC is closed the captures stand still. `rounds` 0: played without end. `clock` gives
    the stamps recorded, ns since 1970; `now` is the clock of `receive`, read again to tell how late frames are. A
    capture found broken half way ends there with `fault` set, unless `partial`; so does a recording that cannot be
    written.
    """

    def __init__(
        self,
        source: str | Sequence[Capture],
        *,
        out: str = "",
        pace: Pace = Pace("original"),  # noqa: B008 (immutable)
        rounds: int = 1,
        partial: bool = False,
        by_stamp: bool = False,
        delay_ms: int = 0,
        clock: Callable[[], int] = time.time_ns,
        now: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        captures = ([Capture(source)] if source else []) if isinstance(source, str) else source
        super().__init__(", ".join(capture.path for capture in captures) or out)
        if not captures and not out:
            raise ConfigError("pcap: nothing to play and nothing to record; write pcap:IN or pcap:,out=OUT")
        self.truncated = 0  # frames of which the capture holds only the start; played as far as they go
        self.player: Player | None = None
        self._out, self._clock, self._now = out, clock, now
        self._delay_ns, self._begins_ns = delay_ms * 1_000_000, 0
        self._record: BinaryIO | None = None
        try:
            if captures:
                self.player = Player(captures, pace, rounds=rounds, partial=partial, by_stamp=by_stamp)
            if out:
                self._open_out(out, [capture.path for capture in captures])
        except BaseException:
            self.close()
            raise

    def _open_out(self, out: str, played: Sequence[str]) -> None:
        path = Path(out)
        try:
            if path.exists() and any(path.samefile(source) for source in played if source != "-"):
                raise ConfigError(f"pcap: out={out} is the capture being played; give another file")
            self._record = path.open("wb")
            self._writer = PcapngWriter(self._record)
            self._interface = self._writer.add_interface("tx", description="frames sent by the guest")
        except OSError as error:
            raise ConfigError(f"pcap: out={out}: {error.strerror}; give a file that can be written") from error

    @property
    def finished(self) -> bool:
        """All frames of the capture were handed out (or there is none to play)."""
        return self.player is None or self.player.finished

    @property
    def backwards(self) -> int:
        """Frames whose stamp lay before that of an earlier frame."""
        return self.player.backwards if self.player else 0

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
        if self.player is None or self.player.finished:
            return ()
        if self._delay_ns:
            self._delay_ns, self._begins_ns = 0, now_ns + self._delay_ns
        if now_ns < self._begins_ns:
            return ()
        try:
            taken = self.player.take(limit, now_ns)
        except ConfigError as error:
            self.player.stop()
            self.fault = self.fault or str(error)
            return ()
        if not taken:
            return ()
        self.player.handed_over(self._now())
        _, data, wires, _, _ = zip(*taken, strict=True)
        self.truncated += sum(map(gt, wires, map(len, data)))
        return self._count_in(list(data))

    def deadline(self) -> int | None:
        due = self.player.due() if self.player else None
        return due if due is None else max(due, self._begins_ns)

    def link(self, up: bool) -> None:
        if up and self.player:
            self.player.resume()
        if not up and self._record is not None:
            try:
                self._record.flush()
            except OSError as error:
                self._end_record(error)

    def close(self) -> None:
        if self.player is not None:
            self.player.close()
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


def open_pcap(spec: Spec) -> PcapPort:
    """The port that `pcap:IN,key=value` names. ConfigError when it cannot be had."""
    return PcapPort(
        [Capture.from_spec(spec)] if spec.argument else "",
        out=spec.text("out") or "",
        pace=Pace.parse(spec.text("pace") or "original"),
        rounds=0 if spec.flag("loop") else 1,
        partial=spec.flag("partial"),
        delay_ms=spec.integer("delay", 0) or 0,
    )
