"""What holds for every medium, whatever it is made of."""

import random
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pvscsi.block.backend import Fault, Io, Op
from pvscsi.block.medium import Medium, clip, joined
from pvscsi.block.mem import MemDisk
from pvscsi.block.wait import perform
from tests.unit.pvscsi.block.conftest import MADE, SIZE
from tests.unit.pvscsi.block.rig import do, flush, noise, read, read_io, write, write_io

ODD = [(0, 1), (511, 2), (4095, 4098), (65535, 65538), (100_001, 200_003), (SIZE - 3, 3)]


def test_it_is_empty_and_without_fault(disk: Medium) -> None:
    assert disk.size == SIZE
    assert (disk.read_only, disk.fault) == (False, None)
    assert read(disk, 0, SIZE) == bytes(SIZE)


@pytest.mark.parametrize(("offset", "length"), ODD)
def test_what_is_written_is_read(disk: Medium, offset: int, length: int) -> None:
    data = noise(length, 1)

    write(disk, offset, data)

    assert read(disk, 0, SIZE) == bytes(offset) + data + bytes(SIZE - offset - length)


def test_pieces_of_any_size_are_scattered_and_gathered(disk: Medium) -> None:
    data = noise(10_000, 2)
    io, memory = read_io(77, 1, 0, 4096, 3, 5900)

    write_io_ = do(disk, write_io(77, data[:1], b"", data[1:5000], data[5000:]))
    do(disk, io)

    assert (write_io_.fault, write_io_.moved, io.fault, io.moved) == (None, 10_000, None, 10_000)
    assert memory == data


def test_more_pieces_than_one_system_call_takes(disk: Medium) -> None:
    data = noise(3000, 3)
    io, memory = read_io(5, *[1] * 3000)

    do(disk, write_io(5, *[data[i : i + 1] for i in range(3000)]))
    do(disk, io)

    assert (io.fault, io.moved) == (None, 3000)
    assert memory == data


def test_what_is_done_at_once_is_done_from_the_first_on(disk: Medium) -> None:
    data, memory = noise(8192, 5), [bytearray(4096) for _ in range(3)]
    write(disk, 4096, data)

    places = (4096, 8192, SIZE - 100)
    reads = disk.at_once(Op.READ, 4096, [(at, [memoryview(m)]) for at, m in zip(places, memory, strict=True)])
    writes = disk.at_once(Op.WRITE, 4096, [(at, [memoryview(data)[:4096]]) for at in (65536, SIZE - 1)])

    assert 0 <= reads <= 2
    assert [bytes(each) for each in memory[:reads]] == [data[:4096], data[4096:]][:reads]
    assert 0 <= writes <= 1
    assert read(disk, 65536, 4096) in ([data[:4096]] if writes else [bytes(4096), data[:4096]])
    assert read(disk, SIZE - 4096, 4096) == bytes(4096)


def test_a_transfer_past_the_end_moves_what_there_is(disk: Medium) -> None:
    data = noise(1000, 4)
    io, memory = read_io(SIZE - 600, 500, 500)

    written = do(disk, write_io(SIZE - 600, data))
    do(disk, io)

    assert (written.fault, written.moved) == (Fault.WRITE, 600)
    assert (io.fault, io.moved) == (Fault.READ, 600)
    assert memory[:600] == data[:600]
    assert memory[600:] == b"\xee" * 400
    assert disk.size == SIZE


@pytest.mark.parametrize(("op", "fault"), [(Op.READ, Fault.READ), (Op.WRITE, Fault.WRITE), (Op.ZERO, Fault.WRITE)])
def test_a_transfer_beyond_the_end_moves_nothing(disk: Medium, op: Op, fault: Fault) -> None:
    io = do(disk, Io(op, SIZE + 1, 3, [memoryview(bytearray(3))]))

    assert (io.fault, io.moved) == (fault, 0)


@pytest.mark.parametrize("op", [Op.DISCARD, Op.ZERO])
@pytest.mark.parametrize(("offset", "length"), [*ODD, (0, SIZE)])
def test_discard_and_zero_leave_zeros(disk: Medium, op: Op, offset: int, length: int) -> None:
    data = noise(SIZE, 5)
    write(disk, 0, data)

    io = do(disk, Io(op, offset, length))

    assert (io.fault, io.moved) == (None, length)
    assert disk.zeroes
    assert read(disk, 0, SIZE) == data[:offset] + bytes(length) + data[offset + length :]


def test_fua_and_flush_change_nothing_that_is_read(disk: Medium) -> None:
    write(disk, 0, b"a" * 5000)
    write(disk, 1000, b"b" * 1000, fua=True)
    write(disk, 1500, b"c" * 1000)
    flush(disk)
    write(disk, 1800, b"d" * 10, fua=True)
    flush(disk)

    assert read(disk, 0, 5000) == b"a" * 1000 + b"b" * 500 + b"c" * 300 + b"d" * 10 + b"c" * 690 + b"a" * 2500


def test_many_at_once_are_each_reaped_once(disk: Medium) -> None:
    writes = [write_io(i * 4096, noise(4096, i)) for i in range(200)]
    perform(disk, writes)
    reads = [read_io(i * 4096, 4000, 96) for i in range(200)]

    perform(disk, [io for io, _ in reads])

    assert [bytes(memory) for _, memory in reads] == [noise(4096, i) for i in range(200)]
    assert list(disk.reap(1 << 62)) == []
    assert disk.fault is None


def test_cancelled_transfers_are_not_reaped_and_their_memory_is_left_alone(disk: Medium) -> None:
    write(disk, 0, noise(SIZE, 6))
    reads = [read_io(i * 4096, 4096) for i in range(64)]
    disk.submit([io for io, _ in reads])

    disk.cancel([io for io, _ in reads if not io.done])
    after = [bytes(memory) for _, memory in reads]
    marker = do(disk, read_io(8, 8)[0])

    assert marker.done
    assert list(disk.reap(1 << 62)) == []
    assert [bytes(memory) for _, memory in reads] == after


def test_cancelling_what_is_not_there_does_nothing(disk: Medium) -> None:
    io, _ = read_io(0, 10)
    disk.cancel([io])
    do(disk, io)

    disk.cancel([io])

    assert read(disk, 0, 10) == bytes(10)


@pytest.mark.parametrize(("offset", "length"), [(0, SIZE), (1, 1), (4097, 70_000), (SIZE - 1, 1)])
def test_stretches_cover_the_range(disk: Medium, offset: int, length: int) -> None:
    write(disk, 200_000, noise(300, 7))

    stretches = disk.allocated(offset, length)

    assert sum(step for step, _ in stretches) == length
    assert all(step > 0 for step, _ in stretches)
    assert all(a[1] is not b[1] for a, b in pairwise(stretches))


def test_written_bytes_are_allocated(disk: Medium) -> None:
    write(disk, 200_000, noise(300, 8))
    flush(disk)

    assert list(disk.allocated(200_000, 300)) == [(300, True)]


def test_closing_twice_does_nothing(disk: Medium) -> None:
    write(disk, 0, b"x")

    disk.close()
    disk.close()

    assert disk.fault is None


TRANSFERS = st.tuples(
    st.sampled_from([Op.READ, Op.WRITE, Op.WRITE, Op.FLUSH, Op.DISCARD, Op.ZERO]),
    st.integers(0, 20_000),
    st.integers(0, 9_000),
    st.booleans(),
    st.booleans(),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(TRANSFERS, max_size=6), max_size=8), seed=st.integers(0, 99))
def test_any_batches_with_cancels_leave_what_a_bytearray_would_have(
    name: str, tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[Op, int, int, bool, bool]]], seed: int
) -> None:
    """Within a batch no two overlap, as their order is open. Of a cancelled write each byte may be there or not."""
    rng = random.Random(seed)
    model, unsure = bytearray(32_768), bytearray(32_768)
    with MADE[name](tmp_path_factory.mktemp("disk")) as disk:
        for batch in batches:
            taken: list[tuple[int, int]] = []
            ios: list[Io] = []
            for op, offset, length, fua, cancelled in batch:
                if op is Op.FLUSH:
                    ios.append(Io(op))
                    continue
                if any(offset < high and low < offset + length for low, high in taken):
                    continue
                taken.append((offset, offset + length))
                data = bytearray(rng.randbytes(length)) if op is Op.WRITE else bytearray(length)
                cut = rng.randrange(length + 1)
                view = memoryview(data)
                ios.append(Io(op, offset, length, [view[:cut], view[cut:]], fua=fua, owner=(cancelled, data)))
            disk.submit(ios)
            dropped = [io for io in ios if not io.done and io.owner and io.owner[0]]
            disk.cancel(dropped)
            _finish(disk, [io for io in ios if io not in dropped])
            for io in ios:
                place = slice(io.offset, io.offset + io.length)
                if io.op is Op.FLUSH:
                    assert io.done != (io in dropped)
                elif io in dropped:
                    if io.op is not Op.READ:
                        unsure[place] = b"\1" * io.length
                elif io.op is Op.READ:
                    known = [(a, b) for a, b, u in zip(io.owner[1], model[place], unsure[place], strict=True) if not u]
                    assert all(a == b for a, b in known)
                    assert io.moved == io.length
                else:
                    model[place] = io.owner[1] if io.op is Op.WRITE else bytes(io.length)
                    unsure[place] = bytes(io.length)
        found = read(disk, 0, len(model))
        assert all(a == b for a, b, u in zip(found, model, unsure, strict=True) if not u)


def _finish(disk: Medium, ios: list[Io]) -> None:
    """Reap until all these are done: what `perform` does, for what was submitted already."""
    marker = Io(Op.FLUSH)
    waiting = {io for io in ios if not io.done}
    while waiting:
        due = disk.deadline()
        waiting.difference_update(disk.reap(due if due is not None else 0))
    perform(disk, [marker])


def test_mem_can_be_read_only_and_says_so() -> None:
    disk = MemDisk("mem", 4096, read_only=True)

    faults = [do(disk, Io(op, 0, 1, [memoryview(b"x")])).fault for op in (Op.WRITE, Op.DISCARD, Op.ZERO, Op.FLUSH)]

    assert faults == [Fault.READ_ONLY, Fault.READ_ONLY, Fault.READ_ONLY, None]


def test_clip_and_joined() -> None:
    pieces = [memoryview(b"abc"), memoryview(b""), memoryview(b"defg")]

    assert [bytes(piece) for piece in clip(pieces, 2, 5)] == [b"c", b"de"]
    assert clip(pieces, 7, 9) == []
    assert joined([(1, True), (0, False), (2, True), (3, False)]) == [(3, True), (3, False)]
