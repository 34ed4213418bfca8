"""VMXNET3 driver rules 008 to 026: what ACTIVATE is given. Each is broken as a driver would."""

from typing import Any

import pytest

from tests.rig import NOWHERE, RawNic
from vmxnet3.wire import RSS_CONF, Cmd, Feature


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
