"""The VMXNET3 device: registers, commands and states; the rings run in `tx.py` and `rx.py`.

A pure state machine. Memory, port and time come in; register values and interrupts (`pci.irq`) come out.

Ref: Linux drivers/net/vmxnet3/vmxnet3_drv.c and FreeBSD, OpenBSD, iPXE and DPDK's drivers (what is asked of it);
docs/RULES.md (what it asks of them).
"""

from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum

from pvdev.errors import GuestFault
from pvdev.faults import FaultPlan
from pvdev.irq import Interrupts, Mode, Moderator, Pace
from pvdev.mem import DmaFault, GuestMemory, Window, fence
from pvdev.pci import (
    CMD_MASTER,
    Bar,
    Identity,
    MsixBar,
    PciFunction,
    msi,
    msix,
    pcie_endpoint,
    power_management,
    serial_number,
)
from pvdev.regs import Reg, RegBlock
from pvdev.rules import RuleLog
from pvdev.trace import Sink
from vmxnet3.activation import QUEUE_DESC, Config, Queues, build_queues, check_features, read_config, read_rss
from vmxnet3.backend import Frame, NetBackend, Null
from vmxnet3.filters import RxFilter
from vmxnet3.offload import Rss
from vmxnet3.rules import RULES
from vmxnet3.rx import Facts, RxQueue
from vmxnet3.tx import TxQueue
from vmxnet3.wire import (
    BAR_MSIX,
    BAR_PT,
    BAR_VD,
    DEVICE_ID,
    DRIVER_SHARED,
    MAX_INTRS,
    MAX_RX_QUEUES,
    MAX_TX_QUEUES,
    MF_TABLE_MAX,
    PAGE,
    RCD_RSSTYPE_SHIFT,
    REG_CMD,
    REG_DSAH,
    REG_DSAL,
    REG_ECR,
    REG_ICR,
    REG_IMR,
    REG_MACH,
    REG_MACL,
    REG_RXPROD,
    REG_RXPROD2,
    REG_TXPROD,
    REG_UVRS,
    REG_VRRS,
    REVISION,
    SINCE,
    TX_QUEUE_DESC,
    VENDOR_ID,
    Cmd,
    Event,
    Feature,
    RxMode,
)

DEFAULT_MAC = bytes.fromhex("020000000001")
VERSIONS = 1  # highest device version offered: those below it are offered too
BELLS_OFF = 1 << 30  # txThreshold while the rings are polled: the driver never saves up as many frames
RETRY_NS = 20_000, 1_000_000  # between two looks for room in a full port or for buffers in an empty ring: from, up to
RELOOK_NS = 50_000, 1_000_000  # after arming the bells: a store and a load may have crossed; look again this much later

_PT_REGS = (
    Reg(REG_IMR, "IMR", reset=1, count=MAX_INTRS),
    Reg(REG_TXPROD, "TXPROD", count=MAX_TX_QUEUES),
    Reg(REG_RXPROD, "RXPROD", count=MAX_RX_QUEUES),
    Reg(REG_RXPROD2, "RXPROD2", count=MAX_RX_QUEUES),
)
_VD_REGS = (
    Reg(REG_VRRS, "VRRS"),
    Reg(REG_UVRS, "UVRS"),
    Reg(REG_DSAL, "DSAL"),
    Reg(REG_DSAH, "DSAH"),
    Reg(REG_CMD, "CMD"),
    Reg(REG_MACL, "MACL"),
    Reg(REG_MACH, "MACH"),
    Reg(REG_ICR, "ICR", "ro"),
    Reg(REG_ECR, "ECR"),
)


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
        self._pt = RegBlock("BAR0", _PT_REGS, self, note, "VMX-D-001")
        self._vd = RegBlock("BAR1", _VD_REGS, self, note, "VMX-D-001")
        irq = Interrupts(MAX_INTRS)
        first, rest = mac[:3], mac[3:]
        self.pci = PciFunction(
            Identity(VENDOR_ID, DEVICE_ID, 0x020000, REVISION, VENDOR_ID, DEVICE_ID),
            {
                BAR_PT: Bar(PAGE, self._pt),
                BAR_VD: Bar(PAGE, self._vd),
                BAR_MSIX: Bar(2 * PAGE, MsixBar(irq, PAGE)),
            },
            [
                power_management(0x40),
                pcie_endpoint(0x48),
                msi(0x84),
                msix(0x9C, vectors=MAX_INTRS, bar=BAR_MSIX, pba=PAGE),
                serial_number(int.from_bytes(first + b"\xff\xff" + rest, "big")),
            ],
            irq,
            on_command=self._command_changed,
            on_power=self._power_changed,
        )
        self._commands: dict[int, Callable[[], int]] = self._command_table()
        self._queues: Queues | None = None
        self.mem.on_unmap(self._unmapped)
        self.reset()

    def reset(self) -> None:
        """PCI reset: no version, no shared area, masks set, the permanent address."""
        self._drop_queues()
        self.pci.reset()
        self._pt.reset()
        self._vd.reset()
        self.state = State.RESET
        self.version = 0  # none selected yet: behaves as 1
        self._shared_at, self._half_address = 0, False
        self._answer = 0
        self.events = Event(0)
        self._imr, self._cause = (1 << MAX_INTRS) - 1, 0  # a bit per vector: masked; a cause waits
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
            self._raise_event(Event.LINK)
            self.kicked = True

    def _drop_queues(self) -> None:
        """Leave ACTIVE: no queue, nothing to run, no view of guest memory."""
        if self._queues is not None:
            self._release()
            self.backend.link(False)
        self._queues = None
        self._config: Config | None = None
        self._windows: list[Window] = []
        self._stale = False
        self._rss: Rss | None = None
        self._moderators: list[Moderator] = []
        self._now_ns = 0
        self._backlog: deque[bytes] = deque()  # frames taken from the rings that the port had no room for
        self._waiting: list[tuple[list[bytes], list[Facts] | None]] = []  # per receive queue: frames without buffers
        self._bells_off = False
        self._retry_ns, self._retry_step = 0, 0
        self._relooks: tuple[int, ...] = ()
        self._relook_from = 0

    def _release(self) -> None:
        if self._queues is not None and not self._stale:
            for queue in self._queues.all():
                queue.release()
            self._shared_words.release()
            self._table_words.release()
            for window in self._windows:
                window.release()

    def _bind_tables(self, config: Config) -> None:
        """Keep views of the shared area and the queue table. Raises `DmaFault`."""
        shared = self.mem.window(config.shared_at, DRIVER_SHARED.size, write=True)
        table = self.mem.window(config.table_at, config.table_size, write=True)
        self._windows = [shared, table]
        self._shared_words, self._table_words = shared.view.cast("I"), table.view.cast("Q")

    def _unmapped(self, lo: int, hi: int) -> None:
        """A range goes away: if a ring or table lies in it, let go of all; they are looked for again when needed."""
        queues = self._queues
        if queues is None or self._stale:
            return
        windows = [*self._windows, *(w for q in queues.all() for w in q.windows())]
        if any(w.address < hi and lo < w.address + len(w.view) for w in windows):
            self._release()
            self._stale = True

    def _rebind(self) -> bool:
        """After an unmap: find rings and tables again; False (and FAILED) when they are gone for good."""
        if not self._stale:
            return True
        queues, config = self._queues, self._config
        if queues is None or config is None:
            return False
        try:
            for queue in queues.all():
                queue.bind()
            self._bind_tables(config)
        except DmaFault as fault:
            self.rules.note("VMX-D-064", "ring or table", fault.value)
            self._queues = None  # its views are released already
            self._drop_queues()
            self.state = State.FAILED
            return False
        self._stale = False
        return True

    @property
    def _ready(self) -> bool:
        """Active, with bus mastering on and every ring in reach."""
        return self.state is State.ACTIVE and self.pci.bus_master and self._rebind()

    def _command_changed(self, command: int) -> None:
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
            if self._config is not None and self._config.auto_mask:
                self._imr |= 1
        return int(asserted)

    def _read_ECR(self) -> int:
        return int(self.events)

    def _write_ECR(self, value: int) -> None:
        if value & ~self.events:
            self.rules.note("VMX-D-057", "ECR", value)
        self.events &= ~value
        self._store_events()

    def _store_events(self) -> None:
        if self._ready:
            self._shared_words[DRIVER_SHARED.offset["ecr"] // 4] = int(self.events)
            self._windows[0].push(DRIVER_SHARED.offset["ecr"], 4)

    def _raise_event(self, event: Event) -> None:
        config = self._config
        if self.state is not State.ACTIVE or config is None:
            return
        self.events |= event
        self._store_events()
        self._signal(config.event_intr)

    # -- BAR0: masks and doorbells ------------------------------------------------------------------------------

    def _read_IMR(self, vector: int) -> int:
        return self._imr >> vector & 1

    def _write_IMR(self, vector: int, value: int) -> None:
        if value & ~1 or (self._config is not None and vector >= self._config.intrs):
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
        queues = self._queues
        if queues is None:
            self.rules.note("VMX-D-030", place, value)
        elif queue >= len(queues.tx if tx else queues.rx):
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
            Cmd.UPDATE_IML: self._while_active(lambda: None),
            Cmd.UPDATE_PMCFG: self._while_active(lambda: None),
            Cmd.STOP_EMULATION: nothing,
            Cmd.LOAD_PLUGIN: nothing,
            Cmd.ACTIVATE_VF: nothing,
            Cmd.GET_QUEUE_STATUS: self._while_active(self._store_status),
            Cmd.GET_STATS: self._while_active(self._store_stats, early=True),
            Cmd.GET_LINK: lambda: self.link_mbps << 16 | 1 if self.link_up else 0,
            Cmd.GET_PERM_MAC_LO: _answer(low),
            Cmd.GET_PERM_MAC_HI: _answer(high),
            Cmd.GET_DID_LO: _answer(DEVICE_ID),
            Cmd.GET_DID_HI: _answer(REVISION),
            Cmd.GET_DEV_EXTRA_INFO: nothing,
            Cmd.GET_CONF_INTR: nothing,  # any interrupt type, automatic masks
            Cmd.GET_ADAPTIVE_RING_INFO: _answer(1),
        }

    def _while_active(self, do: Callable[[], None], *, early: bool = False) -> Callable[[], int]:
        """A command that works on the shared area: nothing happens, and no memory is touched, while inactive.

        `early`: drivers give it before there is a shared area, which is no fault.
        """

        def run() -> int:
            if not (self._shared_at or early):
                self.rules.note("VMX-D-009", "command without a shared area", 0)
            if self._ready:
                try:
                    do()
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
            self._bind_tables(config)
        except GuestFault as fault:
            self.rules.note(fault.rule, f"ACTIVATE_DEV: {fault.what}", fault.value)
            return 1
        self._config, self._queues, self.state = config, queues, State.ACTIVE
        for queue in queues.all():
            queue.start()
        self._waiting = [([], None) for _ in queues.rx]
        self._moderators = [Moderator(self._pace) for _ in range(config.intrs)]
        self.events, self._cause = Event(0), 0
        self.pci.irq.set_line(False)
        self._store_events()
        self._store_status()
        self._store_stats()
        self._set_bells(armed=True)
        for i in range(config.rx_queues):
            self._store_word(QUEUE_DESC * (config.tx_queues + i), 0)  # updateRxProd: never ring for receive
        self._set_features(config.features)
        self._load_rx_mode()
        self._load_multicast()
        self._load_vlans()
        self._load_rss()
        self.backend.link(True)
        self.kicked = True
        return 0

    def _quiesce(self) -> int:
        self._drop_queues()
        self._cause = 0
        self.pci.irq.set_line(False)
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

    def _area(self) -> dict[str, int]:
        """The shared area as it is now."""
        self._windows[0].pull()
        return DRIVER_SHARED.numbers(bytes(self._windows[0].view))

    def _load_rx_mode(self) -> None:
        value = self._area()["rxMode"]
        if value >> 5:
            self.rules.note("VMX-D-060", "rxMode", value)
        self.filter.mode = RxMode(value & 0x1F)
        self.kicked = True  # frames may have waited for the filter to open

    def _load_multicast(self) -> None:
        area = self._area()
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

    def _load_vlans(self) -> None:
        self._windows[0].pull()
        at = DRIVER_SHARED.offset["vfTable"]
        self.filter.vlans = bytes(self._windows[0].view[at : at + 512])

    def _load_features(self) -> None:
        self._set_features(check_features(self._area()["uptFeatures"], self.rules.note))
        self._load_rss()

    def _set_features(self, features: int) -> None:
        self._features = Feature(features)
        if self._queues is not None:
            for queue in self._queues.rx:
                queue.features = self._features

    def _load_rss(self) -> None:
        self._rss = None
        if self._config is None or not self._features & Feature.RSS:
            return
        area = self._area()
        found = read_rss(self.mem, self._config, area["rssConfLen"], area["rssConfPA"], self.rules.note)
        if found is not None:
            self._rss = Rss(found.hash_type, found.key, found.table, self._config.rx_queues)

    def _store_stats(self) -> None:
        """The counters of every queue, as eight-byte stores."""
        at = TX_QUEUE_DESC.offset["stats"]
        for base, queue in self._descriptors():
            for i, value in enumerate(queue.stats):
                self._table_words[(base + at) // 8 + i] = value & (1 << 64) - 1
            self._windows[1].push(base + at, 80)

    def _store_status(self) -> None:
        """stopped and error of every queue."""
        at = TX_QUEUE_DESC.offset["stopped"]
        for base, queue in self._descriptors():
            self._table_words[(base + at) // 8] = (1 if queue.failed else 0) | queue.failed << 32
            self._windows[1].push(base + at, 8)

    def _descriptors(self) -> Iterator[tuple[int, TxQueue | RxQueue]]:
        """(offset in the queue table, queue) of every queue."""
        if self._queues is not None:
            for i, queue in enumerate(self._queues.all()):
                yield QUEUE_DESC * i, queue

    def _store_word(self, at: int, value: int) -> None:
        """Store eight bytes at offset `at` of the queue table."""
        self._table_words[at // 8] = value
        self._windows[1].push(at, 8)

    def _set_bells(self, *, armed: bool) -> None:
        """Tell the driver when to ring for transmit: after every frame, or not at all because the rings are polled.

        txNumDeferred and txThreshold share eight bytes; the driver's count starts anew either way.
        """
        if self._queues is not None:
            for i in range(len(self._queues.tx)):
                self._store_word(QUEUE_DESC * i, (1 if armed else BELLS_OFF) << 32)
        self._bells_off = not armed

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
        if self._config is not None and self._config.auto_mask:
            self._imr |= bit
        irq.fire(vector)
        if self.trace is not None:
            self.trace("vmxnet3.interrupt", vector=vector)

    # -- work ---------------------------------------------------------------------------------------------------

    def service(self, budget: int, now_ns: int) -> bool:
        """Run every queue once, `budget` descriptors or frames each. True: something was done, or can be at once."""
        self.kicked = False
        if not self._ready:
            return False
        worked = self._transmit(budget, now_ns)
        worked = self._receive(budget, now_ns) or worked
        for vector, moderator in enumerate(self._moderators):
            if moderator.due(now_ns):
                self._signal(vector)
        if worked:
            self._relooks, self._retry_step = (), 0
            if self.polled and not self._bells_off:
                self._set_bells(armed=False)
        elif self._relooks and now_ns >= self._relook_from + self._relooks[0]:
            self._relooks = self._relooks[1:]
        self._now_ns = now_ns
        return worked

    def rest(self) -> bool:
        """Arm the transmit bells and look again."""
        queues = self._queues
        if not self._ready or queues is None or not self._bells_off:
            return False
        self._set_bells(armed=True)
        fence()
        self._relooks, self._relook_from = RELOOK_NS, self._now_ns
        return any(queue.ready(1) for queue in queues.tx)

    def deadline(self) -> int | None:
        if self.state is not State.ACTIVE:
            return None
        due = [moderator.deadline() for moderator in self._moderators]
        if self._retry_step:
            due.append(self._retry_ns)
        elif self.filter.open:
            due.append(self.backend.deadline())
        if self._relooks:
            due.append(self._relook_from + self._relooks[0])
        return min((ns for ns in due if ns is not None), default=None)

    def _transmit(self, budget: int, now_ns: int) -> bool:
        queues = self._queues
        if queues is None or (self._backlog and not self._send_backlog(now_ns)):
            return False
        worked = False
        for queue, vector in zip(queues.tx, queues.tx_intr, strict=True):
            frames: list[Frame] = []
            failed, before = queue.failed, queue.stats[:] if not self.link_up else None
            consumed, packets = queue.service(budget, frames)
            if queue.failed and not failed:
                self._queue_failed(Event.TQERR)
            if not consumed:
                continue
            worked = True
            if before is not None:  # no link: complete, and count as discarded what would have been sent
                before[8], before[9] = queue.stats[8], before[9] + len(frames)
                queue.stats[:] = before
            elif frames:
                self._send(frames, now_ns)
            queue.complete()
            if packets and self._moderators[vector].cause(packets, now_ns, urgent=False):
                self._signal(vector)
            if self.trace is not None:
                self.trace("vmxnet3.tx", queue=queue.index, descriptors=consumed, frames=len(frames))
            if self._backlog:
                break
        return worked

    def _send(self, frames: list[Frame], now_ns: int) -> None:
        taken = self.backend.send(frames)
        if taken < len(frames):
            self._backlog.extend(b"".join(frame) for frame in frames[taken:])
            self._retry_later(now_ns)

    def _send_backlog(self, now_ns: int) -> bool:
        backlog = self._backlog
        for _ in range(self.backend.send([(frame,) for frame in backlog])):
            backlog.popleft()
        if backlog:
            self._retry_later(now_ns)
        return not backlog

    def _retry_later(self, now_ns: int) -> None:
        first, most = RETRY_NS
        self._retry_step = min(max(2 * self._retry_step, first), most)
        self._retry_ns = now_ns + self._retry_step

    def _queue_failed(self, event: Event) -> None:
        self._store_status()
        self._raise_event(event)

    def _receive(self, budget: int, now_ns: int) -> bool:
        queues = self._queues
        if queues is None or not self.link_up:
            return False
        if not any(frames for frames, _ in self._waiting):
            if not self.filter.open and self.backend.waits:
                return False
            frames = self.backend.receive(budget, now_ns)
            if not frames:
                return False
            self._distribute(self.filter.accept(list(frames)))
        worked, waits = False, self.backend.waits
        for i, (queue, vector) in enumerate(zip(queues.rx, queues.rx_intr, strict=True)):
            frames, facts = self._waiting[i]
            if not frames:
                continue
            done = queue.service(frames, facts, wait=waits)
            if done:
                worked = True
                self._waiting[i] = frames[done:], facts[done:] if facts is not None else None
            if self.trace is not None:
                self.trace("vmxnet3.rx", queue=i, frames=done, completions=queue.published)
            if queue.published and self._moderators[vector].cause(queue.published, now_ns, urgent=True):
                self._signal(vector)
        if not worked:
            self._retry_later(now_ns)
        return worked

    def _distribute(self, frames: list[bytes]) -> None:
        """Choose a queue for each frame."""
        rss = self._rss
        if rss is None:
            self._waiting[0] = frames, None
            return
        split: list[tuple[list[bytes], list[Facts]]] = [([], []) for _ in self._waiting]
        for frame in frames:
            queue, value, kind = rss.choose(frame)
            split[queue][0].append(frame)
            split[queue][1].append(Facts(kind << RCD_RSSTYPE_SHIFT, value))
        self._waiting = list(split)


def _answer(value: int) -> Callable[[], int]:
    return lambda: value
