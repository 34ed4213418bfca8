"""The VMXNET3 device: registers, commands and states; the rings run in `tx.py` and `rx.py`.

A pure state machine. Memory, port and time come in; register values and interrupts (`pci.irq`) come out.

Ref: Linux drivers/net/vmxnet3/vmxnet3_drv.c and FreeBSD, OpenBSD, iPXE and DPDK's drivers (what is asked of it);
docs/RULES.md (what it asks of them).
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum

from pvdev.errors import GuestFault
from pvdev.faults import FaultPlan
from pvdev.irq import Interrupts, Pace
from pvdev.mem import DmaFault, GuestMemory, SharedBlock
from pvdev.pci import CMD_MASTER
from pvdev.regs import RegBlock
from pvdev.rules import RuleLog
from pvdev.trace import Sink
from vmxnet3.activation import build_queues, read_config
from vmxnet3.backend import NetBackend, Null, Tap
from vmxnet3.datapath import Datapath
from vmxnet3.doorbells import Doorbells
from vmxnet3.filters import RxFilter
from vmxnet3.function import pci_function, vd_regs
from vmxnet3.negotiation import Negotiation
from vmxnet3.offer import Offer, constant
from vmxnet3.profiles import LETTER, Profile
from vmxnet3.rules import RULES
from vmxnet3.settings import FAILED, Settings
from vmxnet3.vectors import Vectors
from vmxnet3.versions import NEWEST, limits
from vmxnet3.wake import WakeFilter
from vmxnet3.wire import PAGE, RX_STATS, SINCE, TX_DATA_SLOT, TX_STATS, Cap, Cmd, Event

DEFAULT_MAC = bytes.fromhex("020000000001")
VERSIONS = NEWEST  # highest device version offered: those below it are offered too
D3HOT = 3  # power state
UNHEARD_NS = 100_000  # between two looks at rings whose doorbells are mapped memory
RX_DATA_SLOT = 128  # bytes; what is told to drivers that ask (version 9), and what the others take


class State(Enum):
    """Where the device stands. FAILED: it lost its rings; RESET_DEV or a PCI reset brings it back."""

    RESET = "reset"
    CONFIGURED = "configured"
    ACTIVE = "active"
    QUIESCED = "quiesced"
    FAILED = "failed"


class Vmxnet3:
    """One NIC. `mac` is the permanent address (6 bytes), `moderation` None: an interrupt for every batch.

    `version`: the highest device version offered. `queues`: the most (transmit, receive) queues told to drivers that
    ask (version 6). `tx_data_slot`, `rx_data_slot`: bytes per data ring slot told (versions 3, 9). `timestamp_rate`: a
    packet in so many gets a time stamp (version 9), 0 for none: Linux reads a counter for it that only VMware's
    processors have, and panics elsewhere. `disabled_offloads`: bit 0 TSO, bit 1 LRO (version 9).
    `mask_page`: a page the driver's side may map in place of the interrupt masks, so that writing them costs it nothing
    (version 7: with LARGE_BAR the doorbells stand elsewhere; without it the rings are then looked at all the time).
    `profile`: the driver to be expected. `empty_vlan_table_passes`: a VLAN table of zeros filters nothing, whatever the
    profile.
    """

    polled = False
    gathers = False  # a datagram socket holds ten frames, and then its sender

    def __init__(
        self,
        backend: NetBackend | None = None,
        *,
        mem: GuestMemory | None = None,
        mac: bytes = DEFAULT_MAC,
        version: int = VERSIONS,
        link_mbps: int = 10_000,
        moderation: Pace | None = None,
        profile: Profile = LETTER,
        empty_vlan_table_passes: bool = False,
        queues: tuple[int, int] | None = None,
        tx_data_slot: int = TX_DATA_SLOT,
        rx_data_slot: int = RX_DATA_SLOT,
        timestamp_rate: int = 0,
        disabled_offloads: int = 0,
        mask_page: SharedBlock | None = None,
        name: str = "vmxnet3",
    ) -> None:
        if not 1 <= version <= VERSIONS:
            raise ValueError(f"device version {version}: 1 to {VERSIONS} are offered")
        if mask_page is not None and version < 7:
            raise ValueError(f"device version {version} has masks and doorbells on one page: it cannot be mapped")
        self.name, self.backend = name, backend if backend is not None else Null()
        self.mem = mem if mem is not None else GuestMemory()
        self.rules = RuleLog(RULES, known=profile.known)
        note = self.rules.note
        self.tap: Tap | None = None
        self.permanent_mac, self._pace = mac, moderation
        self.link_up, self.link_mbps = True, link_mbps
        self._offer = Offer(mac, version, queues, tx_data_slot, rx_data_slot, timestamp_rate, disabled_offloads)
        self.filter = RxFilter(mac, empty_table_passes=empty_vlan_table_passes or profile.empty_vlan_table_passes)
        self._settings = Settings(self.mem, note, self.filter)
        self.wakes: Counter[str] = Counter()  # why the sleeping machine was to wake, and how often
        irq = Interrupts(limits(version).intrs)
        self._mask_page = mask_page
        self._vectors = Vectors(irq, note, mask_page.view[:PAGE] if mask_page is not None else None)
        self._agreed = Negotiation(version, note, self._caps_changed)
        self._bells = Doorbells(self._agreed, self._vectors, note)
        self._vd = RegBlock("BAR1", vd_regs(version), (self, self._agreed), note, "VMX-D-001")
        self.pci = pci_function(mac, version, self._bells.block, self._vd, irq, self._vector_rewritten, mask_page)
        self.pci.on_command, self.pci.on_power = self._command_changed, self._power_changed
        self._commands: dict[int, Callable[[], int]] = self._command_table()
        self._path: Datapath | None = None
        self._slept = False  # it has been in D3hot, and no command came since
        self._counted: tuple[list[dict[str, int]], list[dict[str, int]]] = ([], [])
        self.mem.on_unmap(self._unmapped)
        self.reset()

    def reset(self) -> None:
        """PCI reset: no version, no shared area, masks set, the permanent address.

        One that comes after a sleep, before any command, is part of waking up (machines reset their devices then): what
        was agreed stays, since Linux resumes without agreeing again.
        """
        asleep, self._slept = self._slept, False
        self._stop()
        self.pci.reset()
        self._vd.reset()
        self._vectors.reset()
        if not asleep:
            self._agreed.reset()
            self.wakes.clear()
        self._bells.reset()
        self.state = State.RESET
        self._shared_at, self._half_address = 0, False
        self._answer = 0
        self.events = Event(0)
        self._settings.reset()
        self._set_mac(self.permanent_mac)

    @property
    def version(self) -> int:
        """The device version the driver selected, 0 before it did."""
        return self._agreed.version

    @property
    def caps(self) -> Cap:
        """The capabilities in force (version 7)."""
        return self._agreed.caps

    @property
    def kicked(self) -> bool:
        """A doorbell was rung, or something else happened that `service` should look at."""
        return self._bells.kicked

    @kicked.setter
    def kicked(self, kicked: bool) -> None:
        self._bells.kicked = kicked

    @property
    def trace(self) -> Sink | None:
        return self._vectors.trace

    @trace.setter
    def trace(self, sink: Sink | None) -> None:
        self._vectors.trace = sink

    @property
    def faults(self) -> FaultPlan | None:
        return self._vectors.faults

    @faults.setter
    def faults(self, plan: FaultPlan | None) -> None:
        self._vectors.faults = plan

    # -- states and what they own -------------------------------------------------------------------------------

    @property
    def mac(self) -> bytes:
        """The current station address."""
        return self.filter.mac

    @property
    def wake_config(self) -> WakeFilter | None:
        """What wakes the machine while it sleeps, as the driver last said."""
        return self._settings.wake

    def counters(self) -> tuple[list[dict[str, int]], list[dict[str, int]]]:
        """What GET_STATS stores, by name, of every transmit and every receive queue of the last activation."""
        if self._path is not None:
            queues = self._path.queues
            self._counted = (
                [dict(zip(TX_STATS, queue.stats, strict=True)) for queue in queues.tx],
                [dict(zip(RX_STATS, queue.stats, strict=True)) for queue in queues.rx],
            )
        return self._counted

    def set_link(self, up: bool, mbps: int | None = None) -> None:
        """Plug the cable in or out, or change its speed (Mbit/s); the driver hears of it."""
        changed = (up, mbps or self.link_mbps) != (self.link_up, self.link_mbps)
        self.link_up, self.link_mbps = up, mbps or self.link_mbps
        if changed:
            with self._reaching():
                self._raise_event(Event.LINK)
            self.kicked = True

    def _stop(self) -> None:
        """Leave ACTIVE: no data path, no view of guest memory, nothing waiting to be said."""
        if self._path is not None:
            self.counters()
            self._path.release()
            self._path = self._bells.path = None
            self.backend.link(False)
        self._vectors.stop()
        self._agreed.active, self._bells.stopped_ns = False, None

    def _unmapped(self, lo: int, hi: int) -> None:
        """A range goes away: if a ring or table lies in it, let go of all; they are looked for again when needed."""
        path = self._path
        if path is not None and not path.stale and path.uses(lo, hi):
            path.release()

    def _running(self, *, asked: bool = True) -> Datapath | None:
        """The data path, when the device is active, may master the bus and has every ring in reach.

        Rings that were unmapped are looked for again. When they are gone and the driver `asked` for something, the
        device has FAILED; else they may come back, as machines move memory about while they start.
        """
        path = self._path
        if path is None or not self.pci.bus_master or self.pci.power_state:
            return None
        if path.stale:
            try:
                path.bind()
            except DmaFault as fault:
                if asked:
                    self._lose("VMX-D-064", fault)
                return None
        return path

    def _lose(self, rule: str, fault: DmaFault) -> None:
        """Rings or tables are out of reach for good: nothing runs until the driver resets the device."""
        self.rules.note(rule, "ring or table", fault.value)
        self._stop()
        self.state = State.FAILED

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Around what touches rings and tables: remote memory may stop answering at any time."""
        try:
            yield
        except DmaFault as fault:
            self._lose(fault.rule, fault)

    def _command_changed(self, command: int) -> None:
        self.kicked = self.kicked or self._path is not None  # with bus mastering back, there may be work
        if self.state is State.ACTIVE and not command & CMD_MASTER:
            self.rules.note("VMX-D-065", "PCI command", command)

    def _power_changed(self, power: int) -> None:
        self._slept = self._slept or power == D3HOT
        self.kicked = self.kicked or self._path is not None
        if power and self.state is State.ACTIVE:
            self.rules.note("VMX-D-065", "power state", power)

    def _caps_changed(self, caps: Cap) -> None:
        if self._path is not None:
            self._path.set_caps(caps)

    def _vector_rewritten(self, vector: int) -> None:
        self.rules.note("VMX-D-067", f"MSI-X vector {vector}", vector)

    # -- BAR1: the control plane --------------------------------------------------------------------------------

    def _write_DSAL(self, value: int) -> None:
        self._vd.values["DSAL"][0] = value
        if self.state is State.ACTIVE:
            self.rules.note("VMX-D-007", "DSAL while active", value)
        self._half_address = True

    def _write_DSAH(self, value: int) -> None:
        self._vd.values["DSAH"][0] = value
        self._half_address = False
        if self.state is State.ACTIVE:
            self.rules.note("VMX-D-007", "DSAH while active", value)
            return
        self._shared_at = value << 32 | self._vd.values["DSAL"][0]
        if self.state is not State.FAILED:
            self.state = State.CONFIGURED

    def _read_MACL(self) -> int:
        return int.from_bytes(self.mac[:4], "little")

    def _read_MACH(self) -> int:
        return int.from_bytes(self.mac[4:], "little")

    def _write_MACL(self, value: int) -> None:
        self._mac_low = value

    def _write_MACH(self, value: int) -> None:
        mac = self._mac_low.to_bytes(4, "little") + (value & 0xFFFF).to_bytes(2, "little")
        if mac[0] & 1 or not any(mac):
            self.rules.note("VMX-D-061", "MACL, MACH", int.from_bytes(mac, "big"))
        self._set_mac(mac)

    def _set_mac(self, mac: bytes) -> None:
        self.filter.mac, self._mac_low = mac, int.from_bytes(mac[:4], "little")

    def _read_ICR(self) -> int:
        return self._vectors.acknowledge_line()

    def _read_ECR(self) -> int:
        return int(self.events)

    def _write_ECR(self, value: int) -> None:
        if value & ~int(self.events):  # an IntFlag's complement has named bits only
            self.rules.note("VMX-D-057", "ECR", value)
        self.events &= ~value
        with self._reaching():
            self._store_events()

    def _store_events(self) -> None:
        path = self._running()
        if path is not None:
            path.tables.store_events(self.events)

    def _raise_event(self, event: Event) -> None:
        if self._path is not None:
            self.events |= event
            self._store_events()
        if self._path is not None:  # the rings may have been found gone
            self._vectors.signal(self._path.config.event_intr)
            if event & (Event.TQERR | Event.RQERR) and self._bells.stopped_ns is None:
                self._bells.stopped_ns = self._path.now_ns

    # -- commands -----------------------------------------------------------------------------------------------

    def _read_CMD(self) -> int:
        self._bells.unread = False
        return self._answer

    def _write_CMD(self, value: int) -> None:
        self._slept = False
        if self._half_address:
            self.rules.note("VMX-D-007", "command between DSAL and DSAH", value)
            self._half_address = False
        if self._bells.unread:
            self.rules.note("VMX-D-027", "command", value)
            self._bells.unread = False
        handler = self._commands.get(value)
        if handler is None or SINCE.get(Cmd(value), 1) > max(self.version, 1):
            self.rules.note("VMX-D-006", "CMD", value)
            self._answer = 0
        else:
            self._answer = handler()
        if self.trace is not None:
            self.trace("vmxnet3.command", command=value, answer=self._answer, state=self.state.value)

    def _command_table(self) -> dict[int, Callable[[], int]]:
        settings, active = self._settings, self._while_active
        nothing, refused = constant(0), constant(FAILED)
        return {
            Cmd.ACTIVATE_DEV: self._activate,
            Cmd.QUIESCE_DEV: self._quiesce,
            Cmd.RESET_DEV: self._reset_device,
            Cmd.UPDATE_RX_MODE: active(self._update_rx_mode),
            Cmd.UPDATE_MAC_FILTERS: active(settings.multicast),
            Cmd.UPDATE_VLAN_FILTERS: active(settings.vlans),
            Cmd.UPDATE_RSSIDT: active(settings.rss_table),
            Cmd.UPDATE_FEATURE: active(settings.features),
            Cmd.UPDATE_IML: active(settings.moderation),
            Cmd.UPDATE_PMCFG: active(settings.wake_up),
            Cmd.STOP_EMULATION: nothing,
            Cmd.LOAD_PLUGIN: nothing,
            Cmd.ACTIVATE_VF: nothing,
            Cmd.SET_POLLING: nothing,  # rings are polled whenever that is better
            Cmd.SET_COALESCE: active(settings.set_coalesce, unreachable=FAILED),
            Cmd.REGISTER_MEMREGS: active(settings.memory_regions, unreachable=FAILED),
            Cmd.SET_RSS_FIELDS: active(settings.set_rss_fields),
            Cmd.SET_PKTSTEERING: refused,  # no capability says that it would work
            Cmd.SET_ESP_QUEUE_SELECTION_CONF: refused,  # likewise
            Cmd.SET_RING_BUFFER_SIZE: active(settings.ring_buffer_sizes),
            Cmd.GET_QUEUE_STATUS: active(self._queue_status),
            Cmd.GET_STATS: active(_store_stats, early=True),
            Cmd.GET_LINK: lambda: self.link_mbps << 16 | 1 if self.link_up else 0,
            Cmd.GET_COALESCE: active(settings.get_coalesce, unreachable=FAILED),
            Cmd.GET_RSS_FIELDS: active(settings.get_rss_fields),
            Cmd.GET_ENCAP_DSTPORT: active(settings.encapsulation_ports),
            Cmd.GET_PKTSTEERING: refused,
            **self._offer.answers(self._agreed),
        }

    def _while_active(
        self, do: Callable[[Datapath], int], *, early: bool = False, unreachable: int = 0
    ) -> Callable[[], int]:
        """A command that works on the shared area: nothing happens, and no memory is touched, while inactive.

        `early`: drivers give it before there is a shared area, which is no fault. `unreachable`: the answer when its
        argument lies nowhere.
        """

        def run() -> int:
            if not (self._shared_at or early):
                self.rules.note("VMX-D-009", "command without a shared area", 0)
            path = self._running()
            if path is None:
                return 0
            try:
                return do(path)
            except DmaFault as fault:
                self.rules.note(fault.rule, "command argument", fault.value)
                return unreachable

        return run

    def _update_rx_mode(self, path: Datapath) -> int:
        self.kicked = True  # frames may have waited for the filter to open
        return self._settings.rx_mode(path)

    def _queue_status(self, path: Datapath) -> int:
        self._bells.stopped_ns = None
        path.tables.store_status()
        return 0

    def _activate(self) -> int:
        answer = self._try_to_activate()
        self._bells.unread, self._bells.refused = True, answer != 0
        return answer

    def _try_to_activate(self) -> int:
        if self.state is State.ACTIVE:
            self.rules.note("VMX-D-028", "ACTIVATE_DEV", 0)
            return 0
        if self.state is State.FAILED:
            return FAILED
        if not (self.pci.bus_master and self.pci.memory_enabled):
            self.rules.note("VMX-D-066", "ACTIVATE_DEV", self.pci.config.word(4))
            return FAILED
        if not self.version:
            self.rules.note("VMX-D-002", "ACTIVATE_DEV", 0)
        if self.faults is not None and self.faults.at("vmxnet3.activate"):
            return FAILED
        note = self.rules.note
        try:
            config = read_config(self.mem, self._shared_at, max(self.version, 1), note)
            queues = build_queues(self.mem, config, self.caps, note)
            path = Datapath(
                self.mem,
                config,
                queues,
                self.backend,
                self.filter,
                signal=self._vectors.signal,
                event=self._raise_event,
                note=note,
                pace=self._pace,
                caps=self.caps,
                stamp_every=self._offer.timestamp_rate,
            )
            path.tables.store_events(Event(0))
            self._settings.load(path)
        except GuestFault as fault:
            note(fault.rule, f"ACTIVATE_DEV: {fault.what}", fault.value)
            return FAILED
        self._path = self._bells.path = path
        self.state, self._agreed.active = State.ACTIVE, True
        self._vectors.start(config.intrs, config.auto_mask)
        self.events = Event(0)
        self.backend.link(True)
        self.kicked = True
        return 0

    def _quiesce(self) -> int:
        path = self._path
        if path is not None and not path.stale and self._running() is not None:
            with suppress(DmaFault):  # out of reach: nothing to compare, and nothing is lost any more
                if path.tables.changed():
                    self.rules.note("VMX-D-029", "QUIESCE_DEV", 0)
        self._stop()
        self._bells.refused = False
        if self.state is not State.FAILED:
            self.state = State.QUIESCED if self._shared_at else State.RESET
        return 0

    def _reset_device(self) -> int:
        """Version, capabilities and current address survive: drivers do not set them again."""
        self._quiesce()
        self._settings.reset()
        self._vectors.reset()
        self.events, self._shared_at = Event(0), 0
        for name in ("DSAL", "DSAH"):
            self._vd.values[name][0] = 0
        self.state = State.RESET
        return 0

    # -- work ----------------------------------------------------------------------------------------------------

    def service(self, budget: int, now_ns: int) -> bool:
        """Run every queue once, `budget` descriptors or frames each. True: something was done, or can be at once."""
        asked, self.kicked = self.kicked, False
        if self.pci.power_state:
            return self._listen_asleep(budget, now_ns)
        path = self._running(asked=asked)
        if path is None:
            return False
        path.trace, path.tap = self.trace, self.tap
        try:
            worked = path.service(budget, now_ns, link_up=self.link_up, polled=self.polled)
        except DmaFault as fault:  # a context manager would cost every round a microsecond
            self._lose(fault.rule, fault)
            return False
        self._vectors.look(now_ns)
        return worked

    def _listen_asleep(self, budget: int, now_ns: int) -> bool:
        """In a sleep state nothing is delivered; a frame the driver named in its PMConf wakes the machine."""
        wake = self._settings.wake
        if self._path is None or wake is None or not self.link_up:
            return False
        frames = self.backend.receive(budget, now_ns)
        for frame in frames:
            if (reason := wake.reason(frame, self.mac)) is not None:
                self.wakes[reason] += 1
                self.pci.raise_pme()
                if self.trace is not None:
                    self.trace("vmxnet3.wake", reason=reason)
        return len(frames) > 0

    def rest(self) -> bool:
        """Arm the transmit bells and look again. True: there is work after all."""
        path = self._running(asked=False)
        with self._reaching():
            return path is not None and path.rest()
        return False

    def deadline(self) -> int | None:
        path = self._path
        if path is None or not self.pci.bus_master or path.stale:
            return None
        if self.pci.power_state:
            return self.backend.deadline() if self._settings.wake is not None and self.link_up else None
        due = [path.deadline(link_up=self.link_up), self._vectors.deadline()]
        if self._mask_page is not None and not self.caps & Cap.LARGE_BAR:
            due.append(path.now_ns + UNHEARD_NS)
        return min((ns for ns in due if ns is not None), default=None)


def _store_stats(path: Datapath) -> int:
    path.tables.store_stats()
    return 0
