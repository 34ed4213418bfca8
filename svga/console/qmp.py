"""A QEMU guest's pointer and keyboard, by QEMU's monitor: `Hands` for a display QEMU itself does not know.

Ref: QEMU QAPI, input-send-event. Absolute places need a tablet in the guest (-device usb-tablet).
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

from qemu.qmp import QMPClient, QMPError

from svga.aim import TABLET_TOP, rescale
from svga.console.hands import FULL, LEFT, MIDDLE, RIGHT

QUEUE_MOST = 1024  # events that wait
RETRY_S = 0.5
KEY_S = 0.02  # between two keys: QEMU's keyboards hold 16, and drop what a slow guest has not fetched
NAMES = {LEFT: "left", RIGHT: "right", MIDDLE: "middle"}

Event = dict[str, Any]


class QmpHands:
    """Talks to the monitor at UNIX socket `path` (-qmp unix:PATH,server=on,wait=off), from the first event on.

    Every method is called in the loop it runs in. Events nobody takes are lost, the oldest first.
    """

    absolute = True

    def __init__(self, path: str, said: Callable[[str], None] = lambda line: None) -> None:
        self.path = path
        self._said = said
        self._events: deque[tuple[str, list[Event]]] = deque(maxlen=QUEUE_MOST)
        self._buttons = 0
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # -- Hands ---------------------------------------------------------------------------------------------------------

    def point(self, x: int, y: int, buttons: int) -> None:
        place = [
            {"type": "abs", "data": {"axis": axis, "value": rescale(at, FULL, TABLET_TOP)}}
            for axis, at in (("x", x), ("y", y))
        ]
        pressed = self._pressed(buttons)
        if not pressed and self._events and self._events[-1][0] == "point":
            self._events.pop()  # only where it ends up counts
        self._add("press" if pressed else "point", place + pressed)

    def move(self, dx: int, dy: int, buttons: int) -> None:
        steps = [{"type": "rel", "data": {"axis": axis, "value": by}} for axis, by in (("x", dx), ("y", dy)) if by]
        self._add("move", steps + self._pressed(buttons))

    def wheel(self, steps: int, sideways: int = 0) -> None:
        for count, less, more in ((steps, "wheel-down", "wheel-up"), (sideways, "wheel-left", "wheel-right")):
            for _ in range(abs(count)):
                name = more if count > 0 else less
                self._add("wheel", [_button(name, True)])
                self._add("wheel", [_button(name, False)])

    def key(self, code: int, down: bool) -> None:
        self._add("key", [{"type": "key", "data": {"down": down, "key": {"type": "number", "data": code}}}])

    def _pressed(self, buttons: int) -> list[Event]:
        changed, self._buttons = self._buttons ^ buttons, buttons
        return [_button(name, bool(buttons & bit)) for bit, name in NAMES.items() if changed & bit]

    def _add(self, kind: str, events: list[Event]) -> None:
        if events:
            self._events.append((kind, events))
            self._news.set()
            if self._task is None:
                self._task = asyncio.get_running_loop().create_task(self._run())

    # -- the monitor ---------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            client = QMPClient("pvdev")
            try:
                await client.connect(self.path)
                while True:
                    await self._news.wait()
                    while self._events:
                        kind, events = self._events.popleft()
                        await client.execute("input-send-event", {"events": events})
                        if kind == "key":
                            await asyncio.sleep(KEY_S)
                    self._news.clear()
            except QMPError as error:
                self._said(f"the guest's monitor at {self.path}: {error}")
            finally:
                with contextlib.suppress(QMPError):
                    await client.disconnect()
            await asyncio.sleep(RETRY_S)
            await self._news.wait()


def _button(name: str, down: bool) -> Event:
    return {"type": "btn", "data": {"down": down, "button": name}}
