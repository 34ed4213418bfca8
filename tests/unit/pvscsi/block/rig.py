"""What the tests of all media share: transfers in short, and the NBD servers of this machine."""

import os
import random
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pvscsi.block.backend import Backend, Io, Op
from pvscsi.block.wait import perform


def noise(length: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(length)


def read_io(offset: int, *lengths: int) -> tuple[Io, bytearray]:
    """A READ into pieces of these lengths, and what it will have read, as one."""
    memory = bytearray(b"\xee" * sum(lengths))
    view, pieces, at = memoryview(memory), [], 0
    for length in lengths:
        pieces.append(view[at : at + length])
        at += length
    return Io(Op.READ, offset, at, pieces), memory


def write_io(offset: int, *pieces: bytes, fua: bool = False) -> Io:
    return Io(Op.WRITE, offset, sum(map(len, pieces)), [memoryview(piece) for piece in pieces], fua=fua)


def read(disk: Backend, offset: int, length: int) -> bytes:
    """The bytes there; the read must succeed."""
    io, memory = read_io(offset, length)
    perform(disk, [io])
    assert (io.fault, io.moved) == (None, length)
    return bytes(memory)


def do(disk: Backend, io: Io) -> Io:
    perform(disk, [io])
    assert io.done
    return io


def write(disk: Backend, offset: int, data: bytes, *, fua: bool = False) -> None:
    io = do(disk, write_io(offset, data, fua=fua))
    assert (io.fault, io.moved) == (None, len(data))


def flush(disk: Backend) -> None:
    assert do(disk, Io(Op.FLUSH)).fault is None


def missing(what: str) -> None:
    """Skip because of it, or fail under PVDEV_REQUIRE=all."""
    if os.environ.get("PVDEV_REQUIRE") == "all":
        pytest.fail(f"PVDEV_REQUIRE=all, but {what}")
    pytest.skip(what)


def need(program: str, package: str) -> None:
    """Skip, or fail under PVDEV_REQUIRE=all, without this program or libnbd."""
    from pvdev.errors import ConfigError
    from pvscsi.block.libnbd import load

    if shutil.which(program) is None:
        missing(f"there is no {program}: apt-get install {package}")
    try:
        load()
    except ConfigError as error:
        missing(str(error))


@contextmanager
def serve(folder: Path, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """An NBD server in the foreground, listening on `folder`/s. `command` has {socket} where that goes.

    The socket is made here and handed over as systemd does it, so that nothing waits for a server to come up.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    here = Path.cwd()
    os.chdir(folder)  # pytest's own paths may be too long for a socket
    try:
        listener.bind("s")
    finally:
        os.chdir(here)
    listener.listen(8)
    # LISTEN_FDS asks for descriptor 3 and for LISTEN_PID to be the server's own, which only a shell before it knows
    shell = f'exec 3<&{listener.fileno()}; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"'
    process = subprocess.Popen(
        ["bash", "-c", shell, "server", *command],
        pass_fds=[listener.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    listener.close()
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def qemu_nbd(image: Path, *options: str) -> list[str]:
    return ["qemu-nbd", "-f", "raw", "-t", "-e", "8", "--discard=unmap", "--detect-zeroes=off", *options, str(image)]


def nbdkit(*plugin: str) -> list[str]:
    return ["nbdkit", "-f", "--exit-with-parent", *plugin]
