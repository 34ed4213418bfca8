"""The PVSCSI adapter: registers, commands and states; requests run in `engine.py`.

A pure state machine. Memory, targets and time come in; register values and interrupts (`pci.irq`) come out.

Ref: Linux drivers/scsi/vmw_pvscsi.c, FreeBSD, OpenBSD, illumos, OVMF and SeaBIOS (what is asked of it); docs/RULES.md
(what it asks of them).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from pvdev.faults import FaultPlan
from pvdev.irq import Interrupts, Mode, Moderator, Pace
from pvdev.mem import DmaFault, GuestMemory, fence
from pvdev.regs import RegBlock
from pvdev.rules import RuleLog
from pvdev.trace import Sink
from pvscsi.config import FAILED, page
from pvscsi.engine import Engine
from pvscsi.function import LAYOUTS, REGISTERS, pci_function
from pvscsi.queue import Queue
from pvscsi.rules import RULES
from pvscsi.scsi.target import Target
from pvscsi.wire import (
    ABORT_CMD,
    ADDRESS_CONTROLLER,
    ARGUMENTS,
    CONFIG,
    CONFIG_HEADER,
    INTR_ALL,
    MAX_MSG_PAGES,
    MAX_PAGES,
    MSG_DEV_ADDED,
    MSG_DEV_REMOVED,
    MSIX_VECTORS,
    PAGE,
    RESET_DEVICE,
    REVISION,
    SETUP_MSG_RING,
    SETUP_RINGS,
    STATUS_FAILED,
    Cmd,
    HostStatus,
    Intr,
)

MAX_TARGETS = 65  # places for targets; VMware's product says the same
KICKS_OFF = 1 << 30  # reqCallThreshold while the rings are polled
RELOOK_NS = 50_000, 1_000_000  # after asking for kicks again: a store and a load may have crossed; look again then
INTX_PATIENCE_NS = 2_000_000_000
PPN_END = 1 << 52
_PROBES = (Cmd.SETUP_MSG_RING, Cmd.DEVICE_UNPLUG, Cmd.SETUP_REQCALLTHRESHOLD)


class Pvscsi:
    """One adapter. `targets`: number -> target, 0 to 64; more come and go with `add` and `remove`.

    `layout`: "flat" (registers at BAR0) or "vmware" (behind an I/O window, at the 64-bit BAR1). `revision` 1 has no
    message ring. `moderation`: how long completions may wait for company while more are on their way; None: not at all.
    """

    polled = False

    def __init__(
        self,
        targets: Mapping[int, Target] | None = None,
        *,
        mem: GuestMemory | None = None,
        layout: str = LAYOUTS[0],
        revision: int = REVISION,
        moderation: Pace | None = None,
        name: str = "pvscsi",
    ) -> None:
        if layout not in LAYOUTS:
            raise ValueError(f"layout {layout!r}: there is {', '.join(LAYOUTS)}")
        self.name, self.revision = name, revision
        self.mem = mem if mem is not None else GuestMemory()
        self.rules = RuleLog(RULES)
        self.trace: Sink | None = None
        self.faults: FaultPlan | None = None
        self.targets: dict[int, Target] = {}
        note = self.rules.note
        irq = Interrupts(MSIX_VECTORS)
        self._registers = RegBlock("BAR", REGISTERS, (self,), note, "PVS-D-002")
        self.pci = pci_function(self._registers, irq, layout=layout, revision=revision, reset=self.reset)
        self.pci.on_command = self._command_changed
        self._moderator = Moderator(moderation)
        self._execute: dict[int, Callable[[bytes], int]] = {
            Cmd.ADAPTER_RESET: self._adapter_reset,
            Cmd.SETUP_RINGS: self._setup_rings,
            Cmd.RESET_BUS: self._reset_bus,
            Cmd.RESET_DEVICE: self._reset_target,
            Cmd.ABORT_CMD: self._abort,
            Cmd.CONFIG: self._config,
            Cmd.SETUP_MSG_RING: self._setup_messages,
            Cmd.SETUP_REQCALLTHRESHOLD: self._setup_threshold,
            Cmd.GET_MAX_TARGETS: lambda argument: MAX_TARGETS,
        }
        if revision < 2:
            del self._execute[Cmd.SETUP_MSG_RING]
        self._engine: Engine | None = None
        self.mem.on_unmap(self._unmapped)
        self.reset()
        for number, target in (targets or {}).items():
            self.add(number, target)

    def reset(self) -> None:
        """PCI or function level reset: registers at their reset values, rings forgotten, units reset."""
        self._drop()
        self.pci.reset()
        self._status = 0
        self._intr_status = self._intr_mask = 0
        self._pending: int | None = None  # a command whose arguments are still coming
        self._arguments = bytearray()
        self._seen_reset = False
        self.kicked = False
        for target in self.targets.values():
            target.reset(bus=True)

    # -- targets -------------------------------------------------------------------------------------------------------

    def add(self, number: int, target: Target) -> None:
        """Plug a target in; it can be reached when the driver is told. `ValueError` for a place that is not free."""
        if not 0 <= number < MAX_TARGETS or number in self.targets:
            raise ValueError(f"target {number}: 0 to {MAX_TARGETS - 1} are there, each once")
        self.targets[number] = target
        self._tell(MSG_DEV_ADDED, number)

    def remove(self, number: int) -> Target:
        """Pull a target out: what it was asked ends, then the driver is told."""
        engine = self._running()
        if engine is not None:
            with self._reaching():
                engine.abort_all(HostStatus.BUSRESET, number)
                self._publish(engine)
        target = self.targets.pop(number)
        if self._engine is not None:
            self._engine.forget(number)
        self._tell(MSG_DEV_REMOVED, number)
        return target

    def _tell(self, kind: int, number: int) -> None:
        if self._engine is None:
            return
        self._engine.forget(number)
        if self._engine.queue.messages is not None:
            self._engine.queue.tell(kind, number, 0)
            self.kicked = True

    # -- states --------------------------------------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Rings are set up."""
        return self._engine is not None

    def _drop(self) -> None:
        """Stop for good: no request is worked on, no guest memory is held, nothing waits to be said."""
        engine, self._engine = self._engine, None
        self._relooks: tuple[int, ...] = ()
        self._threshold_on = False
        self._raised_ns: int | None = None  # when the INTx line was first seen up
        self._now_ns = 0
        if engine is not None:
            engine.abort_all(HostStatus.BUSRESET)
            engine.queue.release()

    def _unmapped(self, lo: int, hi: int) -> None:
        """A range goes away: if a ring lies in it, let go of all; they are looked for again when needed."""
        engine = self._engine
        if engine is None:
            return
        queue = engine.queue
        if not queue.stale and any(w.address < hi and lo < w.address + PAGE for w in queue.windows()):
            queue.release()
        engine.unmapped(lo, hi)

    def _running(self, *, asked: bool = True) -> Engine | None:
        """The engine, when rings are set up, the bus may be mastered and every ring is in reach.

        Rings that were unmapped are looked for again. When they are gone for good and the driver `asked` for something,
        it has lost them; else they may come back, as machines move memory about while they start.
        """
        engine = self._engine
        if engine is None or not self.pci.bus_master:
            return None
        if engine.queue.stale:
            try:
                engine.queue.bind()
            except DmaFault as fault:
                if asked:
                    self._lose("PVS-D-061", fault)
                return None
        return engine

    def _lose(self, rule: str, fault: DmaFault) -> None:
        self.rules.note(rule, "ring", fault.value)
        self._drop()

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Around what touches rings: remote memory may stop answering at any time."""
        try:
            yield
        except DmaFault as fault:
            self._lose(fault.rule, fault)

    def _command_changed(self, command: int) -> None:
        self.kicked = self.kicked or self._engine is not None  # with bus mastering back, there may be work

    # -- commands ------------------------------------------------------------------------------------------------------

    def _write_COMMAND(self, value: int) -> None:
        if self._pending is not None and self._pending not in _PROBES:
            self.rules.note("PVS-D-006", f"command {self._pending}", len(self._arguments) // 4)
        self._pending, self._arguments = None, bytearray()
        if value not in self._execute:
            if not Cmd.ADAPTER_RESET <= value <= Cmd.GET_MAX_TARGETS:
                self.rules.note("PVS-D-004", "COMMAND", value)
            self._status = STATUS_FAILED
            return
        words = ARGUMENTS[Cmd(value)]
        if words:
            self._pending, self._status = value, words
        else:
            self._run(value, b"")

    def _write_COMMAND_DATA(self, value: int) -> None:
        if self._pending is None:
            self.rules.note("PVS-D-005", "COMMAND_DATA", value)
            return
        self._arguments += value.to_bytes(4, "little")
        if len(self._arguments) == 4 * ARGUMENTS[Cmd(self._pending)]:
            command, argument = self._pending, bytes(self._arguments)
            self._pending, self._arguments = None, bytearray()
            self._run(command, argument)

    def _run(self, command: int, argument: bytes) -> None:
        self._status = self._execute[command](argument) & 0xFFFF_FFFF
        if self.trace is not None:
            self.trace("pvscsi.command", command=command, status=self._status)

    def _read_COMMAND_STATUS(self) -> int:
        return self._status

    def _may_dma(self, place: str) -> bool:
        if not self.pci.bus_master:
            self.rules.note("PVS-D-001", place, self.pci.config.word(4))
        return self.pci.bus_master

    def _adapter_reset(self, argument: bytes) -> int:
        """Everything ends before this returns. INTR_MASK stays, and units do not notice."""
        engine = self._running()
        if engine is not None:
            with self._reaching():
                engine.abort_all(HostStatus.BUSRESET)
                engine.publish()
        self._drop()
        self._intr_status = 0
        self._seen_reset = True
        self.pci.irq.drop()
        return 0

    def _setup_rings(self, argument: bytes) -> int:
        note = self.rules.note
        values = SETUP_RINGS.numbers(argument)
        counts = values["reqRingNumPages"], values["cmpRingNumPages"]
        for count in counts:
            if not 1 <= count <= MAX_PAGES or count & count - 1:
                note("PVS-D-009", "SETUP_RINGS", count)
                return STATUS_FAILED
        if not self._may_dma("SETUP_RINGS"):
            return STATUS_FAILED
        if 4 * counts[1] < counts[0]:
            note("PVS-D-010", "SETUP_RINGS", counts[1])
        if not self._seen_reset:
            note("PVS-D-008", "SETUP_RINGS", 0)
        requests, completions = (
            [values[f"{name}RingPPNs{n}"] for n in range(count)]
            for name, count in zip(("req", "cmp"), counts, strict=True)
        )
        spare = [values[f"reqRingPPNs{n}"] for n in range(counts[0], MAX_PAGES)]
        spare += [values[f"cmpRingPPNs{n}"] for n in range(counts[1], MAX_PAGES)]
        if any(spare):
            note("PVS-D-013", "SETUP_RINGS", next(filter(None, spare)))
        pages = [values["ringsStatePPN"], *requests, *completions]
        if len(set(pages)) < len(pages):
            note("PVS-D-012", "SETUP_RINGS", pages[0])
        if not self._pages_there("SETUP_RINGS", pages[: 1 + counts[0] + counts[1]]):
            return STATUS_FAILED
        if self._engine is not None:
            note("PVS-D-015", "SETUP_RINGS", self._engine.out)
            self._drop()
        try:
            queue = Queue(self.mem, note, state=values["ringsStatePPN"], requests=requests, completions=completions)
        except DmaFault as fault:
            note("PVS-D-011", "SETUP_RINGS", fault.value)
            return STATUS_FAILED
        self._engine = Engine(self.mem, queue, self.targets, note)
        return 0

    def _pages_there(self, place: str, ppns: list[int]) -> bool:
        for ppn in ppns:
            if not 0 < ppn < PPN_END or not self.mem.reachable(ppn * PAGE, PAGE, write=True):
                self.rules.note("PVS-D-011", place, ppn)
                return False
        return True

    def _setup_messages(self, argument: bytes) -> int:
        words = ARGUMENTS[Cmd.SETUP_MSG_RING]
        values = SETUP_MSG_RING.numbers(argument)
        count = values["numPages"]
        if not 1 <= count <= MAX_MSG_PAGES or count & count - 1:
            self.rules.note("PVS-D-009", "SETUP_MSG_RING", count)
            return STATUS_FAILED
        engine = self._running()
        if engine is None:
            self.rules.note("PVS-D-016", "SETUP_MSG_RING", count)
            return words
        ppns = [values[f"ringPPNs{n}"] for n in range(count)]
        if not self._pages_there("SETUP_MSG_RING", ppns):
            return STATUS_FAILED
        try:
            engine.queue.add_messages(ppns)
        except DmaFault as fault:
            self.rules.note("PVS-D-011", "SETUP_MSG_RING", fault.value)
            return STATUS_FAILED
        return words

    def _setup_threshold(self, argument: bytes) -> int:
        value = int.from_bytes(argument, "little")
        if value > 1:
            self.rules.note("PVS-D-060", "SETUP_REQCALLTHRESHOLD", value)
        self._threshold_on = bool(value)
        engine = self._running()
        if engine is not None:
            with self._reaching():
                engine.queue.set_threshold(1 if value else 0)
        return int(self._threshold_on)

    def _reset_bus(self, argument: bytes) -> int:
        self._end_requests(None)
        for target in self.targets.values():
            target.reset(bus=True)
        return 0

    def _reset_target(self, argument: bytes) -> int:
        values = RESET_DEVICE.decode(argument)
        number, lun = values["target"], values["lun"]
        assert isinstance(number, int)
        assert isinstance(lun, bytes)
        target = self.targets.get(number)
        if target is None or any(lun):
            self.rules.note("PVS-D-057", "RESET_DEVICE", number)
        if target is None:
            return STATUS_FAILED
        self._end_requests(number)
        target.reset(bus=False)
        return 0

    def _end_requests(self, target: int | None) -> None:
        """Complete what is out, of one target or of all, before the driver's last write returns."""
        engine = self._running()
        if engine is not None:
            with self._reaching():
                self._consume(engine, engine.queue.requests.entries)
                engine.abort_all(HostStatus.BUSRESET, target)
                self._publish(engine, at_once=True)

    def _abort(self, argument: bytes) -> int:
        values = ABORT_CMD.numbers(argument)
        engine = self._running()
        if engine is None:
            return 0
        with self._reaching():
            self._consume(engine, engine.queue.requests.entries)
            for request in engine.outstanding():
                if (request.context, request.target) == (values["context"], values["target"]):
                    engine.abort(request, HostStatus.ABORTQUEUE)
                    break
            else:
                self.rules.note("PVS-D-056", "ABORT_CMD", values["context"])
            self._publish(engine, at_once=True)
        return 0

    def _config(self, argument: bytes) -> int:
        values = CONFIG.numbers(argument)
        address, number = values["cmpAddr"], values["configPageNum"]
        if not self._may_dma("CONFIG"):
            return STATUS_FAILED
        data = page(number, values["configPageAddress"], phys=MAX_TARGETS, present=self.targets)
        size = len(data) if data is not None else CONFIG_HEADER.size
        if address % 4 or address % PAGE + size > PAGE or values["pad"]:
            self.rules.note("PVS-D-059", "CONFIG", address)
            if address % 4 or address % PAGE + size > PAGE:
                return STATUS_FAILED
        if data is None:
            self.rules.note("PVS-D-059", "CONFIG page", values["configPageAddress"] >> 32 or ADDRESS_CONTROLLER)
        try:
            if data is None:
                self.mem.write(address, CONFIG_HEADER.encode(pageNum=number)[:6] + FAILED[6:10])
                return STATUS_FAILED
            head = CONFIG_HEADER.size
            self.mem.write(address + head, data[head:])
            self.mem.write(address, data[:head])
        except DmaFault as fault:
            self.rules.note(fault.rule, "CONFIG", fault.value)
            return STATUS_FAILED
        return 0

    # -- interrupts ----------------------------------------------------------------------------------------------------

    def _read_INTR_STATUS(self) -> int:
        return self._intr_status

    def _write_INTR_STATUS(self, value: int) -> None:
        if value and not value & self._intr_status:
            self.rules.note("PVS-D-053", "INTR_STATUS", value)
        self._intr_status &= ~value
        self._line()

    def _read_INTR_MASK(self) -> int:
        return self._intr_mask

    def _write_INTR_MASK(self, value: int) -> None:
        messages = self._engine is not None and self._engine.queue.messages is not None
        if value & ~INTR_ALL or (value & ~(Intr.CMPL_0 | Intr.CMPL_1) and not messages):
            self.rules.note("PVS-D-052", "INTR_MASK", value)
        opened = value & ~self._intr_mask & self._intr_status
        self._intr_mask = value & INTR_ALL
        if opened:
            self._fire()
        self._line()

    def _signal(self, bit: Intr) -> None:
        """Something was posted."""
        self._intr_status |= bit
        if self._intr_mask & bit:
            self._fire()
        self._line()

    def _fire(self) -> None:
        if self.pci.irq.mode is not Mode.INTX:
            if self.faults is not None and self.faults.at("pvscsi.interrupt"):
                return
            self.pci.irq.fire(0)
            if self.trace is not None:
                self.trace("pvscsi.interrupt", status=self._intr_status)

    def _line(self) -> None:
        up = bool(self._intr_status & self._intr_mask)
        self.pci.irq.set_line(up)
        if not up:
            self._raised_ns = None

    # -- kicks and work ------------------------------------------------------------------------------------------------

    def _write_KICK_RW_IO(self, value: int) -> None:
        self._kick("KICK_RW_IO", value)

    def _write_KICK_NON_RW_IO(self, value: int) -> None:
        """The ring has been read when this returns."""
        self._kick("KICK_NON_RW_IO", value)
        engine = self._running()
        if engine is not None:
            with self._reaching():
                self._consume(engine, engine.queue.requests.entries)
                self._publish(engine)

    def _kick(self, place: str, value: int) -> None:
        if value:
            self.rules.note("PVS-D-026", place, value)
        if self._engine is None:
            self.rules.note("PVS-D-027", place, value)
        elif self._may_dma(place):
            self.kicked = True

    def _consume(self, engine: Engine, budget: int) -> int:
        engine.trace = self.trace
        return engine.consume(budget)

    def _publish(self, engine: Engine, *, at_once: bool = False) -> int:
        """Post what is done, and say so: at once, unless more is on its way and the driver can wait."""
        count = engine.publish()
        moderator = self._moderator
        if count and (moderator.cause(count, self._now_ns, urgent=False) or at_once or not engine.out):
            moderator.clear()
            self._signal(Intr.CMPL_0)
        return count

    def service(self, budget: int, now_ns: int) -> bool:
        """Fetch and finish requests, about `budget` of them. True: something was done, or can be at once."""
        asked, self.kicked = self.kicked, False
        engine = self._running(asked=asked)
        if engine is None:
            return False
        self._now_ns = now_ns
        queue = engine.queue
        try:
            worked = engine.reap(now_ns) > 0
            worked = self._consume(engine, budget) > 0 or worked
            worked = self._publish(engine) > 0 or worked
            if self._moderator.due(now_ns):
                self._signal(Intr.CMPL_0)
            if queue.post_message():
                self._signal(Intr.MSG_0)
                worked = True
            if worked:
                queue.judge()
                self._relooks = ()
                if self.polled and self._threshold_on:
                    queue.set_threshold(KICKS_OFF)
            elif self._relooks and now_ns >= self._relooks[0]:
                self._relooks = self._relooks[1:]
        except DmaFault as fault:
            self._lose(fault.rule, fault)
            return False
        self._watch_line(now_ns)
        return worked

    def rest(self) -> bool:
        """Ask for kicks again and look once more. True: a request came in between."""
        engine = self._running(asked=False)
        with self._reaching():
            if engine is None or engine.queue.threshold <= 1:
                return False
            engine.queue.set_threshold(1)
            fence()
            self._relooks = tuple(self._now_ns + ns for ns in RELOOK_NS)
            return engine.queue.waiting() > 0
        return False

    def deadline(self) -> int | None:
        engine = self._engine
        if engine is None or not self.pci.bus_master or engine.queue.stale:
            return None
        due = [engine.deadline(), self._moderator.deadline(), *self._relooks[:1]]
        if engine.queue.held or engine.queue.messages_wait:
            due.append(self._now_ns + RELOOK_NS[1])  # nobody tells when the driver has taken some
        if self._raised_ns is not None and self._raised_ns >= 0:
            due.append(self._raised_ns + INTX_PATIENCE_NS)
        return min((ns for ns in due if ns is not None), default=None)

    def _watch_line(self, now_ns: int) -> None:
        """Note an INTx nobody acknowledges."""
        if not self.pci.irq.line or self.pci.irq.mode is not Mode.INTX:
            self._raised_ns = None
        elif self._raised_ns is None:
            self._raised_ns = now_ns
        elif self._raised_ns >= 0 and now_ns - self._raised_ns >= INTX_PATIENCE_NS:
            self.rules.note("PVS-D-054", "INTx", now_ns - self._raised_ns)
            self._raised_ns = -1
