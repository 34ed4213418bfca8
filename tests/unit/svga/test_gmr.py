"""Guest memory regions of both versions."""

from struct import pack

import pytest

from pvdev.pci import COMMAND, CONFIG_REGION
from svga.driver import commands
from svga.gmr import MAX_IDS, MAX_PAGES
from svga.planes import PPN_BITS
from svga.wire import PAGE, Register
from svga.wire_commands import Cmd, Remap
from tests.unit.svga.rig import H, Rig, W, noise

R = Register
BASE = 0x10_0000 // PAGE


@pytest.fixture
def rig() -> Rig:
    return Rig("screen-objects").started()


def scattered(rig: Rig, pages: int) -> tuple[list[int], bytes]:
    """Pages in no order, each filled with its own bytes: their PPNs, and all the bytes in that order."""
    memory = rig.driver.alloc(2 * pages * PAGE)
    picture, ppns = noise(PAGE // 4, pages), []
    for n in range(pages):
        at = 2 * (pages - 1 - n) * PAGE
        memory.view[at : at + PAGE] = picture[n * PAGE : (n + 1) * PAGE]
        ppns.append((memory.address + at) // PAGE)
    return ppns, picture


def content(rig: Rig, gmr: int, length: int) -> bytes:
    return bytes(rig.device.gmrs.memory(gmr).read(0, length))


# -- version 1 ---------------------------------------------------------------------------------------------------------


def describe(rig: Rig, *pages: list[tuple[int, int]]) -> int:
    """Descriptor pages, the second after the first and so on where an entry says CHAIN; the first one's PPN."""
    memory = rig.driver.alloc(PAGE * len(pages))
    first = memory.address // PAGE
    for n, entries in enumerate(pages):
        data = b"".join(pack("<II", first + n + 1 if ppn == CHAIN else ppn, count) for ppn, count in entries)
        memory.view[n * PAGE : n * PAGE + len(data)] = data
    return first


CHAIN = -1


def test_SVG_V_040_descriptors_are_read_at_once(rig: Rig) -> None:
    ppns, picture = scattered(rig, 6)
    first = describe(rig, [(ppns[0], 1), (ppns[1], 1), (CHAIN, 0)], [(ppn, 1) for ppn in ppns[2:]])
    rig.driver.set(R.GMR_ID, 5)
    rig.driver.set(R.GMR_DESCRIPTOR, first)
    rig.device.mem.write(first * PAGE, bytes(2 * PAGE))

    assert content(rig, 5, 6 * PAGE) == picture
    assert list(rig.device.rules) == []
    rig.driver.set(R.GMR_DESCRIPTOR, 0)
    assert len(rig.device.gmrs) == 0


@pytest.mark.parametrize("what", ["loop", "outside", "no end", "too many pages", "beyond memory"])
def test_SVG_D_038_descriptors_that_cannot_be(rig: Rig, what: str) -> None:
    memory = rig.driver.alloc(PAGE)
    own = memory.address // PAGE
    first, entries = {
        "loop": (own, [(BASE, 1), (own, 0)]),
        "outside": (1 << 30, []),
        "no end": (own, [(BASE, 1)] * 512),
        "too many pages": (own, [(BASE, MAX_PAGES + 1)]),
        "beyond memory": (own, [(1 << 20, 1)]),
    }[what]
    data = b"".join(pack("<II", *entry) for entry in entries)
    memory.view[: len(data)] = data

    rig.driver.set(R.GMR_DESCRIPTOR, first)

    assert len(rig.seen("SVG-D-038")) == 1
    assert len(rig.device.gmrs) == 0


def test_SVG_D_037_an_id_beyond_the_last(rig: Rig) -> None:
    for number in (MAX_IDS, 0xFFFF_FFFF, 0xFFFF_FFFE):
        rig.driver.set(R.GMR_ID, number)
        rig.driver.set(R.GMR_DESCRIPTOR, describe(rig, [(BASE, 1)]))

    assert [value for _, value in rig.seen("SVG-D-037")] == [0xFFFF_FFFE]
    assert len(rig.device.gmrs) == 0


# -- GMR2 --------------------------------------------------------------------------------------------------------------


def remap(gmr: int, flags: int, first: int, ppns: list[int], *, pages: int | None = None) -> bytes:
    count = len(ppns) if pages is None else pages
    tail = b"".join(pack("<Q" if flags & Remap.PPN64 else "<I", ppn) for ppn in ppns)
    return commands.command(Cmd.REMAP_GMR2, gmr, flags, first, count, tail=tail)


@pytest.mark.parametrize("flags", [0, Remap.PPN64])
def test_SVG_V_038_pages_in_windows(rig: Rig, flags: int) -> None:
    ppns, picture = scattered(rig, 8)
    rig.driver.send(
        commands.command(Cmd.DEFINE_GMR2, 3, 8) + remap(3, flags, 4, ppns[4:]) + remap(3, flags, 0, ppns[:4])
    )
    before = content(rig, 3, 8 * PAGE)
    rig.driver.send(remap(3, flags, 2, ppns[6:]))
    after = content(rig, 3, 8 * PAGE)

    assert before == picture
    assert after == picture[: 2 * PAGE] + picture[6 * PAGE :] + picture[4 * PAGE :]
    assert list(rig.device.rules) == []


def test_SVG_V_038_one_page_for_a_run(rig: Rig) -> None:
    memory = rig.driver.alloc(4 * PAGE)
    memory.view[:] = noise(PAGE // 4, 4)
    one = Remap.SINGLE_PPN | Remap.PPN64
    rig.driver.send(commands.command(Cmd.DEFINE_GMR2, 3, 4) + remap(3, one, 0, [memory.address // PAGE], pages=4))

    assert content(rig, 3, 4 * PAGE) == noise(PAGE // 4, 4)


def test_SVG_V_038_a_list_in_another_region(rig: Rig) -> None:
    ppns, picture = scattered(rig, 3)
    lists = rig.driver.alloc(PAGE)
    lists.view[16:40] = pack("<3Q", *ppns)
    via = Remap.VIA_GMR | Remap.PPN64
    rig.driver.send(
        commands.command(Cmd.DEFINE_GMR2, 1, 1)
        + remap(1, 0, 0, [lists.address // PAGE])
        + commands.command(Cmd.DEFINE_GMR2, 2, 3)
        + commands.command(Cmd.REMAP_GMR2, 2, via, 0, 3, tail=pack("<2I", 1, 16))
    )

    assert content(rig, 2, 3 * PAGE) == picture


def test_SVG_V_039_bits_above_a_page_number_count_for_nothing(rig: Rig) -> None:
    ppns, picture = scattered(rig, 2)
    junk = [ppn | 0xABC << PPN_BITS for ppn in ppns]
    rig.driver.send(commands.command(Cmd.DEFINE_GMR2, 3, 2) + remap(3, Remap.PPN64, 0, junk))

    assert content(rig, 3, 2 * PAGE) == picture


@pytest.mark.parametrize("ppn", [0, 1 << 31, (1 << 44) - 1])
def test_SVG_V_039_SVG_D_040_pages_beyond_memory(rig: Rig, ppn: int) -> None:
    rig.driver.send(commands.command(Cmd.DEFINE_GMR2, 3, 1) + remap(3, Remap.PPN64, 0, [ppn]))

    assert rig.seen("SVG-D-040") == [("command 42: PPN", ppn)]


def test_SVG_D_039_040_windows_that_cannot_be(rig: Rig) -> None:
    page = rig.driver.alloc(PAGE).address // PAGE
    rig.driver.send(remap(4, 0, 0, [page]))
    rig.driver.send(commands.command(Cmd.DEFINE_GMR2, 3, 2))
    rig.driver.send(commands.command(Cmd.REMAP_GMR2, 3, 8, 0, 0))
    rig.driver.send(remap(3, 0, 2, [page]) + remap(3, 0, 0xFFFF_FFFF, [page]))

    assert [value for _, value in rig.seen("SVG-D-040")] == [8]
    assert rig.seen("SVG-D-039") == [("command 42: REMAP_GMR2 window", 0x1_0000_0000)]


def test_SVG_V_038_a_page_nobody_mapped_is_no_memory(screens: Rig) -> None:
    """The blit is refused; nothing of the screen changes."""
    screens.driver.show(noise(), 0, 0, W, H)
    screens.driver.send(commands.command(Cmd.DEFINE_GMR2, 1, 3) + commands.blit_to_screen(0, 0, 0, 0, W, H))

    assert screens.frame() == noise()
    assert [place for place, _ in screens.seen("SVG-D-040")] == ["command 37: a page that was never mapped"]


def test_SVG_D_037_regions_have_limits(rig: Rig) -> None:
    for n in range(MAX_IDS):
        rig.driver.send(commands.command(Cmd.DEFINE_GMR2, n, MAX_PAGES // 2 + 1))
    rig.driver.send(commands.command(Cmd.DEFINE_GMR2, 0, 0xFFFF_FFFF))

    assert len(rig.device.gmrs) == 1
    assert [place for place, _ in rig.seen("SVG-D-037")] == ["command 41: pages of all GMRs"]


def test_SVG_D_037_a_region_nobody_defined(screens: Rig) -> None:
    screens.driver.send(commands.gmrfb(9, 0, 256) + commands.blit_to_screen(0, 0, 0, 0, 8, 8))

    assert screens.seen("SVG-D-037") == [("command 37: no such GMR", 9)]


def test_SVG_D_060_without_bus_mastering(screens: Rig) -> None:
    screens.port.write(CONFIG_REGION, COMMAND, 3, 2)
    screens.driver.send(commands.blit_to_screen(0, 0, 0, 0, 8, 8))

    assert [place for place, _ in screens.seen("SVG-D-060")] == ["GMR", "command 37: GMR"]
    assert not screens.damage()


def test_SVG_V_072_memory_that_is_unmapped_under_a_region(screens: Rig) -> None:
    screens.device.mem.unmap(0x10_0000, 4 << 20)
    screens.driver.send(commands.blit_to_screen(0, 0, 0, 0, W, H) + commands.fence(3))

    assert [place for place, _ in screens.seen("MEM-01")] == ["command 37: nothing is mapped at this address"]
    assert screens.device._fences.last == 3
