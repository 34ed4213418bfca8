"""Command buffers: queues of two contexts, the device context that steers them, and what is told of each buffer.

A header is copied when it is submitted, its commands when their turn comes: what a driver changes later is not looked
at. An error stops both contexts until START, with the buffers behind it untouched.
Ref: svga_reg.h (SVGACBHeader and the comments on each status); Linux vmwgfx_cmdbuf.c (what is expected of recovery).
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import ClassVar

from pvdev.errors import GuestFault
from pvdev.mem import GuestMemory
from svga.interrupts import Causes
from svga.planes import Pages
from svga.profiles import Profile
from svga.stream import Refused, Stream
from svga.wire import PAGE, Cap, Cap2, Irq
from svga.wire_commands import (
    CB_CONTEXT_MASK,
    CB_HEADER,
    CB_QUEUED_MAX,
    CB_SIZE_MAX,
    CB_SIZE_MAX_4MB,
    CONTEXT_0,
    CONTEXT_1,
    CONTEXT_DEVICE,
    DC_WORDS,
    CbFlag,
    CbStatus,
    Dc,
)

Note = Callable[[str, str, int], None]
SPENT_MAX = 64 << 20  # bytes moved by commands before others get their turn
_FLAGS = int(CbFlag.NO_IRQ | CbFlag.MOB)  # a plain number: ~ of a flag knows its own bits only
_word = Struct("<I")


@dataclass(eq=False)
class CommandBuffer:
    """A buffer on its way. `at`: byte of the next command; `data`: its commands, once it has begun."""

    header: int
    id: int
    flags: int
    length: int
    ptr: int
    at: int
    data: memoryview | None = None
    raw: bytes = b""  # its header as it was submitted
    stop: bool = False  # ASYNC_STOP_QUEUE: no further than the command at hand

    @property
    def mob(self) -> tuple[int, int]:
        """(mobid, offset) where the MOB flag says the pointer is that."""
        return self.ptr & 0xFFFF_FFFF, self.ptr >> 32


class Context:
    """One queue, in order of submission."""

    def __init__(self) -> None:
        self.queue: deque[CommandBuffer] = deque()
        self.running = False


class Buffers:
    """`mob`: the pages of a MOB, by id; raises `GuestFault`. `ready`: buffers may be submitted (ENABLE, CONFIG_DONE).

    `may_dma`: the device may reach memory; it notes the place where that is missing.
    """

    STATE: ClassVar[tuple[str, ...]] = ("contexts", "_high", "_low", "_failed")

    def __init__(
        self,
        profile: Profile,
        mem: GuestMemory,
        stream: Stream,
        causes: Causes,
        note: Note,
        *,
        mob: Callable[[int], Pages],
        ready: Callable[[], bool],
        may_dma: Callable[[str], bool],
    ) -> None:
        self._mem, self._stream, self._causes, self._note = mem, stream, causes, note
        self._mob, self._ready, self._may_dma = mob, ready, may_dma
        self._biased = bool(profile.caps & Cap.CMD_BUFFERS_2)
        self._mobs = bool(profile.caps & Cap.GBOBJECTS)
        self._contexts = (CONTEXT_0, CONTEXT_1) if profile.caps & Cap.HP_CMD_QUEUE else (CONTEXT_0,)
        self._largest = CB_SIZE_MAX_4MB if profile.caps2 & Cap2.CB_MAX_SIZE_4MB else CB_SIZE_MAX
        self.reset()

    def reset(self) -> None:
        self.contexts = {number: Context() for number in self._contexts}
        self._high = self._low = 0
        self._failed = False  # a buffer was refused: nothing goes on before START

    # -- submission ----------------------------------------------------------------------------------------------------

    def _read_COMMAND_HIGH(self) -> int:
        return self._high

    def _write_COMMAND_HIGH(self, value: int) -> None:
        self._high = value

    def _read_COMMAND_LOW(self) -> int:
        return self._low

    def submit(self, value: int) -> None:
        """COMMAND_LOW was written."""
        self._low = value
        self._submit(self._high << 32 | value & ~CB_CONTEXT_MASK, value & CB_CONTEXT_MASK)

    def _submit(self, address: int, context: int) -> None:
        note, mem = self._note, self._mem
        if not self._may_dma("COMMAND_LOW"):
            return
        if not mem.reachable(address, CB_HEADER.size, write=True):
            note("SVG-D-045", "command buffer header", address)
            if mem.reachable(address, 4, write=True):
                self._end(address, CbStatus.SUBMISSION_ERROR)
            return
        raw = mem.read(address, CB_HEADER.size)
        queue = self.contexts.get(context)
        if not self._ready() or (queue is None and context != CONTEXT_DEVICE):
            note("SVG-D-046", "context", context)
            self._end(address, CbStatus.SUBMISSION_ERROR)
            return
        fields = CB_HEADER.decode(raw)
        rest, numbers = fields["mustBeZero"], CB_HEADER.numbers(raw)
        buffer = CommandBuffer(
            address, numbers["id"], numbers["flags"], numbers["length"], numbers["ptr"], numbers["offset"]
        )
        wrong = self._wrong(numbers, buffer)
        if any(rest if isinstance(rest, bytes) else b"") or wrong is not None:
            note("SVG-D-045", "command buffer header", wrong if wrong is not None else 1)
            self._end(address, CbStatus.CB_HEADER_ERROR)
            self._causes.signal(Irq.ERROR | Irq.COMMAND_BUFFER)
        elif context == CONTEXT_DEVICE:
            self._device_context(buffer)
        elif queue is not None and not (queue.running or self._failed):
            note("SVG-D-046", "context not started", context)
            self._end(address, CbStatus.SUBMISSION_ERROR)
        elif queue is not None and len(queue.queue) >= CB_QUEUED_MAX:
            note("SVG-D-046", "queue full", context)
            self._end(address, CbStatus.QUEUE_FULL)
        elif queue is not None:
            buffer.raw = bytes(raw)
            queue.queue.append(buffer)

    def _wrong(self, numbers: dict[str, int], buffer: CommandBuffer) -> int | None:
        """A value of the header that cannot be, or None."""
        flags, length = buffer.flags, buffer.length
        if numbers["status"] != CbStatus.NONE:
            self._note("SVG-D-045", "status", numbers["status"])  # nobody needs it to be anything
        if flags & ~_FLAGS or (flags & CbFlag.MOB and not self._mobs):
            return flags
        if numbers["dxContext"]:
            return numbers["dxContext"]
        if length > self._largest or length % 4:
            return length
        if buffer.at and (not self._biased or buffer.at > length or buffer.at % 4):
            return buffer.at
        if length and not flags & CbFlag.MOB and not self._mem.reachable(buffer.ptr, length):
            return buffer.ptr
        return None

    def _end(self, header: int, status: CbStatus, offset: int | None = None) -> bool:
        """Tell what became of a buffer: the status last, in one word. False: its header is gone."""
        try:
            if offset is not None:
                self._mem.write(header + CB_HEADER.offset["errorOffset"], _word.pack(offset))
            self._mem.write(header, _word.pack(status))
        except GuestFault as fault:
            self._note(fault.rule, "command buffer header", fault.value)
            return False
        return True

    def _release(self, buffer: CommandBuffer, status: CbStatus, offset: int | None = None) -> None:
        """Tell what became of a buffer that was queued, and whether its header was left alone."""
        if self._mem.reachable(buffer.header, CB_HEADER.size):
            now = self._mem.read(buffer.header, CB_HEADER.size)
            if now != buffer.raw:
                at = next(n for n in range(CB_HEADER.size) if now[n] != buffer.raw[n])
                self._note("SVG-D-047", "command buffer header", at)
        self._end(buffer.header, status, offset)

    def _fetch(self, buffer: CommandBuffer) -> memoryview:
        """Its commands, private. Raises `GuestFault`."""
        if buffer.flags & CbFlag.MOB:
            mobid, offset = buffer.mob
            return memoryview(bytes(self._mob(mobid).read(offset, buffer.length)))
        return memoryview(self._mem.read(buffer.ptr, buffer.length))

    # -- work ----------------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        return self._next() is not None

    def _next(self) -> Context | None:
        """Whose turn it is: the high-priority context before the other, which runs only while both may."""
        for number in reversed(self._contexts):
            context = self.contexts[number]
            if not context.running:
                return None
            if context.queue:
                return context
        return None

    def drain(self, budget: int) -> int:
        """Carry out up to about `budget` commands; how many were."""
        stream, done = self._stream, 0
        until = stream.spent + SPENT_MAX
        while done < budget and stream.spent < until and (context := self._next()) is not None:
            done += 1 + self._run(context, context.queue[0], budget - done, until)
        return done

    def _run(self, context: Context, buffer: CommandBuffer, budget: int, until: int) -> int:
        """Go on with the first buffer of a context; how many commands were done."""
        stream, done = self._stream, 0
        if buffer.data is None:
            try:
                buffer.data = self._fetch(buffer)
            except GuestFault as fault:
                self._note(fault.rule, f"command buffer: {fault.what}", fault.value)
                self._finish(context, buffer, CbStatus.CB_HEADER_ERROR)
                return 0
            stream.spend(buffer.length)
        data, at, size = buffer.data, buffer.at, buffer.length
        while at < size:
            if buffer.stop or done >= budget or stream.spent >= until:
                buffer.at = at
                if buffer.stop:
                    self._finish(context, buffer, CbStatus.PARTIAL_COMPLETE, at)
                return done
            try:
                length = stream.step(data, at)
                if not length:
                    raise Refused("SVG-D-049", "command buffer", at, 0)
            except Refused as fault:
                self._note(fault.rule, fault.what, fault.value)
                self._finish(context, buffer, CbStatus.COMMAND_ERROR, at)
                return done
            at += length
            done += 1
        self._finish(context, buffer, CbStatus.COMPLETED)
        return done

    def _finish(self, context: Context, buffer: CommandBuffer, status: CbStatus, offset: int | None = None) -> None:
        context.queue.popleft()
        if status is CbStatus.COMMAND_ERROR:
            for each in self.contexts.values():
                each.running = False
            self._failed = True
        elif status is CbStatus.PARTIAL_COMPLETE:
            context.running = False
        self._release(buffer, status, offset)
        if status in (CbStatus.COMMAND_ERROR, CbStatus.CB_HEADER_ERROR):
            self._causes.signal(Irq.ERROR | Irq.COMMAND_BUFFER)
        elif not buffer.flags & CbFlag.NO_IRQ:
            self._causes.signal(Irq.COMMAND_BUFFER)

    # -- the device context --------------------------------------------------------------------------------------------

    def _device_context(self, buffer: CommandBuffer) -> None:
        """Everything in it is done, and its status there, when this returns."""
        try:
            if not buffer.flags & CbFlag.MOB and buffer.ptr % PAGE + buffer.length > PAGE:
                raise GuestFault("SVG-D-048", "across a page", buffer.length)
            data = self._fetch(buffer)
        except GuestFault as fault:
            self._note(fault.rule, f"device context: {fault.what}", fault.value)
            self._end(buffer.header, CbStatus.CB_HEADER_ERROR)
            self._causes.signal(Irq.ERROR | Irq.COMMAND_BUFFER)
            return
        words, at = data.cast("I"), buffer.at // 4
        status, error = CbStatus.COMPLETED, None
        while at < len(words):
            count = DC_WORDS.get(Dc(words[at])) if words[at] < len(Dc) else None
            if count is None or at + 1 + count > len(words):
                self._note("SVG-D-048", "device context", words[at])
                status, error = CbStatus.COMMAND_ERROR, 4 * at
                break
            if not self._steer(Dc(words[at]), *words[at + 1 : at + 1 + count]):
                self._note("SVG-D-048", f"device context: {Dc(words[at]).name}", words[at + 1])
                status, error = CbStatus.COMMAND_ERROR, 4 * at
                break
            at += 1 + count
        self._end(buffer.header, status, error)
        if status is CbStatus.COMMAND_ERROR:
            self._causes.signal(Irq.ERROR | Irq.COMMAND_BUFFER)
        elif not buffer.flags & CbFlag.NO_IRQ:
            self._causes.signal(Irq.COMMAND_BUFFER)

    def _steer(self, command: Dc, *words: int) -> bool:
        """One command of the device context; False: it asks for what is not there."""
        if command is Dc.NOP:
            return True
        if command is Dc.START_STOP_CONTEXT:
            enable, number = words
            if number != CONTEXT_0:
                return False
            for each in self.contexts.values():
                each.running = bool(enable)
            self._failed = self._failed and not enable
            return True
        context = self.contexts.get(words[0])
        if context is None or (command is not Dc.PREEMPT and len(self.contexts) == 1):
            return False
        if command is Dc.PREEMPT or command is Dc.EMPTY_CONTEXT_QUEUE:
            spared = command is Dc.PREEMPT and bool(words[1])
            self._take_back(context, spare_id_0=spared)
        elif command is Dc.START_QUEUE:
            context.running, self._failed = True, False
        elif context.queue and context.queue[0].data is not None:
            context.queue[0].stop = True
        else:
            context.running = False
        return True

    def _take_back(self, context: Context, *, spare_id_0: bool) -> None:
        """Every buffer that has not begun goes back to the driver, but for those of id 0 if they are spared."""
        kept = deque(buffer for buffer in context.queue if buffer.data is not None or (spare_id_0 and not buffer.id))
        for buffer in context.queue:
            if buffer not in kept:
                self._release(buffer, CbStatus.PREEMPTED)
        context.queue = kept
