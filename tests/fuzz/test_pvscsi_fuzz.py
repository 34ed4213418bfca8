"""Anything a driver may write, anywhere: recorded violations at most, bounded work, and after a reset all is well."""

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pvdev.mem import DmaFault
from pvdev.rules import PLACES_MAX
from pvdev.transport.inproc import LocalPort
from pvscsi import wire
from pvscsi.conform.inside import ModelBench
from pvscsi.conform.rig import CD, Drive, Rig, build, pattern
from pvscsi.driver import Disk, Driver, cdb
from pvscsi.driver.rings import Rings
from pvscsi.rules import RULES
from pvscsi.wire import PAGE, REQUEST, SG_ELEMENT, Cmd

pytestmark = pytest.mark.slow

ROUNDS = 40  # of service after each step; a device that always finds more to do is stopped there
BUDGET = 64
DRIVES = {0: Drive(held=True), 1: Drive(luns=2, volatile=True, bad=((1 << 20, 4096),)), 3: CD}
NOWHERE = 0x7000_0000  # mapped never, remote sometimes
FAR = 1 << 16


def examples(count: int) -> settings:
    """The same examples on every run."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    return settings(max_examples=count, derandomize=True, deadline=None, suppress_health_check=slow)


class Flaky:
    """Remote memory that holds what was written, and at every third access does not answer."""

    def __init__(self) -> None:
        self.data, self.count = bytearray(FAR), 0

    def _answer(self, address: int) -> int:
        self.count += 1
        if not self.count % 3:
            raise DmaFault("MEM-01", "no answer", address)
        return address - NOWHERE

    def read(self, address: int, length: int) -> bytes:
        at = self._answer(address)
        return bytes(self.data[at : at + length])

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        at = self._answer(address)
        self.data[at : at + len(data)] = data


class Storm:
    """An adapter, and a driver with rings that are there to be spoilt."""

    def __init__(self, rig: Rig, *, polled: bool) -> None:
        self.rig, self.device = rig, rig.device
        self.device.polled = polled
        assert isinstance(rig.port, LocalPort)
        self.arena, self.now = rig.port.arena, 0
        self.driver: Driver = rig.blank(strict=False).bring_up(req_pages=1, cmp_pages=1, msg_pages=1)
        rings = self.driver.rings
        assert rings is not None
        self.rings: Rings = rings
        assert rings.messages is not None
        self.list = self.driver.memory.pages(1)[0]
        self.data = self.driver.memory.take(4 * PAGE, PAGE)
        self.targets = [
            rings.page.view[:0x90],
            rings.requests.pages[0].view,
            rings.completions.pages[0].view,
            rings.messages.pages[0].view,
            self.list.view[:512],
            self.data.view[:512],
        ]

    def serve(self) -> None:
        """Let the device work, in bounded rounds: what it raises is a failure, whatever it finds."""
        for _ in range(ROUNDS):
            self.now += 1
            if not self.device.service(BUDGET, self.now):
                break
        self.device.rest()
        self.rig.port.interrupts()

    def register(self, region: int, offset: int, size: int, value: int | None) -> None:
        pci = self.device.pci
        offset = min(offset, max(pci.region_size(region) - size, 0))
        if value is None:
            assert 0 <= pci.read(region, offset, size) < 1 << 8 * size
        else:
            pci.write(region, offset, size, value & (1 << 8 * size) - 1)

    def command(self, command: int, argument: bytes) -> None:
        self.driver.command_only(command, argument)

    def splash(self, which: int, at: int, data: bytes) -> None:
        view = self.targets[which % len(self.targets)]
        at %= len(view)
        view[at : at + len(data)] = data[: len(view) - at]

    def publish(self, descriptor: bytes, segment: bytes) -> None:
        self.list.view[: len(segment)] = segment
        self.rings.put(descriptor)
        self.rings.publish()

    def kick(self, loud: bool) -> None:
        (self.driver.kick_others if loud else self.driver.kick_io)()

    def take(self) -> None:
        self.rings.take_raw()

    def hold(self, on: bool) -> None:
        if 0 in self.device.targets:
            self.rig.target.hold(0, on)

    def plug(self, number: int) -> None:
        target = self.device.targets.get(1)
        if number in self.device.targets and number not in (0, 1):
            self.device.remove(number)
        elif target is not None and number not in self.device.targets and number < 65:
            self.device.add(number, target)

    def map(self, what: int) -> None:
        mem = self.device.mem
        if what == 0:
            mem.unmap(self.arena.base, self.arena.block.size)
        elif what == 1 and all(region.lo != self.arena.base for region in mem.regions()):
            mem.map(self.arena.base, self.arena.block.view)
        elif what == 2 and mem.unmap(NOWHERE, FAR) is None:
            mem.map(NOWHERE, None, FAR, remote=Flaky())

    def time(self, ns: int) -> None:
        self.now += ns

    def assert_survived(self) -> None:
        """Nothing grew without bound, every place has its rule, and data pass after a reset."""
        rules = self.device.rules
        assert len(list(rules)) <= len(RULES) * (PLACES_MAX + 1)
        assert rules.numbers() <= {rule.number for rule in RULES}
        self.hold(False)
        self.map(1)
        self.rig.port.reset()
        self.driver.forsake()
        disk = Disk(self.rig.blank().bring_up(), 0)
        disk.settle()
        disk.write(7, pattern(4096, 3))
        assert disk.read(7, 8) == pattern(4096, 3)


@contextmanager
def storm(*, polled: bool = False, watch: bool = False) -> Iterator[Storm]:
    with build(ModelBench(), DRIVES, watch=watch) as rig:
        made = Storm(rig, polled=polled)
        yield made
        made.assert_survived()
        for driver in rig.drivers:  # their memory is no longer what they think it is
            driver.memory.release()
        rig.drivers.clear()


# -- registers ---------------------------------------------------------------------------------------------------------

PLACES = [
    *((0, at) for at in (0, 4, 8, 0x100, 0x10C, 0x100C, 0x2010, 0x3014, 0x3018, 0x4018, 0x6000, 0x600C, 0x7000)),
    *((7, at) for at in (0x04, 0x06, 0x10, 0x14, 0x3C, 0x48, 0x49, 0x7E, 0x98, 0x9E)),
]
ADDRESSES = st.one_of(
    st.sampled_from(PLACES), st.sampled_from(PLACES[:3]), st.tuples(st.sampled_from([0, 7]), st.integers(0, 0x7FFF))
)
VALUES = st.one_of(st.sampled_from([0, 1, 2, 3, 7, 0xF, 32, 0x8000, 0xFFFF_FFFF, *Cmd]), st.integers(0, 0xFFFF_FFFF))
ACCESSES = st.tuples(ADDRESSES, st.sampled_from([4, 4, 4, 4, 1, 2, 8]), st.none() | VALUES)


@examples(250)
@given(st.booleans(), st.lists(ACCESSES, min_size=1, max_size=60))
def test_any_register_access_in_any_order(
    polled: bool, accesses: list[tuple[tuple[int, int], int, int | None]]
) -> None:
    with storm(polled=polled) as found:
        for (region, offset), size, value in accesses:
            found.register(region, offset, size, value)
            found.serve()


# -- commands and shared memory ----------------------------------------------------------------------------------------

BASE = 0x10_0000  # where the driver's memory begins
WORD64 = st.one_of(
    st.sampled_from([0, 1, BASE, BASE + 0x1000, BASE + 0x2FF8, NOWHERE, NOWHERE + FAR - 4, 1 << 52, (1 << 64) - 8]),
    st.integers(0, (1 << 64) - 1),
)
PAGES = st.lists(st.integers(BASE >> 12, (BASE >> 12) + 40), min_size=1, max_size=4)
COUNT = st.one_of(st.sampled_from([0, 1, 1, 2, 3, 4, 16, 32, 33]), st.integers(0, 0xFFFF_FFFF))
ARGUMENTS = st.one_of(
    st.tuples(
        st.just(Cmd.SETUP_RINGS),
        st.builds(
            lambda a, b, state, ppns: wire.SETUP_RINGS.encode(
                reqRingNumPages=a, cmpRingNumPages=b, ringsStatePPN=state[0], reqRingPPNs=ppns, cmpRingPPNs=ppns[::-1]
            ),
            COUNT, COUNT, PAGES, PAGES,
        ),
    ),
    st.tuples(
        st.just(Cmd.SETUP_MSG_RING),
        st.builds(lambda n, ppns: wire.SETUP_MSG_RING.encode(numPages=n, ringPPNs=ppns), COUNT, PAGES),
    ),
    st.tuples(
        st.just(Cmd.CONFIG),
        st.builds(
            lambda at, kind, page: wire.CONFIG.encode(cmpAddr=at, configPageAddress=kind << 32, configPageNum=page),
            WORD64, st.sampled_from([0x2120, 0x2121, 0x2122, 0]), st.sampled_from([0x1958, 0x1959, 0x195A, 0]),
        ),
    ),
    st.tuples(
        st.just(Cmd.ABORT_CMD),
        st.builds(lambda c, t: wire.ABORT_CMD.encode(context=c, target=t), st.integers(0, 3), st.integers(0, 4)),
    ),
    st.tuples(st.just(Cmd.RESET_DEVICE), st.builds(lambda t: wire.RESET_DEVICE.encode(target=t), st.integers(0, 70))),
    st.tuples(st.sampled_from([Cmd.RESET_BUS, Cmd.ADAPTER_RESET, Cmd.GET_MAX_TARGETS]), st.just(b"")),
    st.tuples(st.just(Cmd.SETUP_REQCALLTHRESHOLD), st.sampled_from([bytes(4), b"\1\0\0\0", b"\xff" * 4])),
    st.tuples(st.sampled_from(Cmd), st.binary(max_size=24).map(lambda raw: raw.ljust(-(-len(raw) // 4) * 4, b"\0"))),
)  # fmt: skip

CDBS = st.one_of(
    st.sampled_from(
        [
            cdb.read(0, 8), cdb.write(3, 8), cdb.write(3, 1, fua=1), cdb.read(2048, 8), cdb.inquiry(255), bytes(6),
            cdb.compare_and_write(3, 1), cdb.write_same(0, 8, unmap=1), cdb.unmap(24), cdb.synchronize_cache(),
            cdb.verify(0, 8, bytchk=1), cdb.write_and_verify(0, 8, bytchk=1), cdb.report_luns(4096),
            cdb.mode_sense(0x3F), cdb.mode_select(24), cdb.read(0, 0xFFFF_FFFF, size=16), cdb.start_stop(0, loej=1),
        ]
    ),
    st.binary(min_size=6, max_size=16),
)  # fmt: skip
BUFFERS = st.one_of(st.integers(0, 60).map(lambda page: BASE + page * 1024 + page % 7), WORD64)
SIZES = st.one_of(st.sampled_from([0, 1, 24, 511, 512, 4096, 8192, 1 << 32, (1 << 64) - 1]), st.integers(0, 9000))
DESCRIPTORS = st.builds(
    lambda command, at, size, flags, sense, room, length, **rest: REQUEST.encode(
        cdb=command, dataAddr=at, dataLen=size, flags=flags, senseAddr=sense, senseLen=room,
        cdbLen=len(command) if length is None else length, **rest,
    ),
    CDBS, BUFFERS, SIZES, st.one_of(st.sampled_from([4, 8, 9, 16, 17]), st.integers(0, 0xFFFF_FFFF)), BUFFERS,
    st.sampled_from([0, 18, 96, 0xFFFF_FFFF]), st.none() | st.integers(0, 255),
    context=st.integers(0, 4), target=st.sampled_from([0, 0, 1, 1, 3, 9, 255]), bus=st.sampled_from([0, 0, 0, 1]),
    tag=st.sampled_from([0x20, 0x20, 0x21, 0x22, 0]), lun=st.sampled_from([bytes(8), b"\0\1" + bytes(6), b"\xff" * 8]),
)  # fmt: skip
ELEMENTS = st.lists(
    st.builds(
        SG_ELEMENT.struct.pack, BUFFERS, st.one_of(st.integers(0, 600), st.just(0xFFFF_FFFF)),
        st.sampled_from([0, 0, 0, 1, 2]),
    ),
    max_size=6,
).map(b"".join)  # fmt: skip

STEP = st.one_of(
    st.tuples(st.just("publish"), DESCRIPTORS, ELEMENTS),
    st.tuples(st.just("publish"), DESCRIPTORS, ELEMENTS),
    st.tuples(st.just("kick"), st.booleans()),
    st.tuples(st.just("splash"), st.integers(0, 5), st.integers(0, 4095), st.binary(min_size=1, max_size=48)),
    ARGUMENTS.map(lambda both: ("command", *both)),
    st.tuples(st.just("take")),
    st.tuples(st.just("hold"), st.booleans()),
    st.tuples(st.just("plug"), st.sampled_from([3, 9, 64, 65])),
    st.tuples(st.just("map"), st.integers(0, 2)),
    st.tuples(st.just("time"), st.sampled_from([1, 100_000, 10**9, 10**11])),
    st.tuples(st.just("register"), st.just(7), st.just(4), st.just(2), st.sampled_from([0, 2, 4, 6, 0x406])),
)


@examples(500)
@given(st.booleans(), st.booleans(), st.lists(STEP, min_size=1, max_size=40))
def test_any_requests_commands_and_bytes_in_shared_memory(
    polled: bool, watch: bool, steps: list[tuple[object, ...]]
) -> None:
    with storm(polled=polled, watch=watch) as found:
        for name, *arguments in steps:
            getattr(found, str(name))(*arguments)
            found.serve()


@pytest.mark.parametrize("seed", range(6))
def test_rings_full_of_noise(seed: int) -> None:
    """Every descriptor of the ring is noise with addresses that are often right, lap after lap."""
    dice = Random(seed)
    with storm(watch=seed % 2 == 1) as found:
        low, span = found.arena.base, 1 << 20
        for _ in range(20):
            cells = b"".join(
                REQUEST.encode(
                    context=dice.getrandbits(64),
                    dataAddr=low + dice.randrange(span) if dice.random() < 0.9 else dice.getrandbits(64),
                    dataLen=dice.choice([0, 512, 4096, dice.getrandbits(64)]),
                    senseAddr=low + dice.randrange(span),
                    senseLen=dice.choice([0, 96]),
                    flags=dice.choice([4, 8, 9, 16, 17]),
                    cdb=dice.choice([cdb.read(dice.randrange(20000), 8), cdb.write(9, 8), dice.randbytes(16)]),
                    cdbLen=dice.choice([10, 16, dice.randrange(256)]),
                    tag=0x20,
                    target=dice.choice([0, 1, 3]),
                )
                for _ in range(32)
            )
            found.rings.put(cells)
            found.rings.publish()
            found.kick(bool(dice.randrange(2)))
            found.serve()
            found.take()
