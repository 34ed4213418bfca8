"""VMXNET3 driver rules 001 to 032 and 054 to 066: registers, commands, ACTIVATE. Each is broken as a driver would."""

from collections.abc import Callable
from typing import Any

import pytest

from pvdev.mem import DmaFault
from pvdev.pci import CMD_MASTER, CMD_MEMORY, COMMAND, CONFIG_REGION
from tests.rig import BROADCAST, MAC, NOWHERE, RawNic, frame
from vmxnet3 import wire
from vmxnet3.device import State
from vmxnet3.wire import RSS_CONF, Cmd, Event, Feature, RxMode

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


# -- the shared area -----------------------------------------------------------------------------------------------


def test_VMX_D_008_shared_area_at_zero(nic: RawNic) -> None:
    nic.assert_refused("VMX-D-008", "shared area address", 0, address=0)


def test_VMX_D_008_shared_area_misaligned(nic: RawNic) -> None:
    address = nic.shared.address + 4

    nic.assert_refused("VMX-D-008", "shared area address", address, address=address)


def test_VMX_D_008_shared_area_unmapped(nic: RawNic) -> None:
    nic.assert_refused("VMX-D-008", "shared area address", NOWHERE, address=NOWHERE)


def test_VMX_D_008_shared_area_read_only(nic: RawNic) -> None:
    nic.lend(NOWHERE, 4096, writable=False)[: len(nic.shared.view)] = nic.shared.view

    nic.assert_refused("VMX-D-008", "shared area address", NOWHERE, address=NOWHERE)


@pytest.mark.parametrize(
    "command",
    [Cmd.UPDATE_FEATURE, Cmd.UPDATE_VLAN_FILTERS, Cmd.UPDATE_MAC_FILTERS, Cmd.UPDATE_RX_MODE, Cmd.GET_QUEUE_STATUS],
)
def test_VMX_D_009_command_before_the_shared_area(nic: RawNic, command: Cmd) -> None:
    before = nic.snapshot()

    answer = nic.command(command)

    assert answer == 0
    assert nic.seen("VMX-D-009") == [("command without a shared area", 0, 1)]
    assert nic.snapshot() == before
    nic.assert_alive()


def test_VMX_D_009_statistics_may_be_asked_for_early(nic: RawNic) -> None:
    before = nic.snapshot()

    answer = nic.command(Cmd.GET_STATS)

    assert (answer, nic.snapshot(), list(nic.rules)) == (0, before, [])


@pytest.mark.parametrize("magic", [0, 0xBABE_FEE0, 0xE1FE_BEBA])
def test_VMX_D_010_wrong_magic(nic: RawNic, magic: int) -> None:
    nic.tell(magic=magic)

    nic.assert_refused("VMX-D-010", "magic", magic)


@pytest.mark.parametrize("count", [0, 9, 255])
def test_VMX_D_011_transmit_queues(nic: RawNic, count: int) -> None:
    nic.tell(numTxQueues=count)

    nic.assert_refused("VMX-D-011", "number of transmit queues", count)


@pytest.mark.parametrize("count", [0, 17, 255])
def test_VMX_D_011_receive_queues(nic: RawNic, count: int) -> None:
    nic.tell(numRxQueues=count)

    nic.assert_refused("VMX-D-011", "number of receive queues", count)


@pytest.mark.parametrize("address", [0, NOWHERE, 2**64 - 128, 2**64 - 512])
def test_VMX_D_012_queue_table_address(nic: RawNic, address: int) -> None:
    nic.tell(queueDescPA=address)

    nic.assert_refused("VMX-D-012", "queue table address", address)


@pytest.mark.parametrize("offset", [8, 64])
def test_VMX_D_012_queue_table_misaligned(nic: RawNic, offset: int) -> None:
    address = nic.table.address + offset
    nic.tell(queueDescPA=address)

    nic.assert_refused("VMX-D-012", "queue table address", address)


def test_VMX_D_012_queue_table_read_only(nic: RawNic) -> None:
    nic.lend(NOWHERE, 4096, writable=False)[: len(nic.table.view)] = nic.table.view
    nic.tell(queueDescPA=NOWHERE)

    nic.assert_refused("VMX-D-012", "queue table address", NOWHERE)


def test_VMX_D_012_queue_table_length_is_only_noted(nic: RawNic) -> None:
    nic.tell(queueDescLen=256)

    answer = nic.activate()

    assert answer == 0
    assert nic.seen("VMX-D-012") == [("queue table length", 256, 1)]
    nic.arm_all()
    nic.assert_traffic()


@pytest.mark.parametrize("mtu", [0, 59, 9001, 9191, 0xFFFF_FFFF])
def test_VMX_D_013_mtu(nic: RawNic, mtu: int) -> None:
    nic.tell(mtu=mtu)

    nic.assert_refused("VMX-D-013", "mtu", mtu)


@pytest.mark.parametrize("count", [0, 26, 255])
def test_VMX_D_014_interrupt_count(nic: RawNic, count: int) -> None:
    nic.tell(numIntrs=count)

    nic.assert_refused("VMX-D-014", "number of interrupts", count)


def test_VMX_D_014_moderation_level_is_only_noted(nic: RawNic) -> None:
    nic.tell(modLevels=(8, 9))

    answer = nic.activate()

    assert answer == 0
    assert nic.seen("VMX-D-014") == [("moderation level 1", 9, 1)]
    nic.arm_all()
    nic.assert_traffic()


@pytest.mark.parametrize("index", [2, 25, 255])
def test_VMX_D_015_event_vector(nic: RawNic, index: int) -> None:
    nic.tell(eventIntrIdx=index)

    nic.assert_refused("VMX-D-015", "event interrupt index", index)


@pytest.mark.parametrize("index", [2, 25, 255])
def test_VMX_D_016_transmit_queue_vector(nic: RawNic, index: int) -> None:
    nic.tell_tx(intrIdx=index)

    nic.assert_refused("VMX-D-016", "tx queue 0 interrupt index", index)


@pytest.mark.parametrize("index", [2, 25, 255])
def test_VMX_D_016_receive_queue_vector(nic: RawNic, index: int) -> None:
    nic.tell_rx(intrIdx=index)

    nic.assert_refused("VMX-D-016", "rx queue 0 interrupt index", index)


# -- rings ---------------------------------------------------------------------------------------------------------


def _ring_base(nic: RawNic, which: str, address: int) -> str:
    """Move one of the rings; the place a refusal names."""
    if which == "tx":
        nic.tell_tx(txRingBasePA=address)
        return "tx queue 0 ring base"
    if which == "tx comp":
        nic.tell_tx(compRingBasePA=address)
        return "tx queue 0 completion ring base"
    if which == "rx comp":
        nic.tell_rx(compRingBasePA=address)
        return "rx queue 0 completion ring base"
    bases = list(nic.rx_area[0]["rxRingBasePA"])
    ring = int(which[-1])
    bases[ring] = address
    nic.tell_rx(rxRingBasePA=tuple(bases))
    return f"rx queue 0 ring {ring} base"


RINGS = ["tx", "tx comp", "rx 0", "rx 1", "rx comp"]


@pytest.mark.parametrize("which", RINGS)
@pytest.mark.parametrize("address", [0, 0x10_0100, NOWHERE, 2**64 - 512])
def test_VMX_D_017_ring_bases(nic: RawNic, which: str, address: int) -> None:
    place = _ring_base(nic, which, address)

    nic.assert_refused("VMX-D-017", place, address)


def test_VMX_D_017_ring_1_of_size_0_needs_no_base(nic: RawNic) -> None:
    nic.prepare(ring1=0)

    answer = nic.activate()

    assert (answer, list(nic.rules)) == (0, [])
    nic.arm_all()
    nic.assert_traffic()


@pytest.mark.parametrize("which", ["tx comp", "rx comp"])
def test_VMX_D_017_completion_ring_read_only(nic: RawNic, which: str) -> None:
    nic.lend(NOWHERE, 1 << 16, writable=False)
    _ring_base(nic, which, NOWHERE)

    nic.assert_refused("VMX-D-017", "ring in unmapped memory", NOWHERE)


@pytest.mark.parametrize("size", [0, 31, 33, 4128, 0xFFFF_FFE0, 0xFFFF_FFFF])
def test_VMX_D_018_transmit_ring_size(nic: RawNic, size: int) -> None:
    nic.tell_tx(txRingSize=size)

    nic.assert_refused("VMX-D-018", "tx queue 0 ring size", size)


@pytest.mark.parametrize(("ring", "size"), [(0, 0), (0, 31), (0, 4128), (1, 16), (1, 4128), (1, 0xFFFF_FFFF)])
def test_VMX_D_018_receive_ring_size(nic: RawNic, ring: int, size: int) -> None:
    sizes = [64, 32]
    sizes[ring] = size
    nic.tell_rx(rxRingSize=tuple(sizes))

    nic.assert_refused("VMX-D-018", f"rx queue 0 ring {ring} size", size)


@pytest.mark.parametrize("size", [0, 48, 4128])
def test_VMX_D_018_transmit_completion_ring_size(nic: RawNic, size: int) -> None:
    nic.tell_tx(compRingSize=size)

    nic.assert_refused("VMX-D-018", "tx queue 0 completion ring size", size)


@pytest.mark.parametrize("size", [0, 48, 8224])
def test_VMX_D_018_receive_completion_ring_size(nic: RawNic, size: int) -> None:
    nic.tell_rx(compRingSize=size)

    nic.assert_refused("VMX-D-018", "rx queue 0 completion ring size", size)


def test_VMX_D_019_transmit_completion_ring_too_small(nic: RawNic) -> None:
    nic.tell_tx(compRingSize=32)

    nic.assert_refused("VMX-D-019", "tx queue 0 completion ring size", 32)


def test_VMX_D_019_receive_completion_ring_too_small(nic: RawNic) -> None:
    nic.tell_rx(compRingSize=64)

    answer = nic.activate()

    assert answer == 0
    assert nic.seen("VMX-D-019") == [("rx queue 0 completion ring size", 64, 1)]
    nic.arm_all()
    nic.assert_traffic()


@pytest.mark.parametrize(
    ("base", "slots"), [(0x10_0100, 64), (0x10_0200, 32), (NOWHERE, 64)], ids=["misaligned", "too few", "unmapped"]
)
def test_VMX_D_020_transmit_data_ring(nic: RawNic, base: int, slots: int) -> None:
    nic.tell_tx(dataRingBasePA=base, dataRingSize=slots)

    answer = nic.activate()

    assert answer == 0
    assert nic.seen("VMX-D-020") == [("tx queue 0 data ring", base, 1)]
    nic.arm_all()
    nic.assert_traffic()


def test_VMX_D_022_rings_that_overlap(nic: RawNic) -> None:
    nic.tell_tx(compRingBasePA=nic.tx[0].ring.memory.address + 512)

    answer = nic.activate()

    assert answer == 0
    place = "tx queue 0 ring and tx queue 0 completion ring"
    assert nic.seen("VMX-D-022") == [(place, nic.tx[0].ring.memory.address + 512, 1)]
    nic.assert_alive()


# -- features and RSS ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("features", [Feature.RXINNEROFLD, 0x20, 1 << 63])
def test_VMX_D_024_unknown_features(nic: RawNic, features: int) -> None:
    nic.tell(uptFeatures=features | Feature.RXCSUM)

    answer = nic.activate()

    assert answer == 0
    assert nic.seen("VMX-D-024") == [("uptFeatures", features | Feature.RXCSUM, 1)]
    nic.arm_all()
    nic.assert_traffic()


def test_VMX_D_024_unknown_features_asked_for_later(active: RawNic) -> None:
    active.tell(uptFeatures=0x40)

    answer = active.command(Cmd.UPDATE_FEATURE)

    assert answer == 0
    assert active.seen("VMX-D-024") == [("uptFeatures", 0x40, 1)]
    active.assert_traffic()


def _rss(nic: RawNic, *, length: int = 176, address: int | None = None, **fields: Any) -> int:
    """Ask for RSS over two queues with this configuration; its address."""
    nic.prepare(rx=2)
    where = nic.port.alloc(RSS_CONF.size)
    values = {"hashType": 3, "hashFunc": 1, "hashKeySize": 40, "indTableSize": 2, "hashKey": bytes(range(1, 41))}
    where.view[:] = RSS_CONF.encode(**{**values, "indTable": b"\0\1", **fields})
    at = where.address if address is None else address
    nic.tell(uptFeatures=Feature.RSS, rssConfLen=length, rssConfPA=at)
    return at


@pytest.mark.parametrize(
    ("length", "address"), [(4, None), (176, 0), (176, NOWHERE)], ids=["too short", "at zero", "unmapped"]
)
def test_VMX_D_025_no_usable_rss_configuration(nic: RawNic, length: int, address: int | None) -> None:
    at = _rss(nic, length=length, address=address)

    answer = nic.activate()

    assert answer == 0
    assert nic.seen("VMX-D-025") == [("RSS configuration", at, 1)]
    nic.arm_all()
    nic.assert_traffic()


def test_VMX_D_025_rss_with_one_queue(nic: RawNic) -> None:
    nic.tell(uptFeatures=Feature.RSS, rssConfLen=176, rssConfPA=nic.shared.address)

    answer = nic.activate()

    assert answer == 0
    assert nic.seen("VMX-D-025") == [("RSS configuration", nic.shared.address, 1)]
    nic.arm_all()
    nic.assert_traffic()


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ({"hashFunc": 0}, 40 << 16 | 2),
        ({"hashFunc": 7}, 40 << 16 | 2),
        ({"hashKeySize": 41}, 41 << 16 | 2),
        ({"hashKeySize": 0xFFFF}, 0xFFFF << 16 | 2),
        ({"indTableSize": 0}, 40 << 16),
        ({"indTableSize": 129}, 40 << 16 | 129),
        ({"indTableSize": 0xFFFF}, 40 << 16 | 0xFFFF),
    ],
)
def test_VMX_D_026_rss_configuration_out_of_limits(nic: RawNic, fields: dict[str, int], value: int) -> None:
    _rss(nic, **fields)

    answer = nic.activate()

    assert answer == 0
    assert nic.seen("VMX-D-026") == [("hash function, key size, table size", value, 1)]
    nic.arm_all()
    nic.assert_traffic()


def test_VMX_D_026_indirection_entry_that_names_no_queue(nic: RawNic) -> None:
    _rss(nic, indTable=b"\x01\xff")

    answer = nic.activate()

    assert answer == 0
    assert nic.seen("VMX-D-026") == [("indirection table entry", 255, 1)]
    nic.arm_all()
    nic.assert_traffic()


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
