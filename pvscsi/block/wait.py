"""Do transfers and wait for them: for tools, tests and power cuts. Nothing on a device's way may call this."""

import select
import time
from collections.abc import Sequence

from pvscsi.block.backend import Backend, Io


def perform(backend: Backend, ios: Sequence[Io]) -> None:
    """Submit `ios` and return when all are done. What else the backend finishes meanwhile is lost to others."""
    backend.submit(ios)
    waiting = {io for io in ios if not io.done}
    while waiting:
        due, fd = backend.deadline(), backend.fileno()
        if due is not None:
            waiting.difference_update(backend.reap(max(due, time.monotonic_ns())))
        else:
            if fd >= 0:
                poll = select.poll()
                poll.register(fd, select.POLLIN)
                poll.poll()
            waiting.difference_update(backend.reap(time.monotonic_ns()))
