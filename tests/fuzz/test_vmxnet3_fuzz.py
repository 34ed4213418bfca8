"""Anything a driver may write, anywhere: recorded violations at most, bounded work, and after a reset all is well."""

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pvdev.rules import PLACES_MAX
from tests.rig import BROADCAST, NOWHERE, RawNic, frame
from vmxnet3 import wire
from vmxnet3.backend import Frame, Queue
from vmxnet3.rules import RULES
from vmxnet3.shape import Lro, Override, Shape, Shaped, Signal
from vmxnet3.versions import CAPABILITIES
from vmxnet3.wire import DRIVER_SHARED, RX_DESC, SINCE, TX_DESC, Cap, Cmd

pytestmark = pytest.mark.slow

ROUNDS = 40  # of service after each step; a device that always finds more to do is stopped there
BUDGET = 64
FRAMES_MOST = 1024 + 65535 + BUDGET  # handed to the port in one go: a full round, and the packet that filled it


def examples(count: int) -> settings:
    """The same examples on every run."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    return settings(max_examples=count, derandomize=True, deadline=None, suppress_health_check=slow)


VERSIONS = st.integers(1, 9)
CAPS = st.one_of(st.sampled_from([0, int(CAPABILITIES), int(Cap.LARGE_BAR)]), st.integers(0, 2**32 - 1))


def nic_of(version: int, caps: int, *, waits: bool = False, memory: int = 4 << 20) -> RawNic:
    """A device that offers this version, whose driver asks for these capabilities."""
    nic = RawNic(Bounded(waits=waits), version=version, memory=memory, timestamp_rate=3)
    if version >= 7:
        nic.negotiate(caps)
    return nic


class Bounded(Queue):
    """A port that remembers the longest batch, and nothing of what it is sent in the storm."""

    def __init__(self, *, waits: bool = False) -> None:
        super().__init__(waits=waits)
        self.longest = self.total = 0

    def send(self, frames: Sequence[Frame]) -> int:
        self.longest = max(self.longest, len(frames))
        self.total += sum(len(piece) for frame in frames for piece in frame)
        return super().send(frames) if len(frames) < 64 else len(frames)


def serve(nic: RawNic) -> None:
    """Let the device work, in bounded rounds: what it raises is a failure, whatever it finds."""
    for now in range(ROUNDS):
        if not nic.device.service(BUDGET, now):
            break
    nic.port.interrupts()


def assert_survived(nic: RawNic) -> None:
    """Nothing grew without bound, every place has its rule, and normal traffic passes after a reset."""
    net = nic.net
    assert isinstance(net, Bounded)
    assert net.longest <= FRAMES_MOST
    assert len(list(nic.rules)) <= len(RULES) * (PLACES_MAX + 1)
    assert nic.rules.numbers() <= {rule.number for rule in RULES}
    for region in nic.device.mem.regions():
        nic.device.mem.unmap(region.lo, region.hi - region.lo)
    nic.device.mem.map(nic.port.arena.base, nic.port.arena.block.view)
    nic.port.reset()
    nic.device.set_link(True)
    net.inbound.clear()
    net.waits = False
    nic.assert_alive()


# -- registers -----------------------------------------------------------------------------------------------------

REGISTERS = [
    *((wire.BAR_VD, at) for at in range(0, 0x50, 4)),
    *((wire.BAR_VD, at) for at in (wire.REG_DCR + 8, wire.REG_DCR + 56, wire.REG_PTCR, wire.REG_PTCR + 40)),
    *((wire.BAR_PT, at) for at in (0x000, 0x008, 0x0C0, 0x200, 0x600, 0x608, 0x6F8, 0x800, 0x880, 0xA00, 0xA08)),
    *((wire.BAR_PT, at) for at in (0x1000, 0x10F8, 0x1400, 0x1408, 0x1800, 0x18F8)),
    *((wire.BAR_MSIX, at) for at in (0, 8, 12, 0x18C, 0x190, 0x1000, 0x1008)),
    *((7, at) for at in (0x04, 0x06, 0x10, 0x14, 0x34, 0x44, 0x86, 0x9E, 0x100)),
]
ADDRESSES = st.one_of(
    st.sampled_from(REGISTERS),
    st.tuples(st.sampled_from([0, 1, 2, 7]), st.integers(0, 0xFFF)),
)
VALUES = st.one_of(
    st.sampled_from([0, 1, 2, 63, 64, 0x100, 0xFFFF_FFFF, 0x8000, int(Cap.LARGE_BAR), int(CAPABILITIES), *Cmd]),
    st.integers(0, 0xFFFF_FFFF),
    st.integers(0, 70),
)
ACCESSES = st.tuples(ADDRESSES, st.sampled_from([4, 4, 4, 1, 2, 8]), st.none() | VALUES)


@examples(400)
@given(VERSIONS, CAPS, st.booleans(), st.lists(ACCESSES, min_size=1, max_size=60))
def test_any_register_access_in_any_order(
    version: int, caps: int, running: bool, accesses: list[tuple[tuple[int, int], int, int | None]]
) -> None:
    nic = nic_of(version, caps)
    nic.prepare(size=32)
    if running:
        nic.activate()
        nic.arm_all()

    for (region, offset), size, value in accesses:
        offset = min(offset, nic.device.pci.region_size(region) - size)
        if value is None:
            assert 0 <= nic.device.pci.read(region, offset, size) < 1 << 8 * size
        else:
            nic.device.pci.write(region, offset, size, value & (1 << 8 * size) - 1)
        serve(nic)

    assert_survived(nic)


# -- shared memory -------------------------------------------------------------------------------------------------


def _targets(nic: RawNic) -> list[memoryview]:
    """What of guest memory the device looks at."""
    return [
        nic.shared.view,
        nic.table.view,
        *(side.ring.memory.view for side in nic.tx),
        *(side.comp.memory.view for side in nic.tx),
        *(ring.memory.view for side in nic.rx for ring in side.rings),
        *(side.comp.memory.view for side in nic.rx),
        *(side.buffers.view[:512] for side in nic.tx),
        *(side.data.view for side in nic.rx if side.data is not None),
    ]


SPLASH = st.tuples(st.just("splash"), st.integers(0, 15), st.integers(0, 8191), st.binary(min_size=1, max_size=48))
WORDS = st.integers(0, 2**32 - 1)
CONF_PLACES = st.sampled_from([0, 0x10_0000, 0x10_0040, 0x10_1000, NOWHERE, 2**64 - 8])
ARGUMENTS = st.one_of(
    st.binary(max_size=16),
    st.builds(
        lambda length, address: b"\1\0\0\0" + length.to_bytes(4, "little") + address.to_bytes(8, "little"),
        st.sampled_from([0, 8, 16, 4104, 2**32 - 1]),
        CONF_PLACES,
    ),
)
STEP = st.one_of(
    SPLASH,
    SPLASH,
    st.tuples(st.just("command"), st.sampled_from(list(Cmd)), st.just(0), st.just(b"")),
    st.tuples(st.just("command"), st.sampled_from(list(SINCE)), st.just(1), ARGUMENTS),
    st.tuples(st.just("caps"), CAPS, st.just(0), st.just(b"")),
    st.tuples(st.just("shaped"), st.integers(14, 1600), st.integers(0, 255), st.binary(min_size=8, max_size=8)),
    st.tuples(st.just("sleep"), st.integers(0, 3), st.just(0), st.just(b"")),
    st.tuples(st.just("bell"), st.integers(0, 40), st.integers(0, 70), st.just(b"")),
    st.tuples(st.just("frame"), st.integers(14, 1600), st.integers(0, 255), st.just(b"")),
    st.tuples(st.just("link"), st.integers(0, 1), st.just(0), st.just(b"")),
    st.tuples(st.just("unmap"), st.just(0), st.just(0), st.just(b"")),
    st.tuples(st.just("map"), st.just(0), st.just(0), st.just(b"")),
    st.tuples(st.just("activate"), st.just(0), st.just(0), st.just(b"")),
)


def shape_of(data: bytes) -> Shape:
    """Eight bytes as a shape."""
    a, b, c, d, e, f, g, h = data
    return Shape(
        lro=Lro(a, b << 8 | c) if a & 1 else None,
        first=Override((b << 24 | c, a << 16, d << 14, b << 28), (c << 20, d << 24 | e, f << 10, g << 20)),
        last=Override((h << 24 | g, f << 16, e << 14, d << 28), (h << 12, g << 8 | f, e << 10, c << 16)),
        queue=b if b & 1 else None,
        length=c * 8 if c & 1 else None,
        strip=d << 8 if d & 1 else None,
        inner=bool(e & 1),
        hold_ns=f & 15 if f & 16 else 0,
        signal=list(Signal)[g % 3],
        delay_ns=h & 15 if h & 16 else 0,
    )


def take_step(nic: RawNic, step: tuple[str, int, int, bytes]) -> None:
    kind, a, b, data = step
    mem, arena = nic.device.mem, nic.port.arena
    if kind == "command" and b:
        at = DRIVER_SHARED.offset["cmdInfo"]
        nic.shared.view[at : at + len(data)] = data
    if kind == "splash":
        targets = _targets(nic)
        view = targets[a % len(targets)]
        at = b % len(view)
        view[at : at + len(data)] = data[: len(view) - at]
    elif kind == "command":
        nic.device.pci.write(wire.BAR_VD, wire.REG_CMD, 4, a)
    elif kind == "bell":
        base = (wire.REG_TXPROD, wire.LB_REG_TXPROD)[a & b & 1 and nic.version >= 7]
        nic.device.pci.write(wire.BAR_PT, base + 8 * (3 * a), 4, b)
    elif kind == "frame":
        nic.net.inbound.append(frame(a, dst=BROADCAST if b & 1 else nic.device.mac, seed=b))
    elif kind == "shaped":
        nic.net.inbound.append(Shaped(frame(a, dst=nic.device.mac, seed=b), shape_of(data)))
    elif kind == "caps":
        nic.device.pci.write(wire.BAR_VD, wire.REG_DCR, 4, a)
    elif kind == "sleep":
        nic.device.pci.write(7, 0x44, 2, a)
    elif kind == "link":
        nic.device.set_link(bool(a))
    elif kind == "unmap":
        mem.unmap(arena.base, arena.block.size)
    elif kind == "map" and not mem.regions():
        mem.map(arena.base, arena.block.view)
    elif kind == "activate":
        nic.activate()


@examples(400)
@given(VERSIONS, CAPS, st.booleans(), st.lists(STEP, min_size=1, max_size=40))
def test_any_bytes_in_shared_memory(
    version: int, caps: int, waits: bool, steps: list[tuple[str, int, int, bytes]]
) -> None:
    nic = nic_of(version, caps, waits=waits, memory=3 << 20)
    nic.prepare(tx=2, rx=2, size=32)
    nic.tell(uptFeatures=sum(wire.Feature) if version >= 4 else 0xF)
    if version >= 3:
        nic.give_data_rings(64)
    nic.activate()
    nic.arm_all()

    for step in steps:
        take_step(nic, step)
        serve(nic)

    assert_survived(nic)


# -- structures: right in most fields, wrong in a few ----------------------------------------------------------------

WORD64 = st.one_of(
    st.sampled_from([0, 8, 512, 0x10_0000, 0x10_0008, 0x10_0200, NOWHERE, 2**64 - 8, 2**64 - 512, 2**63]),
    st.integers(0, 2**64 - 1),
)
WORD32 = st.one_of(st.sampled_from([0, 1, 31, 32, 64, 4096, 8192, 0xFFFF_FFE0, 0xFFFF_FFFF]), st.integers(0, 2**32 - 1))
WORD16 = st.one_of(st.sampled_from([0, 1, 6, 64, 128, 2048, 65535]), st.integers(0, 65535))
WORD8 = st.one_of(st.sampled_from([0, 1, 2, 8, 16, 25, 26, 32, 65, 255]), st.integers(0, 255))


def some(**fields: st.SearchStrategy[int]) -> st.SearchStrategy[dict[str, int]]:
    """A few of these fields, with values like these."""
    return st.fixed_dictionaries({}, optional=dict(fields))


AREA = some(
    uptFeatures=WORD64, queueDescPA=WORD64, queueDescLen=WORD32, mtu=WORD32, maxNumRxSG=WORD16, numTxQueues=WORD8,
    numRxQueues=WORD8, autoMask=WORD8, numIntrs=WORD8, eventIntrIdx=WORD8, rxMode=WORD32, mfTableLen=WORD16,
    mfTablePA=WORD64, rssConfLen=WORD32, rssConfPA=WORD64, pmConfLen=WORD32, pmConfPA=WORD64,
)  # fmt: skip
TX_AREA = some(
    txRingBasePA=WORD64, dataRingBasePA=WORD64, compRingBasePA=WORD64, txRingSize=WORD32, dataRingSize=WORD32,
    compRingSize=WORD32, intrIdx=WORD8, txDataRingDescSize=WORD16, txTSRingBasePA=WORD64, txTSRingDescSize=WORD16,
)  # fmt: skip
RX_AREA = some(
    rxDataRingDescSize=WORD16, rxDataRingBasePA=WORD64, compRingBasePA=WORD64, compRingSize=WORD32, intrIdx=WORD8,
    rxTSRingBasePA=WORD64, rxTSRingDescSize=WORD16,
)  # fmt: skip


def wrong(fields: dict[str, int], keep: int) -> dict[str, int]:
    """At most `keep` of the fields, so that others get the chance to be looked at."""
    return dict(list(fields.items())[:keep])


@examples(200)
@given(VERSIONS, AREA, TX_AREA, RX_AREA, st.integers(0, 3), ARGUMENTS)
def test_any_field_of_the_shared_area_and_the_queue_table(
    version: int, area: dict[str, int], tx_area: dict[str, int], rx_area: dict[str, int], keep: int, argument: bytes
) -> None:
    nic = nic_of(version, int(CAPABILITIES))
    nic.prepare(size=32)
    nic.area |= wrong(area, keep)
    nic.tx_area[0] |= wrong(tx_area, keep // 2)
    nic.rx_area[0] |= wrong(rx_area, keep // 2)
    nic.tell()
    before = nic.snapshot()

    answer = nic.activate()

    assert answer in (0, 1)
    assert answer == 0 or nic.snapshot() == before
    for command in Cmd:
        if command not in (Cmd.RESET_DEV, Cmd.QUIESCE_DEV):
            nic.argue(argument)
            nic.command(command)
    nic.arm_all()
    nic.send(frame())
    nic.net.inbound.append(frame(dst=BROADCAST))
    serve(nic)
    assert_survived(nic)


TX_FIELDS = some(
    len=st.integers(0, 0x3FFF), oco=st.integers(0, 1), dtype=st.integers(0, 1), ext1=st.integers(0, 1),
    msscof=st.one_of(st.integers(0, 1600), st.integers(0, 0x3FFF)),
    hlen=st.one_of(st.integers(0, 80), st.integers(0, 1023)),
    om=st.integers(0, 3), eop=st.integers(0, 1), cq=st.integers(0, 1), ext2=st.integers(0, 1), ti=st.integers(0, 1),
    tci=st.integers(0, 65535), addr=WORD64,
)  # fmt: skip
HEADERS = st.one_of(
    st.binary(min_size=14, max_size=120),
    st.builds(
        lambda kind, first, protocol, rest: bytes(12) + kind + bytes((first,)) + bytes(8) + bytes((protocol,)) + rest,
        st.sampled_from([b"\x08\x00", b"\x86\xdd", b"\x81\x00", b"\x81\x00\x00\x05\x08\x00"]),
        st.sampled_from([0x45, 0x4F, 0x40, 0x60, 0x00]),
        st.sampled_from([6, 17, 0, 44, 132]),
        st.binary(min_size=10, max_size=120),
    ),
)


TUNNELS = st.builds(  # Ethernet, IPv4, UDP to a tunnel's port, then anything
    lambda port, head, rest: bytes(12) + b"\x08\0\x45" + bytes(8) + b"\x11" + bytes(12) + port + bytes(4) + head + rest,
    st.sampled_from([b"\x17\xc1", b"\x12\xb5", b"\x21\x18"]),
    st.sampled_from([b"\0\0\x65\x58", b"\x3f\0\x65\x58", b"\0\0\x08\0", b"\x08\0\0\0"]),
    st.binary(min_size=4, max_size=18).map(lambda data: data + b"\x08\0\x45" + bytes(8) + b"\6" + bytes(60)),
)


@examples(200)
@given(VERSIONS, CAPS, st.lists(st.tuples(TX_FIELDS, HEADERS | TUNNELS), min_size=1, max_size=12), st.booleans())
def test_any_transmit_descriptor(
    version: int, caps: int, packets: list[tuple[dict[str, int], bytes]], loop: bool
) -> None:
    nic = nic_of(version, caps, memory=2 << 20)
    nic.bring_up(size=32)

    for fields, data in packets:
        nic.post(data[:1500], **fields)
        nic.kick()
        nic.net.inbound.extend(nic.net.sent if loop else ())
        nic.net.sent.clear()
        serve(nic)

    assert set(nic.done()) <= set(range(len(packets)))
    assert sum(nic.tx_stats().values()) >= 0
    assert_survived(nic)


RX_FIELDS = some(
    len=st.integers(0, 0x3FFF), btype=st.integers(0, 1), dtype=st.integers(0, 1), rsvd=st.integers(0, 0x7FFF),
    addr=WORD64,
)  # fmt: skip


OVERRIDES = st.builds(Override, st.tuples(WORDS, WORDS, WORDS, WORDS), st.tuples(WORDS, WORDS, WORDS, WORDS))
SHAPES = st.builds(
    Shape,
    lro=st.none() | st.builds(Lro, st.integers(0, 300), st.integers(0, 70_000)),
    first=OVERRIDES,
    last=OVERRIDES,
    queue=st.none() | st.integers(0, 99),
    length=st.none() | st.integers(0, 9100),
    strip=st.none() | st.integers(0, 65535),
    inner=st.booleans(),
    hold_ns=st.sampled_from([0, 1, 5, ROUNDS, 10**9]),
    signal=st.sampled_from(Signal),
    delay_ns=st.sampled_from([0, 0, 1, 10**9]),
)


@examples(300)
@given(
    VERSIONS,
    st.lists(st.tuples(st.integers(0, 1), RX_FIELDS), max_size=40),
    st.lists(
        st.tuples(st.integers(14, 70) | st.integers(14, 9018), HEADERS | TUNNELS, st.none() | SHAPES),
        min_size=1,
        max_size=10,
    ),
    st.integers(0, 4),
    st.booleans(),
    st.sampled_from([0, 64, 512]),
)
def test_any_receive_descriptor_and_any_frame(
    version: int,
    buffers: list[tuple[int, dict[str, int]]],
    frames: list[tuple[int, bytes, Shape | None]],
    max_sg: int,
    waits: bool,
    slot: int,
) -> None:
    nic = nic_of(version, int(CAPABILITIES), waits=waits)
    nic.prepare(size=32)
    features = sum(wire.Feature) if version >= 4 else 0xF
    nic.tell(mtu=9000, maxNumRxSG=max_sg, rxMode=wire.RxMode.PROMISC, uptFeatures=features)
    if slot and version >= 3:
        nic.give_data_rings(slot)
    assert nic.activate() == 0
    guard = nic.lend(NOWHERE, 4096)
    for ring, fields in buffers:
        nic.arm(ring, **fields)

    for size, head, shape in frames:
        data = (head + bytes(size))[:size]
        nic.net.inbound.append(data if shape is None else Shaped(data, shape))
        serve(nic)

    aimed = any(NOWHERE - 9018 < fields.get("addr", 0) < NOWHERE + 4096 for _, fields in buffers)
    assert aimed or guard == bytes(4096)
    assert_survived(nic)


# -- whole rings of noise ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(9))
def test_rings_full_of_noise(seed: int) -> None:
    """Every ring is noise that looks owned, with addresses that are often right; a storm of frames on top."""
    dice = Random(seed)
    nic = nic_of(seed + 1, int(CAPABILITIES), memory=3 << 20)
    nic.prepare(tx=2, rx=2, size=32)
    if seed >= 2:
        nic.give_data_rings(64)
    assert nic.activate() == 0
    low, span = nic.port.arena.base, nic.port.arena.block.size

    def word(bits: int) -> int:
        return dice.getrandbits(bits) & dice.getrandbits(bits)

    for lap in range(30):
        for side in nic.tx:
            side.ring.memory.view[:] = b"".join(
                TX_DESC.encode(
                    addr=low + dice.randrange(span) if dice.random() < 0.9 else dice.getrandbits(64),
                    len=dice.choice([0, 14, 60, dice.getrandbits(14)]),
                    gen=1 ^ lap & 1,
                    msscof=dice.choice([0, 40, 1000 + word(10), dice.getrandbits(14)]),
                    hlen=dice.choice([0, 34, 54, dice.getrandbits(10)]),
                    om=dice.choice([0, 0, 2, 3]),
                    ext1=seed >= 6 and dice.random() < 0.1,
                    oco=seed >= 3 and dice.random() < 0.1,
                    eop=dice.randrange(4) > 0,
                    cq=dice.randrange(2),
                    ti=dice.randrange(2),
                    tci=dice.getrandbits(16),
                )
                for _ in range(side.ring.size)
            )
        for queue in nic.rx:
            for ring in queue.rings:
                ring.memory.view[:] = b"".join(
                    RX_DESC.encode(
                        addr=low + dice.randrange(span) if dice.random() < 0.9 else dice.getrandbits(64),
                        len=dice.choice([0, 64, 128, 2048, 0x3FFF]),
                        btype=dice.randrange(2),
                        gen=dice.randrange(2),
                    )
                    for _ in range(ring.size)
                )
        for n in range(20):
            data = frame(dice.randrange(14, 1519), seed=n, dst=nic.device.mac)
            nic.net.inbound.append(Shaped(data, shape_of(dice.randbytes(8))) if n % 3 == 0 else data)
        serve(nic)
        if not lap % 5:
            nic.command(Cmd.RESET_DEV)
            nic.tell()
            nic.activate()

    assert nic.rules
    assert_survived(nic)
