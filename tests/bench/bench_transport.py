"""What a register access and an interrupt cost over vfio-user, beside the bare system calls in the same run.

The server and its bare counterpart each run in a process of their own. Ratios: vfio-user over bare, lower is better.
"""

import os
import select
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pvdev.transport import vfio_user_wire as wire
from pvdev.transport.vfio_user import Server, VfioUserPort
from pvdev.transport.vfio_user_wire import Command
from tests.pair.vfio_user_rig import FIRE, ID, MSIX_AT, SCRATCH, SCRATCH_ID, ScratchDevice, access

ROUNDS = 5
ASK, ANSWER = 32, 36  # bytes of a register read and its reply


def child(work: Callable[[], None]) -> int:
    """Run `work` in a process of its own; its pid."""
    pid = os.fork()
    if pid == 0:
        with suppress(KeyboardInterrupt, OSError):
            work()
        os._exit(0)
    return pid


def timed(work: Callable[[], None], n: int) -> float:
    """Microseconds per call of `work`."""
    for _ in range(50):
        work()
    start = time.perf_counter()
    for _ in range(n):
        work()
    return (time.perf_counter() - start) / n * 1e6


def report(name: str, ours: list[float], bare: list[float], unit: str = "us") -> None:
    a, b = statistics.median(ours), statistics.median(bare)
    spread = max(ours) / min(ours)
    print(f"{name:42} {a:9.1f} {unit}   bare {b:9.1f} {unit}   ratio {a / b:5.2f}   spread {spread:4.2f}")


def echo(sock: socket.socket) -> None:
    reply = bytes(ANSWER)
    while sock.recv(4096):
        sock.send(reply)


def bell(asked: int, told: int) -> None:
    while True:
        os.eventfd_read(asked)
        os.eventfd_write(told, 1)


def serve(path: Path) -> None:
    server = Server()
    server.add(ScratchDevice(), path)
    server.run()


def main(rounds: int = ROUNDS, n: int = 3000) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s"
        near, far = socket.socketpair()
        asked, told = os.eventfd(0), os.eventfd(0)
        children = [child(lambda: serve(path)), child(lambda: echo(far)), child(lambda: bell(asked, told))]
        while not path.exists():
            select.select([], [], [], 0.01)
        port = VfioUserPort(path)
        try:
            measure(port, near, asked, told, rounds, n)
        finally:
            port.close()
            near.close()
            far.close()
            for pid in children:
                os.kill(pid, 2)
                os.waitpid(pid, 0)


def measure(port: VfioUserPort, near: socket.socket, asked: int, told: int, rounds: int, n: int) -> None:
    """A B A B: ours, bare, ours, bare."""
    request = bytes(ASK)
    port.write(7, MSIX_AT + 2, 0x8000, 2)
    event = port._messages[0]
    os.set_blocking(event, True)
    post = access(0, SCRATCH, bytes(4))

    def ping() -> None:
        near.send(request)
        near.recv(4096)

    def interrupt() -> None:
        port.write(0, FIRE, 0)
        os.eventfd_read(event)

    def bare_interrupt() -> None:
        os.eventfd_write(asked, 1)
        os.eventfd_read(told)

    def posted() -> None:
        port.client.post(Command.REGION_WRITE, post)

    results: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, work in (
            ("read", lambda: None if port.read(0, ID) == SCRATCH_ID else sys.exit("a wrong value was read")),
            ("ping", ping),
            ("write", lambda: port.write(0, SCRATCH, 1)),
            ("interrupt", interrupt),
            ("bell", bare_interrupt),
            ("mapped", lambda: port.write(1, 0x1000, 1)),
        ):
            results.setdefault(name, []).append(timed(work, n))
        start = time.perf_counter()
        for _ in range(n):
            posted()
        port.read(0, ID)  # the last of them is done
        results.setdefault("posted", []).append((time.perf_counter() - start) / n * 1e6)
    report("register read, round trip", results["read"], results["ping"])
    report("register write, round trip", results["write"], results["ping"])
    report("register write, posted", results["posted"], results["ping"])
    report("register write, mapped memory", results["mapped"], results["ping"])
    report("write that interrupts, until the eventfd", results["interrupt"], results["bell"])
    per_second = 1e6 / statistics.median(results["interrupt"])
    print(f"interrupts asked for and taken: {per_second:,.0f} per second; message size {wire.HEADER_SIZE + 16} bytes")


if __name__ == "__main__":
    main()
