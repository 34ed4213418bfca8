"""What a driver sets while the NIC runs: filters, features, RSS, coalescing, wake-up. An argument is read once.

Every method works on an active data path and returns the command's answer.
Ref: Linux vmxnet3_drv.c and vmxnet3_ethtool.c (what is written before each command, and freed right after it).
"""

from collections.abc import Callable

from pvdev.irq import Pace
from pvdev.mem import DmaFault, GuestMemory
from vmxnet3.activation import Config, check_features
from vmxnet3.datapath import Datapath
from vmxnet3.filters import RxFilter
from vmxnet3.offloads.rss import Rss
from vmxnet3.versions import rss_fields
from vmxnet3.wake import WakeFilter, read_wake
from vmxnet3.wire import (
    DRIVER_SHARED,
    GENEVE_PORT,
    HASH_FUNC_TOEPLITZ,
    MF_TABLE_MAX,
    RSS_CONF,
    VXLAN_PORTS,
    Feature,
    RssField,
    RxMode,
)
from vmxnet3.wire_args import (
    COALESCE_DEPTH_MAX,
    COALESCE_RATE_MAX,
    COALESCE_RATE_MIN,
    COALESCE_SCHEME,
    CONF_DESC,
    ENCAP_DSTPORT,
    MEM_REGION,
    MEM_REGS,
    MEM_REGS_MAX,
    RING_BUFFER_SIZE,
    Coalesce,
)

Note = Callable[[str, str, int], None]
_VFTABLE = DRIVER_SHARED.offset["vfTable"]
STATIC_WAIT_NS = 1_000_000  # with static depths a completion waits no longer for company
FAILED = 1


class Settings:
    """The settings of one NIC. `filter` outlives an activation; the rest belongs to the data path it is given."""

    def __init__(self, mem: GuestMemory, note: Note, accept: RxFilter) -> None:
        self._mem, self._note, self.filter = mem, note, accept
        self.wake: WakeFilter | None = None  # what shall wake the machine
        self.ring_buffers = (0, 0, 0)  # bytes of HEAD, BODY of ring 0, BODY of ring 1, as a driver of version 7 told

    def reset(self) -> None:
        """RESET_DEV: nothing passes, nothing wakes."""
        self.filter.clear()
        self.wake, self.ring_buffers = None, (0, 0, 0)

    def load(self, path: Datapath) -> None:
        """ACTIVATE: everything the shared area holds already."""
        self.rx_mode(path)
        self.multicast(path)
        self.vlans(path)
        self._load_rss(path)

    # -- filters ------------------------------------------------------------------------------------------------------

    def rx_mode(self, path: Datapath) -> int:
        value = path.tables.area()["rxMode"]
        if value >> 5:
            self._note("VMX-D-060", "rxMode", value)
        self.filter.mode = RxMode(value & 0x1F)
        return 0

    def multicast(self, path: Datapath) -> int:
        area = path.tables.area()
        length, address = area["mfTableLen"], area["mfTablePA"]
        if length % 6 or length > MF_TABLE_MAX or (length and not address):
            self._note("VMX-D-059", "mfTableLen", length)
            length -= length % 6
        table = b""
        if length and address:
            try:
                table = self._mem.read(address, length)
            except DmaFault as fault:
                self._note("VMX-D-059", "mfTablePA", fault.value)
        self.filter.multicast = frozenset(table[i : i + 6] for i in range(0, len(table), 6))
        return 0

    def vlans(self, path: Datapath) -> int:
        self.filter.vlans = path.tables.area_bytes()[_VFTABLE : _VFTABLE + 512]
        return 0

    # -- features and RSS ---------------------------------------------------------------------------------------------

    def features(self, path: Datapath) -> int:
        path.set_features(check_features(path.tables.area()["uptFeatures"], path.config.version, self._note))
        self._load_rss(path)
        return 0

    def rss_table(self, path: Datapath) -> int:
        """UPDATE_RSSIDT."""
        self._load_rss(path)
        return 0

    def set_rss_fields(self, path: Datapath) -> int:
        wanted = int.from_bytes(path.tables.argument()[:4], "little")
        known = int(rss_fields(path.config.version, path.caps))
        if wanted & ~known:
            self._note("VMX-D-026", "SET_RSS_FIELDS", wanted)
        path.rss_fields = RssField(wanted & known)
        self._load_rss(path)
        return 0

    def get_rss_fields(self, path: Datapath) -> int:
        return int(path.rss_fields)

    def _load_rss(self, path: Datapath) -> None:
        path.rss = None
        if path.features & Feature.RSS:
            area = path.tables.area()
            path.rss = self._read_rss(path.config, path.rss_fields, area["rssConfLen"], area["rssConfPA"])

    def _read_rss(self, config: Config, fields: RssField, length: int, address: int) -> Rss | None:
        """The RSS configuration at `address`, or None when it cannot be used (noted)."""
        note = self._note
        if config.rx_queues < 2 or length < RSS_CONF.size - 128 or not address:
            note("VMX-D-025", "RSS configuration", address)
            return None
        try:
            data = self._mem.read(address, min(length, RSS_CONF.size)).ljust(RSS_CONF.size, b"\0")
        except DmaFault as fault:
            note("VMX-D-025", "RSS configuration", fault.value)
            return None
        area = RSS_CONF.numbers(data)
        key, table = (data[RSS_CONF.offset[name] :] for name in ("hashKey", "indTable"))
        func, key_size, entries = area["hashFunc"], area["hashKeySize"], area["indTableSize"]
        if func != HASH_FUNC_TOEPLITZ or not 16 <= key_size <= 40 or not 1 <= entries <= 128:
            note("VMX-D-026", "hash function, key size, table size", key_size << 16 | entries)
            return None
        if any(entry >= config.rx_queues for entry in table[:entries]):
            note("VMX-D-026", "indirection table entry", max(table[:entries]))
        return Rss(area["hashType"], int(fields), key[:40], table[:entries], config.rx_queues)

    # -- interrupts ---------------------------------------------------------------------------------------------------

    def moderation(self, path: Datapath) -> int:
        """UPDATE_IML: the level of every vector, as the shared area says now. A coalescing scheme overrules them."""
        path.set_levels(path.tables.levels())
        return 0

    def set_coalesce(self, path: Datapath) -> int:
        conf = CONF_DESC.numbers(path.tables.argument())
        if conf["confLen"] < COALESCE_SCHEME.size:
            self._note("VMX-D-062", "SET_COALESCE length", conf["confLen"])
            return FAILED
        data = self._mem.read(conf["confPA"], COALESCE_SCHEME.size)
        scheme = COALESCE_SCHEME.numbers(data)
        bad = _bad_scheme(scheme)
        if bad is not None:
            self._note("VMX-D-062", f"SET_COALESCE {bad}", scheme[bad])
            return FAILED
        path.set_coalesce(data, path.own_pace if scheme["mode"] == Coalesce.ADAPT else _pace(scheme))
        return 0

    def get_coalesce(self, path: Datapath) -> int:
        conf = CONF_DESC.numbers(path.tables.argument())
        if conf["confLen"] < COALESCE_SCHEME.size:
            self._note("VMX-D-062", "GET_COALESCE length", conf["confLen"])
            return FAILED
        self._mem.write(conf["confPA"], path.coalesce)
        return 0

    # -- hints and answers --------------------------------------------------------------------------------------------

    def memory_regions(self, path: Datapath) -> int:
        """REGISTER_MEMREGS: where buffers will lie, which we need not know; only looked at."""
        conf = CONF_DESC.numbers(path.tables.argument())
        count = MEM_REGS.numbers(self._mem.read(conf["confPA"], MEM_REGS.size))["numRegs"]
        if count > MEM_REGS_MAX or conf["confLen"] < MEM_REGS.size + count * MEM_REGION.size:
            self._note("VMX-D-006", "REGISTER_MEMREGS regions", count)
            return FAILED
        return 0

    def ring_buffer_sizes(self, path: Datapath) -> int:
        head, body0, body1 = RING_BUFFER_SIZE.struct.unpack(path.tables.argument()[: RING_BUFFER_SIZE.size])
        self.ring_buffers = head, body0, body1
        return 0

    def encapsulation_ports(self, path: Datapath) -> int:
        """GET_ENCAP_DSTPORT: the UDP ports tunnels are recognised by, into cmdInfo."""
        path.tables.store_argument(ENCAP_DSTPORT.encode(geneve=GENEVE_PORT, vxlan=VXLAN_PORTS[0]))
        return 0

    def wake_up(self, path: Datapath) -> int:
        """UPDATE_PMCFG."""
        area = path.tables.area()
        self.wake = read_wake(self._mem, area["pmConfLen"], area["pmConfPA"], self._note)
        return 0


def _bad_scheme(scheme: dict[str, int]) -> str | None:
    """The field of a coalescing scheme that is out of range, or None."""
    mode = scheme["mode"]
    if mode > Coalesce.RBC:
        return "mode"
    if mode == Coalesce.RBC and not COALESCE_RATE_MIN <= scheme["tx_depth"] <= COALESCE_RATE_MAX:
        return "tx_depth"  # the rate stands in its place
    if mode == Coalesce.STATIC:
        return next((n for n in ("tx_depth", "tx_comp_depth", "rx_depth") if scheme[n] > COALESCE_DEPTH_MAX), None)
    return None


def _pace(scheme: dict[str, int]) -> Pace | None:
    """How long a checked scheme, not an adaptive one, lets interrupts wait; None: not at all."""
    if scheme["mode"] == Coalesce.STATIC:
        return Pace(max(scheme["rx_depth"], 1), STATIC_WAIT_NS, max(scheme["tx_comp_depth"], 1), STATIC_WAIT_NS)
    if scheme["mode"] == Coalesce.RBC:
        gap = 1_000_000_000 // scheme["tx_depth"]
        return Pace(1 << 30, gap, 1 << 30, gap)
    return None
