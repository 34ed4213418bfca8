"""A disk that writes down what is asked of it, as a trace that fio, btt and `pvdev replay` read.

Ref: fio(1) "Trace file format v3" (microseconds); blkparse(1), default output format.
"""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from pvdev.errors import ConfigError
from pvscsi.block.backend import Io, Op
from pvscsi.block.medium import Medium
from pvscsi.block.wrapper import Wrapper

SECTOR_SHIFT = 9
DEVICE = "8,0"
IOLOG = {Op.READ: "read", Op.WRITE: "write", Op.FLUSH: "datasync", Op.DISCARD: "trim", Op.ZERO: "trim"}
BLKPARSE = {Op.READ: "R", Op.WRITE: "W", Op.FLUSH: "FWS", Op.DISCARD: "D", Op.ZERO: "N"}


class RecordDisk(Wrapper):
    """`inner`, with a line in `path` for each transfer submitted (`iolog`), or for each begun and ended (`blkparse`).

    An iolog knows neither FUA, which becomes a write and a datasync, nor zeroing, which becomes a trim.
    ConfigError: `path` cannot be written.
    """

    def __init__(
        self, inner: Medium, path: str, *, style: str = "iolog", clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        super().__init__("record", inner)
        self._path, self._clock, self._blkparse = path, clock, style == "blkparse"
        try:
            self._file = open(path, "w", encoding="utf-8")  # noqa: SIM115, PTH123 (closed by close)
        except OSError as error:
            raise ConfigError(f"record {path or '(no path)'}: {error.strerror}; give a file to write") from error
        self._start, self._number = clock(), 0
        self._label = inner.name.replace(" ", "_")[:255] or "disk"
        if not self._blkparse:
            self._write(["fio version 3 iolog", f"0 {self._label} add", f"0 {self._label} open"])

    def submit(self, ios: Sequence[Io]) -> None:
        now = self._clock() - self._start
        if self._blkparse:
            self._write([self._event(io, "Q", now) for io in ios])
        else:
            self._write([line for io in ios for line in self._action(io, now)])
        self.inner.submit(ios)
        if self._blkparse:
            self._ended([io for io in ios if io.done])

    def reap(self, now_ns: int) -> Sequence[Io]:
        done = self.inner.reap(now_ns)
        if self._blkparse:
            self._ended(done)
        return done

    def close(self) -> None:
        if not self._file.closed:
            if not self._blkparse:
                self._write([f"{(self._clock() - self._start) // 1000} {self._label} close"])
            try:
                self._file.close()
            except OSError as error:
                self._give_up(error)
        self.inner.close()

    def _action(self, io: Io, now: int) -> list[str]:
        head = f"{now // 1000} {self._label}"
        lines = [f"{head} {IOLOG[io.op]} {io.offset} {io.length}"]
        return [*lines, f"{head} datasync 0 0"] if io.fua else lines

    def _ended(self, ios: Sequence[Io]) -> None:
        if ios:
            now = self._clock() - self._start
            self._write([self._event(io, "C", now) for io in ios])

    def _event(self, io: Io, action: str, now: int) -> str:
        self._number += 1
        letters = BLKPARSE[io.op] + ("FS" if io.fua else "")
        first, end = io.offset >> SECTOR_SHIFT, io.offset + io.length + (1 << SECTOR_SHIFT) - 1 >> SECTOR_SHIFT
        where = f" {first} + {end - first}" if io.op is not Op.FLUSH else " 0 + 0"
        last = f" [{-5 if io.fault else 0}]" if action == "C" else " [pvdev]"
        seconds, ns = divmod(now, 1_000_000_000)
        return (
            f"{DEVICE:>6} {0:>4} {self._number:>8} {seconds:>5}.{ns:09} {os.getpid():>5}"
            f" {action:>2} {letters:>3}{where}{last}"
        )

    def _write(self, lines: Sequence[str]) -> None:
        if not self._file.closed and lines:
            try:
                self._file.write("\n".join(lines) + "\n")
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """The disk goes on, its record does not."""
        self._fault = self._fault or f"record {self._path}: {error.strerror}; the record ends here, make room for it"
        with suppress(OSError):
            self._file.close()
