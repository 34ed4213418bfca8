"""The same sessions for browsers: RFB over WebSocket, and noVNC's files, which are the machine's own.

A browser carries any site's script here: only pages that came from this very address may connect, and only under a
name this server was given, so that no other name made to point here serves.
"""

import ipaddress
import logging
import mimetypes
import os
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote, urlsplit

from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from pvdev.errors import ConfigError
from pvdev.qemu import cache_dir
from svga.console.address import Address
from svga.console.viewer import FAREWELL_S, Read, Write

SOCKET, PAGE = "/websockify", "vnc.html"
FIRST = f"/{PAGE}?autoconnect=true&resize=scale"
FRAME_MOST = 1 << 20  # bytes from a viewer
SENT_MOST = 1 << 18  # bytes of a frame to one
PLACES = ("/usr/share/novnc", "/usr/local/share/novnc", "/usr/share/webapps/novnc")
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".svg": "image/svg+xml"}
QUIET = logging.getLogger("pvdev.console.web")
QUIET.addHandler(logging.NullHandler())
QUIET.propagate = False


def find_novnc(named: str | None = None) -> Path:
    """The folder of noVNC's files: the named one, PVDEV_NOVNC, the machine's, the guest kit's. Raises `ConfigError`."""
    named = named or os.environ.get("PVDEV_NOVNC")
    kit = str(cache_dir() / "novnc" / "usr/share/novnc")
    for place in (named,) if named else (*PLACES, kit):
        if Path(place, PAGE).is_file():
            return Path(place).resolve()
    if named:
        raise ConfigError(f"{named}: no noVNC there ({PAGE} is missing); name its folder")
    raise ConfigError("no noVNC on this machine: apt install novnc, or name its folder with novnc=FOLDER")


async def serve(
    attend: Callable[[Read, Write], Awaitable[object]], sock: socket.socket, at: Address, files: Path
) -> Server:
    """Serve browsers at `sock`, which listens at `at`."""

    async def viewer(browser: ServerConnection) -> None:
        async def read() -> bytes:
            try:
                data = await browser.recv()
            except ConnectionClosed:
                return b""
            return data if isinstance(data, bytes) else b""

        async def write(data: bytes) -> None:
            try:
                for n in range(0, len(data), SENT_MOST):
                    await browser.send(data[n : n + SENT_MOST])
            except ConnectionClosed:
                raise ConnectionResetError from None

        await attend(read, write)

    def request(browser: ServerConnection, asked: Request) -> Response | None:
        if not welcome(asked.headers, at):
            return answer(HTTPStatus.FORBIDDEN, b"not from here")
        if urlsplit(asked.path).path == SOCKET:
            return None
        return page(asked.path, files)

    return await serve_websockets(
        viewer,
        sock=sock,
        process_request=request,
        select_subprotocol=lambda browser, offered: "binary" if "binary" in offered else None,  # type: ignore[arg-type, return-value]
        compression=None,
        max_size=FRAME_MOST,
        max_queue=2,
        ping_interval=None,
        close_timeout=FAREWELL_S,
        server_header=None,
        logger=QUIET,
    )


def welcome(headers: Headers, at: Address) -> bool:
    """Whether a request came to this server by a name of its own, and from a page of its own if from any."""
    hosts, origins = headers.get_all("Host"), headers.get_all("Origin")
    if len(hosts) != 1 or len(origins) > 1:
        return False
    name = (urlsplit(f"//{hosts[0]}").hostname or "").rstrip(".")
    if name not in ("localhost", at.host, socket.gethostname()) and not _literal(name):
        return False
    return not origins or urlsplit(origins[0]).netloc == hosts[0]


def _literal(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def page(path: str, files: Path) -> Response:
    """A file of noVNC's."""
    name = unquote(urlsplit(path).path)
    if name == "/":
        return answer(HTTPStatus.FOUND, b"", Location=FIRST)
    try:
        file = (files / name.lstrip("/")).resolve()
        body = file.read_bytes() if file.is_relative_to(files) and file.is_file() else None
    except (OSError, ValueError):  # a name no file can have
        body = None
    if body is None:
        return answer(HTTPStatus.NOT_FOUND, b"no such file")
    kind = TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return answer(HTTPStatus.OK, body, kind)


def answer(status: HTTPStatus, body: bytes, kind: str = "text/plain", **more: str) -> Response:
    headers = Headers(
        {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-cache",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Connection": "close",
            **more,
        }
    )
    return Response(status.value, status.phrase, headers, body)
