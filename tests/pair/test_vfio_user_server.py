"""The server on real sockets: life cycle, descriptors, order, DMA messages, faults. Every wait has a timeout."""

import errno
import fcntl
import os
import queue
import select
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from pvdev.errors import ConfigError, PeerError
from pvdev.faults import Fault, FaultPlan
from pvdev.mem import SharedBlock
from pvdev.transport import vfio_user_link, vfio_user_server
from pvdev.transport import vfio_user_wire as wire
from pvdev.transport.vfio_user import RUNG, CallFailed, CallTimeout, Client, Endpoint, Polling, Server, VfioUserPort
from pvdev.transport.vfio_user_client import QEMU_CAPABILITIES
from pvdev.transport.vfio_user_link import Truncated, receive
from pvdev.transport.vfio_user_wire import Command, Message, MessageReader
from tests.pair.vfio_user_rig import (
    BELL,
    DONE,
    DST,
    ICR,
    ID,
    LEN,
    LINE,
    SCRATCH,
    SCRATCH_ID,
    SRC,
    SYNC,
    ScratchDevice,
    access,
    dma_map,
    dma_unmap,
    irqs,
)

WAIT = 5.0


class Stage:
    """A server in a thread, its devices, and what it said."""

    def __init__(self, folder: Path, stack: ExitStack, **options: object) -> None:
        self.folder, self.stack = folder, stack
        self.said: queue.Queue[str] = queue.Queue()
        self.server = Server(on_event=self.said.put, **options)  # type: ignore[arg-type]
        self.devices: list[ScratchDevice] = []
        self.endpoints: list[Endpoint] = []

    def add(self, device: ScratchDevice | None = None, **options: object) -> Path:
        path = self.folder / f"s{len(self.devices)}"
        made = device or ScratchDevice()
        self.devices.append(made)
        self.endpoints.append(self.server.add(made, path, **options))  # type: ignore[arg-type]
        return path

    def start(self) -> None:
        self.stack.enter_context(self.server.background())

    def client(self, index: int = 0, **options: object) -> Client:
        client = Client(self.folder / f"s{index}", **options)  # type: ignore[arg-type]
        self.stack.callback(client.close)
        return client

    def hears(self, text: str) -> str:
        """Wait until the server says a line with `text`."""
        while text not in (line := self.said.get(timeout=WAIT)):
            pass
        return line


MakeStage = Callable[..., Stage]


@pytest.fixture
def make_stage(tmp_path: Path) -> Iterator[MakeStage]:
    with ExitStack() as stack:
        stages: list[Stage] = []

        def make(devices: int = 1, start: bool = True, **options: object) -> Stage:
            stage = Stage(tmp_path, stack, **options)
            stages.append(stage)
            for _ in range(devices):
                stage.add()
            if start:
                stage.start()
            return stage

        yield make
        stack.close()
        for stage in stages:
            stage.server.close()
            for device in stage.devices:
                device.close()


@pytest.fixture
def stage(make_stage: MakeStage) -> Stage:
    return make_stage()


def read(client: Client, offset: int, region: int = 0, size: int = 4) -> int:
    payload = wire.REGION_ACCESS.encode(offset=offset, region=region, count=size)
    return int.from_bytes(client.call(Command.REGION_READ, payload).payload[16:], "little")


def write(client: Client, offset: int, value: int, region: int = 0, size: int = 4) -> None:
    client.call(Command.REGION_WRITE, access(region, offset, value.to_bytes(size, "little")))


def refused(client: Client, command: int, payload: bytes = b"", fds: tuple[int, ...] = ()) -> int:
    with pytest.raises(CallFailed) as failure:
        client.call(command, payload, fds)
    return failure.value.error


# -- the socket file -------------------------------------------------------------------------------------------------


def test_the_socket_is_private_from_the_first_moment(make_stage: MakeStage) -> None:
    before = os.umask(0)
    try:
        stage = make_stage(start=False)
    finally:
        os.umask(before)

    assert stat.S_IMODE((stage.folder / "s0").stat().st_mode) == 0o600


def test_the_socket_is_removed_at_the_end(tmp_path: Path) -> None:
    device = ScratchDevice()
    server = Server()
    server.add(device, tmp_path / "s")
    with server.background():
        assert (tmp_path / "s").exists()

    assert not (tmp_path / "s").exists()
    assert not device.polled
    server.stop()  # nothing left to stop
    device.close()


def test_somebody_elses_file_is_not_removed(tmp_path: Path) -> None:
    device = ScratchDevice()
    server = Server()
    server.add(device, tmp_path / "s")
    (tmp_path / "s").unlink()
    (tmp_path / "s").write_text("mine")
    server.close()

    assert (tmp_path / "s").read_text() == "mine"
    device.close()


def test_a_dead_servers_socket_is_replaced(make_stage: MakeStage, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s0"))
        dead.listen()
    stage = make_stage()

    assert read(stage.client(), ID) == SCRATCH_ID


def test_a_live_servers_socket_is_refused(stage: Stage) -> None:
    client = stage.client()
    other, device = Server(), ScratchDevice()

    with pytest.raises(ConfigError, match="a live server has this socket"):
        other.add(device, stage.folder / "s0")

    other.close()
    device.close()
    assert read(client, ID) == SCRATCH_ID


@pytest.mark.parametrize(
    ("name", "what"),
    [("x" * 108, "at most 107 bytes"), ("file", "is no socket"), ("no/such/folder", "No such file or directory")],
)
def test_a_path_that_cannot_be(tmp_path: Path, name: str, what: str) -> None:
    (tmp_path / "file").write_text("")
    server, device = Server(), ScratchDevice()

    with pytest.raises(ConfigError, match=what) as failure:
        server.add(device, tmp_path / name)

    assert "\n" not in str(failure.value)
    server.close()
    device.close()


def test_ctrl_c_ends_a_server_at_once(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from pvdev.transport.vfio_user import Server\n"
        "from tests.pair.vfio_user_rig import ScratchDevice\n"
        "server = Server()\n"
        "server.add(ScratchDevice(), sys.argv[1])\n"
        "print('ready', flush=True)\n"
        "try:\n"
        "    server.run()\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    path = tmp_path / "s"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        with Client(path) as client:
            assert read(client, ID) == SCRATCH_ID
            server.send_signal(signal.SIGINT)
            assert server.communicate(timeout=WAIT)[0] == "interrupted\n"

    assert not path.exists()


# -- clients come and go ---------------------------------------------------------------------------------------------


def test_several_devices_in_one_process(make_stage: MakeStage) -> None:
    stage = make_stage(devices=3)
    clients = [stage.client(i) for i in range(3)]
    for i, client in enumerate(clients):
        write(client, SCRATCH, i + 100)

    assert [read(client, SCRATCH) for client in clients] == [100, 101, 102]


def test_a_second_client_is_turned_away(stage: Stage) -> None:
    first = stage.client()
    with pytest.raises(PeerError):
        stage.client()

    assert stage.hears("turned away")
    assert read(first, ID) == SCRATCH_ID


def test_VFU_S_112_a_client_that_vanishes_leaves_a_fresh_device(stage: Stage) -> None:
    device = stage.devices[0]
    first = stage.client()
    with_memory = SharedBlock(0x2000)
    first.lend(0, with_memory.view, fd=with_memory.fd)
    write(first, SCRATCH, 5)
    first.close()

    second = stage.client()  # at once: the first one's end is noticed now

    assert device.resets == 1
    assert device.mem.regions() == ()
    assert read(second, SCRATCH) == 0
    assert stage.hears("client gone")
    with_memory.close()


def test_many_clients_one_after_the_other(stage: Stage) -> None:
    for i in range(1, 21):
        with stage.client() as client:
            write(client, SCRATCH, i)
    assert stage.devices[0].resets >= 19


def test_posted_writes_of_a_client_that_left_are_done(stage: Stage) -> None:
    first = stage.client()
    for i in range(50):
        first.post(Command.REGION_WRITE, access(3, 8, bytes([i])))
    first.close()

    assert read(stage.client(), 8, region=3, size=1) == 49  # ports are not cleared by reset


def test_VFU_S_006_a_client_that_vanishes_inside_a_message(stage: Stage) -> None:
    first = stage.client()
    first.send(wire.pack(1, Command.DMA_MAP, dma_map(0, 0x1000))[:20])
    first.close()
    stage.hears("client gone")

    assert read(stage.client(), ID) == SCRATCH_ID
    assert stage.endpoints[0].log.numbers() == {"VFU-S-006"}


def test_VFU_S_016_descriptors_lost_on_the_way(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    client = stage.client()

    def truncated(sock: socket.socket, reader: MessageReader) -> list[Message] | None:
        receive(sock, reader)
        raise Truncated

    monkeypatch.setattr(vfio_user_link, "receive", truncated)
    client.send(wire.pack(1, Command.DEVICE_RESET))
    reply = client.receive()

    assert reply is not None
    assert reply.error == errno.EFAULT
    assert client.receive() is None
    assert stage.endpoints[0].log.numbers() == {"VFU-S-016"}


def test_truncated_ancillary_data_is_noticed() -> None:
    """The kernel drops descriptors when a process has no room for them; what did arrive is closed."""
    left, right = socket.socketpair()
    with left, right:
        one = os.eventfd(0)
        socket.send_fds(left, [wire.pack(1, 13)], [one, one])

        class Small:
            def recvmsg(self, size: int, ancillary: int, flags: int) -> object:
                return right.recvmsg(size, socket.CMSG_LEN(4), flags)

        with pytest.raises(Truncated):
            receive(Small(), MessageReader())  # type: ignore[arg-type]
        os.close(one)


@pytest.mark.parametrize(
    "data",
    [
        wire.pack(1, Command.DEVICE_RESET),
        wire.pack(1, Command.VERSION, wire.version_payload(3, 0, None)),
        b"\0\0\1\0\5\0\0\0" + bytes(8),
        b"\0\0\1\0\xff\xff\xff\xff" + bytes(8),
    ],
    ids=["not VERSION", "wrong major", "size 5", "size 4 GiB"],
)
def test_a_refused_start_is_answered_and_closed(stage: Stage, data: bytes) -> None:
    client = stage.client(negotiate=False)
    client.send(data)
    reply = client.receive()

    assert reply is not None
    assert reply.error == errno.EINVAL
    assert client.receive() is None
    assert read(stage.client(), ID) == SCRATCH_ID


def test_a_device_that_raises_ends_the_server_with_its_error(tmp_path: Path) -> None:
    class Broken(ScratchDevice):
        def service(self, budget: int, now_ns: int) -> bool:
            raise ZeroDivisionError

    device = Broken()
    server = Server()
    server.add(device, tmp_path / "s")
    with pytest.raises(ZeroDivisionError), server.background(), Client(tmp_path / "s") as client:
        write(client, BELL, 1)

    assert not (tmp_path / "s").exists()
    device.close()


# -- order -----------------------------------------------------------------------------------------------------------


def test_posted_writes_are_done_in_order_before_the_next_reply(stage: Stage) -> None:
    client = stage.client()
    for value in range(500):
        client.post(Command.REGION_WRITE, access(0, SCRATCH, value.to_bytes(4, "little")))

    assert read(client, SCRATCH) == 499


def test_pipelined_commands_are_answered_in_order(stage: Stage) -> None:
    client = stage.client()
    request = wire.REGION_ACCESS.encode(offset=SCRATCH, count=4)
    ids = []
    for value in range(50):
        client.start(Command.REGION_WRITE, access(0, SCRATCH, value.to_bytes(4, "little")))
        ids.append(client.start(Command.REGION_READ, request))

    values = [int.from_bytes(client.finish(ident).payload[16:], "little") for ident in ids]
    assert values == list(range(50))


def test_a_client_that_does_not_read_its_replies_stops_nobody(make_stage: MakeStage) -> None:
    stage = make_stage(devices=2)
    lazy, other = stage.client(0), stage.client(1)
    ids = [
        lazy.start(Command.REGION_READ, wire.REGION_ACCESS.encode(region=7, count=4096)) for _ in range(300)
    ]  # over 1 MB of replies

    assert read(other, ID) == SCRATCH_ID
    assert {len(lazy.finish(ident).payload) for ident in ids} == {4112}


def test_a_client_that_leaves_with_replies_unread(stage: Stage) -> None:
    lazy = stage.client()
    for _ in range(300):
        lazy.start(Command.REGION_READ, wire.REGION_ACCESS.encode(region=7, count=4096))
    lazy.close()
    stage.hears("client gone")

    assert read(stage.client(), ID) == SCRATCH_ID


# -- descriptors -----------------------------------------------------------------------------------------------------


def test_VFU_S_096_a_file_shorter_than_its_region(stage: Stage) -> None:
    client = stage.client()
    block = SharedBlock(0x1000)

    assert refused(client, Command.DMA_MAP, dma_map(0, 0x2000), (block.fd,)) == errno.EINVAL
    assert refused(client, Command.DMA_MAP, dma_map(0, 0x1000, offset=1), (block.fd,)) == errno.EINVAL
    block.close()


def test_VFU_S_097_descriptors_that_cannot_be_mapped(stage: Stage) -> None:
    client = stage.client()
    event = os.eventfd(0)
    reader = os.open("/proc/self/exe", os.O_RDONLY)

    assert refused(client, Command.DMA_MAP, dma_map(0, 0x1000), (event,)) == errno.ENODEV
    assert refused(client, Command.DMA_MAP, dma_map(0, 0x1000), (reader,)) == errno.EACCES
    client.call(Command.DMA_MAP, dma_map(0, 0x1000, flags=1), (reader,))
    os.close(event)
    os.close(reader)


def test_an_unaligned_file_offset_is_mapped_from_the_page_below(stage: Stage) -> None:
    client = stage.client()
    block = SharedBlock(0x3000)
    block.view[0x1234:0x1238] = b"here"
    client.call(Command.DMA_MAP, dma_map(0x5000, 0x100, offset=0x1234), (block.fd,))

    assert stage.devices[0].mem.read(0x5000, 4) == b"here"
    client.call(Command.DMA_UNMAP, dma_unmap(0x5000, 0x100))
    block.close()


def test_VFU_S_104_a_device_that_keeps_unmapped_memory_is_found_out(stage: Stage) -> None:
    client, block = stage.client(), SharedBlock(0x1000)
    client.call(Command.DMA_MAP, dma_map(0, 0x1000), (block.fd,))
    kept = stage.devices[0].mem.view(0, 16)
    client.call(Command.DMA_UNMAP, dma_unmap(0, 0x1000))

    assert stage.endpoints[0].log.numbers() == {"VFU-S-104"}
    assert bytes(kept) == bytes(16)  # unmapped from the device, and safe to touch until it lets go
    kept.release()
    block.close()


def test_a_hostile_amount_of_unread_replies_is_not_kept(make_stage: MakeStage) -> None:
    stage = make_stage(devices=2)
    lazy, other = stage.client(0), stage.client(1)
    for _ in range(100):
        lazy.start(Command.REGION_READ, wire.REGION_ACCESS.encode(region=1, count=0x4000))
    link = stage.endpoints[0].link
    assert link is not None
    while not link._out:
        read(other, ID)
    assert len(link._out) == 1  # one reply waits; the rest are not even made
    replies = [lazy.finish(ident) for ident in list(lazy._waiting)]

    assert {len(reply.payload) for reply in replies} == {16 + 0x4000}


def test_no_descriptor_is_kept(stage: Stage) -> None:
    """After a client has gone through everything, the process has as many descriptors as before."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    block, event = SharedBlock(0x4000), os.eventfd(0)
    with stage.client() as client:
        for _ in range(3):
            client.call(Command.DMA_MAP, dma_map(0, 0x4000), (block.fd,))
            client.call(Command.DEVICE_SET_IRQS, irqs(2, 0x24, 0, 3), (event,) * 3)
            client.call(Command.DEVICE_SET_IRQS, irqs(0, 0x14, 0, 1), (event,))
            client.call(Command.DEVICE_RESET, b"", (event, block.fd))
            refused(client, Command.DMA_MAP, dma_map(0, 1 << 40), (block.fd,))
            client.call(Command.DMA_UNMAP, dma_unmap(0, 0, flags=2))
        client.call(Command.DMA_MAP, dma_map(0, 0x4000), (block.fd,))
    block.close()
    os.close(event)
    stage.hears("client gone")

    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_VFU_S_058_a_pipe_as_an_interrupt(stage: Stage) -> None:
    client = stage.client()
    reader, writer = os.pipe()
    client.call(Command.DEVICE_SET_IRQS, irqs(0, 0x24, 0, 1), (writer,))
    write(client, LINE, 1)

    assert os.read(reader, 8) == (1).to_bytes(8, "little")
    assert "VFU-S-058" in stage.endpoints[0].log.numbers()
    os.close(reader)
    os.close(writer)


def test_VFU_S_063_descriptors_that_are_full_block_nobody(stage: Stage) -> None:
    client = stage.client()
    full = os.eventfd(0xFFFF_FFFF)
    for _ in range(2):
        os.write(full, (0x7FFF_FFFF_0000_0000).to_bytes(8, "little"))
    with suppress(BlockingIOError):
        flags = fcntl.fcntl(full, fcntl.F_GETFL)
        fcntl.fcntl(full, fcntl.F_SETFL, flags | os.O_NONBLOCK)
        while True:
            os.write(full, (0xFFFF_FFF0).to_bytes(8, "little"))
            os.write(full, (0x0FFF_FFFF_FFFF_FFF0).to_bytes(8, "little"))
    fcntl.fcntl(full, fcntl.F_SETFL, flags)
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETFL, os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    fcntl.fcntl(writer, fcntl.F_SETFL, 0)
    for fd in (full, writer):
        client.call(Command.DEVICE_SET_IRQS, irqs(0, 0x24, 0, 1), (fd,))
        write(client, LINE, 1)
        assert read(client, ICR) == 0

    for fd in (full, reader, writer):
        os.close(fd)


def test_VFU_S_062_an_unmask_eventfd_the_client_writes(stage: Stage) -> None:
    client = stage.client()
    event, unmask = os.eventfd(0), os.eventfd(0)
    client.call(Command.DEVICE_SET_IRQS, irqs(0, 0x24, 0, 1), (event,))
    client.call(Command.DEVICE_SET_IRQS, irqs(0, 0x14, 0, 1), (unmask,))
    write(client, LINE, 1)
    assert os.eventfd_read(event) == 1

    os.eventfd_write(unmask, 1)

    assert select.select([event], [], [], WAIT)[0]
    assert os.eventfd_read(event) == 1
    os.close(event)
    os.close(unmask)


def test_an_interrupt_is_there_when_the_write_that_raised_it_returns(stage: Stage) -> None:
    client = stage.client()
    event = os.eventfd(0, os.EFD_NONBLOCK)
    client.call(Command.DEVICE_SET_IRQS, irqs(0, 0x24, 0, 1), (event,))
    for _ in range(20):
        write(client, LINE, 1)
        assert os.eventfd_read(event) == 1
        read(client, ICR)
    os.close(event)


# -- DMA by messages -------------------------------------------------------------------------------------------------


def lazy_client(stage: Stage, **options: object) -> Client:
    """A client whose memory [0, 64 KiB) is reached by messages, and who is about to let the device copy 16 bytes."""
    client = stage.client(0, **options)
    client.call(Command.DMA_MAP, dma_map(0, 0x1_0000))
    for register, value in ((SRC, 0x100), (DST, 0x200), (LEN, 16)):
        write(client, register, value)
    return client


def next_command(client: Client, command: Command) -> Message:
    message = client.receive()
    assert message is not None
    assert (message.command, message.flags) == (command, wire.TYPE_COMMAND)
    return message


def answer(client: Client, message: Message, payload: bytes, flags: int = wire.TYPE_REPLY, error: int = 0) -> None:
    client.send(wire.pack(message.msg_id, message.command, payload, flags=flags, error=error))


def test_dma_messages_while_a_register_write_is_answered(stage: Stage) -> None:
    client = lazy_client(stage)
    ident = client.start(Command.REGION_WRITE, access(0, SYNC, b"\1\0\0\0"))

    wanted = next_command(client, Command.DMA_READ)
    assert wire.DMA_ACCESS.decode(wanted.payload) == {"address": 0x100, "count": 16}
    answer(client, wanted, wanted.payload + b"0123456789abcdef")
    given = next_command(client, Command.DMA_WRITE)
    assert given.payload == wire.DMA_ACCESS.encode(address=0x200, count=16) + b"0123456789abcdef"
    answer(client, given, given.payload[:16])

    client.finish(ident)
    assert read(client, DONE) == 1


def test_commands_that_arrive_while_dma_is_awaited_are_done_afterwards_in_order(stage: Stage) -> None:
    client = lazy_client(stage)
    client.post(Command.REGION_WRITE, access(0, SYNC, b"\1\0\0\0"))
    wanted = next_command(client, Command.DMA_READ)
    for value in range(10):
        client.post(Command.REGION_WRITE, access(0, SCRATCH, value.to_bytes(4, "little")))
    ident = client.start(Command.REGION_READ, wire.REGION_ACCESS.encode(offset=SCRATCH, count=4))
    answer(client, wanted, wanted.payload + bytes(16))
    given = next_command(client, Command.DMA_WRITE)
    answer(client, given, given.payload[:16])

    assert client.finish(ident).payload[16:] == b"\x09\0\0\0"


WRONG: dict[str, Callable[[bytes], bytes]] = {
    "address": lambda p: b"\xff" + p[1:] + bytes(16),
    "count": lambda p: p[:8] + b"\7" + p[9:] + bytes(16),
    "too short": lambda p: p + bytes(15),
    "too long": lambda p: p + bytes(17),
    "empty": lambda p: b"",
}


@pytest.mark.parametrize("what", WRONG)
def test_VFU_S_111_dma_replies_that_do_not_fit(stage: Stage, what: str) -> None:
    client = lazy_client(stage)
    ident = client.start(Command.REGION_WRITE, access(0, SYNC, b"\1\0\0\0"))
    wanted = next_command(client, Command.DMA_READ)
    answer(client, wanted, WRONG[what](wanted.payload))
    client.finish(ident)

    assert read(client, DONE) == 0
    assert stage.endpoints[0].log.numbers() == {"VFU-S-111"}
    assert stage.devices[0].rules.numbers() == {"MEM-01"}


def test_VFU_S_111_dma_reply_to_another_command(stage: Stage) -> None:
    client = lazy_client(stage)
    ident = client.start(Command.REGION_WRITE, access(0, SYNC, b"\1\0\0\0"))
    wanted = next_command(client, Command.DMA_READ)
    client.send(wire.pack(wanted.msg_id, Command.DMA_WRITE, wanted.payload + bytes(16), flags=wire.TYPE_REPLY))
    client.finish(ident)

    assert stage.endpoints[0].log.numbers() == {"VFU-S-111"}


def test_a_dma_error_reply_fails_the_transfer_only(stage: Stage) -> None:
    client = lazy_client(stage)
    ident = client.start(Command.REGION_WRITE, access(0, SYNC, b"\1\0\0\0"))
    wanted = next_command(client, Command.DMA_READ)
    answer(client, wanted, b"", wire.TYPE_REPLY | wire.ERROR, errno.ENODEV)
    client.finish(ident)

    assert (read(client, DONE), stage.endpoints[0].log.numbers()) == (0, set())


def test_a_client_that_never_answers_dma_is_asked_once(make_stage: MakeStage) -> None:
    stage = make_stage(dma_timeout_s=0.02)
    client = lazy_client(stage)
    ident = client.start(Command.REGION_WRITE, access(0, SYNC, b"\1\0\0\0"))
    next_command(client, Command.DMA_READ)
    client.finish(ident)
    write(client, SYNC, 1)  # fails at once

    assert stage.hears("failed: no reply in 0.02 s; start QEMU with -object memory-backend-memfd")
    assert read(client, DONE) == 0
    assert stage.said.empty()


def test_a_client_that_leaves_while_dma_is_awaited(stage: Stage) -> None:
    client = lazy_client(stage)
    client.post(Command.REGION_WRITE, access(0, SYNC, b"\1\0\0\0"))
    next_command(client, Command.DMA_READ)
    client.close()
    stage.hears("client gone")

    assert read(stage.client(), ID) == SCRATCH_ID


def test_a_server_can_be_stopped_while_dma_is_awaited(tmp_path: Path) -> None:
    device = ScratchDevice()
    server = Server(dma_timeout_s=60)
    server.add(device, tmp_path / "s")
    with server.background(WAIT), Client(tmp_path / "s") as client:
        client.call(Command.DMA_MAP, dma_map(0, 0x1000))
        write(client, LEN, 8)
        client.post(Command.REGION_WRITE, access(0, SYNC, b"\1\0\0\0"))
        next_command(client, Command.DMA_READ)
    device.close()


def test_qemu_is_told_what_is_missing_and_not_asked(stage: Stage) -> None:
    client = lazy_client(stage, capabilities=QEMU_CAPABILITIES)
    write(client, SYNC, 1)
    write(client, SYNC, 1)

    assert read(client, DONE) == 0
    assert stage.hears("guest memory is not shared: 0x100 came without a descriptor; start QEMU with")
    assert stage.said.empty()


def test_memory_that_reads_as_zeros_is_diagnosed(stage: Stage) -> None:
    client = stage.client(capabilities=QEMU_CAPABILITIES)
    read(client, ID)
    stage.devices[0].rules.note("MEM-03", "the shared area")

    assert "it reads as zeros" in stage.hears("guest memory is not shared")


# -- the loop --------------------------------------------------------------------------------------------------------


def test_a_watched_descriptor_wakes_the_device(make_stage: MakeStage) -> None:
    served: queue.Queue[int] = queue.Queue()

    class Fed(ScratchDevice):
        def service(self, budget: int, now_ns: int) -> bool:
            with suppress(BlockingIOError):
                served.put(right.recv(16)[0])
            return super().service(budget, now_ns)

    left, right = socket.socketpair()
    right.setblocking(False)
    stage = make_stage(devices=0, start=False)
    stage.stack.enter_context(left)
    stage.stack.enter_context(right)
    stage.add(Fed(), watch=[right])
    stage.start()
    for i in range(5):
        left.send(bytes([i]))
        assert served.get(timeout=WAIT) == i


def test_a_device_that_has_nothing_to_do_rests(make_stage: MakeStage) -> None:
    rested: queue.Queue[bool] = queue.Queue()

    class Tired(ScratchDevice):
        def rest(self) -> bool:
            rested.put(True)
            return False

    stage = make_stage(devices=0, start=False, polling=Polling(linger_ns=1000))
    stage.add(Tired())
    stage.start()
    client = stage.client()
    for _ in range(3):
        write(client, BELL, 1)
        assert rested.get(timeout=WAIT)


@pytest.mark.parametrize(("gap_ns", "soon"), [(399_999, True), (400_001, False)])
def test_the_server_spins_only_for_who_comes_back_at_once(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch, gap_ns: int, soon: bool
) -> None:
    work = [True, False, True, False, False]

    class Asked(ScratchDevice):
        def service(self, budget: int, now_ns: int) -> bool:
            return work.pop(0)

    stage = make_stage(devices=0, start=False, polling=Polling(spin_ns=400_000, doze_ns=50_000))
    stage.add(Asked())
    endpoint, now = stage.server.endpoints[0], 1_000_000_000
    monkeypatch.setattr(vfio_user_server, "_clock", lambda: now)
    endpoint.touch()
    waits = [endpoint.turn(now) for _ in range(2)]
    now += gap_ns
    waits += [endpoint.turn(now) for _ in range(2)]
    now += 400_000
    waits.append(endpoint.turn(now))

    assert waits == [0, 50_000, 0, 0 if soon else 50_000, 50_000]


@pytest.mark.parametrize("gathers", [True, False])
def test_work_is_left_to_gather_only_where_that_helps(make_stage: MakeStage, gathers: bool) -> None:
    class Busy(ScratchDevice):
        def service(self, budget: int, now_ns: int) -> bool:
            return True

    device = Busy()
    device.gathers = gathers
    stage = make_stage(devices=0, start=False, polling=Polling(nap_ns=50_000, hot=2))
    stage.add(device)
    endpoint = stage.server.endpoints[0]
    endpoint.touch()

    assert [endpoint.turn(0) for _ in range(4)] == ([0, 0, 50_000, 50_000] if gathers else [0] * 4)


def test_a_device_that_finds_work_when_it_rests_goes_on(make_stage: MakeStage) -> None:
    rested: queue.Queue[int] = queue.Queue()

    class Restless(ScratchDevice):
        def rest(self) -> bool:
            self.rests += 1
            rested.put(self.rests)
            return self.rests < 3

    stage = make_stage(devices=0, start=False, polling=RUNG)
    stage.add(Restless())
    stage.start()
    write(stage.client(), BELL, 1)

    assert [rested.get(timeout=WAIT) for _ in range(3)] == [1, 2, 3]


# -- faults on purpose -----------------------------------------------------------------------------------------------


def faulty(make_stage: MakeStage, kind: str, value: int = 0, command: str = ".REGION_READ") -> Client:
    """The first reply (to a read) suffers `kind`."""
    plan = FaultPlan([(f"vfio_user.reply{command}", 0, Fault(kind, value))])
    return make_stage(faults=plan).client(timeout_s=1.0)


def test_fault_split_header(make_stage: MakeStage) -> None:
    assert read(faulty(make_stage, "split", 7), ID) == SCRATCH_ID


def test_fault_late_reply(make_stage: MakeStage) -> None:
    assert read(faulty(make_stage, "late", 2_000_000), ID) == SCRATCH_ID


def test_fault_lost_reply(make_stage: MakeStage) -> None:
    client = faulty(make_stage, "lost")
    client.timeout_s = 0.02
    with pytest.raises(CallTimeout):
        read(client, ID)

    client.timeout_s = WAIT
    assert read(client, ID) == SCRATCH_ID


def test_fault_wrong_id(make_stage: MakeStage) -> None:
    client = faulty(make_stage, "wrong-id")
    client.timeout_s = 0.02
    with pytest.raises(CallTimeout):
        read(client, ID)

    assert client.rules.numbers() == {"VFU-C-003"}


@pytest.mark.parametrize("value", [0, 8, 20])
def test_fault_cut_connection(make_stage: MakeStage, value: int) -> None:
    with pytest.raises(PeerError):
        read(faulty(make_stage, "cut", value), ID)


def test_fault_that_is_none(tmp_path: Path) -> None:
    device = ScratchDevice()
    server = Server(faults=FaultPlan([("vfio_user.reply", None, Fault("tickle"))]))
    server.add(device, tmp_path / "s")
    with pytest.raises(ValueError, match="tickle"), server.background(), suppress(PeerError):
        Client(tmp_path / "s")
    device.close()


# -- what QEMU does --------------------------------------------------------------------------------------------------


def test_the_sequence_of_qemu_at_realise_and_reset(stage: Stage) -> None:
    """Sizes of every reply as QEMU has room for them. Seen in: QEMU 11.1, q35, a message trace."""
    ram, event = SharedBlock(0x10_0000), os.eventfd(0)
    client = stage.client(negotiate=False)

    def ask(command: int, payload: bytes = b"", fds: tuple[int, ...] = ()) -> int:
        return client.call(command, payload, fds, want_fds=True).size

    def config(offset: int, size: int, data: bytes = b"") -> int:
        head = wire.REGION_ACCESS.encode(offset=offset, region=7, count=size)
        return ask(Command.REGION_WRITE, head + data) if data else ask(Command.REGION_READ, head)

    assert ask(Command.VERSION, wire.version_payload(0, 0, QEMU_CAPABILITIES)) <= 214
    first = client.start(Command.DMA_MAP, dma_map(0, 0x10_0000), (ram.fd,))
    second = client.start(Command.DMA_MAP, dma_map(0xFFFC_0000, 0x4_0000, flags=1))
    assert [client.finish(first).size, client.finish(second).size] == [16, 16]
    assert ask(Command.DEVICE_GET_INFO, wire.DEVICE_INFO.encode(argsz=16)) == 32
    for index in (0, 1, 2, 3, 4, 5, 7):
        assert ask(Command.DEVICE_GET_REGION_INFO, wire.REGION_INFO.encode(argsz=32, index=index)) == 48
    with_area = client.call(Command.DEVICE_GET_REGION_INFO, wire.REGION_INFO.encode(argsz=80, index=1), want_fds=True)
    assert (with_area.size, len(with_area.fds)) == (96, 1)
    os.close(with_area.fds[0])
    assert ask(Command.DEVICE_GET_IRQ_INFO, wire.IRQ_INFO.encode(argsz=16, index=3)) == 32
    assert config(0, 256) == 288
    assert config(0x30, 4) == 36
    assert config(0x30, 4, b"\0\xf8\xff\xff") == 32
    assert config(0x3D, 1) == 33
    assert ask(Command.DEVICE_SET_IRQS, irqs(0, 0x24, 0, 1), (event,)) == 16
    assert ask(Command.DEVICE_SET_IRQS, irqs(3, 0x24, 0, 1), (event,)) == 16
    assert ask(Command.DEVICE_SET_IRQS, irqs(0, 0x21, 0, 0)) == 16
    assert config(4, 2, b"\0\0") == 32
    assert ask(Command.DEVICE_RESET) == 16
    assert ask(Command.DEVICE_SET_IRQS, irqs(0, 0x24, 0, 1), (event,)) == 16
    for bar in range(6):
        assert config(0x10 + 4 * bar, 4, bytes(4)) == 32
    assert ask(Command.DMA_UNMAP, dma_unmap(0, 0x10_0000)) == 40
    assert ask(Command.DMA_MAP, dma_map(0, 0xC_0000), (ram.fd,)) == 16
    assert not stage.endpoints[0].log
    ram.close()
    os.close(event)


def test_a_port_that_says_it_is_qemu(stage: Stage) -> None:
    port = VfioUserPort(stage.folder / "s0", capabilities=QEMU_CAPABILITIES)

    assert port.read(0, ID) == SCRATCH_ID
    assert port.rules.numbers() == {"VFU-C-008"}  # the mappable region without a descriptor
    port.close()
