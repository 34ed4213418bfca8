"""A small device that shows everything a transport carries, and the fakes around it.

BAR0 registers (4 bytes each): copies guest memory at a doorbell, raises interrupts of every kind. BAR1: memory, two
pages of it mappable. BAR2: MSI-X. BAR3: I/O ports.
"""

from collections.abc import Callable, Sequence

from pvdev.irq import Interrupts
from pvdev.mem import Buffer, DmaFault, GuestMemory, Remote, SharedBlock
from pvdev.pci import Bar, Identity, MsixBar, PciFunction, msi, msix, pcie_endpoint, power_management
from pvdev.regs import Reg, RegBlock
from pvdev.rules import MEMORY_RULES, Rule, RuleBook, RuleLog, Severity
from pvdev.trace import Sink
from pvdev.transport import vfio_user_wire as wire
from pvdev.transport.vfio_user_dma import FileId
from pvdev.transport.vfio_user_session import Options, Session
from pvdev.transport.vfio_user_wire import Command, Message, MessageReader

ID, SRC, DST, LEN, BELL, ICR, SCRATCH, VECTOR, DONE, SYNC, AFTER, LINE, FIRE = (4 * i for i in range(13))
SCRATCH_ID = 0x5C2A7C11
VENDOR, DEVICE_ID = 0x1234, 0x5C2A
VECTORS = 20
MSI_AT, MSIX_AT = 0x84, 0x9C
AREAS = ((0x1000, 0x1000), (0x3000, 0x1000))
PROBLEM = Rule("SCR-01", Severity.VIOLATION, "registers are accessed 4 bytes at a time", "this test device")

REGISTERS = (
    Reg(ID, "ID", "ro"),  # SCRATCH_ID
    Reg(SRC, "SRC"),  # guest address copied from
    Reg(DST, "DST"),  # guest address copied to
    Reg(LEN, "LEN"),  # bytes
    Reg(BELL, "BELL", "wo"),  # write n: n copies, done by `service`
    Reg(ICR, "ICR", "ro"),  # interrupt cause: clears, drops the INTx line
    Reg(SCRATCH, "SCRATCH"),
    Reg(VECTOR, "VECTOR"),  # message that says "copied"
    Reg(DONE, "DONE"),  # copies so far
    Reg(SYNC, "SYNC", "wo"),  # write: one copy, done by the write itself
    Reg(AFTER, "AFTER", "wo"),  # write ns: an interrupt that much later
    Reg(LINE, "LINE", "wo"),  # write: the INTx level
    Reg(FIRE, "FIRE", "wo"),  # write: fire that message at once
)


class Memory:
    """BAR1's handler."""

    def __init__(self, block: SharedBlock) -> None:
        self.block = block

    def read(self, offset: int, size: int) -> int:
        return int.from_bytes(self.block.view[offset : offset + size], "little")

    def write(self, offset: int, size: int, value: int) -> None:
        self.block.view[offset : offset + size] = value.to_bytes(size, "little")


class Ports:
    """BAR3's handler: 16 bytes of storage."""

    def __init__(self) -> None:
        self.data = bytearray(16)

    def read(self, offset: int, size: int) -> int:
        return int.from_bytes(self.data[offset : offset + size], "little")

    def write(self, offset: int, size: int, value: int) -> None:
        self.data[offset : offset + size] = value.to_bytes(size, "little")


class ScratchDevice:
    """Copies memory, raises interrupts. Every access is in `log`."""

    def __init__(self, *, mappable: bool = True, pin: int = 1) -> None:
        self.name, self.mem, self.trace = "scratch", GuestMemory(), None
        self.rules = RuleLog(RuleBook(MEMORY_RULES, (PROBLEM,)))
        self.polled = self.kicked = self.gathers = False
        self.resets = self.rests = self.rounds = 0
        self.block = SharedBlock(0x4000, "scratch-bar1")
        self.regs = RegBlock("scratch.BAR0", REGISTERS, (self,), self.rules.note, "SCR-01")
        irq = Interrupts(VECTORS)
        bars = {
            0: Bar(0x1000, self.regs),
            1: Bar(
                0x4000, Memory(self.block), shared=self.block if mappable else None, areas=AREAS if mappable else ()
            ),
            2: Bar(0x2000, MsixBar(irq, 0x1000)),
            3: Bar(16, Ports(), io=True),
        }
        caps = [
            power_management(0x40),
            pcie_endpoint(0x48),
            msi(MSI_AT),
            msix(MSIX_AT, vectors=VECTORS, bar=2, pba=0x1000),
        ]
        self.pci = PciFunction(Identity(VENDOR, DEVICE_ID, 0xFF0000, pin=pin), bars, caps, irq)
        self._clear()

    trace: Sink | None

    def _clear(self) -> None:
        self.kicked = False
        self._todo = self._cause = self._now = 0
        self._due: int | None = None
        self._after = 0

    def reset(self) -> None:
        self.resets += 1
        self.pci.reset()
        self.regs.reset()
        self.block.view[:] = bytes(self.block.size)
        self._clear()

    def close(self) -> None:
        self.block.close()

    def _read_ID(self) -> int:
        return SCRATCH_ID

    def _write_BELL(self, value: int) -> None:
        self._todo += value
        self.kicked = True

    def _write_SYNC(self, value: int) -> None:
        self._copy()

    def _write_AFTER(self, value: int) -> None:
        self._after, self.kicked = value, True

    def _write_LINE(self, value: int) -> None:
        self.pci.irq.set_line(bool(value))

    def _write_FIRE(self, value: int) -> None:
        self.pci.irq.fire(value)

    def _read_ICR(self) -> int:
        cause, self._cause = self._cause, 0
        self.pci.irq.set_line(False)
        return cause

    def _copy(self) -> None:
        src, dst, length = (self.regs.values[name][0] for name in ("SRC", "DST", "LEN"))
        try:
            data = self.mem.read(src, length)
            if length and not any(data):
                self.rules.note("MEM-03", "what is to be copied", src)
            self.mem.write(dst, data)
        except DmaFault as fault:
            self.rules.note(fault.rule, "copy", fault.value)
            return
        self.regs.values["DONE"][0] += 1

    def _interrupt(self) -> None:
        self._cause |= 1
        self.pci.irq.set_line(True)
        self.pci.irq.fire(self.regs.values["VECTOR"][0])

    def service(self, budget: int, now_ns: int) -> bool:
        self.kicked, worked = False, False
        self.rounds += 1
        if self._after:
            self._due, self._after = now_ns + self._after, 0
        if self._due is not None and now_ns >= self._due:
            self._due, worked = None, True
            self._interrupt()
        for _ in range(min(budget, self._todo)):
            self._todo -= 1
            self._copy()
            worked = True
            if not self._todo:
                self._interrupt()
        return worked

    def deadline(self) -> int | None:
        return self._due

    def rest(self) -> bool:
        self.rests += 1
        return False


class FakeFile:
    """What a fake descriptor stands for: memory, or something that cannot be mapped (`error`)."""

    def __init__(self, size: int = 0x10000, inode: int = 1, error: int = 0) -> None:
        self.data, self.id, self.error = bytearray(size), FileId(1, inode, None if error else size), error


class FakeMapped:
    def __init__(self, view: memoryview) -> None:
        self.view = view

    def close(self) -> bool:
        self.view.release()
        return True


class FakeHost:
    """A session's outside, in memory. Descriptors are any numbers; those in `files` can be mapped."""

    def __init__(self) -> None:
        self.files: dict[int, FakeFile] = {}
        self.closed: list[int] = []
        self.signalled: list[int] = []
        self.adopted: list[int] = []
        self.watched: dict[int, Callable[[], None]] = {}
        self.events: list[str] = []
        self.others: set[int] = set()  # descriptors that are no eventfds
        self.full: set[int] = set()  # eventfds that take nothing

    def identify(self, fd: int) -> FileId:
        return self.files[fd].id

    def map(self, fd: int, offset: int, size: int, *, write: bool) -> FakeMapped:
        file = self.files[fd]
        if file.error:
            raise OSError(file.error, "cannot be mapped")
        whole = memoryview(file.data)
        return FakeMapped((whole if write else whole.toreadonly())[offset : offset + size])

    def close(self, fd: int) -> None:
        self.closed.append(fd)
        self.watched.pop(fd, None)

    def is_eventfd(self, fd: int) -> bool:
        return fd not in self.others

    def adopt(self, fd: int) -> None:
        self.adopted.append(fd)

    def signal(self, fd: int) -> bool:
        self.signalled.append(fd)
        return fd not in self.full

    def watch(self, fd: int, written: Callable[[], None]) -> None:
        self.watched[fd] = written

    def twin(self) -> int:
        return 99

    def remote(self) -> Remote:
        return FakeRemote()

    def event(self, line: str) -> None:
        self.events.append(line)


class FakeRemote:
    def read(self, address: int, length: int) -> bytes:
        return b"R" * length

    def write(self, address: int, data: Buffer) -> None:
        pass


class Talk:
    """A session with a fake outside, and a way to speak to it."""

    def __init__(self, device: ScratchDevice, *, strict: bool = False, posted: bool = False) -> None:
        self.device, self.host = device, FakeHost()
        self.session = Session(device, self.host, Options(posted=posted, strict=strict))
        self.log = self.session.log

    def hello(self, capabilities: dict[str, object] | None = None, minor: int = 0) -> Message:
        reply = self.say(Command.VERSION, wire.version_payload(0, minor, capabilities))
        assert reply is not None
        return reply

    def say(
        self, command: int, payload: bytes = b"", fds: Sequence[int] = (), *, flags: int = 0, error: int = 0
    ) -> Message | None:
        """The reply to one command."""
        (message,) = MessageReader().feed(wire.pack(7, command, payload, flags=flags, error=error), fds)
        return self.feed(message)

    def feed(self, message: Message) -> Message | None:
        answer = self.session.handle(message)
        self.session.irqs.deliver()
        if answer is None:
            return None
        (reply,) = MessageReader().feed(answer[0], answer[1])
        assert reply.is_reply
        assert reply.msg_id == message.msg_id
        return reply

    def refused(self, command: int, payload: bytes = b"", fds: Sequence[int] = ()) -> int:
        """The errno of a command that must fail; the reply is the bare header."""
        reply = self.say(command, payload, fds)
        assert reply is not None
        assert reply.flags == wire.TYPE_REPLY | wire.ERROR
        assert reply.payload == b""
        return reply.error

    def done(self, command: int, payload: bytes = b"", fds: Sequence[int] = ()) -> bytes:
        """The payload of a command that must succeed."""
        reply = self.say(command, payload, fds)
        assert reply is not None
        assert reply.flags == wire.TYPE_REPLY
        assert reply.error == 0
        return reply.payload

    def read(self, region: int, offset: int, size: int = 4) -> int:
        payload = self.done(Command.REGION_READ, wire.REGION_ACCESS.encode(offset=offset, region=region, count=size))
        return int.from_bytes(payload[16:], "little")

    def write(self, region: int, offset: int, value: int, size: int = 4) -> None:
        self.done(Command.REGION_WRITE, access(region, offset, value.to_bytes(size, "little")))

    def set_irqs(
        self, index: int, flags: int, start: int, count: int, data: bytes = b"", fds: Sequence[int] = ()
    ) -> None:
        self.done(Command.DEVICE_SET_IRQS, irqs(index, flags, start, count, data), fds)


def access(region: int, offset: int, data: bytes) -> bytes:
    """A REGION_WRITE payload."""
    return wire.REGION_ACCESS.encode(offset=offset, region=region, count=len(data)) + data


def irqs(index: int, flags: int, start: int, count: int, data: bytes = b"") -> bytes:
    """A SET_IRQS payload."""
    return wire.SET_IRQS.encode(argsz=20 + len(data), flags=flags, index=index, start=start, count=count) + data


def dma_map(address: int, size: int, *, offset: int = 0, flags: int = 3, argsz: int = 32) -> bytes:
    return wire.DMA_MAP.encode(argsz=argsz, flags=flags, offset=offset, address=address, size=size)


def dma_unmap(address: int, size: int, *, flags: int = 0, argsz: int = 24) -> bytes:
    return wire.DMA_UNMAP.encode(argsz=argsz, flags=flags, address=address, size=size)
