"""The shared area and the queue table: what is read from where, what is stored where, and nothing else."""

from typing import Any

import pytest

from pvdev.mem import DmaFault, GuestMemory
from vmxnet3.activation import Config
from vmxnet3.tables import Tables
from vmxnet3.wire import DRIVER_SHARED, INTR_CONF_EXT, TX_QUEUE_DESC, Event, QueueError

SHARED, TABLE = 0x10_0000, 0x20_0000


class Queue:
    """Of a queue, what is stored: `stats` and `failed`."""

    def __init__(self, first: int, failed: int = 0) -> None:
        self.stats, self.failed = [first + n for n in range(10)], failed


class Bench:
    """Tables over two transmit queues and one receive queue, in two regions."""

    def __init__(self, *, ext: bool = False, remote: bool = False) -> None:
        self.size = 800 if ext else 720
        self.shared, self.table = memoryview(bytearray(4096)), memoryview(bytearray(4096))
        self.shared[:720] = DRIVER_SHARED.encode(magic=7, mtu=1500, modLevels=(1, 2, 3), cmdInfo=bytes(range(16)))
        self.shared[720:800] = INTR_CONF_EXT.encode(modLevels=(4, 5, 6))
        self.mem = GuestMemory()
        if remote:
            self.mem.map(SHARED, None, 4096, remote=Far(SHARED, self.shared))
            self.mem.map(TABLE, None, 4096, remote=Far(TABLE, self.table))
        else:
            self.mem.map(SHARED, self.shared)
            self.mem.map(TABLE, self.table)
        self.queues: list[Any] = [Queue(100), Queue(200), Queue(300)]
        config = Config(9, SHARED, self.size, 0, TABLE, 1500, 0, 2, 1, True, 3, 2, (0, 0, 0))
        self.tables = Tables(self.mem, config, self.queues)

    def changes(self, do: Any) -> dict[str, list[int]]:
        """Which bytes `do` changes, by structure."""
        before = bytes(self.shared), bytes(self.table)
        do()
        return {
            name: [n for n in range(4096) if view[n] != old[n]]
            for name, view, old in (("shared", self.shared, before[0]), ("table", self.table, before[1]))
            if bytes(view) != old
        }


class Far:
    """Remote memory in `data` at `base`."""

    def __init__(self, base: int, data: memoryview) -> None:
        self.base, self.data = base, data

    def read(self, address: int, length: int) -> bytes:
        return bytes(self.data[address - self.base :][:length])

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        self.data[address - self.base :][: len(data)] = data


BOTH = pytest.mark.parametrize("remote", [False, True], ids=["mapped", "remote"])


@BOTH
def test_the_area_is_read_as_it_is_now(remote: bool) -> None:
    bench = Bench(remote=remote)
    first = bench.tables.area()["mtu"]
    bench.shared[DRIVER_SHARED.offset["mtu"]] = 1

    assert (first, bench.tables.area()["mtu"]) == (1500, 1500 & ~0xFF | 1)
    assert bench.tables.argument() == bytes(range(16))
    assert len(bench.tables.area_bytes()) == 720


@pytest.mark.parametrize(("ext", "levels"), [(False, (1, 2, 3)), (True, (4, 5, 6))])
def test_levels_are_those_of_the_interrupt_configuration_in_use(ext: bool, levels: tuple[int, ...]) -> None:
    assert Bench(ext=ext).tables.levels() == levels


@BOTH
def test_counters_of_every_queue(remote: bool) -> None:
    bench = Bench(remote=remote)
    bench.queues[1].stats[9] = (1 << 64) + 5

    changed = bench.changes(bench.tables.store_stats)

    found = [TX_QUEUE_DESC.numbers(bench.table, 256 * n) for n in range(3)]
    assert [found[n]["stats0"] for n in range(3)] == [100, 200, 300]
    assert (found[0]["stats9"], found[1]["stats9"]) == (109, 5)
    assert all(88 <= place % 256 < 168 for place in changed["table"])
    assert [*changed] == ["table"]


@BOTH
def test_status_of_every_queue(remote: bool) -> None:
    bench = Bench(remote=remote)
    bench.queues[1].failed = QueueError.TXD_REUSE

    changed = bench.changes(bench.tables.store_status)

    assert changed == {"table": [256 + 80, 256 + 84, 256 + 87]}
    assert TX_QUEUE_DESC.numbers(bench.table, 256)["error"] == QueueError.TXD_REUSE


@BOTH
def test_what_else_is_stored_and_where(remote: bool) -> None:
    bench = Bench(remote=remote)
    bench.table[0:8] = bench.table[256:264] = b"\xff" * 8
    bench.table[512:520] = b"\xff" * 8
    tables = bench.tables

    assert bench.changes(lambda: tables.store_events(Event.LINK | Event.TQERR)) == {"shared": [696]}
    assert bench.changes(lambda: tables.store_argument(b"\xee" * 4)) == {"shared": [704, 705, 706, 707]}
    assert bench.changes(lambda: tables.store_sample_rate(0x1234)) == {"table": [180, 181]}
    assert bench.changes(lambda: tables.store_threshold(1, 1)) == {"table": [*range(256, 264)]}
    assert bytes(bench.table[256:264]) == b"\0\0\0\0\1\0\0\0"  # the driver's count with it
    assert bench.changes(lambda: tables.store_no_rx_bell(0)) == {"table": [*range(512, 520)]}


def test_what_the_driver_has_not_rung_for() -> None:
    bench = Bench()
    bench.table[256:264] = b"\7\0\0\0\1\0\0\0"

    assert bench.tables.deferred(1) == (7, 1)


def test_a_remote_table_is_not_asked_at_a_bell() -> None:
    bench = Bench(remote=True)
    bench.table[256:264] = b"\7\0\0\0\1\0\0\0"

    assert bench.tables.deferred(1) == (0, 0)


@BOTH
@pytest.mark.parametrize(
    ("place", "view", "noted"),
    [
        ("queueDescPA", "shared", True),
        ("mtu", "shared", True),
        ("maxNumRxSG", "shared", True),
        ("numRxQueues", "shared", True),
        ("uptFeatures", "shared", False),
        ("autoMask", "shared", False),
        ("rxMode", "shared", False),
        ("cmdInfo", "shared", False),
        ("txRingBasePA", "table", True),
        ("compRingSize", "table", True),
        ("ddLen", "table", True),
        ("txNumDeferred", "table", False),
        ("intrIdx", "table", False),
        ("stopped", "table", False),
        ("stats", "table", False),
    ],
)
def test_what_must_not_change(remote: bool, place: str, view: str, noted: bool) -> None:
    bench = Bench(remote=remote)
    assert not bench.tables.changed()
    layout, target, base = (DRIVER_SHARED, bench.shared, 0) if view == "shared" else (TX_QUEUE_DESC, bench.table, 512)
    target[base + layout.offset[place]] ^= 1

    assert bench.tables.changed() is noted


def test_tables_released_are_found_again() -> None:
    bench = Bench()
    bench.tables.release()
    bench.tables.bind()

    bench.tables.store_events(Event.LINK)

    assert bench.shared[696] == Event.LINK
    assert bench.tables.spans() == [(SHARED, 720), (TABLE, 768)]


def test_tables_that_are_gone() -> None:
    bench = Bench()
    bench.tables.release()
    bench.mem.unmap(TABLE, 4096)

    with pytest.raises(DmaFault):
        bench.tables.bind()
