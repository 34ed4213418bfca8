"""One viewer from its first byte to its last: a session between something that reads and something that writes.

What a viewer is sent is made when the connection has room for it and the frame before has gone: a slow viewer misses
frames, and costs nothing but the one it is busy with. While nothing changes, nothing runs.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from svga.console.session import Host, Session

FRAME_S = 1 / 60  # between two updates, at least
FAREWELL_S = 2.0  # for the last words to a viewer
WRONG_S = 1.0  # before a wrong password is called one

Read = Callable[[], Awaitable[bytes]]
"""The next bytes; none: the viewer has hung up. Raises `ConnectionError`, which is the same."""
Write = Callable[[bytes], Awaitable[None]]
"""Returns when there is room for more. Raises `ConnectionError`."""


async def attend(host: Host, read: Read, write: Write) -> str:
    """Serve one viewer to its end; why it came."""
    loop, news = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:  # in the device's thread
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(news.set)

    session = Session(host, loop.time(), wake)

    async def listen() -> None:
        while session.closed is None:
            data = await read()
            if not data:
                session.close("hung up")
            session.received(data, loop.time())
            news.set()

    async def tell() -> None:
        last = 0.0
        while True:
            over = session.closed is not None
            session.tick(loop.time())
            if session.owed and (left := last + FRAME_S - loop.time()) > 0:
                await asyncio.sleep(left)
            news.clear()
            updates, out = session.updates, session.update()
            if session.closed == "wrong password":
                await asyncio.sleep(WRONG_S)
            if out:
                await write(out)
            if over:
                return
            if session.updates != updates:
                last = loop.time()
                news.set()  # a viewer that is owed more gets it
            if session.closed is None:
                due = session.due()
                left_s = None if due is None else max(due - loop.time(), 0)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), left_s)

    tasks = [asyncio.ensure_future(listen()), asyncio.ensure_future(tell())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if (error := task.exception()) is not None and not isinstance(error, ConnectionError):
                raise error
        if session.closed is not None and session.closed != "hung up":
            news.set()
            await asyncio.wait(tasks[1:], timeout=FAREWELL_S)
    finally:
        session.close("hung up")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return session.closed or ""
