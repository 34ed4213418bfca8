"""How long commands are: the same for the FIFO and for buffers, for any that are valid, in any order."""

from random import Random
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svga.driver import commands
from svga.stream import Refused, Stream
from svga.wire import COMMAND_MAX
from svga.wire_commands import BODY, WORDS, Cmd, Cmd3d, Remap
from tests.unit.svga.rig import Cap, Rig


def stream(seen: list[int], *, skip: bool = False) -> Stream:
    handlers = {number: lambda payload, number=number: seen.append(number) for number in (*Cmd, *Cmd3d)}
    return Stream(Cap(0xFFFF_FFFF), handlers, lambda *broken: None, extended=True, skip_unknown=skip)


def valid(rng: Random) -> bytes:
    """One command of any kind."""
    kind = rng.randrange(6)
    if kind == 0:
        number = rng.choice(list(WORDS))
        return commands.command(number, *(rng.getrandbits(32) for _ in range(WORDS[number])))
    if kind == 1:
        width, height, depths = rng.randrange(9), rng.randrange(9), (rng.choice((1, 32)), rng.choice((1, 16, 24, 32)))
        size = sum(height * -(-width * depth // 32) for depth in depths)
        return commands.command(Cmd.DEFINE_CURSOR, 0, 0, 0, width, height, *depths, tail=rng.randbytes(4 * size))
    if kind == 2:
        width, height = rng.randrange(9), rng.randrange(9)
        return commands.alpha_cursor(width, height, (0, 0), rng.randbytes(4 * width * height))
    if kind == 3:
        size = rng.randrange(60)
        return commands.command(Cmd.ESCAPE, rng.getrandbits(32), size, tail=rng.randbytes(size + 3 & ~3))
    if kind == 4:
        pages, flags = rng.randrange(5), rng.randrange(8)
        each = 8 if flags & Remap.PPN64 else 4
        size = 8 if flags & Remap.VIA_GMR else each if flags & Remap.SINGLE_PPN else each * pages
        return commands.command(Cmd.REMAP_GMR2, 1, flags, 0, pages, tail=rng.randbytes(size))
    if rng.randrange(2):
        return commands.screen(0, 8, 8, size=rng.choice((28, 40, 44, 60)))
    longer = rng.choice(list(Cmd3d))
    size = (BODY[longer].size + 3 & ~3) + 4 * rng.randrange(9)
    return commands.words(longer, size) + rng.randbytes(size)


@pytest.mark.slow
@pytest.mark.rule("SVG-V-032")
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32), cut=st.integers(0, 400))
def test_valid_streams_are_never_lost(seed: int, cut: int) -> None:
    """Any number of commands is taken one by one; of one that is cut off nothing is done."""
    rng, seen = Random(seed), []  # type: ignore[var-annotated]
    lot = [valid(rng) for _ in range(20)]
    data, at, ends = memoryview(b"".join(lot)), 0, [0]
    for each in lot:
        ends.append(ends[-1] + len(each))
    cut = min(cut & ~3, len(data))
    decoder = stream(seen)

    while length := decoder.step(data[:cut], at):
        at += length

    assert at == max(end for end in ends if end <= cut)
    assert seen == [int.from_bytes(each[:4], "little") for each in lot[: ends.index(at)]]


LOST = {
    "no id": commands.command(0),
    "withdrawn": commands.command(9, *range(20)),
    "an escape of 4 GiB": commands.command(Cmd.ESCAPE, 0, 0xFFFF_FFFF),
    "a cursor of 4 G pixels": commands.command(Cmd.DEFINE_ALPHA_CURSOR, 0, 0, 0, 0xFFFF_FFFF, 1),
    "a cursor of depth 2^32 - 1": commands.command(Cmd.DEFINE_CURSOR, 0, 0, 0, 1024, 1024, 0xFFFF_FFFF, 1),
    "a screen of 4 bytes less": commands.command(Cmd.DEFINE_SCREEN, 0),
    "a screen of 4 GiB": commands.command(Cmd.DEFINE_SCREEN, 0xFFFF_FFFC),
    "a remap of 4 G pages": commands.command(Cmd.REMAP_GMR2, 1, 0, 0, 0xFFFF_FFFF),
    "a body of 4 GiB": commands.words(Cmd3d.NOP, 0xFFFF_FFFC),
    "a body of no whole words": commands.words(Cmd3d.NOP, 2),
}


@pytest.mark.parametrize("what", LOST)
def test_SVG_D_012_049_lengths_nobody_can_tell(what: str) -> None:
    with pytest.raises(Refused) as refused:
        stream([]).step(memoryview(LOST[what] + bytes(64)), 0)

    assert refused.value.length == 0


def test_the_longest_command_there_can_be() -> None:
    seen: list[int] = []
    size = COMMAND_MAX - 16
    data = commands.command(Cmd.ESCAPE, 0, size, tail=bytes(size))

    assert stream(seen).step(memoryview(data), 0) == len(data)
    assert seen == [Cmd.ESCAPE]


@pytest.mark.parametrize("front", ["svga2", "svga3"])
def test_SVG_D_011_commands_without_their_capability(front: str) -> None:
    rig = Rig("legacy", front).up()
    rig.driver.send(commands.command(Cmd.ANNOTATION_FILL, 0) + commands.fence(1))

    assert rig.seen("SVG-D-011") == [("command", Cmd.ANNOTATION_FILL)]


def test_SVG_D_011_drawing_in_three_dimensions_is_refused_and_skipped(legacy: Rig) -> None:
    """Its length is known: what comes behind it is done."""
    legacy.driver.send(pack("<2I12x", 1060, 12) + commands.fence(4))

    assert legacy.device._fences.last == 4
    assert legacy.seen("SVG-D-011") == [("command 1060", 1060)]


def test_SVG_D_012_NOP_ERROR_is_an_error(legacy: Rig) -> None:
    legacy.driver.send(commands.command(Cmd.NOP_ERROR) + commands.fence(1))

    assert legacy.device._fences.last == 1
    assert [place for place, _ in legacy.seen("SVG-D-012")] == ["command 46: NOP_ERROR"]
