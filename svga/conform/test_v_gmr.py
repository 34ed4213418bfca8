"""SVGA device rules 038 to 040: guest memory regions of both versions."""

from struct import pack

import pytest

from svga.conform.rig import Rig, noise
from svga.driver import commands
from svga.driver.driver import GMR, WAYS
from svga.wire import PAGE, Cap, Register
from svga.wire_commands import Cmd, Remap

pytestmark = pytest.mark.needs(Cap.SCREEN_OBJECT_2, Cap.GMR2)
needs = pytest.mark.needs
R = Register
SIDE, PAGES = 64, 4  # a picture of four pages
OTHER = 5  # another region


def scattered(rig: Rig, pages: int = PAGES, seed: int = 1) -> tuple[list[int], bytes]:
    """Pages in no order, each with bytes of its own: their PPNs, and the bytes in that order."""
    memory = rig.driver.alloc(2 * pages * PAGE)
    picture, ppns = noise(PAGE // 4, pages, seed), []
    for n in range(pages):
        at = 2 * (pages - 1 - n) * PAGE
        memory.view[at : at + PAGE] = picture[n * PAGE : (n + 1) * PAGE]
        ppns.append((memory.address + at) // PAGE)
    return ppns, picture


def define(gmr: int, pages: int) -> bytes:
    return commands.command(Cmd.DEFINE_GMR2, gmr, pages)


def remap(gmr: int, flags: int, first: int, ppns: list[int], *, pages: int | None = None) -> bytes:
    count = len(ppns) if pages is None else pages
    tail = b"".join(pack("<Q" if flags & Remap.PPN64 else "<I", ppn) for ppn in ppns)
    return commands.command(Cmd.REMAP_GMR2, gmr, flags, first, count, tail=tail)


@pytest.fixture
def shown(rig: Rig) -> Rig:
    """A screen of four pages, and the driver's own region to read it back by."""
    rig.up(WAYS[1], size=(SIDE, SIDE))
    return rig


def content(rig: Rig, gmr: int = OTHER, *, pitch: int = 4 * SIDE) -> bytes:
    """What is in a region: blitted to the screen, and from there into the driver's own."""
    driver = rig.driver
    assert driver.pixels is not None
    driver.pixels.view[:] = bytes(len(driver.pixels.view))
    driver.send(
        commands.gmrfb(gmr, 0, pitch)
        + commands.blit_to_screen(0, 0, 0, 0, SIDE, SIDE)
        + commands.gmrfb(GMR, 0, 4 * SIDE)
        + commands.blit_from_screen(0, 0, 0, 0, SIDE, SIDE)
    )
    return bytes(driver.pixels.view[: 4 * SIDE * SIDE])


@pytest.mark.parametrize("flags", [0, Remap.PPN64])
def test_SVG_V_038_pages_in_windows(shown: Rig, flags: int) -> None:
    """Part by part, in any order; a page that is mapped anew is another from then on."""
    ppns, picture = scattered(shown)
    shown.driver.send(define(OTHER, PAGES) + remap(OTHER, flags, 2, ppns[2:]) + remap(OTHER, flags, 0, ppns[:2]))
    first = content(shown)
    shown.driver.send(remap(OTHER, flags, 1, [ppns[3]]))

    assert first == picture
    assert content(shown) == picture[:PAGE] + picture[3 * PAGE :] + picture[2 * PAGE :]


@pytest.mark.parametrize("wide", [0, Remap.PPN64])
def test_SVG_V_038_one_page_number_for_a_run(shown: Rig, wide: int) -> None:
    memory, picture = shown.driver.alloc(PAGES * PAGE), noise(PAGE // 4, PAGES, 7)
    memory.view[:] = picture
    one = Remap.SINGLE_PPN | wide
    shown.driver.send(define(OTHER, PAGES) + remap(OTHER, one, 0, [memory.address // PAGE], pages=PAGES))

    assert content(shown) == picture


def test_SVG_V_038_a_list_in_another_region(shown: Rig) -> None:
    ppns, picture = scattered(shown)
    lists = shown.driver.alloc(PAGE)
    lists.view[16 : 16 + 8 * PAGES] = pack(f"<{PAGES}Q", *ppns)
    via = Remap.VIA_GMR | Remap.PPN64
    shown.driver.send(
        define(6, 1)
        + remap(6, 0, 0, [lists.address // PAGE])
        + define(OTHER, PAGES)
        + commands.command(Cmd.REMAP_GMR2, OTHER, via, 0, PAGES, tail=pack("<2I", 6, 16))
    )

    assert content(shown) == picture


def test_SVG_V_038_freed_and_defined_again(shown: Rig) -> None:
    """Of another size, with other pages."""
    ppns, picture = scattered(shown)
    shown.driver.send(define(OTHER, 1) + remap(OTHER, Remap.PPN64, 0, ppns[3:]) + define(OTHER, 0))
    shown.driver.send(define(OTHER, PAGES) + remap(OTHER, Remap.PPN64, 0, ppns))

    assert content(shown) == picture


@pytest.mark.parametrize("mapped", [0, 3])
def test_SVG_V_038_pages_nobody_mapped(shown: Rig, mapped: int) -> None:
    """Whatever a blit then shows, no other memory is read, and the next region is fine."""
    ppns, picture = scattered(shown)
    data = define(OTHER, PAGES)
    data += remap(OTHER, Remap.PPN64, 0, ppns[:mapped]) if mapped else b""
    shown.driver.send(data)
    tell(shown, commands.gmrfb(OTHER, 0, 4 * SIDE) + commands.blit_to_screen(0, 0, 0, 0, SIDE, SIDE))
    shown.driver.send(remap(OTHER, Remap.PPN64, mapped, ppns[mapped:]))

    assert content(shown) == picture


def tell(rig: Rig, data: bytes) -> None:
    """Commands that may be refused; afterwards the display takes others."""
    if rig.driver.buffers:
        rig.driver.submit(data)
        rig.driver.start()
    else:
        rig.driver.send(data)


WRONG = {
    "a window beyond its size": remap(OTHER, 0, PAGES, [1]),
    "a window that wraps": remap(OTHER, 0, 0xFFFF_FFFF, [1]),
    "a region there is not": remap(60, 0, 0, [1]),
    "an id beyond all": define(0xFFFF_FFFF, 1),
    "more pages than there are": define(7, 0xFFFF_FFFF),
    "a list by a region there is not": commands.command(Cmd.REMAP_GMR2, OTHER, Remap.VIA_GMR, 0, 1, 61, 0),
}


@pytest.mark.parametrize("what", WRONG)
def test_SVG_V_038_what_cannot_be_changes_nothing(shown: Rig, what: str) -> None:
    ppns, picture = scattered(shown)
    shown.driver.send(define(OTHER, PAGES) + remap(OTHER, Remap.PPN64, 0, ppns))
    tell(shown, WRONG[what])

    assert content(shown) == picture


def test_SVG_V_039_bits_above_a_page_number_count_for_nothing(shown: Rig) -> None:
    """Drivers leave them there."""
    ppns, picture = scattered(shown)
    junk = [ppn | 0xABC0_0000_0000_0000 for ppn in ppns]
    shown.driver.send(define(OTHER, PAGES) + remap(OTHER, Remap.PPN64, 0, junk))

    assert content(shown) == picture


@pytest.mark.parametrize("ppn", [1 << 31, (1 << 40) - 1])
def test_SVG_V_039_pages_beyond_memory(shown: Rig, ppn: int) -> None:
    """Nothing is read there; the display goes on."""
    ppns, picture = scattered(shown)
    tell(shown, define(OTHER, PAGES) + remap(OTHER, Remap.PPN64, 0, [ppn] * PAGES))
    tell(shown, commands.gmrfb(OTHER, 0, 4 * SIDE) + commands.blit_to_screen(0, 0, 0, 0, SIDE, SIDE))
    shown.driver.send(define(6, PAGES) + remap(6, Remap.PPN64, 0, ppns))

    assert content(shown, 6) == picture


@needs(Cap.GMR)
@pytest.mark.parametrize("chained", [False, True])
def test_SVG_V_040_descriptors_are_read_at_once(shown: Rig, chained: bool) -> None:
    """Their pages are the driver's again when the write to GMR_DESCRIPTOR is done."""
    driver = shown.driver
    ppns, picture = scattered(shown)
    lists = driver.alloc(2 * PAGE)
    first = lists.address // PAGE
    rows = [pack("<II", ppn, 1) for ppn in ppns]
    if chained:
        lists.view[:24] = rows[0] + rows[1] + pack("<II", first + 1, 0)
        lists.view[PAGE : PAGE + 16] = rows[2] + rows[3]
    else:
        lists.view[: 8 * PAGES] = b"".join(rows)
    driver.set(R.GMR_ID, OTHER)
    driver.set(R.GMR_DESCRIPTOR, first)
    lists.view[:] = b"\xff" * (2 * PAGE)

    assert content(shown) == picture
    driver.set(R.GMR_ID, OTHER)
    driver.set(R.GMR_DESCRIPTOR, 0)
    shown.driver.send(define(OTHER, PAGES) + remap(OTHER, Remap.PPN64, 0, ppns))
    assert content(shown) == picture


@needs(Cap.GMR)
@pytest.mark.parametrize("what", ["a chain to itself", "no end", "beyond memory", "more than all"])
def test_SVG_V_040_descriptors_that_cannot_be(shown: Rig, what: str) -> None:
    driver = shown.driver
    ppns, picture = scattered(shown)
    lists = driver.alloc(PAGE)
    own = lists.address // PAGE
    entries = {
        "a chain to itself": [(ppns[0], 1), (own, 0)],
        "no end": [(ppns[0], 1)] * 512,
        "beyond memory": [(1 << 30, 1)],
        "more than all": [(ppns[0], 0x7FFF_FFFF)],
    }[what]
    data = b"".join(pack("<II", *entry) for entry in entries)
    lists.view[: len(data)] = data
    driver.set(R.GMR_ID, 9)
    driver.set(R.GMR_DESCRIPTOR, own)
    driver.send(define(OTHER, PAGES) + remap(OTHER, Remap.PPN64, 0, ppns))

    assert content(shown) == picture
