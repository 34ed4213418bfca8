"""MOBs by every page table there is, and the object tables."""

from struct import pack

import pytest

from svga.driver import commands
from svga.driver.driver import ENTRIES
from svga.mobs import MOB_SIZE_MAX
from svga.wire import PAGE
from svga.wire_commands import BODY, OTABLE_ENTRY, CbStatus, Cmd3d, MobFormat, Otable
from tests.unit.svga.rig import Rig, noise


@pytest.fixture
def rig() -> Rig:
    """Tables of 64 entries of each kind, nothing in them."""
    rig = Rig("screen-targets", "svga3").started()
    rig.driver.set_tables()
    return rig


def table(rig: Rig, ppns: list[int], width: int, levels: int) -> int:
    """Page tables over `ppns`; the PPN of the uppermost."""
    each = PAGE // width
    while levels:
        memory = rig.driver.alloc(-(-len(ppns) // each) * PAGE)
        memory.view[: width * len(ppns)] = pack(f"<{len(ppns)}{'Q' if width == 8 else 'I'}", *ppns)
        ppns = [memory.address // PAGE + n for n in range(-(-len(ppns) // each))]
        levels -= 1
    return ppns[0]


FORMS = {
    MobFormat.PT_0: (4, 0, 1),
    MobFormat.PT_1: (4, 1, 20),
    MobFormat.PT_2: (4, 2, 20),
    MobFormat.PT64_0: (8, 0, 1),
    MobFormat.PT64_1: (8, 1, 20),
    MobFormat.PT64_2: (8, 2, 600),
}


@pytest.mark.parametrize("form", FORMS)
def test_SVG_V_053_page_tables_lead_to_the_same_pages(rig: Rig, form: MobFormat) -> None:
    """Pages in reverse order; the last one is used in part."""
    width, levels, pages = FORMS[form]
    memory, size = rig.driver.alloc(pages * PAGE), pages * PAGE - 100
    first = memory.address // PAGE
    ppns = list(range(first, first + pages))[::-1]
    for n, ppn in enumerate(ppns):
        at = (ppn - first) * PAGE
        memory.view[at : at + 4] = n.to_bytes(4, "little")

    rig.driver.send(commands.mob(7, form, table(rig, ppns, width, levels), size))

    data = bytes(rig.device.mobs.get(7).read(0, size))
    assert [int.from_bytes(data[at : at + 4], "little") for at in range(0, size, PAGE)] == list(range(pages))
    assert len(data) == size


def test_SVG_V_053_a_range_is_its_own_table(rig: Rig) -> None:
    memory = rig.driver.alloc(4 * PAGE)
    memory.view[:] = noise(PAGE // 4, 4)
    first = memory.address // PAGE
    rig.driver.send(commands.mob(1, MobFormat.RANGE, first, 4 * PAGE))
    rig.driver.send(commands.body(Cmd3d.DEFINE_GB_MOB, 2, MobFormat.RANGE, first, PAGE))
    rig.driver.send(commands.mob(3, MobFormat.EMPTY, 0, PAGE))

    assert bytes(rig.device.mobs.get(1).read(0, 4 * PAGE)) == noise(PAGE // 4, 4)
    assert bytes(rig.device.mobs.get(2).read(0, PAGE)) == noise(PAGE // 4, 4)[:PAGE]
    assert len(rig.device.mobs) == 3


def test_a_page_table_changed_later_is_not_looked_at(rig: Rig) -> None:
    memory = rig.driver.alloc(PAGE)
    memory.view[:4] = b"mine"
    where = table(rig, [memory.address // PAGE], 8, 1)
    rig.driver.send(commands.mob(1, MobFormat.PT64_1, where, PAGE))
    rig.device.mem.write(where * PAGE, b"\xff" * 8)

    assert bytes(rig.device.mobs.get(1).read(0, 4)) == b"mine"


WRONG = {
    "a format there is not": (1, 9, 0x100, PAGE),
    "the format of no table": (1, MobFormat.INVALID, 0x100, PAGE),
    "more than a page without a table": (1, MobFormat.PT64_0, 0x100, PAGE + 1),
    "more than a table holds": (1, MobFormat.PT64_1, 0x100, 513 * PAGE),
    "larger than any": (1, MobFormat.RANGE, 0x100, MOB_SIZE_MAX + 1),
    "all there can be": (1, MobFormat.PT_2, 0x100, 0xFFFF_FFFF),
}


@pytest.mark.parametrize("what", WRONG)
def test_SVG_D_052_MOBs_that_cannot_be(rig: Rig, what: str) -> None:
    status = rig.driver.submit(commands.mob(*WRONG[what]))

    assert status is CbStatus.COMMAND_ERROR
    assert len(rig.seen("SVG-D-052")) == 1
    assert len(rig.device.mobs) == 0


def test_MEM_01_a_page_table_nobody_can_reach(rig: Rig) -> None:
    assert rig.driver.submit(commands.mob(1, MobFormat.PT64_1, 1 << 40, PAGE)) is CbStatus.COMMAND_ERROR
    assert len(rig.seen("MEM-01")) == 1


def test_a_page_table_that_leads_to_itself_ends(rig: Rig) -> None:
    memory = rig.driver.alloc(PAGE)
    own = memory.address // PAGE
    memory.view[:] = pack("<512Q", *[own] * 512)

    rig.driver.send(commands.mob(1, MobFormat.PT64_2, own, 600 * PAGE))

    assert rig.device.mobs.get(1).size == 600 * PAGE


@pytest.mark.parametrize("number", [ENTRIES, 0xFFFF_FFFF])
def test_SVG_V_052_SVG_D_050_ids_beyond_the_table(rig: Rig, number: int) -> None:
    assert rig.driver.submit(commands.mob(number, MobFormat.RANGE, 0x100, PAGE)) is CbStatus.COMMAND_ERROR
    assert [value for _, value in rig.seen("SVG-D-050")] == [number]


def test_SVG_D_050_no_table_no_object() -> None:
    rig = Rig("screen-targets", "svga3").started()

    assert rig.driver.submit(commands.mob(0, MobFormat.RANGE, 0x100, PAGE)) is CbStatus.COMMAND_ERROR
    assert rig.seen("SVG-D-050") == [("command 1135: MOB id", 0)]


def test_SVG_V_052_tables_grow_and_go(rig: Rig) -> None:
    entry = OTABLE_ENTRY[Otable.MOB]
    rig.driver.send(commands.mob(3, MobFormat.RANGE, 0x100, PAGE))
    memory = rig.driver.alloc(100 * entry)
    body = commands.body(
        Cmd3d.GROW_OTABLE, Otable.MOB, memory.address // PAGE, 100 * entry, 64 * entry, MobFormat.RANGE
    )
    rig.driver.send(body + commands.mob(99, MobFormat.RANGE, 0x101, PAGE))
    assert len(rig.device.mobs) == 2
    assert list(rig.device.rules) == []

    rig.driver.send(commands.otable(Otable.MOB, 0, 0, MobFormat.INVALID))
    assert len(rig.device.mobs) == 0
    assert rig.seen("SVG-D-042") == [("table MOB", 2)]
    assert rig.driver.submit(commands.mob(1, MobFormat.RANGE, 0x100, PAGE)) is CbStatus.COMMAND_ERROR


TABLES = {
    "a kind there is not": (6, 0x100, 64, 0, MobFormat.RANGE),
    "larger than any": (0, 0x100, (16 << 20) + 1, 0, MobFormat.RANGE),
    "all there can be": (0, 0x100, 0xFFFF_FFFF, 0xFFFF_FFFF, MobFormat.PT64_2),
    "more valid than there is": (0, 0x100, 64, 65, MobFormat.RANGE),
}


@pytest.mark.parametrize("what", TABLES)
def test_SVG_D_050_tables_that_cannot_be(what: str) -> None:
    rig = Rig("screen-targets", "svga3").started()

    assert rig.driver.submit(commands.body(Cmd3d.SET_OTABLE_BASE64, *TABLES[what])) is CbStatus.COMMAND_ERROR
    assert len(rig.seen("SVG-D-050")) == 1


def test_SVG_D_050_set_and_defined_twice(rig: Rig) -> None:
    rig.driver.set_tables()
    rig.driver.send(commands.mob(1, MobFormat.RANGE, 0x100, PAGE) * 2)

    assert ("MOB set again", 1024) in rig.seen("SVG-D-050")
    assert ("MOB defined again", 1) in rig.seen("SVG-D-050")


def test_the_table_is_written_when_it_is_asked_for(rig: Rig) -> None:
    memory = rig.driver._memory[1]
    rig.driver.send(commands.mob(3, MobFormat.RANGE, 0x123, PAGE))
    before = bytes(memory.view[48:64])
    rig.driver.send(commands.body(Cmd3d.READBACK_OTABLE, Otable.MOB))

    assert (before, bytes(memory.view[48:64])) == (bytes(16), pack("<IIQ", MobFormat.RANGE, PAGE, 0x123))


def test_a_fence_in_memory(rig: Rig) -> None:
    memory = rig.driver.alloc(PAGE)
    rig.driver.send(commands.mob(3, MobFormat.RANGE, memory.address // PAGE, PAGE))
    rig.driver.send(commands.body(Cmd3d.GB_MOB_FENCE, 0xABCD, 3, 20))

    assert bytes(memory.view[16:28]) == pack("<3I", 0, 0xABCD, 0)
    for offset in (2, PAGE, 0xFFFF_FFFC):
        assert rig.driver.submit(commands.body(Cmd3d.GB_MOB_FENCE, 1, 3, offset)) is CbStatus.COMMAND_ERROR
        rig.driver.steer(1, 1, 0)  # type: ignore[arg-type]


def test_all_MOBs_together_have_a_limit(rig: Rig) -> None:
    for n in range(5):
        rig.driver.submit(commands.mob(n, MobFormat.RANGE, 0x100, MOB_SIZE_MAX))

    assert len(rig.device.mobs) == 4
    assert [place for place, _ in rig.seen("SVG-D-052")] == ["command 1135: memory of all MOBs"]


def test_bodies_too_short_are_refused(rig: Rig) -> None:
    """Every command with a body, with one word too few."""
    for number, layout in BODY.items():
        if layout.size:
            rig.driver.start()
            short = layout.size - 4 & ~3
            assert rig.driver.submit(commands.words(number, short) + bytes(short)) is CbStatus.COMMAND_ERROR, number
    assert {value for _, value in rig.seen("SVG-D-049")} != set()
