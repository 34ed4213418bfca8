"""The PVSCSI adapter: registers, commands and states; requests run in `engine.py`.

A pure state machine. Memory, targets and time come in; register values and interrupts (`pci.irq`) come out. What is
said to the driver, and when, is in `signals`; how commands come in, in `commands`.

Ref: Linux drivers/scsi/vmw_pvscsi.c, FreeBSD, OpenBSD, illumos, OVMF and SeaBIOS (what is asked of it); docs/RULES.md
(what it asks of them).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from pvdev.faults import FaultPlan
from pvdev.irq import Interrupts, Pace
from pvdev.mem import DmaFault, GuestMemory, fence
from pvdev.regs import RegBlock
from pvdev.rules import RuleLog
from pvdev.trace import Sink
from pvscsi.commands import Commands, message_count, message_pages, rings_asked
from pvscsi.config import FAILED, page
from pvscsi.engine import MAX_TARGETS, Engine
from pvscsi.function import LAYOUTS, REGISTERS, pci_function
from pvscsi.profiles import LETTER, Profile
from pvscsi.queue import Queue
from pvscsi.rules import RULES
from pvscsi.scsi.target import Target
from pvscsi.signals import MESSAGE, Signals
from pvscsi.watch import Watch
from pvscsi.wire import (
    ABORT_CMD,
    ADDRESS_CONTROLLER,
    ARGUMENTS,
    CONFIG,
    CONFIG_HEADER,
    MSG_DEV_ADDED,
    MSG_DEV_REMOVED,
    MSIX_VECTORS,
    PAGE,
    RESET_DEVICE,
    REVISION,
    STATUS_FAILED,
    Cmd,
    HostStatus,
)

KICKS_OFF = 1 << 30  # reqCallThreshold while the rings are polled
RELOOK_NS = 50_000, 1_000_000  # after asking for kicks again: a store and a load may have crossed; look again then
_STATUSES = slice(CONFIG_HEADER.offset["hostStatus"], CONFIG_HEADER.offset["hostStatus"] + 4)  # and scsiStatus


class Pvscsi:
    """One adapter. `targets`: number -> target, 0 to 64; more come and go with `add` and `remove`.

    `layout`: "flat" (registers at BAR0) or "vmware" (behind an I/O window, at the 64-bit BAR1). `revision` 1 has no
    message ring. `moderation`: how long completions may wait for company while more are on their way; None: not at all.
    `profile`: the driver to be expected. `watch`: take a close look at every request; it costs about as much again.
    """

    polled = False
    gathers = True

    def __init__(
        self,
        targets: Mapping[int, Target] | None = None,
        *,
        mem: GuestMemory | None = None,
        layout: str = LAYOUTS[0],
        revision: int = REVISION,
        moderation: Pace | None = None,
        profile: Profile = LETTER,
        watch: bool = False,
        name: str = "pvscsi",
    ) -> None:
        if layout not in LAYOUTS:
            raise ValueError(f"layout {layout!r}: there is {', '.join(LAYOUTS)}")
        self.name, self.revision = name, revision
        self.mem = mem if mem is not None else GuestMemory()
        self.rules = RuleLog(RULES, known=profile.known)
        self.targets: dict[int, Target] = {}
        self._watch = watch
        note = self.rules.note
        irq = Interrupts(MSIX_VECTORS)
        self._signals = Signals(irq, note, moderation, self._ring_kinds)
        execute: dict[int, Callable[[bytes], int]] = {
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
            del execute[Cmd.SETUP_MSG_RING]
        self._commands = Commands(execute, self._ran, note)
        self._registers = RegBlock(
            "BAR", REGISTERS, (self, self._commands, self._signals), note, "PVS-D-002", "PVS-D-003"
        )
        self.pci = pci_function(self._registers, irq, layout=layout, revision=revision, reset=self.reset)
        self.pci.on_command = self._command_changed
        self._engine: Engine | None = None
        self.mem.on_unmap(self._unmapped)
        self.reset()
        for number, target in (targets or {}).items():
            self.add(number, target)

    def reset(self) -> None:
        """PCI or function level reset: registers at their reset values, rings forgotten, units reset."""
        self._drop()
        self.pci.reset()
        self._signals.reset()
        self._commands.reset()
        self._seen_reset = self._had_rings = False
        self.kicked = False
        for target in self.targets.values():
            target.reset(bus=True)

    @property
    def trace(self) -> Sink | None:
        return self._signals.trace

    @trace.setter
    def trace(self, sink: Sink | None) -> None:
        self._signals.trace = sink

    @property
    def faults(self) -> FaultPlan | None:
        return self._signals.faults

    @faults.setter
    def faults(self, plan: FaultPlan | None) -> None:
        self._signals.faults = plan

    # -- targets -------------------------------------------------------------------------------------------------------

    def add(self, number: int, target: Target) -> None:
        """Plug a target in; it can be reached when the driver is told. `ValueError` for a place that is not free."""
        if not 0 <= number < MAX_TARGETS or number in self.targets:
            raise ValueError(f"target {number}: 0 to {MAX_TARGETS - 1} are there, each once")
        self.targets[number] = target
        self._tell(MSG_DEV_ADDED, number)

    def remove(self, number: int) -> Target:
        """Pull a target out: what it was asked ends, then the driver is told."""
        self.end(number)
        target = self.targets.pop(number)
        if self._engine is not None:
            self._engine.forget(number)
        self._tell(MSG_DEV_REMOVED, number)
        return target

    def end(self, number: int) -> None:
        """End what a target was asked, as a reset of the bus would: its medium is about to go."""
        engine = self._running()
        if engine is not None:
            with self._reaching():
                engine.abort_all(HostStatus.BUSRESET, number)
                self._publish(engine)
                self.kicked = True  # whoever calls from outside does not deliver interrupts; a round of service does

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

    def _ring_kinds(self) -> tuple[bool, bool]:
        """Whether there are rings, and a message ring among them."""
        engine = self._engine
        return engine is not None, engine is not None and engine.queue.messages is not None

    def _drop(self) -> None:
        """Stop for good: no request is worked on, no guest memory is held, nothing waits to be said."""
        engine, self._engine = self._engine, None
        self._relooks: tuple[int, ...] = ()
        self._mute = False  # bus mastering was taken away under live rings
        self._threshold_on = False
        self._now_ns = 0
        self._signals.forget()
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
        """Without bus mastering nothing may be written any more; with it back, there may be work."""
        engine = self._engine
        if engine is None:
            return
        if self.pci.bus_master:
            self.kicked = True
        elif not self._mute:
            self.rules.note("PVS-D-061", "bus mastering", command)
            engine.abort_all(HostStatus.BUSRESET)
        self._mute = not self.pci.bus_master

    # -- commands ------------------------------------------------------------------------------------------------------

    def _ran(self, command: int, status: int) -> None:
        if self.trace is not None:
            self.trace("pvscsi.command", command=command, status=status)

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
            if engine.watch is not None:
                engine.watch.ending()
        self._drop()
        self._signals.drop()
        self._seen_reset = True
        return 0

    def _setup_rings(self, argument: bytes) -> int:
        note, place = self.rules.note, "SETUP_RINGS"
        asked = rings_asked(argument, self.mem, note) if self._may_dma(place) else None
        if asked is None:
            return STATUS_FAILED
        if not self._seen_reset:
            note("PVS-D-008", place, 0)
        if self._engine is not None:
            note("PVS-D-015", place, self._engine.out)
            self._drop()
        try:
            queue = Queue(self.mem, note, state=asked.state, requests=asked.requests, completions=asked.completions)
        except DmaFault as fault:
            note("PVS-D-011", place, fault.value)
            return STATUS_FAILED
        watch = Watch(self.mem, queue, note) if self._watch else None
        self._engine = Engine(self.mem, queue, self.targets, note, watch)
        self._had_rings = True
        return 0

    def _setup_messages(self, argument: bytes) -> int:
        note, place, words = self.rules.note, "SETUP_MSG_RING", ARGUMENTS[Cmd.SETUP_MSG_RING]
        if message_count(argument, note) is None:
            return STATUS_FAILED
        if self._engine is None:
            note("PVS-D-016", place, 0)
            return words
        if not self._may_dma(place) or (engine := self._running()) is None:
            return STATUS_FAILED
        ppns = message_pages(argument, engine.queue.ppns(), self.mem, note)
        if ppns is None:
            return STATUS_FAILED
        try:
            engine.queue.add_messages(ppns)
        except DmaFault as fault:
            note("PVS-D-011", place, fault.value)
            return STATUS_FAILED
        if engine.watch is not None:
            engine.watch.guard()
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
        context, target = values["context"], values["target"]
        if values["pad"]:
            self.rules.note("PVS-D-056", "ABORT_CMD pad", values["pad"])
        engine = self._running()
        if engine is None:
            return 0
        with self._reaching():
            self._consume(engine, engine.queue.requests.entries)
            for request in engine.outstanding():
                if (request.context, request.target) == (context, target):
                    engine.abort(request, HostStatus.ABORTQUEUE)
                    self._publish(engine, at_once=True)
                    return 0
            self._publish(engine, at_once=True)
            if not engine.queue.untaken(context):  # one the driver has not taken yet has won the race
                self.rules.note("PVS-D-056", "ABORT_CMD", context)
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
            if not any(self.mem.read(address, CONFIG_HEADER.size)[_STATUSES]):
                self.rules.note("PVS-D-059", "CONFIG header", address)
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

    # -- kicks and work ------------------------------------------------------------------------------------------------

    def _write_KICK_RW_IO(self, value: int) -> None:
        self._kick("KICK_RW_IO", value, loud=False)

    def _write_KICK_NON_RW_IO(self, value: int) -> None:
        """The ring has been read when this returns."""
        self._kick("KICK_NON_RW_IO", value, loud=True)
        engine = self._running()
        if engine is not None:
            with self._reaching():
                self._consume(engine, engine.queue.requests.entries)
                self._publish(engine)

    def _kick(self, place: str, value: int, *, loud: bool) -> None:
        if value:
            self.rules.note("PVS-D-026", place, value)
        engine = self._engine
        if engine is None:
            self.rules.note("PVS-D-062" if self._had_rings else "PVS-D-027", place, value)
        elif self._may_dma(place):
            self.kicked = True
            if engine.watch is not None:
                engine.watch.kicks.kicked(loud=loud)

    def _consume(self, engine: Engine, budget: int) -> int:
        engine.trace = self.trace
        return engine.consume(budget)

    def _publish(self, engine: Engine, *, at_once: bool = False) -> int:
        """Post what is done, and say so: at once, unless more is on its way and the driver can wait."""
        quick = engine.quick
        count = engine.publish()
        if count:
            out, ahead = (0, 0) if at_once else (engine.out, engine.queue.ahead() if quick else 0)
            self._signals.completed(count, self._now_ns, out=out, ahead=ahead)
        return count

    def service(self, budget: int, now_ns: int) -> bool:
        """Fetch and finish requests, about `budget` of them. True: something was done, or can be at once."""
        asked, self.kicked = self.kicked, False
        engine = self._running(asked=asked)
        if engine is None:
            return False
        self._now_ns = now_ns
        queue, watch = engine.queue, engine.watch
        if watch is not None:
            watch.now_ns, watch.silent = now_ns, self.polled and self._threshold_on
            watch.kicks.judge(now_ns)
        try:
            worked = engine.reap(now_ns) > 0
            worked = self._consume(engine, budget) > 0 or worked
            worked = self._publish(engine) > 0 or worked
            if queue.post_message():
                self._signals.say(MESSAGE)
                worked = True
            if worked or asked or _past(queue.deadline(), now_ns):
                queue.judge(now_ns)
            if worked:
                self._relooks = ()
                if self.polled and self._threshold_on:
                    queue.set_threshold(KICKS_OFF)
            elif self._relooks and now_ns >= self._relooks[0]:
                self._relooks = self._relooks[1:]
        except DmaFault as fault:
            self._lose(fault.rule, fault)
            return False
        self._signals.work(now_ns)
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
        due = [engine.deadline(), self._signals.deadline(), engine.queue.deadline(), *self._relooks[:1]]
        if engine.queue.held or engine.queue.messages_wait:
            due.append(self._now_ns + RELOOK_NS[1])  # nobody tells when the driver has taken some
        if engine.watch is not None:
            due.append(engine.watch.deadline())
        return min((ns for ns in due if ns is not None), default=None)


def _past(deadline: int | None, now_ns: int) -> bool:
    return deadline is not None and now_ns >= deadline
