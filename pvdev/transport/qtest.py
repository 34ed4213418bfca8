"""QEMU without guest code: its qtest protocol for buses and memory, QMP for the rest.

Ref: QEMU documentation, "QTest Device Emulation Testing Framework" and "QEMU Machine Protocol"; QEMU system/qtest.c.
"""

import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pvdev.errors import ConfigError, PeerError
from pvdev.mem import SharedBlock

GRACE_S = 2.0  # a QEMU told to end gets so long
LIMIT_S = 60.0  # a test has its machine for so long


class QtestMachine:
    """A running q35 whose processors do nothing and whose RAM is `memory`, from address 0.

    `command` starts QEMU, `words` are its further arguments. Raises `ConfigError` when it does not start. A QEMU that
    ends or falls silent for `timeout_s` raises `PeerError`, with what it said last, now and ever after; so does one
    that is asked something when it has run for `limit_s`.
    """

    def __init__(
        self,
        command: Sequence[str],
        words: Sequence[str],
        memory: SharedBlock,
        *,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
        limit_s: float = LIMIT_S,
    ) -> None:
        self._end = math.inf
        self._lost: str | None = None
        self._events: list[str] = []
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the machine)
        self._socket, bus = socket.socketpair()
        self._monitor, monitor = socket.socketpair()
        self._lines, self._replies = self._socket.makefile("rb"), self._monitor.makefile("rb")
        size = f"{memory.size >> 10}K"
        self._process = subprocess.Popen(
            [
                *(*command, "-nodefaults", "-no-user-config", "-display", "none", "-accel", "qtest"),
                *("-machine", "q35,memory-backend=ram", "-m", size),
                *("-object", f"memory-backend-file,id=ram,size={size},share=on,mem-path=/proc/self/fd/{memory.fd}"),
                *("-chardev", f"socket,id=bus,fd={bus.fileno()}", "-qtest", "chardev:bus", "-qtest-log", "none"),
                *("-chardev", f"socket,id=mon,fd={monitor.fileno()}", "-mon", "chardev=mon,mode=control"),
                *words,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            pass_fds=(memory.fd, bus.fileno(), monitor.fileno()),
            env=None if env is None else {**os.environ, **env},
        )
        bus.close()
        monitor.close()
        for end in (self._socket, self._monitor):
            end.settimeout(timeout_s)
        try:
            self._reply()  # the greeting
            self.monitor("qmp_capabilities")
        except PeerError as error:
            self.close()
            raise ConfigError(f"QEMU does not start for its qtest protocol: {error}") from None
        self._end = time.monotonic() + limit_s

    def ask(self, line: str) -> int:
        """One qtest command; the number it answers with, or 0."""
        self._check()
        try:
            self._socket.sendall(line.encode() + b"\n")
            while (answer := self._lines.readline()).startswith(b"IRQ"):
                pass
        except OSError:
            answer = b""
        state, _, value = answer.decode(errors="replace").strip().partition(" ")
        if state != "OK":
            raise self._gone(f"{line!r} was answered with {state!r}" if state else f"no answer to {line!r}")
        return int(value, 0) if value else 0

    def monitor(self, command: str, **arguments: Any) -> Any:
        """One QMP command; what it returns. Raises `PeerError`."""
        self._check()
        request = {"execute": command, "arguments": arguments}
        with contextlib.suppress(OSError):
            self._monitor.sendall(json.dumps(request).encode() + b"\n")
        while "event" in (reply := self._reply()):
            self._events.append(str(reply["event"]))
        if "return" not in reply:
            raise PeerError(f"QMP {command}: {reply.get('error', reply)}")
        return reply["return"]

    def _check(self) -> None:
        if self._lost is None and time.monotonic() > self._end:
            self._process.kill()
            self._lost = "a test takes longer than it may on this target"
        if self._lost:
            raise PeerError(self._lost)

    def event(self, name: str) -> None:
        """Wait for QMP's event `name`; those before it are forgotten."""
        while name not in self._events:
            self._events.append(str(self._reply().get("event")))
        self._events.clear()

    def _reply(self) -> dict[str, Any]:
        try:
            line = self._replies.readline()
        except OSError:
            line = b""
        if not line:
            raise self._gone("no answer at its monitor")
        reply = json.loads(line)
        assert isinstance(reply, dict)
        return reply

    def _gone(self, what: str) -> PeerError:
        """Say how QEMU ended, or end it when it has only fallen silent."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(0.5)
            what = f"QEMU ended with {signal.Signals(-code).name if code < 0 else f'code {code}'}"
        self._process.kill()
        self._log.seek(0)
        last = self._log.read().decode(errors="replace").strip().splitlines()
        self._lost = f"{what}: {last[-1]}" if last else what
        return PeerError(self._lost)

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for item in (self._lines, self._replies, self._socket, self._monitor, self._log):
            item.close()
