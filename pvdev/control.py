"""Devices controlled from outside while they run: a UNIX socket in the server's own loop.

One JSON object a line in, one out. A request names a control, and the device where there are several:

    {"do": "link", "args": ["down"], "options": {"speed": 1000}, "device": "vmxnet3-0"}

The answer is {"ok": true, "answer": ...}, or {"ok": false, "error": "one line with the mend"}. `help` tells what there
is. Numbers may come as text, as a command line has them.
"""

import contextlib
import inspect
import json
import os
import re
import socket
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, get_origin, get_type_hints

from pvdev.errors import ConfigError
from pvdev.transport.vfio_user_server import listen

Controls = Mapping[str, Callable[..., object]]
"""A device's controls by name. Each is a plain function with typed arguments: str, int, float, bool, one of those or
None, or a Literal of words; what it returns is the answer and must fit JSON. One that takes time is a generator of the
seconds to wait before it goes on."""

LINE_MOST = 65536  # bytes of a request
PAUSE_MOST_S = 3600.0  # between two steps of a control that takes time
_YES, _NO = ("yes", "on", "true", "1"), ("no", "off", "false", "0")


def call(name: str, do: Callable[..., object], args: Sequence[object], options: Mapping[str, object]) -> object:
    """What control `name` returns for these arguments, checked against its signature. Raises `ConfigError`."""
    usage = describe(name, do)
    try:
        bound = inspect.signature(do).bind(*args, **options)
    except TypeError as error:
        raise ConfigError(f"{name}: {error}; write {usage}") from error
    hints = get_type_hints(do)
    for key, value in bound.arguments.items():
        bound.arguments[key] = _read(f"{name}: {key}", value, hints[key])
    return do(*bound.args, **bound.kwargs)


def _read(what: str, value: object, hint: object) -> object:
    """`value` as the type `hint` says. Raises `ConfigError`."""
    choices = get_args(hint)
    if get_origin(hint) is Literal:
        if value in choices:
            return value
        raise ConfigError(f"{what} {json.dumps(value)}: give one of {', '.join(map(str, choices))}")
    if choices:  # a type or None
        return None if value is None else _read(what, value, next(each for each in choices if each is not type(None)))
    text = str(value).lower() if isinstance(value, str | int | float) else ""
    if hint is str and isinstance(value, str):
        return value
    if hint is bool and text in _YES + _NO:
        return text in _YES
    if hint is int and re.fullmatch(r"-?[0-9]{1,18}", text):
        return int(text)
    if hint is float and re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", text):
        return float(text)
    wanted = {bool: "yes or no", int: "a number", float: "a number, 0.5 say"}.get(hint, "text")  # type: ignore[call-overload]
    raise ConfigError(f"{what} {json.dumps(value)}: give {wanted}")


def describe(name: str, do: Callable[..., object]) -> str:
    """How control `name` is written on a command line: `link up|down [--speed N]`."""
    hints, words = get_type_hints(do), [name]
    for key, parameter in inspect.signature(do).parameters.items():
        hint = hints[key]
        inner = next((each for each in get_args(hint) if each is not type(None)), hint)
        shown = "|".join(map(str, get_args(hint))) if get_origin(hint) is Literal else ""
        shown = shown or {str: "TEXT", int: "N", float: "N", bool: "yes|no"}.get(inner, "VALUE")
        word = f"--{key} {shown}" if parameter.kind is parameter.KEYWORD_ONLY else shown
        words.append(word if parameter.default is parameter.empty else f"[{word}]")
    return " ".join(words)


class Loop(Protocol):
    """What drives a control socket: a `Server`, as far as it is asked for more than devices."""

    def watch(self, fd: int, readable: Callable[[], None] | None) -> None: ...

    def later(self, delay_s: float, do: Callable[[], None]) -> None: ...


class ControlSocket:
    """Serves `devices` (name -> its controls) at socket `path`, in the loop and thread of `server`.

    Raises `ConfigError` when it cannot listen there. Open before the server runs, closed after it.
    """

    def __init__(self, server: Loop, path: str | os.PathLike[str], devices: Mapping[str, Controls]) -> None:
        self.path = os.fspath(path)
        self._server, self._devices = server, devices
        self._clients: dict[int, tuple[socket.socket, bytearray]] = {}
        self._listener = listen(self.path)
        server.watch(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """Let everybody go and remove the socket file; again: nothing."""
        if self._listener.fileno() >= 0:
            for fd in list(self._clients):
                self._leave(fd)
            self._server.watch(self._listener.fileno(), None)
            self._listener.close()
            Path(self.path).unlink(missing_ok=True)

    def __enter__(self) -> "ControlSocket":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- clients ----------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        client.setblocking(False)
        fd = client.fileno()
        self._clients[fd] = client, bytearray()
        self._server.watch(fd, lambda: self._readable(fd))

    def _leave(self, fd: int) -> None:
        client, _ = self._clients.pop(fd)
        self._server.watch(fd, None)
        client.close()

    def _readable(self, fd: int) -> None:
        client, line = self._clients[fd]
        try:
            data = client.recv(LINE_MOST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        line += data
        while (end := line.find(b"\n")) >= 0:
            request = bytes(line[:end])
            del line[: end + 1]
            self._request(client, request)
        if len(line) > LINE_MOST:
            self._answer(client, {"ok": False, "error": f"a request has at most {LINE_MOST} bytes"})
        if not data or len(line) > LINE_MOST:
            self._leave(fd)

    def _answer(self, client: socket.socket, facts: Mapping[str, object]) -> None:
        """One line to a client; one that does not read its answers loses them."""
        with contextlib.suppress(OSError):
            client.send(json.dumps(facts).encode() + b"\n")

    # -- requests ---------------------------------------------------------------------------------------------------

    def _request(self, client: socket.socket, line: bytes) -> None:
        try:
            result = self._do(line)
        except ConfigError as error:
            self._answer(client, {"ok": False, "error": str(error)})
            return
        if isinstance(result, Generator):
            self._step(client, result)
        else:
            self._answer(client, {"ok": True, "answer": result})

    def _step(self, client: socket.socket, steps: Generator[float, None, object]) -> None:
        """Run a control that takes time up to its next pause; also when the client has gone, it runs to its end."""
        try:
            pause = next(steps)
        except StopIteration as end:
            self._answer(client, {"ok": True, "answer": end.value})
        except ConfigError as error:
            self._answer(client, {"ok": False, "error": str(error)})
        else:
            self._server.later(min(max(pause, 0.0), PAUSE_MOST_S), lambda: self._step(client, steps))

    def _do(self, line: bytes) -> object:
        try:
            request = json.loads(line)
        except ValueError as error:
            raise ConfigError(f"not JSON ({error}); write one object a line") from error
        name, args, options = _fields(request)
        if name == "help":
            return {device: [describe(*each) for each in there.items()] for device, there in self._devices.items()}
        controls = self._controls(request.get("device"))
        if name not in controls:
            raise ConfigError(f"no control is called {name!r}; there is {', '.join(sorted(controls)) or 'none'}")
        return call(name, controls[name], args, options)

    def _controls(self, device: object) -> Controls:
        if device is None and len(self._devices) == 1:
            return next(iter(self._devices.values()))
        there = ", ".join(self._devices) or "none"
        if device is None:
            raise ConfigError(f"which device? there is {there}; name one with --device")
        if device not in self._devices:
            raise ConfigError(f"no device is called {device!r}; there is {there}")
        return self._devices[str(device)]


def _fields(request: object) -> tuple[str, list[object], dict[str, object]]:
    """(control, arguments, options) of a request. Raises `ConfigError`."""
    known = {"do": str, "args": list, "options": dict, "device": str}
    if not isinstance(request, dict) or not isinstance(request.get("do"), str):
        raise ConfigError('a request is an object with a control in "do"')
    for key, value in request.items():
        if key not in known:
            raise ConfigError(f"a request has no {key!r}; it has {', '.join(known)}")
        if not isinstance(value, known[key]):
            raise ConfigError(f"{key} {json.dumps(value)}: give a {known[key].__name__}")
    return request["do"], request.get("args", []), request.get("options", {})


def ask(path: str, request: Mapping[str, Any]) -> Any:
    """The answer of the server at `path`. Raises `ConfigError`: nobody there, or its own refusal."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        try:
            asking.connect(path)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise ConfigError(f"{path}: nobody to ask there: {why}; give the path of --control") from error
        asking.sendall(json.dumps(request).encode() + b"\n")
        line = b""
        with contextlib.suppress(ConnectionResetError):
            while not line.endswith(b"\n") and (data := asking.recv(1 << 20)):
                line += data
    if not line.endswith(b"\n"):
        raise ConfigError(f"{path}: the server went away without an answer")
    answer = json.loads(line)
    if not answer["ok"]:
        raise ConfigError(str(answer["error"]))
    return answer["answer"]
