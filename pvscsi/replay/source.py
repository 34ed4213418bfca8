"""A trace file: looked through once, to see what is in it, then read again for each round."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import BinaryIO

from pvdev.errors import ConfigError
from pvdev.recordings import HEAD
from pvscsi.traces.formats import Chosen, Survey, format_of
from pvscsi.traces.trace import Event, Record, numbered

BATCH = 256  # events
LOOK = 1 << 12  # lines between two looks at how far it is


class Trace:
    """One trace, of which the requests to one device are replayed. `bytes_read` counts those of all rounds.

    `partial`: end before the first malformed line (`cut` then tells which) instead of raising. Standard input ("-") is
    copied to a temporary file. ConfigError: a file that cannot be read; from `survey`, a line that is malformed, or
    nothing to replay.
    """

    def __init__(
        self, path: str, *, device: str | None = None, action: str | None = None, partial: bool = False
    ) -> None:
        self.path, self._device, self._action, self._partial = path, device, action, partial
        self.cut: str | None = None
        self.bytes_read = 0
        with ExitStack() as owns:
            try:
                self._file = owns.enter_context(_open(path))
                head = self._file.read(HEAD)
                self.size = self._file.seek(0, 2)
            except OSError as error:
                raise ConfigError(
                    f"{path}: cannot be read: {error.strerror}; give blkparse's text or an iolog"
                ) from error
            self.format = format_of(head, path)
            self._owns = owns.pop_all()

    def survey(self, progress: Callable[[int], None] = lambda done: None) -> Chosen:
        """Look through all of it; what there is to replay. `progress` hears of bytes read."""
        chosen = Survey(self._records(progress)).choose(self.path, self.format, self._device, self._action)
        progress(self.size)
        self.bytes_read = 0
        self._device, self._action = chosen.device, chosen.action
        return chosen

    def round(self) -> Iterator[list[Event]]:
        """The events of one round, in batches; after `survey`."""
        device, action, end = self._device, self._action, self.bytes_read + self.size
        batch: list[Event] = []
        for record in self._records():
            if record.device == device and record.action == action:
                batch += record.events
                if len(batch) >= BATCH:
                    yield batch
                    batch = []
        if batch:
            yield batch
        self.bytes_read = end  # what follows the events is not read

    def close(self) -> None:
        self._owns.close()

    def _records(self, progress: Callable[[int], None] = lambda done: None) -> Iterator[Record]:
        self._file.seek(0)
        try:
            yield from self.format.parse(self._lines(progress), self.path)
        except ConfigError as error:
            if not self._partial:
                raise
            self.cut = str(error)
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be read: {error.strerror}") from error

    def _lines(self, progress: Callable[[int], None]) -> Iterator[tuple[int, bytes]]:
        for number, line in numbered(self._file, self.path):
            self.bytes_read += len(line)
            if not number % LOOK:
                progress(self.bytes_read)
            yield number, line


def _open(path: str) -> BinaryIO:
    if path != "-":
        return Path(path).open("rb")
    file = TemporaryFile()  # noqa: SIM115 (closed by the trace)
    copyfileobj(sys.stdin.buffer, file)
    file.seek(0)
    return file
