"""What ACTIVATE reads: one private copy decides, and nothing is stored."""

from typing import Any

import pytest

from pvdev.errors import GuestFault
from pvdev.mem import GuestMemory
from tests.rig import NOWHERE, RawNic
from vmxnet3.activation import Config, build_queues, check_features, read_config
from vmxnet3.wire import DRIVER_SHARED, INTR_CONF_EXT, MAGIC, RSS_CONF, Cap

Notes = list[tuple[str, str, int]]


@pytest.fixture
def notes() -> Notes:
    return []


@pytest.fixture
def nic() -> RawNic:
    """Shared area, queue table and rings in memory; nobody activates."""
    made = RawNic()
    made.prepare(tx=2, rx=3, size=32)
    return made


def note_into(notes: Notes) -> Any:
    return lambda rule, place, value: notes.append((rule, place, value))


# -- the shared area -----------------------------------------------------------------------------------------------


def test_the_shared_area_by_hand(notes: Notes) -> None:
    """Every field the device uses, at the offsets of the header."""
    data = bytearray(720)
    for at, value, width in (
        (0, MAGIC, 4),
        (24, 0x5, 8),  # RXCSUM, RXVLAN
        (40, 0x2000, 8),
        (52, 768, 4),
        (56, 9000, 4),
        (60, 18, 2),
        (62, 1, 1),
        (63, 2, 1),
        (80, 1, 1),
        (81, 3, 1),
        (82, 2, 1),
    ):
        data[at : at + width] = value.to_bytes(width, "little")
    mem = GuestMemory()
    mem.map(0x1000, memoryview(data + bytes(4096 - 720)))
    mem.map(0x2000, memoryview(bytearray(768)))

    config = read_config(mem, 0x1000, 1, note_into(notes))

    assert config == Config(
        version=1,
        shared_at=0x1000,
        shared_size=720,
        features=5,
        table_at=0x2000,
        mtu=9000,
        max_sg=18,
        tx_queues=1,
        rx_queues=2,
        auto_mask=True,
        intrs=3,
        event_intr=2,
        levels=(0, 0, 0),
    )
    assert config.table_size == 768
    assert notes == []


@pytest.mark.parametrize(
    ("field", "values"),
    [("mtu", (60, 9000)), ("numTxQueues", (1, 8)), ("numRxQueues", (1, 16)), ("numIntrs", (1, 25))],
)
def test_limits_are_inside(nic: RawNic, notes: Notes, field: str, values: tuple[int, int]) -> None:
    table = nic.port.alloc(24 * 256)
    for value in values:
        nic.tell(queueDescPA=table.address, queueDescLen=24 * 256, **{field: value})

        config = read_config(nic.device.mem, nic.shared.address, 1, note_into(notes))

        assert config.table_size == 256 * (config.tx_queues + config.rx_queues)
    assert notes == []


def test_a_fault_names_rule_place_and_value(nic: RawNic, notes: Notes) -> None:
    nic.tell(mtu=59)

    with pytest.raises(GuestFault) as caught:
        read_config(nic.device.mem, nic.shared.address, 1, note_into(notes))

    assert (caught.value.rule, caught.value.what, caught.value.value) == ("VMX-D-013", "mtu", 59)


def test_a_longer_table_than_needed_is_fine(nic: RawNic, notes: Notes) -> None:
    nic.tell(queueDescLen=4096)

    read_config(nic.device.mem, nic.shared.address, 1, note_into(notes))

    assert notes == []


def test_moderation_levels_beyond_the_vectors_are_not_looked_at(nic: RawNic, notes: Notes) -> None:
    nic.tell(numIntrs=2, modLevels=(8, 0, 99))

    read_config(nic.device.mem, nic.shared.address, 1, note_into(notes))

    assert notes == []


@pytest.mark.parametrize(
    ("version", "value", "kept", "noted"),
    [(1, 0, 0, False), (1, 0xF, 0xF, False), (3, 0x10, 0, True), (4, 0x1F, 0x1F, False), (9, 1 << 40 | 3, 3, True)],
)
def test_features_the_version_does_not_know_are_left_out(
    notes: Notes, version: int, value: int, kept: int, noted: bool
) -> None:
    assert check_features(value, version, note_into(notes)) == kept
    assert notes == [("VMX-D-024", "uptFeatures", value)] * noted


# -- what later versions add -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "field", "value", "good"),
    [
        (5, "mtu", 9001, False),
        (6, "mtu", 9190, True),
        (6, "mtu", 9191, False),
        (5, "numTxQueues", 9, False),
        (6, "numTxQueues", 32, True),
        (6, "numTxQueues", 33, False),
        (6, "numRxQueues", 32, True),
        (9, "numRxQueues", 33, False),
        (5, "numIntrs", 26, False),
        (9, "numIntrs", 25, True),
    ],
)
def test_limits_by_version(nic: RawNic, notes: Notes, version: int, field: str, value: int, good: bool) -> None:
    table = nic.port.alloc(64 * 256)
    nic.tell(queueDescPA=table.address, queueDescLen=64 * 256, **{field: value})

    try:
        read_config(nic.device.mem, nic.shared.address, version, note_into(notes))
        refused = False
    except GuestFault:
        refused = True

    assert refused is not good


def extended(nic: RawNic, **fields: Any) -> int:
    """A shared area of 800 bytes whose interrupt configuration stands in the extension only; its address."""
    area = nic.port.alloc(800)
    area.view[:720] = DRIVER_SHARED.encode(**{**nic.area, "numIntrs": 0})
    area.view[720:800] = INTR_CONF_EXT.encode(**fields)
    return area.address


def test_the_interrupt_extension_is_used_when_the_old_place_is_empty(nic: RawNic, notes: Notes) -> None:
    at = extended(nic, autoMask=1, numIntrs=65, eventIntrIdx=64, modLevels=(8,) * 65)

    config = read_config(nic.device.mem, at, 6, note_into(notes))

    assert (config.intrs, config.event_intr, config.auto_mask, config.shared_size) == (65, 64, True, 800)
    assert config.levels == (8,) * 65


@pytest.mark.parametrize(("version", "fields"), [(5, {"numIntrs": 3}), (6, {"numIntrs": 66}), (6, {"numIntrs": 0})])
def test_no_vectors_anywhere(nic: RawNic, notes: Notes, version: int, fields: dict[str, int]) -> None:
    at = extended(nic, **fields)

    with pytest.raises(GuestFault) as caught:
        read_config(nic.device.mem, at, version, note_into(notes))

    assert caught.value.rule == "VMX-D-014"


def test_an_old_driver_has_no_more_than_720_bytes(notes: Notes) -> None:
    """At the very end of mapped memory: what lies behind is not asked for."""
    nic = RawNic()
    nic.prepare()
    end = nic.lend(NOWHERE, 720)
    end[:] = DRIVER_SHARED.encode(**nic.area)

    config = read_config(nic.device.mem, NOWHERE, 9, note_into(notes))

    assert (config.shared_size, config.intrs) == (720, 2)


# -- the queue table -----------------------------------------------------------------------------------------------


def test_queues_are_built_from_the_table_in_order(nic: RawNic, notes: Notes) -> None:
    nic.tell(numIntrs=5)
    for n in range(2):
        nic.tell_tx(n, intrIdx=n)
    for n in range(3):
        nic.tell_rx(n, intrIdx=2 + n)
    before = nic.snapshot()
    config = read_config(nic.device.mem, nic.shared.address, 1, note_into(notes))

    queues = build_queues(nic.device.mem, config, Cap(0), note_into(notes))

    assert (queues.tx_intr, queues.rx_intr) == ([0, 1], [2, 3, 4])
    assert [queue.ring_at for queue in queues.tx] == [side.ring.memory.address for side in nic.tx]
    assert [queue.comp.address for queue in queues.rx] == [side.comp.memory.address for side in nic.rx]
    assert [[ring.rqid >> 16 for ring in queue.rings] for queue in queues.rx] == [[0, 3], [1, 4], [2, 5]]
    assert queues.all() == (*queues.tx, *queues.rx)
    assert notes == []
    assert nic.snapshot() == before


@pytest.mark.parametrize(
    ("sizes", "comp"), [((32, 0), 32), ((4096, 4096), 8192), ((32, 32), 64)], ids=["no ring 1", "largest", "smallest"]
)
def test_receive_ring_sizes_at_their_limits(notes: Notes, sizes: tuple[int, int], comp: int) -> None:
    nic = RawNic(memory=40 << 20)
    nic.prepare(size=32)
    rings = [nic.port.alloc(16 * max(size, 1), 512).address for size in (*sizes, comp)]
    nic.tell_rx(
        rxRingBasePA=(rings[0], rings[1] if sizes[1] else 0),
        rxRingSize=sizes,
        compRingBasePA=rings[2],
        compRingSize=comp,
    )
    config = read_config(nic.device.mem, nic.shared.address, 1, note_into(notes))

    queues = build_queues(nic.device.mem, config, Cap(0), note_into(notes))

    assert tuple(ring.size for ring in queues.rx[0].rings) == sizes
    assert notes == []


def test_a_ring_across_two_regions_is_refused(nic: RawNic, notes: Notes) -> None:
    nic.lend(NOWHERE, 512)
    nic.lend(NOWHERE + 512, 512)
    nic.tell_tx(txRingBasePA=NOWHERE, txRingSize=64, compRingSize=64)
    nic.tell_tx(compRingBasePA=nic.port.alloc(1024, 512).address)
    config = read_config(nic.device.mem, nic.shared.address, 1, note_into(notes))

    with pytest.raises(GuestFault) as caught:
        build_queues(nic.device.mem, config, Cap(0), note_into(notes))

    assert (caught.value.rule, caught.value.what) == ("VMX-D-017", "ring in unmapped memory")


def test_the_last_of_many_queues_is_checked_too(nic: RawNic, notes: Notes) -> None:
    nic.tell_rx(2, compRingSize=33)
    config = read_config(nic.device.mem, nic.shared.address, 1, note_into(notes))

    with pytest.raises(GuestFault) as caught:
        build_queues(nic.device.mem, config, Cap(0), note_into(notes))

    assert caught.value.what == "rx queue 2 completion ring size"


def test_sizes_of_the_structures_named_by_the_header() -> None:
    assert (DRIVER_SHARED.size, RSS_CONF.size) == (720, 176)
    assert {name: DRIVER_SHARED.offset[name] for name in ("rxMode", "mfTablePA", "vfTable", "ecr", "cmdInfo")} == {
        "rxMode": 120,
        "mfTablePA": 128,
        "vfTable": 136,
        "ecr": 696,
        "cmdInfo": 704,
    }
