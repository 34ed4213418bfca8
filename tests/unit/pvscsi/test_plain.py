"""The quick way answers what it answers exactly as the long way does, and leaves it the rest."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from random import Random

import pytest

from pvdev.irq import Pace
from pvdev.transport.inproc import LocalPort
from pvscsi.block.backend import Io, Op, Transfer
from pvscsi.block.mem import MemDisk
from pvscsi.block.wait import perform
from pvscsi.device import Pvscsi
from pvscsi.driver import Disk as Initiator
from pvscsi.driver import Driver, cdb
from pvscsi.driver.rings import CMP_CONS, CMP_PROD, REQ_PROD
from pvscsi.plain import Plain, runs
from pvscsi.scsi.disk import Disk
from pvscsi.scsi.identity import Identity
from pvscsi.scsi.target import Target
from pvscsi.served import SERVED_PACE
from pvscsi.wire import COMPLETION, PAGE, REQUEST, SG_ELEMENT, TAG_HEAD, TAG_ORDERED, TAG_SIMPLE, Flag

ZONE = 64  # blocks of 512 bytes on the disk, and as many bytes in memory, each request has to itself
ZONES = 64
BYTES = ZONE * 512
TO_HOST, TO_DEVICE, LIST = int(Flag.DIR_TOHOST), int(Flag.DIR_TODEVICE), int(Flag.CMD_WITH_SG_LIST)
FAR = 0x7000_0000_0000  # memory of its own, behind a hole

Values = dict[str, int | bytes]


class Counting(MemDisk):
    """Knows how it was asked."""

    def __init__(self, size: int) -> None:
        super().__init__("mem", size)
        self.asked: Counter[str] = Counter()

    def submit(self, ios: Sequence[Io]) -> None:
        self.asked["submitted"] += len(ios)
        super().submit(ios)

    def at_once(self, op: Op, length: int, transfers: Sequence[Transfer]) -> int:
        done = super().at_once(op, length, transfers)
        self.asked["at once"] += done
        return done


class Bench:
    """An adapter with a disk of noise, and a driver whose rings are filled by hand."""

    def __init__(self, seed: int = 0, moderation: Pace | None = None) -> None:
        self.medium = Counting(ZONES * BYTES)
        image = Random(seed).randbytes(ZONES * BYTES)
        perform(self.medium, [Io(Op.WRITE, 0, len(image), [memoryview(image)])])
        self.device = Pvscsi({0: Target({0: Disk(self.medium, Identity.of("0"))})}, moderation=moderation)
        self.port = LocalPort(self.device, memory=8 << 20)
        self.driver = Driver(self.port).bring_up()
        Initiator(self.driver).settle()
        self.data, self.lists = self.port.alloc(ZONES * BYTES), self.port.alloc(ZONES * PAGE)
        self.data.view[:] = Random(seed + 1).randbytes(ZONES * BYTES)
        self.far = memoryview(bytearray(BYTES))
        self.device.mem.map(FAR, self.far)
        assert self.driver.rings is not None
        self.rings = self.driver.rings
        self.medium.asked.clear()

    def request(self, zone: int, context: int, *, op: Op = Op.READ, blocks: int = 8, **values: int | bytes) -> Values:
        """A plain one; `values` are fields that are to be otherwise."""
        make = cdb.read if op is Op.READ else cdb.write
        command = make(zone * ZONE, blocks, size=10)
        return {
            "context": context,
            "dataAddr": self.data.address + zone * BYTES,
            "dataLen": blocks * 512,
            "senseAddr": self.lists.address + zone * PAGE + 2048,
            "senseLen": 96,
            "flags": TO_HOST if op is Op.READ else TO_DEVICE,
            "cdb": command,
            "cdbLen": len(command),
            "tag": TAG_SIMPLE,
            **values,
        }

    def listed(self, request: Values, zone: int, elements: Sequence[tuple[int, int, int]]) -> Values:
        """The same with an SG list."""
        raw = b"".join(SG_ELEMENT.struct.pack(*each) for each in elements)
        at = zone * PAGE
        self.lists.view[at : at + len(raw)] = raw
        flags = request["flags"]
        assert isinstance(flags, int)
        return {**request, "dataAddr": self.lists.address + at, "flags": flags | LIST}

    def run(self, requests: Sequence[Values]) -> list[tuple[int, ...]]:
        """Their completions, as they came."""
        state, rings = self.rings.state, self.rings
        first, prod = state[CMP_PROD], state[REQ_PROD]
        rings.requests.write(prod, b"".join(REQUEST.encode(**each) for each in requests))
        state[REQ_PROD] = prod + len(requests)
        self.port.write(0, 0x4018, 0)
        self.port.run()
        return list(COMPLETION.struct.iter_unpack(rings.completions.read(first, state[CMP_PROD] - first)))

    def take(self) -> None:
        """All completions there are."""
        self.rings.state[CMP_CONS] = self.rings.state[CMP_PROD]

    def disk(self) -> bytes:
        piece = bytearray(ZONES * BYTES)
        perform(self.medium, [Io(Op.READ, 0, len(piece), [memoryview(piece)])])
        return bytes(piece)


def test_reads_and_writes_in_a_row_reach_the_medium_without_a_transfer_object() -> None:
    bench = Bench()
    image, sent = bench.disk(), bytes(bench.data.view)
    reads = [bench.request(zone, zone + 1) for zone in range(32)]
    writes = [bench.request(zone, zone + 1, op=Op.WRITE) for zone in range(32, 64)]
    bench.medium.asked.clear()

    completions = bench.run(reads + writes)

    assert completions == [(zone + 1, 4096, 0, 0, 0, 0) for zone in range(64)]
    assert bench.medium.asked == {"at once": 64}
    for zone in range(64):
        at = zone * BYTES
        wanted = image[at : at + 4096] if zone < 32 else sent[at : at + 4096]
        assert bench.disk()[at : at + 4096] == bytes(bench.data.view[at : at + 4096]) == wanted
    assert not bench.device.rules


def test_a_list_of_pages_in_no_order_is_followed() -> None:
    bench = Bench()
    pages = list(range(bench.data.address, bench.data.address + 4 * PAGE, PAGE))
    Random(3).shuffle(pages)
    read = bench.listed(bench.request(0, 1, blocks=32), 0, [(at, PAGE, 0) for at in pages])
    image = bench.disk()
    bench.medium.asked.clear()

    bench.run([read])

    seen = b"".join(bytes(bench.data.view[at - bench.data.address :][:PAGE]) for at in pages)
    assert (seen, bench.medium.asked) == (image[: 4 * PAGE], {"at once": 1})


def test_elements_that_touch_are_one_and_the_last_is_cut() -> None:
    bench = Bench()
    base, image = bench.data.address, bench.disk()
    before = bytes(bench.data.view)
    elements = [(base, 512, 0), (base + 512, 1024, 0), (base + 8192, 512, 0), (base + 4096, 4096, 0)]
    bench.medium.asked.clear()

    bench.run([bench.listed(bench.request(0, 1), 0, elements)])

    seen, view = bytes(bench.data.view), bench.medium.asked
    assert seen[:1536] + seen[8192:8704] + seen[4096:6144] == image[:4096]
    assert (seen[1536:4096], seen[6144:8192], view) == (before[1536:4096], before[6144:8192], {"at once": 1})


def test_a_run_ends_where_something_else_begins() -> None:
    bench = Bench()
    flush: Values = {**bench.request(0, 3), "cdb": cdb.synchronize_cache(), "dataLen": 0, "flags": int(Flag.DIR_NONE)}
    each = [
        bench.request(0, 1),
        bench.request(1, 2),
        flush,
        bench.request(2, 4),
        bench.request(3, 5, op=Op.WRITE),
        bench.request(4, 6, blocks=16),
        bench.request(5, 7, blocks=16, vcpuHint=3, senseAddr=5, senseLen=1),
    ]
    raw = b"".join(REQUEST.encode(**values) for values in each)

    assert [(start // 128, end // 128) for start, end in runs(raw)] == [(0, 2), (2, 3), (3, 4), (4, 5), (5, 7)]
    assert list(runs(b"")) == []
    assert list(runs(raw[:128])) == [(0, 128)]
    assert sorted(found[0] for found in bench.run(each)) == list(range(1, 8))


def odd(bench: Bench, rng: Random, zone: int, context: int) -> Values:
    """A request that is plain, or nearly, or far from it."""
    op = rng.choice((Op.READ, Op.WRITE))
    blocks = rng.choice((1, 8, 8, 8, 32))
    plain = bench.request(zone, context, op=op, blocks=blocks)
    base, size = bench.data.address + zone * BYTES, blocks * 512
    lba = zone * ZONE
    read = op is Op.READ
    make: Callable[..., bytes] = cdb.read if read else cdb.write
    halves = [(base, size // 2, 0), (base + size // 2, size // 2, 0)]
    swapped = [halves[1], halves[0]]
    pages = [(base + at, PAGE, 0) for at in range(0, size, PAGE)]
    ways: list[Callable[[], Values]] = [
        lambda: plain,
        lambda: plain,
        lambda: plain,
        lambda: {**plain, "cdb": make(lba, blocks, size=16), "cdbLen": 16},
        lambda: {**plain, "cdb": make(lba, blocks, size=12), "cdbLen": 12},
        lambda: {**plain, "cdb": make(lba, blocks, size=6), "cdbLen": 6},
        lambda: {**plain, "cdbLen": 16},
        lambda: {**plain, "cdbLen": 9},
        lambda: {**plain, "cdb": make(lba, blocks, size=10, fua=1)},
        lambda: {**plain, "cdb": make(lba, blocks, size=10, dpo=1)},
        lambda: {**plain, "cdb": bytes(plain["cdb"][:9]) + b"\x04"},  # type: ignore[index]
        lambda: {**plain, "cdb": make(1 << 31, blocks, size=10)},
        lambda: {**plain, "cdb": make(ZONES * ZONE - 1, 2, size=10)},
        lambda: {**plain, "cdb": make(lba, 0, size=10)},
        lambda: {**plain, "dataLen": size * 2},
        lambda: {**plain, "dataLen": size // 2},
        lambda: {**plain, "dataLen": 0},
        lambda: {**plain, "dataLen": 1 << 40},
        lambda: {**plain, "dataAddr": FAR},
        lambda: {**plain, "dataAddr": FAR + BYTES - 256},
        lambda: {**plain, "dataAddr": 64},
        lambda: {**plain, "dataAddr": base + 1},
        lambda: {**plain, "flags": TO_DEVICE if read else TO_HOST},
        lambda: {**plain, "flags": 0},
        lambda: {**plain, "flags": TO_HOST | TO_DEVICE},
        lambda: {**plain, "flags": 0x8000_0000 | (TO_HOST if read else TO_DEVICE)},
        lambda: {**plain, "tag": rng.choice((TAG_HEAD, TAG_ORDERED, 0))},
        lambda: {**plain, "target": rng.choice((1, 64, 200))},
        lambda: {**plain, "lun": bytes((0, 1, 0, 0, 0, 0, 0, 0))},
        lambda: {**plain, "lun": bytes((0, 0, 0, 0, 0, 0, 0, 9))},
        lambda: {**plain, "bus": 1},
        lambda: {**plain, "unused": b"x"},
        lambda: {**plain, "vcpuHint": 7},
        lambda: {**plain, "context": 0},
        lambda: {**plain, "context": context | 1 << 40},
        lambda: bench.listed(plain, zone, halves),
        lambda: bench.listed(plain, zone, swapped),
        lambda: bench.listed(plain, zone, pages),
        lambda: bench.listed(plain, zone, [(base, size, 0)]),
        lambda: bench.listed(plain, zone, [halves[0]]),
        lambda: bench.listed(plain, zone, [halves[0], (base, 0, 0), halves[1]]),
        lambda: bench.listed(plain, zone, [halves[0], (bench.lists.address + zone * PAGE + 64, 0, 1), halves[1]]),
        lambda: bench.listed(plain, zone, [halves[0], (base, size, 2)]),
        lambda: bench.listed(plain, zone, [halves[0], (64, size, 0)]),
        lambda: bench.listed(plain, zone, [halves[0], (base + size // 2, 0xFFFF_FFFF, 0)]),
        lambda: {**bench.listed(plain, zone, halves), "dataAddr": bench.lists.address + zone * PAGE + 8},
        lambda: {**plain, "cdb": cdb.TEST_UNIT_READY, "dataLen": 0, "flags": int(Flag.DIR_NONE), "cdbLen": 6},
        lambda: {**plain, "cdb": cdb.synchronize_cache(), "dataLen": 0, "flags": int(Flag.DIR_NONE)},
        lambda: {**plain, "cdb": b"\xff" * 10},
        lambda: {**plain, "cdb": bytes(10)},
    ]
    return rng.choice(ways)()


def outcome(seed: int) -> tuple[object, ...]:
    """All that can be seen of a few rounds of requests of every kind."""
    rng, bench = Random(seed), Bench(seed)
    unit = bench.device.targets[0].units[0]
    completions: list[tuple[int, ...]] = []
    contexts = count(1)
    for _ in range(6):
        zones = rng.sample(range(ZONES), rng.randint(1, ZONES))
        shape = rng.random()  # of some rounds most requests are alike
        requests = [
            bench.request(zone, next(contexts)) if rng.random() < shape else odd(bench, rng, zone, next(contexts))
            for zone in zones
        ]
        completions += bench.run(requests)
        if rng.random() < 0.3:
            unit.reset()
    noted = sorted(map(str, bench.device.rules))
    return sorted(completions), bytes(bench.data.view), bytes(bench.far), bench.disk(), bytes(bench.lists.view), noted


@pytest.mark.parametrize("seed", range(24))
def test_it_does_what_the_long_way_does(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = outcome(seed)
    monkeypatch.setattr(Plain, "answer", lambda self, raw, start, end, unit: b"")

    assert outcome(seed) == quick


def ways_taken(change: Callable[[Bench], object]) -> Counter[str]:
    """How plain requests reach the medium after a change."""
    bench = Bench()
    change(bench)
    bench.medium.asked.clear()
    bench.run([bench.request(zone, zone + 1, op=Op.WRITE) for zone in range(4)])
    return bench.medium.asked


def reserve(bench: Bench) -> None:
    bench.run(
        [{**bench.request(0, 1), "cdb": b"\x16" + bytes(5), "cdbLen": 6, "dataLen": 0, "flags": int(Flag.DIR_NONE)}]
    )


def test_only_a_healthy_disk_nobody_has_claimed_is_used_the_quick_way() -> None:
    def unit(bench: Bench) -> Disk:
        found = bench.device.targets[0].units[0]
        assert isinstance(found, Disk)
        return found

    def stop(bench: Bench) -> None:
        unit(bench).stopped = True
        unit(bench).settle()

    assert ways_taken(lambda bench: None) == {"at once": 4}
    assert ways_taken(lambda bench: unit(bench).reset()) == {"submitted": 3}  # the first of the run is told of it
    assert ways_taken(stop) == {}
    assert ways_taken(reserve) == {"submitted": 4}


def test_completions_of_one_who_sends_many_come_together_and_a_flush_waits_for_nobody() -> None:
    bench = Bench(moderation=SERVED_PACE)
    flush = {**bench.request(0, 4), "cdb": cdb.synchronize_cache(), "dataLen": 0, "flags": int(Flag.DIR_NONE)}
    bench.port.interrupts()

    def told(*requests: Values) -> bool:
        bench.run(requests)
        return bool(bench.port.interrupts())

    first = told(bench.request(0, 1))
    more = told(bench.request(1, 2), bench.request(2, 3))  # sent before the first was taken
    last = told(flush)
    bench.take()
    again = told(bench.request(3, 5))  # who has sent so many before is expected to go on
    bench.port.advance(SERVED_PACE.lazy_ns)
    late = bool(bench.port.interrupts())
    bench.take()

    assert (first, more, last, again, late) == (True, False, True, False, True)
    assert told(bench.request(4, 6))
