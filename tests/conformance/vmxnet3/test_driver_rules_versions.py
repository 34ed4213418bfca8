"""VMXNET3 driver rules as far as they depend on the device version: limits, layouts, capabilities, later commands."""

import pytest

from tests.rig import NOWHERE, SLOT, RawNic, frame
from vmxnet3 import wire
from vmxnet3.versions import CAPABILITIES
from vmxnet3.wire import DRIVER_SHARED, RX_DESC, SINCE, Cap, Cmd, Feature, RssField

VD = wire.BAR_VD
VERSIONS = range(1, 10)
OFFERED = int(CAPABILITIES)


def nic_of(version: int, **sizes: int) -> RawNic:
    """Powered, everything in memory, the device not told."""
    nic = RawNic(version=version)
    nic.prepare(**sizes)
    return nic


def active_at(version: int, caps: int = 0, **sizes: int) -> RawNic:
    """Active, receive buffers posted; from version 7 on with these capabilities."""
    nic = nic_of(version, **sizes)
    if version >= 7:
        assert nic.negotiate(caps) == caps
    assert nic.activate() == 0
    nic.arm_all()
    return nic


def assert_only_noted(nic: RawNic, number: str, place: str, value: int) -> None:
    """ACTIVATE works, the rule is recorded once, and traffic passes."""
    assert nic.activate() == 0
    assert nic.seen(number) == [(place, value, 1)]
    nic.arm_all()
    nic.assert_traffic()


# -- capabilities --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [Cap.OOORX_COMP, Cap.ERROR, 0xFFFF_FFFF, OFFERED | Cap.INNER_RSS])
def test_VMX_D_005_capabilities_the_device_does_not_have(value: int) -> None:
    nic = nic_of(9)

    got = nic.negotiate(value)

    assert got == value & OFFERED
    assert nic.seen("VMX-D-005") == [("DCR 0", value, 1)]
    nic.assert_alive()


def test_VMX_D_005_a_register_of_capabilities_there_are_none_of() -> None:
    nic = nic_of(7)
    nic.vd(wire.REG_VRRS, 1 << 6)

    nic.vd(wire.REG_DCR + 8 * 7, 1)

    assert nic.seen("VMX-D-005") == [("DCR 7", 1, 1)]
    assert nic.port.read(VD, wire.REG_DCR + 8 * 7) == 0
    nic.assert_alive()


@pytest.mark.parametrize("selected", [0, 1, 6])
def test_VMX_D_005_capabilities_before_version_7_is_selected(selected: int) -> None:
    nic = nic_of(9)
    if selected:
        nic.vd(wire.REG_VRRS, 1 << selected - 1)

    nic.vd(wire.REG_DCR, Cap.LARGE_BAR)

    assert nic.seen("VMX-D-005") == [("DCR 0", Cap.LARGE_BAR, 1)]
    assert nic.device.caps == 0
    assert [nic.port.read(VD, at) for at in (wire.REG_DCR, wire.REG_PTCR)] == [0, 0]
    nic.assert_alive()


@pytest.mark.parametrize("value", [0, OFFERED, OFFERED & ~Cap.LARGE_BAR, Cap.UDP_RSS])
def test_VMX_D_005_says_nothing_of_what_is_offered(value: int) -> None:
    nic = nic_of(7)

    assert nic.negotiate(value) == value
    assert nic.rules.count() == 0


@pytest.mark.parametrize("wanted", [0, int(Cap.UDP_RSS | Cap.GENEVE_TSO)])
def test_VMX_D_004_offloads_may_be_switched_while_active(wanted: int) -> None:
    nic = active_at(9, int(Cap.UDP_RSS))

    nic.vd(wire.REG_DCR, wanted)

    assert nic.command(Cmd.GET_DCR0_REG) == wanted
    assert nic.rules.count() == 0
    nic.assert_traffic()


@pytest.mark.parametrize("large", [0, int(Cap.LARGE_BAR)])
def test_VMX_D_004_doorbells_do_not_move_while_active(large: int) -> None:
    nic = active_at(9, large)
    wanted = (large ^ Cap.LARGE_BAR) | Cap.UDP_RSS

    nic.vd(wire.REG_DCR, wanted)

    assert nic.seen("VMX-D-004") == [("DCR 0", wanted, 1)]
    assert nic.device.caps == large | Cap.UDP_RSS
    nic.assert_traffic()


def test_a_version_without_capabilities_forgets_them() -> None:
    """Another driver takes over without a PCI reset: kexec, a boot loader."""
    nic = active_at(9, int(Cap.LARGE_BAR))
    nic.command(Cmd.QUIESCE_DEV)
    nic.command(Cmd.RESET_DEV)
    nic.version, nic.caps, nic.bell = 1, 0, wire.REG_TXPROD

    nic.bring_up()

    assert nic.device.caps == 0
    nic.assert_traffic()
    assert nic.rules.count() == 0


# -- doorbells -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("register", "place"),
    [(wire.REG_TXPROD, "TXPROD 0"), (wire.REG_RXPROD, "RXPROD 0"), (wire.REG_RXPROD2, "RXPROD2 0")],
)
def test_VMX_D_034_the_small_page_under_LARGE_BAR_is_honoured(register: int, place: str) -> None:
    nic = active_at(7, int(Cap.LARGE_BAR))
    nic.post(frame())

    nic.pt(register, 1)

    assert nic.seen("VMX-D-034") == [(place, 1, 1)]
    assert nic.net.sent == [frame()]
    nic.assert_traffic()


@pytest.mark.parametrize(
    ("register", "place"),
    [
        (wire.LB_REG_TXPROD, "TXPROD 0 of LARGE_BAR"),
        (wire.LB_REG_RXPROD, "RXPROD 0 of LARGE_BAR"),
        (wire.LB_REG_RXPROD2 + 8 * 31, "RXPROD2 31 of LARGE_BAR"),
    ],
)
def test_VMX_D_034_the_large_page_without_LARGE_BAR(register: int, place: str) -> None:
    nic = active_at(7)
    nic.post(frame())

    nic.pt(register, 1)

    assert nic.seen("VMX-D-034") == [(place, 1, 1)]
    assert nic.net.sent == []
    nic.kick()
    assert nic.net.sent == [frame()]
    nic.assert_traffic()


@pytest.mark.parametrize("caps", [0, int(Cap.LARGE_BAR)])
def test_VMX_D_034_says_nothing_of_the_right_page(caps: int) -> None:
    nic = active_at(7, caps, tx=3, rx=2)

    for queue in range(3):
        nic.send(frame(seed=queue), queue=queue)

    assert nic.net.sent == [frame(seed=queue) for queue in range(3)]
    assert nic.rules.count() == 0


def test_VMX_D_001_the_large_page_of_a_device_that_has_none() -> None:
    nic = active_at(6)

    assert nic.device.pci.region_size(wire.BAR_PT) == wire.PAGE
    assert nic.rules.count() == 0


# -- commands ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "since"), SINCE.items(), ids=[command.name for command in SINCE])
def test_VMX_D_006_a_command_below_its_version(command: Cmd, since: int) -> None:
    nic = RawNic(version=9)
    nic.version = since - 1  # offered are all the same
    nic.bring_up()
    nic.argue(b"\xff" * 16)
    before = nic.snapshot()

    answer = nic.command(command)

    assert answer == 0
    assert nic.seen("VMX-D-006") == [("CMD", command, 1)]
    assert nic.snapshot() == before
    nic.assert_traffic()


@pytest.mark.parametrize("version", VERSIONS)
def test_VMX_D_006_says_nothing_of_the_commands_a_version_has(version: int) -> None:
    nic = active_at(version)

    for command in Cmd:
        if SINCE.get(command, 1) <= version and command not in (Cmd.ACTIVATE_DEV, Cmd.QUIESCE_DEV, Cmd.RESET_DEV):
            nic.command(command)

    assert nic.seen("VMX-D-006") == []
    nic.tell()
    nic.assert_alive()


# -- limits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "most"), [(5, (8, 16)), (6, (32, 32)), (9, (32, 32))])
def test_VMX_D_011_queues_by_version(version: int, most: tuple[int, int]) -> None:
    tx, rx = most
    nic = RawNic(version=version, memory=32 << 20)
    nic.prepare(tx=tx, rx=rx, size=32)
    assert nic.activate() == 0
    assert nic.rules.count() == 0
    nic.arm_all()
    nic.assert_traffic()
    nic.command(Cmd.QUIESCE_DEV)

    for fields in ({"numTxQueues": tx + 1}, {"numTxQueues": tx, "numRxQueues": rx + 1}):
        nic.tell(**fields)
        assert nic.activate() == 1

    assert nic.seen("VMX-D-011") == [
        ("ACTIVATE_DEV: number of transmit queues", tx + 1, 1),
        ("ACTIVATE_DEV: number of receive queues", rx + 1, 1),
    ]
    nic.assert_alive()


@pytest.mark.parametrize("version", VERSIONS)
def test_VMX_D_013_mtu_by_version(version: int) -> None:
    most = 9190 if version >= 6 else 9000
    nic = nic_of(version)
    nic.tell(mtu=most)
    assert nic.activate() == 0
    nic.command(Cmd.QUIESCE_DEV)
    nic.tell(mtu=most + 1)

    nic.assert_refused("VMX-D-013", "mtu", most + 1)


@pytest.mark.parametrize(("version", "most"), [(5, 25), (6, 25)])
def test_VMX_D_014_vectors_of_the_old_place(version: int, most: int) -> None:
    nic = nic_of(version)
    nic.tell(numIntrs=most)
    assert nic.activate() == 0
    nic.command(Cmd.QUIESCE_DEV)
    count = 26 if version < 6 else 66
    nic.tell(numIntrs=count)

    nic.assert_refused("VMX-D-014", "number of interrupts", count)


@pytest.mark.parametrize(("count", "good"), [(65, True), (66, False), (255, False)])
def test_VMX_D_014_vectors_of_the_extension(count: int, good: bool) -> None:
    nic = nic_of(6)
    area = nic.port.alloc(wire.DRIVER_SHARED_EXT_SIZE)
    area.view[: DRIVER_SHARED.size] = DRIVER_SHARED.encode(**{**nic.area, "numIntrs": 0})
    area.view[DRIVER_SHARED.size :] = wire.INTR_CONF_EXT.encode(numIntrs=count, eventIntrIdx=64)

    answer = nic.activate(area.address)

    assert answer == int(not good)
    expected = [] if good else [("ACTIVATE_DEV: number of interrupts", count, 1)]
    assert nic.seen("VMX-D-014") == expected
    nic.assert_alive()


@pytest.mark.parametrize(("version", "noted"), [(6, False), (7, True), (9, True)])
def test_VMX_D_018_ring_sizes_that_are_no_power_of_two(version: int, noted: bool) -> None:
    nic = nic_of(version, size=96, ring1=32)

    answer = nic.activate()

    places = ["tx queue 0 ring size, no power of two", "rx queue 0 ring 0 size, no power of two"]
    assert answer == 0
    assert nic.seen("VMX-D-018") == [(place, 96, 1) for place in places] * noted
    nic.arm_all()
    nic.assert_traffic()


def test_VMX_D_018_a_completion_ring_may_be_the_sum_of_powers_of_two() -> None:
    nic = active_at(7, size=64, ring1=32)  # 96 completions

    assert nic.rules.count() == 0
    nic.assert_traffic()


# -- data rings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slot", [64, 100, 2112, 0xFFFF, 0xFFC0])
def test_VMX_D_020_transmit_slots(slot: int) -> None:
    nic = nic_of(3)
    base = nic.tx[0].buffers.address
    nic.tell_tx(dataRingBasePA=base, dataRingSize=64, txDataRingDescSize=slot)

    assert_only_noted(nic, "VMX-D-020", "tx queue 0 data ring", base)


@pytest.mark.parametrize(("version", "slot"), [(1, 0), (1, 100), (2, 0xFFFF), (3, 0), (3, 128), (9, 2048)])
def test_VMX_D_020_says_nothing_of_good_slots(version: int, slot: int) -> None:
    """Below version 3 the size is 128, and what stands where it will be is not looked at."""
    nic = nic_of(version)
    ring = nic.port.alloc(64 * 2048, 512)
    nic.tell_tx(dataRingBasePA=ring.address, dataRingSize=64, txDataRingDescSize=slot)

    assert nic.activate() == 0
    assert nic.rules.count() == 0


@pytest.mark.parametrize("slot", [1, 32, 100, 2112, 0xFFFF])
def test_VMX_D_021_receive_slots(slot: int) -> None:
    nic = nic_of(3)
    base = nic.rx[0].buffers[0].address
    nic.tell_rx(rxDataRingBasePA=base, rxDataRingDescSize=slot)

    assert_only_noted(nic, "VMX-D-021", "rx queue 0 data ring", base)


@pytest.mark.parametrize("base", [0x10_0100, NOWHERE, 2**64 - 512, 2**64 - 8192])
def test_VMX_D_021_receive_data_ring_that_cannot_be_used(base: int) -> None:
    nic = nic_of(9)
    nic.tell_rx(rxDataRingBasePA=base, rxDataRingDescSize=128)

    assert_only_noted(nic, "VMX-D-021", "rx queue 0 data ring", base)


def test_VMX_D_021_receive_data_ring_that_is_not_all_there() -> None:
    nic = nic_of(3)
    nic.lend(NOWHERE, 63 * 128)
    nic.tell_rx(rxDataRingBasePA=NOWHERE, rxDataRingDescSize=128)

    assert_only_noted(nic, "VMX-D-021", "rx queue 0 data ring", NOWHERE)


@pytest.mark.parametrize("version", [1, 2])
def test_VMX_D_021_receive_data_ring_below_version_3(version: int) -> None:
    nic = nic_of(version)
    base = nic.rx[0].buffers[0].address
    nic.tell_rx(rxDataRingBasePA=base, rxDataRingDescSize=128)

    assert_only_noted(nic, "VMX-D-021", "rx queue 0 data ring", base)


@pytest.mark.parametrize("slot", [64, 128, 2048])
def test_VMX_D_021_says_nothing_of_a_good_ring(slot: int) -> None:
    nic = nic_of(3)
    nic.tell(mtu=9000)
    nic.give_data_rings(slot)

    assert nic.activate() == 0
    nic.arm_all()
    nic.feed(frame(slot), frame(slot + 1))

    assert nic.rules.count() == 0
    small, big = nic.received()
    assert [comp["rqID"] for comp in small.comps + big.comps] == [2, *[0, 1][: len(big.comps)]]
    assert (small.data, big.data) == (frame(slot), frame(slot + 1))


# -- features and fields -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_VMX_D_024_inner_offloads_below_version_4(version: int) -> None:
    nic = nic_of(version)
    value = Feature.RXCSUM | Feature.RXINNEROFLD
    nic.tell(uptFeatures=value)

    assert nic.activate() == 0

    assert nic.seen("VMX-D-024") == ([("uptFeatures", value, 1)] if version < 4 else [])
    nic.arm_all()
    nic.assert_traffic()


@pytest.mark.parametrize(
    ("version", "caps", "wanted", "kept"),
    [
        (4, 0, 0x3F, 0x1F),
        (6, 0, 0x40, 0),
        (6, 0, 0xFFFF_FFFF, 0x3F),
        (7, 0, 0x04, 0),
        (7, int(Cap.UDP_RSS), 0x3F, 0x0F),
        (9, int(Cap.ESP_RSS_IPV4), 0x3C, 0x10),
    ],
)
def test_VMX_D_026_hash_fields_a_version_does_not_have(version: int, caps: int, wanted: int, kept: int) -> None:
    nic = active_at(version, caps, rx=2)
    nic.argue(wanted.to_bytes(4, "little"))

    answer = nic.command(Cmd.SET_RSS_FIELDS)

    assert answer == 0
    assert nic.seen("VMX-D-026") == [("SET_RSS_FIELDS", wanted, 1)]
    assert nic.command(Cmd.GET_RSS_FIELDS) == kept
    nic.assert_traffic()


@pytest.mark.parametrize(("version", "wanted"), [(4, 0x1F), (6, 0x3F), (9, int(RssField.TCPIP4 | RssField.TCPIP6))])
def test_VMX_D_026_says_nothing_of_the_fields_it_has(version: int, wanted: int) -> None:
    nic = active_at(version, rx=2)
    nic.argue(wanted.to_bytes(4, "little"))

    nic.command(Cmd.SET_RSS_FIELDS)

    assert nic.command(Cmd.GET_RSS_FIELDS) == wanted
    assert nic.rules.count() == 0


def test_VMX_D_051_body_buffer_in_ring_0_from_version_7_on() -> None:
    nic = nic_of(7)
    assert nic.activate() == 0
    nic.arm(btype=1)
    nic.arm()
    word2 = int.from_bytes(RX_DESC.encode(len=SLOT, btype=1, gen=1)[8:12], "little")

    nic.feed(frame())

    assert nic.seen("VMX-D-051") == [("rx queue 0 ring 0 descriptor 0", word2, 1)]
    (packet,) = nic.received()
    assert (packet.data, [comp["rxdIdx"] for comp in packet.comps]) == (frame(), [1])
    nic.arm()
    nic.assert_traffic()


def test_VMX_D_051_ring_0_may_hold_body_buffers_below_version_7() -> None:
    nic = nic_of(6)
    nic.tell(mtu=9000)
    assert nic.activate() == 0
    for _ in range(3):
        nic.arm(len=1024)
        nic.arm(btype=1, len=1024)

    nic.feed(frame(60), frame(2000))

    assert [len(packet.comps) for packet in nic.received()] == [1, 2]
    assert nic.rules.count() == 0
