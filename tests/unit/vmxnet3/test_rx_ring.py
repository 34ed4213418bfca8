"""The command rings of a receive queue: counting and peeking across the wrap, owner bits, buffers posted again."""

import pytest

from pvdev.mem import GuestMemory
from pvdev.rings import Descriptor
from vmxnet3.rx_ring import CELL, RxRing, Step
from vmxnet3.wire import RCD_RQID_SHIFT, RX_DESC

BASE, SIZE = 0x10_0000, 32


@pytest.fixture
def memory() -> memoryview:
    return memoryview(bytearray(CELL * SIZE))


@pytest.fixture
def ring(memory: memoryview) -> RxRing:
    mem = GuestMemory()
    mem.map(BASE, memory)
    return RxRing(mem, 1, BASE, SIZE, 5)


def post(memory: memoryview, *indices: int, gen: int = 1, **fields: int) -> None:
    for index in indices:
        memory[CELL * index : CELL * index + CELL] = RX_DESC.encode(
            **{"addr": 0x1000 * index, "len": 100 + index, "gen": gen, **fields}
        )


def test_a_ring_begins_empty(ring: RxRing) -> None:
    assert (ring.next, ring.gen, ring.rqid) == (0, 1, 5 << RCD_RQID_SHIFT)
    assert (ring.ready(SIZE), ring.peek()) == (0, None)


def test_owned_descriptors_are_counted_up_to_a_gap_a_limit_and_the_end(ring: RxRing, memory: memoryview) -> None:
    post(memory, 0, 1, 2, 4)
    assert (ring.ready(SIZE), ring.ready(2)) == (3, 2)
    post(memory, *range(SIZE))
    ring.step(SIZE - 3)

    assert ring.ready(SIZE) == 3  # what is behind the wrap is the next call's


def test_a_descriptor_is_read_whole(ring: RxRing, memory: memoryview) -> None:
    post(memory, 0, 1, 2, btype=1)

    addr, word2 = ring.peek(2) or (0, 0)

    assert (addr, word2) == (0x2000, int.from_bytes(RX_DESC.encode(len=102, btype=1, gen=1)[8:12], "little"))
    assert ring.peek(3) is None


def test_peeking_goes_on_behind_the_end_with_the_other_owner_bit(ring: RxRing, memory: memoryview) -> None:
    ring.step(SIZE - 1)
    post(memory, SIZE - 1)
    post(memory, 0, gen=0, addr=7)
    post(memory, 1, gen=1)

    assert [found and found[0] for found in map(ring.peek, range(3))] == [0x1000 * (SIZE - 1), 7, None]
    assert ring.peek(SIZE) is None  # never a lap ahead of itself


def test_a_step_over_the_end_turns_the_owner_bit(ring: RxRing) -> None:
    ring.step(SIZE - 1)
    assert (ring.next, ring.gen) == (SIZE - 1, 1)
    ring.step(3)
    assert (ring.next, ring.gen) == (2, 0)
    ring.step(SIZE)

    assert (ring.next, ring.gen) == (2, 1)


@pytest.mark.parametrize(
    ("next_", "ahead", "cell", "gen"), [(0, 0, 0, 0), (5, 3, 8, 0), (SIZE - 1, 1, 0, 1), (30, 9, 7, 1)]
)
def test_a_step_knows_how_it_looks_when_it_is_posted_again(
    ring: RxRing, next_: int, ahead: int, cell: int, gen: int
) -> None:
    ring.step(next_)
    step = Step(ring, ahead, 0, 0)

    assert step.cell == cell
    assert step.again() == Descriptor(1, cell, gen)


def test_a_ring_of_no_descriptors() -> None:
    ring = RxRing(GuestMemory(), 1, 0, 0, 1)

    assert (ring.ready(5), ring.peek(), ring.peek(3)) == (0, None, None)
