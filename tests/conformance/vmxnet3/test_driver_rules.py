"""VMXNET3 driver rules 001 to 007, 028 to 032, 054 to 066: registers, commands, states. Broken as a driver would."""

from collections.abc import Callable

import pytest

from pvdev.mem import DmaFault
from pvdev.pci import CMD_MASTER, CMD_MEMORY, COMMAND, CONFIG_REGION
from tests.rig import BROADCAST, MAC, NOWHERE, RawNic, frame
from vmxnet3 import wire
from vmxnet3.device import State
from vmxnet3.wire import Cmd, Event, RxMode

VD, PT = wire.BAR_VD, wire.BAR_PT


@pytest.fixture
def nic() -> RawNic:
    """Powered; shared area, queue table and rings are in memory, the device has not been told."""
    made = RawNic()
    made.prepare()
    return made


@pytest.fixture
def active() -> RawNic:
    """Active, receive buffers posted."""
    made = RawNic()
    made.bring_up()
    return made


# -- registers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bar", "offset", "size", "place"),
    [
        (VD, wire.REG_CMD, 1, "BAR1 read of 1"),
        (VD, wire.REG_MACL, 2, "BAR1 read of 2"),
        (VD, wire.REG_MACL + 1, 4, "BAR1 read of 4"),
        (VD, 0x48, 4, "BAR1 read of 4"),
        (VD, 0xFFC, 4, "BAR1 read of 4"),
        (PT, 8 * wire.MAX_INTRS, 4, "BAR0 read of 4"),
        (PT, wire.REG_TXPROD + 2, 4, "BAR0 read of 4"),
    ],
)
def test_VMX_D_001_reads_that_name_no_register(active: RawNic, bar: int, offset: int, size: int, place: str) -> None:
    value = active.port.read(bar, offset, size)

    assert value == 0
    assert active.seen("VMX-D-001") == [(place, offset, 1)]
    active.assert_traffic()


@pytest.mark.parametrize(("offset", "size"), [(wire.REG_CMD, 1), (wire.REG_CMD, 2), (wire.REG_CMD + 2, 4), (0x50, 4)])
def test_VMX_D_001_writes_that_name_no_register(active: RawNic, offset: int, size: int) -> None:
    active.port.write(VD, offset, Cmd.RESET_DEV & (1 << 8 * size) - 1, size)

    assert active.seen("VMX-D-001") == [(f"BAR1 write of {size}", offset, 1)]
    active.assert_traffic()


def test_VMX_D_001_eight_bytes_are_two_registers(active: RawNic) -> None:
    both = active.port.read(VD, wire.REG_MACL, 8)

    assert both == int.from_bytes(MAC[:4], "little")
    assert active.seen("VMX-D-001") == [("BAR1 read of 8 bytes", wire.REG_MACL, 1)]
    active.assert_traffic()


def test_VMX_D_002_activate_before_a_version_is_selected(nic: RawNic) -> None:
    nic.point(nic.shared.address)

    answer = nic.command(Cmd.ACTIVATE_DEV)

    assert answer == 0
    assert nic.seen("VMX-D-002") == [("ACTIVATE_DEV", 0, 1)]
    nic.arm_all()
    nic.assert_traffic()


@pytest.mark.parametrize("value", [0, 2, 3, 0x8000_0000, 0xFFFF_FFFF])
def test_VMX_D_003_a_version_that_is_not_one_offered_bit(nic: RawNic, value: int) -> None:
    nic.vd(wire.REG_VRRS, 1)

    nic.vd(wire.REG_VRRS, value)

    assert nic.seen("VMX-D-003") == [("VRRS", value, 1)]
    assert nic.device.version == 1
    assert nic.port.read(VD, wire.REG_VRRS) == 1
    nic.assert_alive()


@pytest.mark.parametrize("value", [0, 2, 3])
def test_VMX_D_003_a_upt_version_other_than_1(nic: RawNic, value: int) -> None:
    nic.vd(wire.REG_UVRS, value)

    assert nic.seen("VMX-D-003") == [("UVRS", value, 1)]
    assert nic.port.read(VD, wire.REG_UVRS) == 1
    nic.assert_alive()


@pytest.mark.parametrize(("register", "name"), [(wire.REG_VRRS, "VRRS"), (wire.REG_UVRS, "UVRS")])
def test_VMX_D_004_version_written_while_active(active: RawNic, register: int, name: str) -> None:
    active.vd(register, 1)

    assert active.seen("VMX-D-004") == [(name, 1, 1)]
    assert active.device.version == 1
    active.assert_traffic()


@pytest.mark.parametrize("value", [0, 1, 0xCAFE_00FF, 0xF00D_0015, 0xFFFF_FFFF, *wire.SINCE])
def test_VMX_D_006_unknown_or_newer_command(active: RawNic, value: int) -> None:
    answer = active.command(value)

    assert answer == 0
    assert active.seen("VMX-D-006") == [("CMD", value, 1)]
    active.assert_traffic()


def test_VMX_D_007_command_between_the_halves_of_the_address(nic: RawNic) -> None:
    nic.vd(wire.REG_DSAL, nic.shared.address)

    nic.command(Cmd.GET_LINK)

    assert nic.seen("VMX-D-007") == [("command between DSAL and DSAH", Cmd.GET_LINK, 1)]
    nic.assert_alive()


def test_VMX_D_007_address_written_while_active(active: RawNic) -> None:
    active.point(NOWHERE)

    assert active.seen("VMX-D-007") == [("DSAL while active", NOWHERE, 1), ("DSAH while active", 0, 1)]
    active.assert_traffic()


# -- states and doorbells ------------------------------------------------------------------------------------------


def test_VMX_D_028_activate_while_active(active: RawNic) -> None:
    before = active.snapshot()

    answer = active.command(Cmd.ACTIVATE_DEV)

    assert answer == 0
    assert active.seen("VMX-D-028") == [("ACTIVATE_DEV", 0, 1)]
    assert active.snapshot() == before
    active.assert_traffic()


@pytest.mark.parametrize(
    ("register", "place"),
    [(wire.REG_TXPROD, "TXPROD 0"), (wire.REG_RXPROD, "RXPROD 0"), (wire.REG_RXPROD2 + 8, "RXPROD2 1")],
)
def test_VMX_D_030_doorbell_while_inactive(nic: RawNic, register: int, place: str) -> None:
    nic.post(frame())

    nic.pt(register, 5)

    assert nic.seen("VMX-D-030") == [(place, 5, 1)]
    assert nic.net.sent == []
    nic.assert_alive()


@pytest.mark.parametrize(
    ("register", "place"),
    [
        (wire.REG_TXPROD + 8, "TXPROD 1"),
        (wire.REG_TXPROD + 8 * 7, "TXPROD 7"),
        (wire.REG_RXPROD + 8 * 15, "RXPROD 15"),
        (wire.REG_RXPROD2 + 8, "RXPROD2 1"),
    ],
)
def test_VMX_D_031_doorbell_of_no_queue(active: RawNic, register: int, place: str) -> None:
    active.pt(register, 3)

    assert active.seen("VMX-D-031") == [(place, 3, 1)]
    active.assert_traffic()


@pytest.mark.parametrize(
    ("register", "value", "place"),
    [
        (wire.REG_TXPROD, 64, "TXPROD 0"),
        (wire.REG_RXPROD, 0xFFFF_FFFF, "RXPROD 0"),
        (wire.REG_RXPROD2, 32, "RXPROD2 0"),
    ],
)
def test_VMX_D_032_doorbell_value_past_the_ring(active: RawNic, register: int, value: int, place: str) -> None:
    active.pt(register, value)

    assert active.seen("VMX-D-032") == [(place, value, 1)]
    active.assert_traffic()


# -- interrupts, events, filters -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("vector", "value"), [(0, 2), (1, 0xFFFF_FFFF), (2, 0), (24, 0)])
def test_VMX_D_054_interrupt_mask(active: RawNic, vector: int, value: int) -> None:
    active.pt(wire.REG_IMR + 8 * vector, value)

    assert active.seen("VMX-D-054") == [(f"IMR {vector}", value, 1)]
    assert active.port.read(PT, wire.REG_IMR + 8 * vector) == value & 1
    active.assert_traffic()


@pytest.mark.parametrize("value", [Event.LINK | Event.TQERR, 0x20, 0xFFFF_FFFF])
def test_VMX_D_057_acknowledging_events_that_are_not_set(active: RawNic, value: int) -> None:
    active.device.set_link(False)

    active.vd(wire.REG_ECR, value)

    assert active.seen("VMX-D-057") == [("ECR", value, 1)]
    assert active.port.read(VD, wire.REG_ECR) == Event.LINK & ~value
    active.device.set_link(True)
    active.vd(wire.REG_ECR, Event.LINK)
    active.assert_traffic()


def _multicast(nic: RawNic, **fields: int) -> None:
    """Ask for a table of one address, with these fields wrong."""
    group = bytes.fromhex("01005e000001")
    where = nic.port.alloc(64)
    where.view[:6] = group
    nic.tell(**{"rxMode": RxMode.UCAST | RxMode.MCAST, "mfTableLen": 6, "mfTablePA": where.address, **fields})
    nic.command(Cmd.UPDATE_RX_MODE)


@pytest.mark.parametrize("length", [1, 5, 7, 65535])
def test_VMX_D_059_multicast_table_not_whole_addresses(active: RawNic, length: int) -> None:
    _multicast(active, mfTableLen=length)

    answer = active.command(Cmd.UPDATE_MAC_FILTERS)

    assert answer == 0
    assert active.seen("VMX-D-059") == [("mfTableLen", length, 1)]
    active.assert_traffic()


def test_VMX_D_059_multicast_table_at_zero(active: RawNic) -> None:
    _multicast(active, mfTablePA=0)

    answer = active.command(Cmd.UPDATE_MAC_FILTERS)

    assert answer == 0
    assert active.seen("VMX-D-059") == [("mfTableLen", 6, 1)]
    assert active.device.filter.multicast == frozenset()
    active.assert_traffic()


@pytest.mark.parametrize("address", [NOWHERE, 2**64 - 3])
def test_VMX_D_059_multicast_table_unmapped(active: RawNic, address: int) -> None:
    _multicast(active, mfTablePA=address)

    answer = active.command(Cmd.UPDATE_MAC_FILTERS)

    assert answer == 0
    assert active.seen("VMX-D-059") == [("mfTablePA", address, 1)]
    assert active.device.filter.multicast == frozenset()
    active.assert_traffic()


@pytest.mark.parametrize("extra", [0x20, 0x8000_0000])
def test_VMX_D_060_unknown_receive_modes(active: RawNic, extra: int) -> None:
    mode = RxMode.UCAST | extra
    active.tell(rxMode=mode)

    active.command(Cmd.UPDATE_RX_MODE)

    assert active.seen("VMX-D-060") == [("rxMode", mode, 1)]
    active.feed(frame(dst=BROADCAST))
    assert active.received() == []
    active.assert_traffic()


@pytest.mark.parametrize("mac", ["000000000000", "01005e000001", "ffffffffffff"])
def test_VMX_D_061_station_address_that_is_none(active: RawNic, mac: str) -> None:
    data = bytes.fromhex(mac)

    active.vd(wire.REG_MACL, int.from_bytes(data[:4], "little"))
    active.vd(wire.REG_MACH, int.from_bytes(data[4:], "little"))

    assert active.seen("VMX-D-061") == [("MACL, MACH", int(mac, 16), 1)]
    active.assert_alive()


# -- the function around it ----------------------------------------------------------------------------------------


def _unmap_table(nic: RawNic) -> Callable[[], None]:
    """Make `nic` active with its queue table in a region of its own; a call takes it away."""
    nic.prepare()
    view = nic.lend(NOWHERE, 4096)
    view[: len(nic.table.view)] = nic.table.view
    nic.tell(queueDescPA=NOWHERE)
    assert nic.activate() == 0
    nic.arm_all()

    def unmap() -> None:
        nic.device.mem.unmap(NOWHERE, 4096)

    return unmap


def test_VMX_D_064_queue_table_unmapped_while_active(nic: RawNic) -> None:
    unmap = _unmap_table(nic)
    nic.assert_traffic()

    unmap()
    nic.send(frame())

    assert nic.seen("VMX-D-064") == [("ring or table", NOWHERE, 1)]
    assert nic.device.state is State.FAILED
    assert nic.net.sent == [frame(100, seed=201)]
    nic.assert_alive()


def test_VMX_D_064_a_failed_device_is_brought_back_by_its_driver(nic: RawNic) -> None:
    unmap = _unmap_table(nic)
    unmap()
    nic.send(frame())
    refused = nic.activate()

    nic.command(Cmd.RESET_DEV)
    nic.bring_up()

    assert refused == 1
    nic.assert_traffic()


def test_VMX_D_065_bus_mastering_off_while_active(active: RawNic) -> None:
    active.port.write(CONFIG_REGION, COMMAND, CMD_MEMORY, 2)
    active.send(frame())

    assert active.seen("VMX-D-065") == [("PCI command", CMD_MEMORY, 1)]
    assert active.net.sent == []
    active.assert_alive()


def test_VMX_D_065_put_to_sleep_while_active(active: RawNic) -> None:
    active.port.write(CONFIG_REGION, 0x44, 3, 2)

    assert active.seen("VMX-D-065") == [("power state", 3, 1)]
    active.assert_alive()


@pytest.mark.parametrize("command", [0, CMD_MEMORY, CMD_MASTER])
def test_VMX_D_066_activate_without_memory_decoding_and_bus_mastering(nic: RawNic, command: int) -> None:
    nic.port.write(CONFIG_REGION, COMMAND, command, 2)
    before = nic.snapshot()

    answer = nic.activate()

    assert answer == 1
    assert nic.seen("VMX-D-066") == [("ACTIVATE_DEV", command, 1)]
    assert nic.snapshot() == before
    nic.assert_alive()


# -- memory --------------------------------------------------------------------------------------------------------


class Stubborn:
    """Remote memory of `size` bytes at `base`: served, until it is told to refuse what it is asked."""

    def __init__(self, base: int, size: int) -> None:
        self.base, self.data = base, bytearray(size)
        self.refuse = ""  # the rule refusals name

    def read(self, address: int, length: int) -> bytes:
        if self.refuse == "MEM-01":
            raise DmaFault("MEM-01", "gone", address)
        at = address - self.base
        return bytes(self.data[at : at + length])

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        if self.refuse:
            raise DmaFault(self.refuse, "not for writing", address)
        at = address - self.base
        self.data[at : at + len(data)] = data


def _remote_table(nic: RawNic) -> Stubborn:
    """`nic` active with its queue table in remote memory."""
    remote = Stubborn(NOWHERE, 4096)
    nic.device.mem.map(NOWHERE, None, 4096, remote=remote)
    remote.data[: len(nic.table.view)] = nic.table.view
    nic.tell(queueDescPA=NOWHERE)
    assert nic.activate() == 0
    nic.arm_all()
    return remote


def test_MEM_01_shared_area_across_two_regions(nic: RawNic) -> None:
    size, low = len(nic.shared.view), 360
    first, second = nic.lend(NOWHERE, 4096), nic.lend(NOWHERE + 4096, 4096)
    first[-low:], second[: size - low] = nic.shared.view[:low], nic.shared.view[low:]

    answer = nic.activate(NOWHERE + 4096 - low)

    assert answer == 1
    assert nic.seen("MEM-01") == [("ACTIVATE_DEV: the range leaves its region", NOWHERE + 4096 - low + size, 1)]
    nic.assert_alive()


def test_MEM_02_counters_where_nothing_may_be_written(nic: RawNic) -> None:
    remote = _remote_table(nic)
    remote.refuse = "MEM-02"

    answer = nic.command(Cmd.GET_STATS)

    assert answer == 0
    assert nic.seen("MEM-02") == [("command argument", NOWHERE + 88, 1)]
    nic.assert_alive()


def test_MEM_03_shared_area_of_zeros(nic: RawNic) -> None:
    nic.shared.view[:] = bytes(len(nic.shared.view))

    answer = nic.activate()

    assert answer == 1
    assert nic.seen("MEM-03") == [("shared area", nic.shared.address, 1)]
    assert nic.seen("VMX-D-010") == [("ACTIVATE_DEV: magic", 0, 1)]
    nic.assert_alive()
