"""QEMU's own vfio-user client on our server. The guest stays stopped: the test drives QEMU's buses over qtest."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from guest.kit import Kit

from pvdev.transport import vfio_user_wire as wire
from pvdev.transport.vfio_user import Server
from pvdev.transport.vfio_user_session import Answer, Session
from pvdev.transport.vfio_user_wire import Message
from tests.pair.vfio_user_rig import (
    BELL,
    DEVICE_ID,
    DONE,
    DST,
    FIRE,
    ICR,
    ID,
    LEN,
    MSIX_AT,
    SCRATCH,
    SCRATCH_ID,
    SRC,
    SYNC,
    VENDOR,
    ScratchDevice,
)

pytestmark = pytest.mark.guest

WAIT = 10.0
SHARED = ("-object", "memory-backend-memfd,id=m,size=64M,share=on", "-machine", "memory-backend=m")
PRIVATE = ("-object", "memory-backend-memfd,id=m,size=64M,share=off", "-machine", "memory-backend=m")
BARS = (0xFE00_0000, 0xFE01_0000, 0xFE02_0000, 0xC000)  # as firmware would place them


class Machine:
    """A QEMU without a CPU that runs: registers and memory are read and written from here."""

    def __init__(
        self,
        stack: ExitStack,
        qemu: tuple[str, ...],
        folder: Path,
        *memory: str,
        devices: int = 1,
        posted: bool = False,
        mappable: bool = True,
    ) -> None:
        self.log: list[str] = []
        self.devices = [ScratchDevice(mappable=mappable) for _ in range(devices)]
        for device in self.devices:
            stack.callback(device.close)
        self.server = Server(on_event=self.log.append, posted=posted)
        command = [*qemu, "-machine", "q35,accel=tcg", "-m", "64M", "-nodefaults", "-display", "none", *memory]
        for i, device in enumerate(self.devices):
            self.server.add(device, folder / f"s{i}")
            where = f'"addr":"{5 + i}.0","socket":{{"type":"unix","path":"{folder / f"s{i}"}"}}'
            command += ["-device", f'{{"driver":"vfio-user-pci",{where}}}']
        stack.enter_context(self.server.background())
        command += ["-S", "-qtest", f"unix:{folder / 'qtest'}", "-qtest-log", "/dev/null", "-monitor", "stdio"]
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "qtest"))
            listener.listen()
            listener.settimeout(WAIT)
            self.process = stack.enter_context(
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
                )
            )
            stack.callback(self.process.kill)
            self.sock, _ = listener.accept()
        self.sock.settimeout(WAIT)
        self.lines = self.sock.makefile()
        stack.callback(self.lines.close)
        stack.callback(self.sock.close)

    def do(self, command: str) -> str:
        """One qtest command; its answer."""
        self.sock.sendall(f"{command}\n".encode())
        while not (line := self.lines.readline()).startswith(("OK", "FAIL")):
            assert line, "QEMU is gone"
        assert line.startswith("OK"), line
        return line[3:].strip()

    def config(self, slot: int, offset: int, value: int | None = None) -> int:
        """Read or write 4 bytes of config space."""
        self.do(f"outl 0xcf8 {0x8000_0000 | slot << 11 | offset}")
        return int(self.do("inl 0xcfc"), 16) if value is None else len(self.do(f"outl 0xcfc {value}"))

    def enable(self, slot: int = 5) -> None:
        for i, address in enumerate(BARS):
            self.config(slot, 0x10 + 4 * i, address)
        self.config(slot, 4, 7)

    def get(self, register: int, bar: int = 0) -> int:
        return int(self.do(f"readl {BARS[bar] + register}"), 16)

    def put(self, register: int, value: int, bar: int = 0) -> None:
        self.do(f"writel {BARS[bar] + register} {value}")

    def memory(self, address: int, size: int) -> bytes:
        return bytes.fromhex(self.do(f"read {address} {size}")[2:])

    def fill(self, address: int, data: bytes) -> None:
        self.do(f"write {address} {len(data)} 0x{data.hex()}")

    def copy(self, data: bytes, register: int = SYNC) -> None:
        self.fill(0x10_0000, data)
        for where, value in ((SRC, 0x10_0000), (DST, 0x20_0000), (LEN, len(data)), (register, 1)):
            self.put(where, value)

    def quit(self) -> int:
        """QEMU's exit status."""
        self.process.communicate("quit\n", timeout=WAIT)
        return self.process.returncode


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


@pytest.fixture
def machine(stack: ExitStack, guest_kit: Kit, tmp_path: Path) -> Machine:
    made = Machine(stack, guest_kit.qemu, tmp_path, *SHARED)
    made.enable()
    return made


PATTERN = bytes(range(1, 251))


def test_qemu_realises_the_device(machine: Machine) -> None:
    assert machine.config(5, 0) == DEVICE_ID << 16 | VENDOR
    assert machine.get(ID) == SCRATCH_ID
    assert "QEMU" in machine.log[0]
    assert machine.quit() == 0
    assert not machine.server.endpoints[0].log


def test_a_register_write_is_done_when_qemu_has_made_it(machine: Machine) -> None:
    for value in range(50):
        machine.put(SCRATCH, value)
        assert machine.devices[0].regs.values["SCRATCH"][0] == value  # looked at without another access


@pytest.mark.parametrize("posted", [False, True])
def test_qemu_posts_writes_only_when_allowed(
    stack: ExitStack, guest_kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, posted: bool
) -> None:
    flags: set[int] = set()
    original = Session.handle

    def handle(self: Session, message: Message) -> Answer | None:
        flags.add(message.flags)
        return original(self, message)

    monkeypatch.setattr(Session, "handle", handle)
    machine = Machine(stack, guest_kit.qemu, tmp_path, *SHARED, posted=posted, mappable=False)
    machine.enable()
    for value in range(500):
        machine.put(SCRATCH, value)

    assert machine.get(SCRATCH) == 499
    assert flags == ({0, wire.NO_REPLY} if posted else {0})


def test_dma_goes_through_shared_memory(machine: Machine) -> None:
    machine.copy(PATTERN)

    assert machine.memory(0x20_0000, len(PATTERN)) == PATTERN
    assert machine.get(DONE) == 1
    assert not machine.devices[0].rules


def test_mapped_memory_of_a_bar_is_written_without_a_message(machine: Machine) -> None:
    machine.put(0x1010, 0x1234_5678, bar=1)

    assert bytes(machine.devices[0].block.view[0x1010:0x1014]) == bytes.fromhex("78563412")
    machine.put(0x10, 0x99, bar=1)  # not in the mappable areas
    assert machine.devices[0].block.view[0x10] == 0x99


def test_msix_messages_arrive(machine: Machine) -> None:
    """The message is a store to an address of the table: here to memory that can be looked at."""
    for vector in (0, 11):
        for at, value in ((0, 0x30_0000 + 4 * vector), (4, 0), (8, 0x4D53_4900 + vector), (12, 0)):
            machine.put(16 * vector + at, value, bar=2)
    machine.config(5, MSIX_AT, machine.config(5, MSIX_AT) & 0xFFFF | 0x8000_0000)
    machine.put(FIRE, 11)
    machine.put(FIRE, 0)

    while int.from_bytes(machine.memory(0x30_0000, 4), "little") != 0x4D53_4900:
        machine.get(ID)
    assert int.from_bytes(machine.memory(0x30_002C, 4), "little") == 0x4D53_490B


def test_work_after_a_doorbell(machine: Machine) -> None:
    machine.copy(PATTERN, BELL)

    while machine.get(ICR) != 1:
        machine.get(ID)
    assert machine.memory(0x20_0000, len(PATTERN)) == PATTERN


def test_system_reset(machine: Machine) -> None:
    assert machine.process.stdin is not None
    machine.put(SCRATCH, 5)
    before = machine.devices[0].resets
    machine.process.stdin.write("system_reset\n")
    machine.process.stdin.flush()

    while machine.devices[0].resets == before:
        machine.config(5, 0)
    machine.enable()
    assert machine.get(SCRATCH) == 0
    assert machine.quit() == 0


def test_two_devices(stack: ExitStack, guest_kit: Kit, tmp_path: Path) -> None:
    machine = Machine(stack, guest_kit.qemu, tmp_path, *SHARED, devices=2)

    assert [machine.config(slot, 0) for slot in (5, 6)] == [DEVICE_ID << 16 | VENDOR] * 2
    machine.enable(6)
    machine.put(SCRATCH, 7)
    assert [device.regs.values["SCRATCH"][0] for device in machine.devices] == [0, 7]


@pytest.mark.parametrize("register", [SYNC, BELL])
def test_memory_that_is_not_shared_is_diagnosed_and_the_link_lives(
    stack: ExitStack, guest_kit: Kit, tmp_path: Path, register: int
) -> None:
    machine = Machine(stack, guest_kit.qemu, tmp_path)  # plain -m
    machine.enable()
    machine.fill(0x20_0000, b"untouched")
    machine.copy(PATTERN, register)
    machine.copy(PATTERN)

    assert machine.get(ID) == SCRATCH_ID
    assert machine.get(DONE) == 0
    assert machine.memory(0x20_0000, 9) == b"untouched"
    (line,) = machine.log[1:]
    assert "guest memory is not shared: 0x100000 came without a descriptor" in line
    assert machine.devices[0].rules.numbers() == {"MEM-01"}


def test_private_memory_with_a_descriptor_is_diagnosed(stack: ExitStack, guest_kit: Kit, tmp_path: Path) -> None:
    machine = Machine(stack, guest_kit.qemu, tmp_path, *PRIVATE)
    machine.enable()
    machine.copy(PATTERN)
    machine.copy(PATTERN)

    assert machine.get(ID) == SCRATCH_ID
    (line,) = machine.log[1:]
    assert "it reads as zeros" in line
    assert machine.devices[0].rules.numbers() == {"MEM-03"}


def test_one_server_serves_one_qemu_after_another(stack: ExitStack, guest_kit: Kit, tmp_path: Path) -> None:
    machine = Machine(stack, guest_kit.qemu, tmp_path, *SHARED)
    where = f'"socket":{{"type":"unix","path":"{tmp_path / "s0"}"}}'
    assert machine.quit() == 0

    again = [*guest_kit.qemu, "-machine", "q35,accel=tcg", "-S", "-nodefaults", "-display", "none", "-monitor", "stdio"]
    again += ["-device", f'{{"driver":"vfio-user-pci",{where}}}']
    done = subprocess.run(again, input="quit\n", capture_output=True, text=True, timeout=WAIT)

    assert (done.returncode, done.stderr) == (0, "")
