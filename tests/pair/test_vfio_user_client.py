"""The client against servers of every kind: a scripted one, and ours with its answers bent. One test per rule."""

import errno
import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pvdev.errors import PeerError
from pvdev.mem import SharedBlock
from pvdev.transport import vfio_user_wire as wire
from pvdev.transport.vfio_user import CallFailed, CallTimeout, Client, Server, VfioUserPort
from pvdev.transport.vfio_user_regions import Regions
from pvdev.transport.vfio_user_session import Answer, Session
from pvdev.transport.vfio_user_wire import Command, Message, MessageReader
from tests.pair.vfio_user_rig import ICR, ID, LINE, MSIX_AT, SCRATCH, SCRATCH_ID, ScratchDevice

F_GET_SEALS, F_SEAL_SHRINK = 1034, 2


class Script:
    """A server that says what the test tells it to, before it is asked. The client's first id is 0."""

    def __init__(self, folder: Path, **options: object) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "script"))
            listener.listen()
            self.client = Client(folder / "script", negotiate=False, timeout_s=0.5, **options)  # type: ignore[arg-type]
            self.sock, _ = listener.accept()
        self.sock.settimeout(5)
        self.reader = MessageReader()

    def reply(self, msg_id: int, command: int, payload: bytes = b"", fds: tuple[int, ...] = (), error: int = 0) -> None:
        flags = wire.TYPE_REPLY | (wire.ERROR if error else 0)
        socket.send_fds(self.sock, [wire.pack(msg_id, command, payload, flags=flags, error=error)], fds)

    def command(self, msg_id: int, command: int, payload: bytes = b"", flags: int = 0) -> None:
        self.sock.sendall(wire.pack(msg_id, command, payload, flags=flags))

    def heard(self) -> list[Message]:
        """What the client has said so far."""
        self.sock.setblocking(False)
        out: list[Message] = []
        try:
            while data := self.sock.recv(1 << 16):
                out += self.reader.feed(data)
        except BlockingIOError:
            pass
        self.sock.settimeout(5)
        return out

    def close(self) -> None:
        self.client.close()
        self.sock.close()


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Script]:
    made = Script(tmp_path)
    yield made
    made.close()


@pytest.fixture
def device() -> Iterator[ScratchDevice]:
    made = ScratchDevice()
    yield made
    made.close()


@pytest.fixture
def path(device: ScratchDevice, tmp_path: Path) -> Iterator[Path]:
    """A live server's socket."""
    server = Server()
    server.add(device, tmp_path / "s")
    with server.background():
        yield tmp_path / "s"


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Message, int]]:
    """Every message our server handles, with its number of descriptors."""
    log: list[tuple[Message, int]] = []
    original = Session.handle

    def handle(self: Session, message: Message) -> Answer | None:
        log.append((message, len(message.fds)))
        return original(self, message)

    monkeypatch.setattr(Session, "handle", handle)
    return log


@pytest.fixture
def port(path: Path) -> Iterator[VfioUserPort]:
    made = VfioUserPort(path, memory=1 << 20)
    yield made
    made.close()


# -- the link ----------------------------------------------------------------------------------------------------------


def test_VFU_C_001_a_message_is_sent_by_one_call(script: Script) -> None:
    class Counting:
        def __init__(self, sock: socket.socket) -> None:
            self.sock, self.calls = sock, 0

        def sendmsg(self, *arguments: object) -> int:
            self.calls += 1
            return self.sock.sendmsg(*arguments)  # type: ignore[arg-type]

    real = script.client.sock
    counting = Counting(real)
    script.client.sock = counting  # type: ignore[assignment]
    script.client.post(Command.REGION_WRITE, bytes(4096))
    script.client.sock = real

    assert counting.calls == 1
    assert [message.size for message in script.heard()] == [16 + 4096]


def test_VFU_C_002_an_error_reply_with_a_payload_is_read_whole(script: Script) -> None:
    """libvfio-user sends them when a region callback fails."""
    first, second = script.client.start(Command.REGION_READ), script.client.start(Command.REGION_READ)
    script.reply(first, Command.REGION_READ, bytes(20), error=errno.EIO)
    script.reply(second, Command.REGION_READ, bytes(16) + b"next")

    with pytest.raises(CallFailed) as failure:
        script.client.finish(first)
    assert failure.value.error == errno.EIO
    assert script.client.finish(second).payload[16:] == b"next"


def test_VFU_C_003_replies_are_matched_by_id_and_type(script: Script) -> None:
    script.reply(77, Command.DEVICE_RESET)
    script.command(0, 99)
    script.reply(0, Command.REGION_READ, b"mine")

    assert script.client.call(Command.REGION_WRITE).payload == b"mine"
    assert script.client.rules.count("VFU-C-003") == 2  # a stray id, another command's name


def test_VFU_C_004_a_reply_too_large_is_read_past(script: Script) -> None:
    script.client._reader.limit = 1000
    script.reply(0, Command.REGION_READ, bytes(5000))
    script.reply(1, Command.REGION_READ, b"fine")

    with pytest.raises(PeerError, match="larger than a message may be"):
        script.client.call(Command.REGION_READ)
    assert script.client.call(Command.REGION_READ).payload == b"fine"
    assert script.client.rules.numbers() == {"VFU-C-004"}


def test_VFU_C_005_dma_is_served_while_a_reply_is_awaited(script: Script) -> None:
    memory = bytearray(b"guest memory" + bytes(100))
    script.client.memory.map(0x1000, memoryview(memory))
    script.command(0, Command.DMA_READ, wire.DMA_ACCESS.encode(address=0x1000, count=5))
    script.command(1, Command.DMA_WRITE, wire.DMA_ACCESS.encode(address=0x1006, count=3) + b"MEM")
    script.reply(0, Command.REGION_READ, b"done")

    assert script.client.call(Command.REGION_READ).payload == b"done"
    _, read, written = script.heard()
    assert read.payload[16:] == b"guest"
    assert (written.size, written.flags) == (32, wire.TYPE_REPLY)
    assert memory[:12] == b"guest MEMory"


def test_VFU_C_009_unexpected_descriptors_are_closed(script: Script) -> None:
    event = os.eventfd(0)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    script.reply(9, Command.REGION_READ, fds=(event, event))
    script.reply(0, Command.REGION_READ, fds=(event,), error=errno.EIO)
    script.reply(1, Command.REGION_READ, fds=(event,))

    with pytest.raises(CallFailed):
        script.client.call(Command.REGION_READ)
    script.client.call(Command.REGION_READ)

    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    assert "VFU-C-009" in script.client.rules.numbers()
    os.close(event)


def test_VFU_C_010_a_dma_write_without_reply(script: Script) -> None:
    memory = bytearray(16)
    script.client.memory.map(0, memoryview(memory))
    script.command(0, Command.DMA_WRITE, wire.DMA_ACCESS.encode(count=2) + b"ab", wire.NO_REPLY)
    script.command(0, Command.DMA_READ, wire.DMA_ACCESS.encode(address=999, count=2), wire.NO_REPLY)
    script.client.pump()

    assert memory[:2] == b"ab"
    assert script.heard() == []


@pytest.mark.parametrize(
    ("command", "payload", "error"),
    [
        (Command.DMA_READ, wire.DMA_ACCESS.encode(address=0x2000, count=1), errno.ENODEV),
        (Command.DMA_READ, wire.DMA_ACCESS.encode(address=0x1FFF, count=2), errno.ENODEV),
        (Command.DMA_READ, wire.DMA_ACCESS.encode(address=(1 << 64) - 1, count=1 << 19), errno.ENODEV),
        (Command.DMA_WRITE, wire.DMA_ACCESS.encode(address=0x1000, count=1) + b"x", errno.EPERM),
        (Command.DMA_READ, wire.DMA_ACCESS.encode(address=0x1000, count=(1 << 20) + 1), errno.E2BIG),
        (Command.DMA_WRITE, wire.DMA_ACCESS.encode(address=0x1000, count=2) + b"x", errno.EINVAL),
        (Command.DMA_READ, b"", errno.EINVAL),
        (Command.REGION_READ, bytes(16), errno.ENOSYS),
    ],
)
def test_VFU_C_011_dma_outside_what_was_lent(script: Script, command: int, payload: bytes, error: int) -> None:
    script.client.memory.map(0x1000, memoryview(bytes(0x1000)), writable=False)
    script.command(5, command, payload)
    script.client.pump()

    (reply,) = script.heard()
    assert (reply.msg_id, reply.command, reply.flags) == (5, command, wire.TYPE_REPLY | wire.ERROR)
    assert (reply.error, reply.payload) == (error, b"")
    assert script.client.rules.numbers() == {"VFU-C-011"}


def test_VFU_C_012_a_late_reply_is_dropped(script: Script) -> None:
    with pytest.raises(CallTimeout):
        script.client.call(Command.REGION_READ, timeout_s=0.01)
    script.reply(0, Command.REGION_READ, b"late")
    script.reply(1, Command.REGION_READ, b"in time")

    assert script.client.call(Command.REGION_READ).payload == b"in time"
    assert script.client.rules.numbers() == {"VFU-C-012"}


def test_replies_may_overtake_each_other(script: Script) -> None:
    first, second = script.client.start(Command.REGION_READ), script.client.start(Command.REGION_READ)
    script.reply(1, Command.REGION_READ, b"second")
    script.reply(0, Command.REGION_READ, b"first")

    assert script.client.finish(first).payload == b"first"
    assert script.client.finish(second).payload == b"second"


def test_a_server_that_leaves(script: Script) -> None:
    script.sock.close()

    with pytest.raises(PeerError):
        script.client.call(Command.REGION_READ)
    with pytest.raises(PeerError):
        script.client.pump()
    assert script.client.receive() is None


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="no vfio-user server"):
        Client(tmp_path / "nobody")
    with pytest.raises(PeerError, match="no vfio-user server"):
        VfioUserPort(tmp_path / "nobody", memory=4096)


# -- negotiation -------------------------------------------------------------------------------------------------------


def negotiate(folder: Path, payload: bytes, fds: tuple[int, ...] = (), **options: bool) -> Client:
    """What `Client` makes of this VERSION reply."""
    script = Script(folder)
    script.reply(0, Command.VERSION, payload, fds)
    try:
        script.client._negotiate({}, options.get("twin", False))
    except PeerError:
        script.close()
        raise
    script.sock.close()
    return script.client


def test_what_the_server_says_of_itself(tmp_path: Path) -> None:
    client = negotiate(tmp_path, wire.version_payload(0, 0, {"max_msg_fds": 3, "max_data_xfer_size": 512}))

    assert (client.minor, client.max_msg_fds, client.max_data_xfer_size) == (0, 3, 512)
    client.close()


def test_a_silent_server_has_the_defaults(tmp_path: Path) -> None:
    client = negotiate(tmp_path, wire.version_payload(0, 1, None))

    assert (client.max_msg_fds, client.max_data_xfer_size) == (1, 1 << 20)
    client.close()


@pytest.mark.parametrize(
    "payload",
    [
        b"\0\0",
        b"\0\0\0\0{",
        wire.version_payload(1, 0, {}),
        wire.version_payload(0, 2, {}),
        b'\0\0\0\0{"capabilities":3}\0',
    ],
)
def test_a_version_that_will_not_do(tmp_path: Path, payload: bytes) -> None:
    with pytest.raises(PeerError):
        negotiate(tmp_path, payload)


@pytest.mark.parametrize("twin", [{"supported": True}, {"supported": True, "fd_index": 0}])
def test_a_twin_socket_promised_and_not_sent(tmp_path: Path, twin: dict[str, object]) -> None:
    with pytest.raises(PeerError, match="twin socket"):
        negotiate(tmp_path, wire.version_payload(0, 1, {"twin_socket": twin}), twin=True)


# -- a port ------------------------------------------------------------------------------------------------------------


def test_VFU_C_006_descriptors_in_portions(port: VfioUserPort, heard: list[tuple[Message, int]]) -> None:
    port.write(7, MSIX_AT + 2, 0x8000, 2)

    sent = [(m.payload[4], int.from_bytes(m.payload[12:16], "little"), n) for m, n in heard if m.command == 8]
    assert sent == [(0x21, 0, 0), (0x24, 0, 0), (0x24, 0, 8), (0x24, 8, 8), (0x24, 16, 4)]


def test_VFU_C_007_blocks_in_portions(port: VfioUserPort, heard: list[tuple[Message, int]]) -> None:
    port.client.max_data_xfer_size = 1000
    port.write_block(1, 0, b"0123456789" * 300)

    assert port.read_block(1, 0, 3000) == b"0123456789" * 300
    assert [m.command for m, _ in heard] == [10] * 3 + [9] * 3


def info(size: int = 0x4000, flags: int = 15, argsz: int = 0, cap: int = 32, body: bytes = b"") -> bytes:
    return (
        wire.REGION_INFO.encode(argsz=argsz or 32 + len(body), flags=flags, index=1, cap_offset=cap, size=size) + body
    )


BAD_INFO: dict[str, tuple[bytes, bool]] = {
    "argsz under 32": (info(argsz=8), True),
    "argsz of 1 GiB": (info(argsz=1 << 30), True),
    "capability inside the fixed part": (info(cap=8, body=wire.sparse_cap([(0, 0x1000)])), True),
    "capability past the end": (info(cap=4000), True),
    "chain without end": (info(body=wire.CAP_HEADER.encode(id=7, version=1, next=32)), True),
    "area not aligned": (info(body=wire.sparse_cap([(0x10, 0x1000)])), True),
    "area past the region": (info(body=wire.sparse_cap([(0x4000, 0x1000)])), True),
    "area past the file": (info(size=0x10_0000, body=wire.sparse_cap([(0x8000, 0x1000)])), True),
    "no descriptor": (info(body=wire.sparse_cap([(0, 0x1000)])), False),
}


@pytest.mark.parametrize("what", BAD_INFO)
def test_VFU_C_008_region_information_that_makes_no_sense(
    path: Path, device: ScratchDevice, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    payload, with_fd = BAD_INFO[what]
    original = Session._region_info

    def bent(self: Session, request: bytes, out_fds: list[int]) -> bytes:
        if request[8] != 1:
            return original(self, request, out_fds)
        out_fds += [device.block.fd] * with_fd
        return payload

    monkeypatch.setattr(Session, "_region_info", bent)
    port = VfioUserPort(path, memory=4096)

    assert port.regions[1].areas == []
    assert port.rules.numbers() == {"VFU-C-008"}
    assert port.read(0, ID) == SCRATCH_ID
    port.close()


def test_VFU_C_013_a_port_acts_like_a_vmm(path: Path, heard: list[tuple[Message, int]]) -> None:
    with_port = VfioUserPort(path, memory=4096)
    config_writes = [m.payload[0] for m, _ in heard if m.command == 10]
    assert config_writes == [0x14, 0x18, 0x10, 0x1C, 0x04]  # BARs, largest first, then decoding

    heard.clear()
    with_port.write(0, LINE, 1)
    assert with_port.until(lambda: with_port.interrupts() == 1)
    with_port.read(0, ICR)

    assert [m.command for m, _ in heard] == [10, 9, 8]
    assert heard[-1][0].payload[4] == 0x11  # UNMASK after the access that serviced it
    with_port.close()


def test_intx_is_said_again_until_it_is_serviced(port: VfioUserPort) -> None:
    port.write(0, LINE, 1)
    assert port.until(lambda: port.interrupts() == 1)

    port.read(0, SCRATCH)  # not the register that clears it

    assert port.until(lambda: port.interrupts() == 1)


def test_VFU_C_014_lent_memory_cannot_shrink(port: VfioUserPort) -> None:
    fd = port.arena.block.fd

    assert fcntl.fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 4096)


def test_memory_in_pieces_like_qemus(path: Path, device: ScratchDevice) -> None:
    """One file, several ranges, a hole below 4 GiB, a read-only range."""
    block = SharedBlock(0x4000)
    with Client(path) as client:
        client.lend(0, block.view[:0x1000], fd=block.fd)
        client.lend(0xC_0000, block.view[0x1000:0x2000], fd=block.fd, offset=0x1000, writable=False)
        client.lend(1 << 32, block.view[0x2000:], fd=block.fd, offset=0x2000)
        block.view[0x2000:0x2004] = b"high"

        assert device.mem.read(1 << 32, 4) == b"high"
        assert [region.writable for region in device.mem.regions()] == [True, False, True]
        client.take_back(0, 0x1000)
        assert len(device.mem.regions()) == 2
    client.memory.clear()
    block.close()


def test_a_port_whose_server_is_gone(device: ScratchDevice, tmp_path: Path) -> None:
    server = Server()
    server.add(device, tmp_path / "s")
    with server.background():
        port = VfioUserPort(tmp_path / "s", memory=4096)

    for use in USES:
        with pytest.raises(PeerError):
            use(port)
    port.close()


USES: tuple[Callable[[VfioUserPort], object], ...] = (
    lambda port: port.read(0, ID),
    lambda port: port.write(0, SCRATCH, 1),
    lambda port: port.interrupts(),
    lambda port: port.until(lambda: False),
    lambda port: port.reset(),
)


@pytest.mark.parametrize("what", ["get_info", "irq_info", "read"])
def test_a_server_that_does_not_say_what_it_is(path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    owner, name = (Regions, what) if what == "read" else (Session, f"_{what}")
    monkeypatch.setattr(owner, name, lambda self, payload, fds: b"short")

    with pytest.raises(PeerError):
        VfioUserPort(path, memory=4096)
