"""The VMXNET3 device: registers, commands and states; the rings run in `tx.py` and `rx.py`.

A pure state machine. Memory, port and time come in; register values and interrupts (`pci.irq`) come out.

Ref: Linux drivers/net/vmxnet3/vmxnet3_drv.c and FreeBSD, OpenBSD, iPXE and DPDK's drivers (what is asked of it);
docs/RULES.md (what it asks of them).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum

from pvdev.errors import GuestFault
from pvdev.faults import FaultPlan
from pvdev.irq import Mode, Pace
from pvdev.mem import DmaFault, GuestMemory
from pvdev.pci import CMD_MASTER
from pvdev.regs import RegBlock
from pvdev.rules import RuleLog
from pvdev.trace import Sink
from vmxnet3.activation import build_queues, check_features, read_config, read_rss
from vmxnet3.backend import NetBackend, Null
from vmxnet3.datapath import Datapath
from vmxnet3.filters import RxFilter
from vmxnet3.function import PT_REGS, VD_REGS, pci_function
from vmxnet3.offload import Rss
from vmxnet3.rules import RULES
from vmxnet3.wire import (
    DEVICE_ID,
    DRIVER_SHARED,
    MAX_INTRS,
    MF_TABLE_MAX,
    REVISION,
    SINCE,
    Cmd,
    Event,
    Feature,
    RxMode,
)

DEFAULT_MAC = bytes.fromhex("020000000001")
VERSIONS = 1  # highest device version offered: those below it are offered too


class State(Enum):
    """Where the device stands. FAILED: it lost its rings; RESET_DEV or a PCI reset brings it back."""

    RESET = "reset"
    CONFIGURED = "configured"
    ACTIVE = "active"
    QUIESCED = "quiesced"
    FAILED = "failed"


class Vmxnet3:
    """One NIC. `mac` is the permanent address (6 bytes), `moderation` None: an interrupt for every batch.

    `empty_vlan_table_passes`: a VLAN table of zeros filters nothing, as BSD drivers expect.
    """

    polled = False

    def __init__(
        self,
        backend: NetBackend | None = None,
        *,
        mem: GuestMemory | None = None,
        mac: bytes = DEFAULT_MAC,
        version: int = VERSIONS,
        link_mbps: int = 10_000,
        moderation: Pace | None = None,
        empty_vlan_table_passes: bool = False,
        name: str = "vmxnet3",
    ) -> None:
        if not 1 <= version <= VERSIONS:
            raise ValueError(f"device version {version}: 1 to {VERSIONS} are offered")
        self.name, self.backend = name, backend if backend is not None else Null()
        self.mem = mem if mem is not None else GuestMemory()
        self.rules = RuleLog(RULES)
        self.trace: Sink | None = None
        self.faults: FaultPlan | None = None
        self.permanent_mac, self._offered, self._pace = mac, (1 << version) - 1, moderation
        self.link_up, self.link_mbps = True, link_mbps
        self.filter = RxFilter(mac, empty_table_passes=empty_vlan_table_passes)
        note = self.rules.note
        self._pt = RegBlock("BAR0", PT_REGS, self, note, "VMX-D-001")
        self._vd = RegBlock("BAR1", VD_REGS, self, note, "VMX-D-001")
        self.pci = pci_function(mac, self._pt, self._vd)
        self.pci.on_command, self.pci.on_power = self._command_changed, self._power_changed
        self._commands: dict[int, Callable[[], int]] = self._command_table()
        self._path: Datapath | None = None
        self.mem.on_unmap(self._unmapped)
        self.reset()

    def reset(self) -> None:
        """PCI reset: no version, no shared area, masks set, the permanent address."""
        self._stop()
        self.pci.reset()
        self._pt.reset()
        self._vd.reset()
        self.state = State.RESET
        self.version = 0  # none selected yet: behaves as 1
        self._shared_at, self._half_address = 0, False
        self._answer = 0
        self.events = Event(0)
        self._imr = (1 << MAX_INTRS) - 1  # a bit per vector
        self.kicked = False
        self.filter.clear()
        self._set_mac(self.permanent_mac)

    # -- states and what they own -------------------------------------------------------------------------------

    @property
    def mac(self) -> bytes:
        """The current station address."""
        return self.filter.mac

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
            self._path.release()
            self._path = None
            self.backend.link(False)
        self._cause = 0  # a bit per vector: it was masked when something happened
        self.pci.irq.drop()

    def _unmapped(self, lo: int, hi: int) -> None:
        """A range goes away: if a ring or table lies in it, let go of all; they are looked for again when needed."""
        path = self._path
        if path is not None and not path.stale and path.uses(lo, hi):
            path.release()

    def _running(self) -> Datapath | None:
        """The data path, when the device is active, may master the bus and has every ring in reach.

        Rings that were unmapped are looked for again; when they are gone for good the device has FAILED.
        """
        path = self._path
        if path is None or not self.pci.bus_master:
            return None
        if path.stale:
            try:
                path.bind()
            except DmaFault as fault:
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
        if power and self.state is State.ACTIVE:
            self.rules.note("VMX-D-065", "power state", power)

    # -- BAR1: the control plane --------------------------------------------------------------------------------

    def _read_VRRS(self) -> int:
        return self._offered

    def _write_VRRS(self, value: int) -> None:
        if self.state is State.ACTIVE:
            self.rules.note("VMX-D-004", "VRRS", value)
        elif value & value - 1 or not value & self._offered:
            self.rules.note("VMX-D-003", "VRRS", value)
        else:
            self.version = value.bit_length()

    def _read_UVRS(self) -> int:
        return 1

    def _write_UVRS(self, value: int) -> None:
        if self.state is State.ACTIVE:
            self.rules.note("VMX-D-004", "UVRS", value)
        elif value != 1:
            self.rules.note("VMX-D-003", "UVRS", value)

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
        asserted = self.pci.irq.line
        if asserted:
            self.pci.irq.set_line(False)
            if self._path is not None and self._path.config.auto_mask:
                self._imr |= 1
        return int(asserted)

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
            path.store_events(self.events)

    def _raise_event(self, event: Event) -> None:
        if self._path is not None:
            self.events |= event
            self._store_events()
        if self._path is not None:  # the rings may have been found gone
            self._signal(self._path.config.event_intr)

    # -- BAR0: masks and doorbells ------------------------------------------------------------------------------

    def _read_IMR(self, vector: int) -> int:
        return self._imr >> vector & 1

    def _write_IMR(self, vector: int, value: int) -> None:
        if value & ~1 or (self._path is not None and vector >= self._path.config.intrs and not value):
            self.rules.note("VMX-D-054", f"IMR {vector}", value)
        bit = 1 << vector
        if value & 1:
            self._imr |= bit
        else:
            self._imr &= ~bit
            if self._cause & bit:
                self._signal(vector)

    def _write_TXPROD(self, queue: int, value: int) -> None:
        self._pt.values["TXPROD"][queue] = value
        self._bell(f"TXPROD {queue}", queue, value, tx=True)

    def _write_RXPROD(self, queue: int, value: int) -> None:
        self._pt.values["RXPROD"][queue] = value
        self._bell(f"RXPROD {queue}", queue, value)

    def _write_RXPROD2(self, queue: int, value: int) -> None:
        self._pt.values["RXPROD2"][queue] = value
        self._bell(f"RXPROD2 {queue}", queue, value, ring=1)

    def _bell(self, place: str, queue: int, value: int, *, tx: bool = False, ring: int = 0) -> None:
        if self._path is None:
            self.rules.note("VMX-D-030", place, value)
            return
        queues = self._path.queues
        if queue >= len(queues.tx if tx else queues.rx):
            self.rules.note("VMX-D-031", place, value)
        else:
            size = queues.tx[queue].size if tx else queues.rx[queue].rings[ring].size
            if value >= max(size, 1):
                self.rules.note("VMX-D-032", place, value)
            self.kicked = True

    # -- commands -----------------------------------------------------------------------------------------------

    def _read_CMD(self) -> int:
        return self._answer

    def _write_CMD(self, value: int) -> None:
        if self._half_address:
            self.rules.note("VMX-D-007", "command between DSAL and DSAH", value)
            self._half_address = False
        handler = self._commands.get(value)
        if handler is None or SINCE.get(Cmd(value), 1) > max(self.version, 1):
            self.rules.note("VMX-D-006", "CMD", value)
            self._answer = 0
        else:
            self._answer = handler()
        if self.trace is not None:
            self.trace("vmxnet3.command", command=value, answer=self._answer, state=self.state.value)

    def _command_table(self) -> dict[int, Callable[[], int]]:
        mac = self.permanent_mac
        low, high = int.from_bytes(mac[:4], "little"), int.from_bytes(mac[4:], "little")
        nothing = _answer(0)
        return {
            Cmd.ACTIVATE_DEV: self._activate,
            Cmd.QUIESCE_DEV: self._quiesce,
            Cmd.RESET_DEV: self._reset_device,
            Cmd.UPDATE_RX_MODE: self._while_active(self._load_rx_mode),
            Cmd.UPDATE_MAC_FILTERS: self._while_active(self._load_multicast),
            Cmd.UPDATE_VLAN_FILTERS: self._while_active(self._load_vlans),
            Cmd.UPDATE_RSSIDT: self._while_active(self._load_rss),
            Cmd.UPDATE_FEATURE: self._while_active(self._load_features),
            Cmd.UPDATE_IML: self._while_active(_nothing),
            Cmd.UPDATE_PMCFG: self._while_active(_nothing),
            Cmd.STOP_EMULATION: nothing,
            Cmd.LOAD_PLUGIN: nothing,
            Cmd.ACTIVATE_VF: nothing,
            Cmd.GET_QUEUE_STATUS: self._while_active(Datapath.store_status),
            Cmd.GET_STATS: self._while_active(Datapath.store_stats, early=True),
            Cmd.GET_LINK: lambda: self.link_mbps << 16 | 1 if self.link_up else 0,
            Cmd.GET_PERM_MAC_LO: _answer(low),
            Cmd.GET_PERM_MAC_HI: _answer(high),
            Cmd.GET_DID_LO: _answer(DEVICE_ID),
            Cmd.GET_DID_HI: _answer(REVISION),
            Cmd.GET_DEV_EXTRA_INFO: nothing,
            Cmd.GET_CONF_INTR: nothing,  # any interrupt type, automatic masks
            Cmd.GET_ADAPTIVE_RING_INFO: _answer(1),
        }

    def _while_active(self, do: Callable[[Datapath], None], *, early: bool = False) -> Callable[[], int]:
        """A command that works on the shared area: nothing happens, and no memory is touched, while inactive.

        `early`: drivers give it before there is a shared area, which is no fault.
        """

        def run() -> int:
            if not (self._shared_at or early):
                self.rules.note("VMX-D-009", "command without a shared area", 0)
            path = self._running()
            if path is not None:
                try:
                    do(path)
                except DmaFault as fault:
                    self.rules.note(fault.rule, "command argument", fault.value)
            return 0

        return run

    def _activate(self) -> int:
        if self.state is State.ACTIVE:
            self.rules.note("VMX-D-028", "ACTIVATE_DEV", 0)
            return 0
        if self.state is State.FAILED:
            return 1
        if not (self.pci.bus_master and self.pci.memory_enabled):
            self.rules.note("VMX-D-066", "ACTIVATE_DEV", self.pci.config.word(4))
            return 1
        if not self.version:
            self.rules.note("VMX-D-002", "ACTIVATE_DEV", 0)
        if self.faults is not None and self.faults.at("vmxnet3.activate"):
            return 1
        try:
            config = read_config(self.mem, self._shared_at, self.rules.note)
            queues = build_queues(self.mem, config, self.rules.note)
            path = Datapath(
                self.mem,
                config,
                queues,
                self.backend,
                self.filter,
                signal=self._signal,
                event=self._raise_event,
                pace=self._pace,
            )
            path.store_events(Event(0))
            self._load_rx_mode(path)
            self._load_multicast(path)
            self._load_vlans(path)
            self._load_rss(path)
        except GuestFault as fault:
            self.rules.note(fault.rule, f"ACTIVATE_DEV: {fault.what}", fault.value)
            return 1
        self._path, self.state = path, State.ACTIVE
        self.events = Event(0)
        self.backend.link(True)
        self.kicked = True
        return 0

    def _quiesce(self) -> int:
        self._stop()
        if self.state is not State.FAILED:
            self.state = State.QUIESCED if self._shared_at else State.RESET
        return 0

    def _reset_device(self) -> int:
        """Version and current address survive: drivers do not set them again."""
        self._quiesce()
        self.filter.clear()
        self.events, self._imr, self._shared_at = Event(0), (1 << MAX_INTRS) - 1, 0
        for name in ("DSAL", "DSAH"):
            self._vd.values[name][0] = 0
        self.state = State.RESET
        return 0

    # -- what commands read from and write to the shared area ---------------------------------------------------

    def _load_rx_mode(self, path: Datapath) -> None:
        value = path.area()["rxMode"]
        if value >> 5:
            self.rules.note("VMX-D-060", "rxMode", value)
        self.filter.mode = RxMode(value & 0x1F)
        self.kicked = True  # frames may have waited for the filter to open

    def _load_multicast(self, path: Datapath) -> None:
        area = path.area()
        length, address = area["mfTableLen"], area["mfTablePA"]
        if length % 6 or length > MF_TABLE_MAX or (length and not address):
            self.rules.note("VMX-D-059", "mfTableLen", length)
            length -= length % 6
        table = b""
        if length and address:
            try:
                table = self.mem.read(address, length)
            except DmaFault as fault:
                self.rules.note("VMX-D-059", "mfTablePA", fault.value)
        self.filter.multicast = frozenset(table[i : i + 6] for i in range(0, len(table), 6))

    def _load_vlans(self, path: Datapath) -> None:
        at = DRIVER_SHARED.offset["vfTable"]
        self.filter.vlans = path.area_bytes()[at : at + 512]

    def _load_features(self, path: Datapath) -> None:
        path.set_features(check_features(path.area()["uptFeatures"], self.rules.note))
        self._load_rss(path)

    def _load_rss(self, path: Datapath) -> None:
        path.rss = None
        if path.features & Feature.RSS:
            area = path.area()
            found = read_rss(self.mem, path.config, area["rssConfLen"], area["rssConfPA"], self.rules.note)
            if found is not None:
                path.rss = Rss(found.hash_type, found.key, found.table, path.config.rx_queues)

    # -- interrupts ---------------------------------------------------------------------------------------------

    def _signal(self, vector: int) -> None:
        """Everything bound to `vector` wants attention: deliver, or keep the cause while IMR masks it."""
        bit = 1 << vector
        if self._imr & bit:
            self._cause |= bit
            return
        self._cause &= ~bit
        irq = self.pci.irq
        if self.faults is not None and self.faults.at("vmxnet3.interrupt"):
            return
        if irq.mode is Mode.INTX:
            if vector == 0:
                irq.set_line(True)
            return
        if self._path is not None and self._path.config.auto_mask:
            self._imr |= bit
        irq.fire(vector)
        if self.trace is not None:
            self.trace("vmxnet3.interrupt", vector=vector)

    # -- work ----------------------------------------------------------------------------------------------------

    def service(self, budget: int, now_ns: int) -> bool:
        """Run every queue once, `budget` descriptors or frames each. True: something was done, or can be at once."""
        self.kicked = False
        path = self._running()
        if path is None:
            return False
        path.trace = self.trace
        try:
            return path.service(budget, now_ns, link_up=self.link_up, polled=self.polled)
        except DmaFault as fault:  # a context manager would cost every round a microsecond
            self._lose(fault.rule, fault)
            return False

    def rest(self) -> bool:
        """Arm the transmit bells and look again. True: there is work after all."""
        path = self._running()
        with self._reaching():
            return path is not None and path.rest()
        return False

    def deadline(self) -> int | None:
        path = self._path
        return path.deadline(link_up=self.link_up) if path is not None and self.pci.bus_master else None


def _nothing(path: Datapath) -> None:
    pass


def _answer(value: int) -> Callable[[], int]:
    return lambda: value
