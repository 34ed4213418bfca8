"""Hostile drivers of later device versions: limits, data rings, capabilities, arguments of commands.

Wherever a case ends, it ends with normal traffic.
"""

from typing import Any

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from pvdev.pci import CONFIG_REGION
from tests.rig import CELL, MAC, NOWHERE, PEER, RawNic, frame
from vmxnet3 import wire
from vmxnet3.backend import Queue
from vmxnet3.device import State
from vmxnet3.versions import CAPABILITIES
from vmxnet3.wire import DRIVER_SHARED, OM_CSUM, RSS_CONF, Cap, Cmd, Feature
from vmxnet3.wire_args import COALESCE_SCHEME, MEM_REGS, PM_CONF, PM_FILTER, Coalesce, Wake

VD, PT = wire.BAR_VD, wire.BAR_PT
OFFERED = int(CAPABILITIES)


def nic_of(version: int, **sizes: int) -> RawNic:
    """Powered, everything in memory, the device not told."""
    nic = RawNic(Queue(waits=False), version=version)
    nic.prepare(**sizes)
    return nic


def active_at(version: int, **sizes: int) -> RawNic:
    nic = nic_of(version, **sizes)
    assert nic.activate() == 0
    nic.arm_all()
    return nic


# -- counts and rings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [6, 7, 9])
@pytest.mark.parametrize(
    ("number", "field", "what", "value"),
    [
        ("VMX-D-011", "numTxQueues", "number of transmit queues", 255),
        ("VMX-D-011", "numTxQueues", "number of transmit queues", 33),
        ("VMX-D-011", "numRxQueues", "number of receive queues", 255),
        ("VMX-D-011", "numRxQueues", "number of receive queues", 33),
        ("VMX-D-014", "numIntrs", "number of interrupts", 66),
        ("VMX-D-014", "numIntrs", "number of interrupts", 255),
        ("VMX-D-013", "mtu", "mtu", 9191),
        ("VMX-D-013", "mtu", "mtu", 0xFFFF_FFFF),
    ],
)
def test_hostile_04_counts_of_version_6(version: int, number: str, field: str, what: str, value: int) -> None:
    nic = nic_of(version)
    nic.tell(**{field: value})

    nic.assert_refused(number, what, value)


@pytest.mark.parametrize("count", range(26, 66, 13))
def test_hostile_04_more_vectors_than_the_old_place_has_levels_for(count: int) -> None:
    """Version 6 allows 65, the old place has 25 levels: those behind it are somebody else's bytes."""
    nic = nic_of(6)
    nic.tell(numIntrs=count, eventIntrIdx=count - 1, modLevels=(8,) * 25)

    nic.assert_refused("VMX-D-014", "number of interrupts", count)


@pytest.mark.parametrize("count", [66, 255])
def test_hostile_04_vectors_of_the_extension(count: int) -> None:
    nic = nic_of(9)
    area = nic.port.alloc(wire.DRIVER_SHARED_EXT_SIZE)
    area.view[: DRIVER_SHARED.size] = DRIVER_SHARED.encode(**{**nic.area, "numIntrs": 0})
    area.view[DRIVER_SHARED.size :] = wire.INTR_CONF_EXT.encode(numIntrs=count, eventIntrIdx=255)

    nic.assert_refused("VMX-D-014", "number of interrupts", count, address=area.address)


def test_hostile_05_queue_table_of_64_queues_beyond_the_address_space() -> None:
    nic = nic_of(6)
    nic.tell(queueDescPA=2**64 - 256, numTxQueues=32, numRxQueues=32)

    nic.assert_refused("VMX-D-012", "queue table address", 2**64 - 256)


@pytest.mark.parametrize("index", [65, 128, 255])
def test_hostile_10_interrupt_indices_of_the_extension(index: int) -> None:
    nic = nic_of(6)
    area = nic.port.alloc(wire.DRIVER_SHARED_EXT_SIZE)
    area.view[: DRIVER_SHARED.size] = DRIVER_SHARED.encode(**{**nic.area, "numIntrs": 0})
    area.view[DRIVER_SHARED.size :] = wire.INTR_CONF_EXT.encode(numIntrs=65, eventIntrIdx=index)

    nic.assert_refused("VMX-D-015", "event interrupt index", index, address=area.address)


@pytest.mark.parametrize("caps", [0, int(Cap.LARGE_BAR)], ids=["small", "large"])
@pytest.mark.parametrize("running", [False, True], ids=["inactive", "active"])
def test_hostile_16_every_doorbell_of_both_pages(running: bool, caps: int) -> None:
    nic = nic_of(9)
    nic.negotiate(caps)
    for _ in range(int(running)):
        assert nic.activate() == 0

    for offset in [*range(0x600, 0xC00, 8), *range(0x1000, 0x2000, 8), *range(0x2000, wire.LARGE_PT_SIZE, 0xFFFF8)]:
        for value in (0, 63, 64, 0xFFFF_FFFF):
            nic.pt(offset, value)

    assert nic.rules.count("VMX-D-030") + nic.rules.count("VMX-D-031") >= 4 * 3 * 31
    assert nic.net.sent == []
    nic.assert_alive()


@pytest.mark.parametrize("size", [1, 2, 8])
def test_hostile_38_capability_registers_and_the_large_page_at_every_width(size: int) -> None:
    nic = active_at(9)
    places = [(VD, at) for at in range(wire.REG_DCR, 0x200)] + [(PT, at) for at in range(0xF00, 0x1A00)]
    places += [(PT, wire.LARGE_PT_SIZE - size)]

    for bar, at in places:
        assert 0 <= nic.port.read(bar, at, size) < 1 << 8 * size
        nic.port.write(bar, at, (1 << 8 * size) - 1, size)

    assert nic.rules.count("VMX-D-001") > len(places)
    nic.assert_alive()


# -- data rings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slot", [0xFFFF, 0xFFC0, 2112, 63, 1])
@pytest.mark.parametrize("base", [0x10_0000, NOWHERE, 2**64 - 512, 2**63])
def test_hostile_data_ring_slots(slot: int, base: int) -> None:
    nic = nic_of(9)
    nic.tell_rx(rxDataRingBasePA=base, rxDataRingDescSize=slot)
    nic.tell_tx(dataRingBasePA=base, dataRingSize=0xFFFF_FFFF, txDataRingDescSize=slot)

    assert nic.activate() == 0

    assert nic.seen("VMX-D-020") == [("tx queue 0 data ring", base, 1)]
    assert nic.seen("VMX-D-021") == [("rx queue 0 data ring", base, 1)]
    nic.arm_all()
    nic.assert_traffic()


def test_hostile_data_ring_at_a_bar_of_the_device() -> None:
    nic = nic_of(9)
    nic.port.write(CONFIG_REGION, 0x10, 0x4000_0000)  # BAR0
    nic.tell_rx(rxDataRingBasePA=0x4000_0000, rxDataRingDescSize=128)

    assert nic.activate() == 0

    assert nic.seen("VMX-D-021") == [("rx queue 0 data ring", 0x4000_0000, 1)]
    nic.arm_all()
    nic.assert_traffic()


@pytest.mark.parametrize("over", ["comp", "ring 0", "table", "shared"])
def test_hostile_data_ring_over_what_the_device_reads_and_writes(over: str) -> None:
    nic = nic_of(3)
    base = {
        "comp": nic.rx[0].comp.memory.address,
        "ring 0": nic.rx[0].rings[0].memory.address,
        "table": nic.table.address,
        "shared": nic.shared.address,
    }[over]
    nic.tell_rx(rxDataRingBasePA=base, rxDataRingDescSize=128)

    answer = nic.activate()
    nic.arm_all()
    for n in range(200):
        nic.send(frame(seed=n))
        nic.feed(*[frame(128, seed=n + k) for k in range(5)])
        nic.command(Cmd.GET_STATS)
        nic.command(Cmd.UPDATE_RX_MODE)

    assert answer == 0
    assert any("rx queue 0 data ring" in place for place, _, _ in nic.seen("VMX-D-022"))
    nic.assert_alive()


def test_hostile_data_ring_unmapped_while_active() -> None:
    nic = nic_of(3)
    nic.lend(NOWHERE, 64 * 128)
    nic.tell_rx(rxDataRingBasePA=NOWHERE, rxDataRingDescSize=128)
    assert nic.activate() == 0
    nic.arm_all()
    nic.feed(frame())

    nic.device.mem.unmap(NOWHERE, 64 * 128)
    nic.kick()

    assert nic.seen("VMX-D-064") == [("ring or table", NOWHERE, 1)]
    assert nic.device.state is State.FAILED
    nic.assert_alive()


@pytest.mark.parametrize("base", [1, NOWHERE, 2**64 - 1])
def test_hostile_time_stamp_rings_are_the_drivers_own(base: int) -> None:
    nic = RawNic(Queue(waits=False), version=9, timestamp_rate=1)
    nic.prepare()
    nic.tell_tx(txTSRingBasePA=base, txTSRingDescSize=0xFFFF)
    nic.tell_rx(rxTSRingBasePA=base, rxTSRingDescSize=0xFFFF)

    assert nic.activate() == 0
    nic.arm_all()

    nic.assert_traffic()
    assert nic.rules.count() == 0


# -- arguments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 4, 6, 9])
@pytest.mark.parametrize(
    "fields",
    [
        {"hashKeySize": 0xFFFF},
        {"hashKeySize": 0},
        {"indTableSize": 0},
        {"indTableSize": 0xFFFF},
        {"indTable": b"\xff" * 128},
        {"hashType": 0xFFFF, "hashFunc": 0xFFFF},
    ],
    ids=lambda fields: " ".join(fields),
)
def test_hostile_12_receive_side_scaling_changed_while_active(version: int, fields: dict[str, Any]) -> None:
    nic = nic_of(version, rx=2)
    conf = nic.port.alloc(RSS_CONF.size)
    good: dict[str, Any] = {"hashType": 15, "hashFunc": 1, "hashKeySize": 40, "indTableSize": 2, "indTable": b"\1\1"}
    conf.view[:] = RSS_CONF.encode(**good, hashKey=bytes(range(40)))
    nic.tell(uptFeatures=Feature.RSS, rssConfLen=RSS_CONF.size, rssConfPA=conf.address)
    assert nic.activate() == 0
    nic.arm_all()
    packet = bytes(Ether(dst=MAC, src=PEER) / IP(src="192.0.2.1", dst="192.0.2.2") / TCP() / Raw(b"x" * 20))
    nic.feed(packet)
    before = [found.data for found in nic.received(1)]

    conf.view[:] = RSS_CONF.encode(**{**good, "hashKey": bytes(range(40)), **fields})
    nic.argue(b"\xff" * 16)
    answers = [nic.command(command) for command in (Cmd.UPDATE_RSSIDT, Cmd.SET_RSS_FIELDS, Cmd.UPDATE_FEATURE)]
    nic.feed(packet)

    assert before == [packet]
    assert answers == [0, 0, 0]
    assert nic.rules.count("VMX-D-026") >= 1
    assert [found.data for found in nic.received(0)] == [packet]
    nic.assert_alive()


@pytest.mark.parametrize("address", [None, 2**64 - 920, 2**64 - 8, NOWHERE])
def test_hostile_13_power_management_of_all_ones(address: int | None) -> None:
    nic = active_at(9)
    conf = nic.port.alloc(PM_CONF.size)
    conf.view[:] = b"\xff" * PM_CONF.size
    nic.tell(pmConfVer=255, pmConfLen=0xFFFF_FFFF, pmConfPA=conf.address if address is None else address)

    answer = nic.command(Cmd.UPDATE_PMCFG)
    nic.port.write(CONFIG_REGION, 0x44, 3, 2)
    for size in (14, 15, 60, 127, 128, 1518):
        nic.feed(frame(size))
    nic.feed(b"", b"\xff", b"\xff" * 1518)

    assert answer == 0
    assert nic.rules.count("VMX-D-063") >= 1
    assert nic.device.wakes.total() <= 9
    nic.port.write(CONFIG_REGION, 0x44, 0, 2)
    nic.assert_alive()


def test_hostile_13_patterns_longer_than_any_frame() -> None:
    nic = active_at(1)
    data = PM_CONF.encode(
        wakeUpEvents=Wake.FILTER,
        numFilters=6,
        filters=PM_FILTER.encode(maskSize=255, patternSize=255, mask=b"\xff" * 16, pattern=bytes(128)) * 6,
    )
    conf = nic.port.alloc(PM_CONF.size)
    conf.view[:] = data
    nic.tell(pmConfLen=PM_CONF.size, pmConfPA=conf.address)
    nic.command(Cmd.UPDATE_PMCFG)
    nic.port.write(CONFIG_REGION, 0x44, 3, 2)

    nic.feed(bytes(127), bytes(128))

    assert len(nic.seen("VMX-D-063")) == 6
    assert nic.device.wakes == {"filter 0": 1}
    nic.port.write(CONFIG_REGION, 0x44, 0, 2)
    nic.assert_alive()


@pytest.mark.parametrize(
    "scheme",
    [
        {"mode": Coalesce.RBC, "tx_depth": 0},
        {"mode": Coalesce.RBC, "tx_depth": 0xFFFF_FFFF},
        {"mode": Coalesce.STATIC, "tx_depth": 0xFFFF_FFFF, "tx_comp_depth": 0xFFFF_FFFF, "rx_depth": 0xFFFF_FFFF},
        {"mode": 0xFFFF_FFFF, "tx_depth": 0xFFFF_FFFF},
    ],
    ids=["rate 0", "rate of all ones", "depths of all ones", "all ones"],
)
def test_hostile_14_coalescing(scheme: dict[str, int]) -> None:
    nic = active_at(9)
    nic.use_msix()
    nic.point_at(COALESCE_SCHEME.encode(**scheme))

    answer = nic.command(Cmd.SET_COALESCE)
    nic.feed(frame(seed=1))

    assert answer == 1
    assert nic.rules.count("VMX-D-062") == 1
    assert (nic.port.interrupts(), nic.device.deadline()) == (1, None)  # as before: at once, and no timer
    nic.received()
    nic.assert_traffic()


@pytest.mark.parametrize(
    "scheme",
    [
        {"mode": Coalesce.RBC, "tx_depth": 100},
        {"mode": Coalesce.STATIC, "tx_depth": 128, "tx_comp_depth": 128, "rx_depth": 128},
        {"mode": Coalesce.STATIC},
    ],
    ids=["100 a second", "depths of 128", "depths of 0"],
)
def test_hostile_14_the_slowest_coalescing_delays_nothing_for_ever(scheme: dict[str, int]) -> None:
    nic = active_at(3)
    nic.use_msix()
    nic.point_at(COALESCE_SCHEME.encode(**scheme))
    assert nic.command(Cmd.SET_COALESCE) == 0

    for n in range(20):
        nic.feed(frame(seed=n))
        nic.port.advance(10_000_000)
        assert nic.port.interrupts() == 1
        nic.received()
        nic.arm()
    assert nic.device.deadline() is None


@pytest.mark.parametrize("count", [257, 0xFFFF])
def test_hostile_15_memory_regions_without_number(count: int) -> None:
    nic = active_at(3)
    nic.point_at(MEM_REGS.encode(numRegs=count), length=0xFFFF_FFFF)

    answer = nic.command(Cmd.REGISTER_MEMREGS)

    assert answer == 1
    assert nic.seen("VMX-D-006") == [("REGISTER_MEMREGS regions", count, 1)]
    nic.assert_traffic()


@pytest.mark.parametrize("command", [Cmd.REGISTER_MEMREGS, Cmd.SET_COALESCE, Cmd.GET_COALESCE], ids=lambda c: c.name)
@pytest.mark.parametrize("address", [0, NOWHERE, 2**64 - 1, 2**64 - 8])
def test_hostile_15_36_arguments_that_lie_nowhere(command: Cmd, address: int) -> None:
    nic = active_at(9)
    nic.point_at(bytes(64), address=address)
    before = nic.snapshot()

    answer = nic.command(command)

    assert answer == 1
    assert [place for place, _, _ in nic.seen("MEM-01")] == ["command argument"]
    assert nic.snapshot() == before
    nic.assert_traffic()


@pytest.mark.parametrize("where", ["comp", "ring", "shared", "table"])
def test_hostile_36_coalescing_told_into_the_devices_own_tables(where: str) -> None:
    nic = active_at(9)
    address = {
        "comp": nic.rx[0].comp.memory.address,
        "ring": nic.tx[0].ring.memory.address,
        "shared": nic.shared.address,
        "table": nic.table.address,
    }[where]
    nic.point_at(bytes(16), address=address)
    before = b"".join(nic.snapshot())

    answer = nic.command(Cmd.GET_COALESCE)

    after = b"".join(nic.snapshot())
    changed = [at for at in range(0, len(after), CELL) if after[at : at + CELL] != before[at : at + CELL]]
    assert answer == 0
    assert changed == [address - nic.port.arena.base]  # sixteen bytes, the guest's own
    nic.assert_alive()


def test_hostile_36_coalescing_told_into_read_only_memory() -> None:
    nic = active_at(9)
    lent = nic.lend(NOWHERE, 4096, writable=False)
    nic.point_at(bytes(16), address=NOWHERE)

    answer = nic.command(Cmd.GET_COALESCE)

    assert answer == 1
    assert nic.seen("MEM-02") == [("command argument", NOWHERE, 1)]
    assert lent == bytes(4096)
    nic.assert_traffic()


# -- capabilities --------------------------------------------------------------------------------------------------


def test_hostile_37_capabilities_of_all_ones_while_active() -> None:
    nic = active_at(9)

    for index in range(wire.NUM_DCR):
        nic.vd(wire.REG_DCR + 8 * index, 0xFFFF_FFFF)
    for index in range(wire.NUM_PTCR):
        nic.vd(wire.REG_PTCR + 8 * index, 0xFFFF_FFFF)

    assert nic.device.caps == OFFERED & ~Cap.LARGE_BAR
    assert nic.seen("VMX-D-004") == [("DCR 0", 0xFFFF_FFFF, 1)]
    assert len(nic.seen("VMX-D-005")) == wire.NUM_DCR
    assert nic.port.read(VD, wire.REG_DCR) == OFFERED
    assert nic.port.read(VD, wire.REG_PTCR) == Cap.ERROR
    nic.assert_traffic()


def test_hostile_37_capabilities_switched_between_the_packets_of_a_queue() -> None:
    nic = nic_of(9)
    nic.negotiate(OFFERED)
    assert nic.activate() == 0
    nic.arm_all()
    kept = 0

    for n in range(100):
        nic.vd(wire.REG_DCR, 0 if n & 1 else OFFERED)
        nic.post(frame(100, seed=n), om=OM_CSUM, hlen=34, msscof=40)
        nic.vd(wire.REG_DCR, OFFERED if n & 1 else 0)
        nic.kick()
        kept += len(nic.done())

    assert kept == 100
    assert nic.rules.count("VMX-D-004") == 100  # to switch all off would move the doorbells
    assert nic.device.caps & Cap.LARGE_BAR
    nic.assert_alive()
