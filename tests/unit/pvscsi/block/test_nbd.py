"""Against the real servers, qemu-nbd and nbdkit; the battery of all media is in test_media.py."""

import os
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pvdev.errors import ConfigError
from pvscsi.block import libnbd, nbd
from pvscsi.block.backend import Fault, Io, Op
from pvscsi.block.nbd import NbdDisk, server_uri
from tests.unit.pvscsi.block.rig import do, flush, nbdkit, need, noise, qemu_nbd, read, read_io, serve, write, write_io

SIZE = 8 << 20


class Servers:
    """Starts servers of NBD, one at a time, and opens what they serve."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self._stack = folder, stack
        self.image = folder / "image"
        self.uri = server_uri(f"unix:{folder / 's'}")

    def qemu(self, *options: str) -> NbdDisk:
        need("qemu-nbd", "qemu-utils")
        self.image.touch()
        os.truncate(self.image, SIZE)
        self.process = self._stack.enter_context(serve(self.folder, qemu_nbd(self.image, *options)))
        return self._open()

    def nbdkit(self, *plugin: str) -> NbdDisk:
        need("nbdkit", "nbdkit")
        self.process = self._stack.enter_context(serve(self.folder, nbdkit(*plugin)))
        return self._open()

    def _open(self) -> NbdDisk:
        return self._stack.enter_context(NbdDisk(self.uri))


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(tmp_path, stack)


def test_the_image_holds_what_was_written_and_flushed(servers: Servers) -> None:
    disk = servers.qemu()

    write(disk, 1000, noise(300_000, 1))
    flush(disk)

    assert servers.image.read_bytes()[1000:301_000] == noise(300_000, 1)


def test_what_the_server_can_do_is_known(servers: Servers) -> None:
    disk = servers.qemu("-r")

    assert (disk.size, disk.read_only, disk.rotational) == (SIZE, True, False)
    assert do(disk, write_io(0, b"x")).fault is Fault.READ_ONLY
    flush(disk)


def test_answers_come_in_any_order(servers: Servers) -> None:
    """nbdkit delays reads, not writes: the write that was asked for last is answered first."""
    disk = servers.nbdkit("--filter=delay", "memory", str(SIZE), "rdelay=200ms")
    slow, quick = read_io(0, 512)[0], write_io(4096, b"x" * 512)
    disk.submit([slow, quick])
    order: list[Io] = []

    while len(order) < 2:
        wait(disk)
        order += disk.reap(0)

    assert order == [quick, slow]


def wait(disk: NbdDisk) -> None:
    """Until there is something to reap."""
    poll = select.poll()
    poll.register(disk.fileno(), select.POLLIN)
    assert poll.poll(60_000)


@pytest.mark.parametrize("length", [SIZE, 3 << 20])
def test_long_transfers_go_in_parts(servers: Servers, monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    monkeypatch.setattr(nbd, "PAYLOAD", 1 << 20)
    monkeypatch.setattr(nbd, "STRIDE", 1 << 20)
    disk = servers.qemu()

    write(disk, 0, noise(length, 2), fua=True)

    assert read(disk, 0, length) == noise(length, 2)
    assert do(disk, Io(Op.ZERO, 5, length - 10)).moved == length - 10
    assert read(disk, 0, length) == noise(length, 2)[:5] + bytes(length - 10) + noise(length, 2)[-5:]


def test_a_server_that_can_only_write(servers: Servers) -> None:
    """No FUA, trim or zero: FUA and ZERO are made of writes, DISCARD is left out."""
    disk = servers.nbdkit("--filter=nozero", "--filter=fua", "memory", str(SIZE))
    assert not disk._fua
    disk._trim = False
    write(disk, 0, noise(3 << 20, 3))

    write(disk, 100, b"abc", fua=True)
    zeroed = do(disk, Io(Op.ZERO, 5000, 2 << 20))
    trimmed = do(disk, Io(Op.DISCARD, 0, 5000))

    assert not disk.zeroes
    assert (zeroed.fault, zeroed.moved, trimmed.fault, trimmed.moved) == (None, 2 << 20, None, 5000)
    assert read(disk, 5000, 2 << 20) == bytes(2 << 20)
    assert read(disk, 100, 3) == b"abc"


def test_holes_are_known_to_the_byte(servers: Servers) -> None:
    disk = servers.qemu()
    write(disk, 1 << 20, noise(65536, 4))
    flush(disk)

    assert list(disk.allocated(0, SIZE)) == [(1 << 20, False), (65536, True), (SIZE - (1 << 20) - 65536, False)]
    assert list(disk.allocated(1 << 20, 10)) == [(10, True)]
    assert list(disk.allocated(5, 0)) == []


def test_a_server_that_knows_no_holes(servers: Servers) -> None:
    disk = servers.nbdkit("--filter=noextents", "memory", str(SIZE))

    assert list(disk.allocated(0, SIZE)) == [(SIZE, True)]


def test_a_status_that_does_not_come_counts_as_allocated(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nbd, "STATUS_SECONDS", -1)
    disk = servers.nbdkit("--filter=delay", "memory", str(SIZE), "delay-extents=100ms")

    assert list(disk.allocated(0, SIZE)) == [(SIZE, True)]
    write(disk, 0, b"goes on")
    assert read(disk, 0, 7) == b"goes on"


@pytest.mark.parametrize(
    ("error", "op", "fault", "words"),
    [
        ("ENOSPC", Op.WRITE, Fault.FULL, "make room on the server"),
        ("EIO", Op.WRITE, Fault.WRITE, "look at the server's log"),
        ("EIO", Op.READ, Fault.READ, "look at the server's log"),
        ("EPERM", Op.WRITE, Fault.READ_ONLY, "readonly=yes"),
    ],
)
def test_errors_of_the_server(servers: Servers, error: str, op: Op, fault: Fault, words: str) -> None:
    disk = servers.nbdkit("--filter=error", "memory", str(SIZE), f"error={error}", "error-rate=100%")

    io = do(disk, Io(op, 0, 512, [memoryview(bytearray(512))]))

    assert (io.fault, io.moved) == (fault, 0)
    assert disk.fault is not None
    assert words in disk.fault
    assert "\n" not in disk.fault


def test_a_server_that_dies_is_gone_for_good(servers: Servers) -> None:
    disk = servers.nbdkit("--filter=delay", "memory", str(SIZE), "delay-read=60")
    ios = [read_io(0, 512)[0] for _ in range(10)]
    disk.submit(ios)
    servers.process.kill()
    servers.process.wait()

    done: list[Io] = []
    while len(done) < 10:
        wait(disk)
        done += disk.reap(0)

    assert {io.fault for io in done} == {Fault.GONE}
    assert do(disk, Io(Op.FLUSH)).fault is Fault.GONE
    assert disk.fault == f"nbd {servers.uri}: the server closed the connection; start it, then start again"
    assert (disk.fileno(), list(disk.allocated(0, 5))) == (-1, [(5, True)])


def test_cancel_does_not_wait_for_the_server(servers: Servers) -> None:
    disk = servers.nbdkit("--filter=delay", "memory", str(SIZE), "delay-read=60")
    io, memory = read_io(0, 512)
    disk.submit([io])

    disk.cancel([io])

    assert memory == b"\xee" * 512
    write(disk, 0, b"x")
    assert not io.done


def test_an_answer_to_what_was_cancelled_is_thrown_away(servers: Servers) -> None:
    disk = servers.nbdkit("--filter=delay", "memory", str(SIZE), "rdelay=100ms")
    io, memory = read_io(0, 512)
    disk.submit([io])

    disk.cancel([io])

    assert read(disk, 0, 512) == bytes(512)  # asked later, answered later
    assert (bytes(memory), io.done) == (b"\xee" * 512, False)


def test_no_server_is_said_in_one_line(tmp_path: Path) -> None:
    need("qemu-nbd", "qemu-utils")

    with pytest.raises(ConfigError) as caught:
        NbdDisk(server_uri(f"unix:{tmp_path / 'none'}"))

    assert "No such file or directory; start the server, or mend the URI" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_silent_server_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("qemu-nbd", "qemu-utils")
    monkeypatch.setattr(nbd, "CONNECT_SECONDS", 0)
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        listener.listen()

        with pytest.raises(ConfigError, match="is this an NBD server"):
            NbdDisk("nbd+unix:///?socket=s")


def test_a_server_that_speaks_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("qemu-nbd", "qemu-utils")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"220 mail.example.net ESMTP\r\n" * 10)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ConfigError, match="start the server, or mend the URI"):
            NbdDisk("nbd+unix:///?socket=s")
        thread.join()


def test_a_machine_without_libnbd_is_told_what_to_install() -> None:
    with pytest.raises(ConfigError, match="apt-get install libnbd0"):
        libnbd.load("libnbd.so.not-there")


@pytest.mark.parametrize(
    ("text", "export", "uri"),
    [
        ("//host:10809/disk", None, "nbd://host:10809/disk"),
        ("nbd://host", None, "nbd://host"),
        ("nbds+unix:///x?socket=/s", None, "nbds+unix:///x?socket=/s"),
        ("unix:/run/a b.sock", None, "nbd+unix:///?socket=/run/a%20b.sock"),
        ("unix:/run/s", "disk 1", "nbd+unix:///disk%201?socket=/run/s"),
    ],
)
def test_ways_to_name_a_server(text: str, export: str | None, uri: str) -> None:
    assert server_uri(text, export) == uri


def test_an_export_is_named_once() -> None:
    with pytest.raises(ConfigError, match="a URI names its export itself"):
        server_uri("//host/disk", "other")
