"""Guest memory: the map, access, windows, shared blocks."""

import fcntl
import gc
import mmap
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvdev.mem import ADDRESS_END, Buffer, DmaFault, GuestMemory, MapConflict, SharedBlock, Window, fence

PAGE = 4096


class FakeRemote:
    """Memory on the driver's side: `data` at `base`; `log` is every message."""

    def __init__(self, base: int, size: int) -> None:
        self.base, self.data = base, bytearray(size)
        self.log: list[tuple[str, int, int]] = []

    def read(self, address: int, length: int) -> bytes:
        self.log.append(("read", address, length))
        return bytes(self.data[address - self.base :][:length])

    def write(self, address: int, data: Buffer) -> None:
        self.log.append(("write", address, len(data)))
        self.data[address - self.base : address - self.base + len(data)] = data


def lent(mem: GuestMemory, address: int, size: int, *, writable: bool = True, fill: int = 0) -> bytearray:
    """A mapped region; its memory."""
    memory = bytearray([fill]) * size
    mem.map(address, memoryview(memory), writable=writable)
    return memory


@pytest.fixture
def mem() -> GuestMemory:
    return GuestMemory()


# -- the map -------------------------------------------------------------------------------------------------------


def test_an_empty_map_holds_nothing(mem: GuestMemory) -> None:
    assert mem.regions() == ()
    assert not mem.reachable(0, 1)
    with pytest.raises(DmaFault) as caught:
        mem.region(0)
    assert (caught.value.rule, caught.value.value) == ("MEM-01", 0)


def test_thousands_of_regions_in_any_order(mem: GuestMemory) -> None:
    numbers = list(range(5000))
    random.Random(1).shuffle(numbers)
    for n in numbers:
        mem.map(2 * PAGE * n, memoryview(n.to_bytes(4, "little") * 8), size=32)

    found = [mem.read(2 * PAGE * n, 4) for n in range(5000)]

    assert found == [n.to_bytes(4, "little") for n in range(5000)]
    assert [region.lo for region in mem.regions()] == [2 * PAGE * n for n in range(5000)]
    assert not any(mem.reachable(2 * PAGE * n + 32, 1) for n in range(5000))


@pytest.mark.parametrize(
    ("address", "size"),
    [(PAGE, PAGE), (PAGE - 1, 2), (2 * PAGE - 1, 1), (0, 8 * PAGE), (PAGE + 8, 8), (PAGE, 1)],
    ids=["the same", "over its start", "its last byte", "all around", "inside", "its first byte"],
)
def test_overlap_is_refused_and_changes_nothing(mem: GuestMemory, address: int, size: int) -> None:
    lent(mem, PAGE, PAGE)
    epoch = mem.epoch

    with pytest.raises(MapConflict):
        lent(mem, address, size)

    assert (len(mem.regions()), mem.epoch) == (1, epoch)


def test_neighbours_do_not_overlap(mem: GuestMemory) -> None:
    for at in (PAGE, 0, 2 * PAGE):
        lent(mem, at, PAGE)

    assert [region.lo for region in mem.regions()] == [0, PAGE, 2 * PAGE]


@pytest.mark.parametrize(("address", "size"), [(0, 0), (ADDRESS_END - 4, 8), (ADDRESS_END, 1)])
def test_what_is_no_region(mem: GuestMemory, address: int, size: int) -> None:
    with pytest.raises(ValueError, match="no region of"):
        mem.map(address, memoryview(bytearray(size)))


def test_a_region_needs_all_its_memory(mem: GuestMemory) -> None:
    with pytest.raises(ValueError, match="no region of 16 bytes"):
        mem.map(0, memoryview(bytearray(8)), 16)
    with pytest.raises(ValueError, match="no region of 16 bytes"):
        mem.map(0, None, 16)


def test_the_last_bytes_of_the_address_space(mem: GuestMemory) -> None:
    memory = lent(mem, ADDRESS_END - PAGE, PAGE)

    mem.write(ADDRESS_END - 4, b"last")

    assert memory[-4:] == b"last"
    assert mem.read(ADDRESS_END - 4, 4) == b"last"
    assert mem.reachable(ADDRESS_END - 4, 4)
    assert not mem.reachable(ADDRESS_END - 4, 5)
    for access in (mem.view, mem.read, mem.pieces, mem.window):
        with pytest.raises(DmaFault):
            access(ADDRESS_END - 4, 5)


def test_unmap_takes_exactly_one_region(mem: GuestMemory) -> None:
    lent(mem, 0, PAGE)
    lent(mem, PAGE, PAGE)

    assert mem.unmap(0, PAGE - 1) is None
    assert mem.unmap(8, PAGE - 8) is None
    assert mem.unmap(0, 2 * PAGE) is None
    assert mem.unmap(7 * PAGE, PAGE) is None
    gone = mem.unmap(0, PAGE)

    assert gone is not None
    assert (gone.lo, gone.hi) == (0, PAGE)
    assert [region.lo for region in mem.regions()] == [PAGE]


def test_unmapped_memory_is_out_of_reach_even_if_it_was_the_last_used(mem: GuestMemory) -> None:
    lent(mem, 0, PAGE)
    mem.read(0, 4)

    mem.unmap(0, PAGE)

    with pytest.raises(DmaFault):
        mem.read(0, 4)


def test_epoch_counts_changes(mem: GuestMemory) -> None:
    lent(mem, 0, PAGE)
    lent(mem, PAGE, PAGE)
    mem.unmap(0, PAGE)
    mem.unmap(0, PAGE)

    assert mem.epoch == 3


def test_token_travels_with_the_region(mem: GuestMemory) -> None:
    token = object()
    mem.map(0, memoryview(bytearray(8)), token=token)

    assert mem.region(4).token is token


def test_clear_gives_every_region_back_and_tells_the_holders(mem: GuestMemory) -> None:
    told: list[tuple[int, int]] = []
    mem.on_unmap(lambda lo, hi: told.append((lo, hi)))
    lent(mem, 0, PAGE)
    lent(mem, 4 * PAGE, PAGE)

    regions = mem.clear()

    assert [region.lo for region in regions] == [0, 4 * PAGE]
    assert told == [(0, PAGE), (4 * PAGE, 5 * PAGE)]
    assert mem.regions() == ()


def test_a_holder_lets_go_before_unmap_returns(mem: GuestMemory) -> None:
    block = mmap.mmap(-1, PAGE)
    whole = memoryview(block)
    mem.map(0, whole)
    kept = mem.window(0, 64)
    words = kept.view.cast("I")

    def drop(lo: int, hi: int) -> None:
        words.release()
        kept.release()

    mem.on_unmap(drop)

    gone = mem.unmap(0, PAGE)

    assert gone is not None
    assert gone.view is whole
    whole.release()
    block.close()  # raises BufferError while anybody still looks at it
    assert block.closed


# -- access --------------------------------------------------------------------------------------------------------


def test_a_view_is_the_memory_itself(mem: GuestMemory) -> None:
    memory = lent(mem, PAGE, PAGE)
    view = mem.view(PAGE + 16, 4, write=True)

    view[:] = b"here"
    memory[20:24] = b"late"

    assert memory[16:20] == b"here"
    assert bytes(mem.view(PAGE + 20, 4)) == b"late"


def test_a_view_stays_in_one_region(mem: GuestMemory) -> None:
    lent(mem, 0, PAGE)
    lent(mem, PAGE, PAGE)

    with pytest.raises(DmaFault) as caught:
        mem.view(PAGE - 4, 8)

    assert (caught.value.rule, caught.value.value) == ("MEM-01", PAGE + 4)


def test_read_is_a_copy(mem: GuestMemory) -> None:
    memory = lent(mem, 0, PAGE, fill=1)

    data = mem.read(0, 8)
    memory[:8] = bytes(8)

    assert data == b"\1" * 8


def test_access_across_borders(mem: GuestMemory) -> None:
    low, mid, high = lent(mem, 0, 16), lent(mem, 16, 4), lent(mem, 20, 16)

    mem.write(12, b"abcdefghijkl")

    assert low[12:] + mid + high[:4] == b"abcdefghijkl"
    assert mem.read(12, 12) == b"abcdefghijkl"
    assert [bytes(piece) for piece in mem.pieces(12, 12)] == [b"abcd", b"efgh", b"ijkl"]
    assert [bytes(piece) for piece in mem.gather(14, 4)] == [b"cd", b"ef"]
    assert mem.reachable(0, 36)


def test_pieces_are_the_memory_itself(mem: GuestMemory) -> None:
    low, high = lent(mem, 0, 16), lent(mem, 16, 16)

    for piece in mem.pieces(14, 4, write=True):
        piece[:] = b"\xff" * len(piece)

    assert low[14:] + high[:2] == b"\xff" * 4


@pytest.mark.parametrize("hole_at", [16, 20])
def test_a_write_into_a_hole_stores_nothing(mem: GuestMemory, hole_at: int) -> None:
    low = lent(mem, 0, 16)
    high = lent(mem, hole_at + 4, 16)

    with pytest.raises(DmaFault) as caught:
        mem.write(8, bytes([7]) * 24)

    assert caught.value.rule == "MEM-01"
    assert low + high == bytes(32)


def test_a_write_that_ends_in_read_only_memory_stores_nothing(mem: GuestMemory) -> None:
    low = lent(mem, 0, 16)
    lent(mem, 16, 16, writable=False)

    with pytest.raises(DmaFault) as caught:
        mem.write(8, bytes([7]) * 16)

    assert (caught.value.rule, caught.value.value) == ("MEM-02", 16)
    assert low == bytes(16)


def test_read_only_memory(mem: GuestMemory) -> None:
    memory = lent(mem, 0, PAGE, writable=False, fill=3)

    assert mem.read(0, 2) == b"\3\3"
    assert bytes(mem.view(0, 2)) == b"\3\3"
    assert bytes(mem.window(0, 2).view) == b"\3\3"
    assert mem.reachable(0, PAGE)
    assert not mem.reachable(0, PAGE, write=True)
    with pytest.raises(DmaFault, match="MEM-02"):
        mem.write(0, b"x")
    for access in (mem.view, mem.pieces, mem.window):
        with pytest.raises(DmaFault, match="MEM-02"):
            access(0, 2, write=True)
    assert memory == b"\3" * PAGE


def test_nothing_is_asked_for_nothing(mem: GuestMemory) -> None:
    lent(mem, 0, PAGE)

    assert mem.read(0, 0) == b""
    assert mem.pieces(0, 0) == []
    assert mem.gather(PAGE, 0) == []


REGION_SIZES = st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=12)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(REGION_SIZES, st.integers(0, 80), st.binary(max_size=40))
def test_access_is_as_in_one_flat_memory(sizes: list[tuple[int, bool]], address: int, data: bytes) -> None:
    mem = GuestMemory()
    there: set[int] = set()
    at = 0
    for size, mapped in sizes:
        if mapped:
            lent(mem, at, size)
            there |= set(range(at, at + size))
        at += size
    wanted = range(address, address + len(data))
    whole = there.issuperset(wanted)

    try:
        mem.write(address, data)
        stored = True
    except DmaFault:
        stored = False

    assert stored == whole or not data
    assert mem.reachable(address, len(data)) == whole
    assert [mem.read(n, 1) for n in sorted(there)] == [
        data[n - address : n - address + 1] if stored and n in wanted else b"\0" for n in sorted(there)
    ]


# -- remote memory and windows -------------------------------------------------------------------------------------


def test_remote_memory_is_reached_by_messages(mem: GuestMemory) -> None:
    remote = FakeRemote(PAGE, PAGE)
    mem.map(PAGE, None, PAGE, remote=remote)

    mem.write(PAGE + 8, b"over")

    assert mem.read(PAGE + 8, 4) == b"over"
    assert remote.data[8:12] == b"over"
    assert remote.log == [("write", PAGE + 8, 4), ("read", PAGE + 8, 4)]


def test_remote_and_mapped_memory_side_by_side(mem: GuestMemory) -> None:
    low, remote = lent(mem, 0, 16), FakeRemote(16, 16)
    mem.map(16, None, 16, remote=remote)

    mem.write(12, b"abcdefgh")

    assert low[12:] + remote.data[:4] == b"abcdefgh"
    assert mem.read(12, 8) == b"abcdefgh"
    assert [type(piece) for piece in mem.gather(12, 8)] == [memoryview, bytes]


def test_remote_memory_has_no_view(mem: GuestMemory) -> None:
    mem.map(0, None, PAGE, remote=FakeRemote(0, PAGE))

    for access in (mem.view, mem.pieces):
        with pytest.raises(DmaFault, match="no shared memory"):
            access(0, 4)


def test_remote_read_only_memory_is_not_asked_to_change(mem: GuestMemory) -> None:
    remote = FakeRemote(0, PAGE)
    mem.map(0, None, PAGE, remote=remote, writable=False)

    with pytest.raises(DmaFault, match="MEM-02"):
        mem.write(0, b"x")
    with pytest.raises(DmaFault, match="MEM-02"):
        mem.window(0, 4, write=True)

    assert remote.log == []


def test_a_window_on_mapped_memory_is_the_memory(mem: GuestMemory) -> None:
    memory = lent(mem, 0, PAGE)
    window = mem.window(64, 32, write=True)

    window.view[0] = 9
    window.push(0, 1)
    memory[65] = 8
    window.pull()

    assert window.remote is None
    assert memory[64:66] == b"\x09\x08" == bytes(window.view[:2])


def test_a_window_on_remote_memory_is_pulled_and_pushed(mem: GuestMemory) -> None:
    remote = FakeRemote(0, PAGE)
    mem.map(0, None, PAGE, remote=remote)
    remote.data[64:68] = b"\1\2\3\4"
    window = mem.window(64, 4, write=True)
    first = bytes(window.view)

    window.view[1:3] = b"\xaa\xbb"
    window.push(1, 2)
    remote.data[67] = 9
    window.pull()

    assert first == b"\1\2\3\4"
    assert remote.data[64:68] == b"\1\xaa\xbb\x09" == bytes(window.view)
    assert remote.log == [("read", 64, 4), ("write", 65, 2), ("read", 64, 4)]


def test_a_window_does_not_cross_regions(mem: GuestMemory) -> None:
    lent(mem, 0, PAGE)
    mem.map(PAGE, None, PAGE, remote=FakeRemote(PAGE, PAGE))

    with pytest.raises(DmaFault, match="MEM-01"):
        mem.window(PAGE - 4, 8)
    with pytest.raises(DmaFault, match="MEM-01"):
        mem.window(2 * PAGE - 4, 8)


def test_an_empty_window_is_released_like_any_other() -> None:
    window = Window(0, memoryview(b""), None)

    window.pull()
    window.release()

    with pytest.raises(ValueError, match="released"):
        len(window.view)


# -- shared blocks -------------------------------------------------------------------------------------------------


def test_a_shared_block_is_seen_through_its_descriptor() -> None:
    block = SharedBlock(PAGE, "test")
    block.view[:4] = b"both"

    with mmap.mmap(block.fd, PAGE) as other:
        seen = other[:4]
        other[4:8] = b"ways"

    assert seen == b"both"
    assert bytes(block.view[4:10]) == b"ways\0\0"
    block.close()


def test_a_shared_block_cannot_be_pulled_away() -> None:
    block = SharedBlock(2 * PAGE)

    with pytest.raises(PermissionError):
        os.ftruncate(block.fd, PAGE)

    assert fcntl.fcntl(block.fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK
    assert not os.get_inheritable(block.fd)
    block.close()


def test_closing_a_shared_block_closes_its_descriptor_once() -> None:
    block = SharedBlock(PAGE)
    fd = block.fd

    block.close()
    block.close()

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    with pytest.raises(ValueError, match="released"):
        len(block.view)


def test_what_others_view_of_a_closed_block_lives_on() -> None:
    block = SharedBlock(PAGE)
    kept = block.view[:4]
    kept[:] = b"kept"

    block.close()

    assert bytes(kept) == b"kept"


def test_a_block_that_is_forgotten_is_closed() -> None:
    """What somebody still views of it stays."""
    block = SharedBlock(PAGE)
    fd, view = block.fd, block.view[:4]
    view[:] = b"kept"
    del block
    gc.collect()

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    assert bytes(view) == b"kept"


def test_no_descriptor_is_left_when_a_block_cannot_be_had() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))

    with pytest.raises((OSError, ValueError, OverflowError)):
        SharedBlock(1 << 62)

    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_fence_may_be_crossed_any_number_of_times() -> None:
    fence()
    fence()
