"""As much of QEMU's monitor protocol as waking a guest takes. Ref: QEMU docs/interop/qmp-spec.rst."""

import json
import socket
from pathlib import Path
from typing import Any


class Monitor:
    """A connection to QEMU's monitor at a UNIX socket, which QEMU made with `words`."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("r")
        self._seen: list[str] = []
        self._next("QMP")
        self.do("qmp_capabilities")

    @staticmethod
    def words(path: Path) -> list[str]:
        """What QEMU's command line needs."""
        return ["-qmp", f"unix:{path},server=on,wait=off"]

    def do(self, command: str, **arguments: object) -> Any:
        """The command's answer."""
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        return self._next("return")

    def await_event(self, name: str) -> None:
        """Until that event has come, or has come already since this was last asked."""
        while name not in self._seen:
            self._next("event")
        self._seen.remove(name)

    def _next(self, key: str) -> Any:
        """The next message with that key; events are kept. Raises TimeoutError, ConnectionError, RuntimeError."""
        for line in self._lines:
            message = json.loads(line)
            if "error" in message:
                raise RuntimeError(message["error"]["desc"])
            if "event" in message:
                self._seen.append(message["event"])
            if key in message:
                return message[key]
        raise ConnectionError("QEMU has left")

    def close(self) -> None:
        self._lines.close()
        self._socket.close()
