"""SVGA device rules 013, 071 and 072: guest memory is touched where that was asked for; limits; memory that goes."""

import pytest

from pvdev.pci_driver import set_master
from svga.conform.rig import Buffers, Can, H, Part, Rig, W, noise
from svga.driver import commands
from svga.driver.driver import WAYS
from svga.wire import PAGE, Cap, FifoCap, Register
from svga.wire_commands import CbStatus, Cmd, Cmd3d, Dc, Format, MobFormat, Remap

R = Register
needs = pytest.mark.needs
ELSEWHERE = 1 << 31  # an address where no memory is


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(WAYS[0]),
        pytest.param(WAYS[1], marks=needs(Cap.SCREEN_OBJECT_2, Cap.GMR2)),
        pytest.param(WAYS[2], marks=needs(Cap.GBOBJECTS)),
    ],
)
def test_SVG_V_013_pictures_leave_the_drivers_memory_alone(rig: Rig, way: str) -> None:
    """What is lent is read; statuses of command buffers are all that is written."""
    driver = rig.up(way)
    driver.draw(noise(), 0, 0, W, H)
    driver.tell(0, 0, 1, 1)
    before = rig.memory()
    driver.tell(0, 0, W, H)
    after = rig.memory()

    changed = [n for n in range(0, len(before), PAGE) if before[n : n + PAGE] != after[n : n + PAGE]]
    assert len(changed) <= (2 if driver.buffers else 0)  # the driver's own header and commands


@needs(Cap.COMMAND_BUFFERS)
def test_SVG_V_013_a_header_gets_its_status_and_no_more(rig: Rig) -> None:
    rig.start(buffers=True)
    lot = Buffers(rig)
    n = lot.put(commands.command(Cmd.NOP) * 3, id=0x1234_5678_9ABC_DEF0)
    before = rig.memory()
    lot.submit(n)
    assert rig.wait(lambda: lot.status(n) is not CbStatus.NONE)
    after = rig.memory()

    pages = [at for at in range(0, len(before), PAGE) if before[at : at + PAGE] != after[at : at + PAGE]]
    changed = [at for page in pages for at in range(page, page + PAGE) if before[at] != after[at]]
    assert len(changed) == 1
    assert after[changed[0]] == CbStatus.COMPLETED


@needs(Cap.COMMAND_BUFFERS)
def test_SVG_V_013_without_bus_mastering_nothing_is_touched(rig: Rig) -> None:
    rig.start(buffers=True)
    lot = Buffers(rig)
    n = lot.put(commands.command(Cmd.NOP))
    set_master(rig.port, False)
    before = rig.memory()
    lot.submit(n)

    assert rig.memory() == before
    set_master(rig.port, True)
    assert lot.run(commands.command(Cmd.NOP))[0] is CbStatus.COMPLETED


@needs(Part.FIFO, Cap.SCREEN_OBJECT_2, Cap.GMR2)
def test_SVG_V_013_without_bus_mastering_no_region_is_read(rig: Rig) -> None:
    """Nor written."""
    driver, picture = rig.up(WAYS[1], buffers=False), noise()
    driver.show(picture, 0, 0, W, H)
    driver.draw(noise(seed=2), 0, 0, W, H)
    set_master(rig.port, False)
    before = rig.memory()
    driver.send(commands.blit_to_screen(0, 0, 0, 0, W, H) + commands.blit_from_screen(0, 0, 0, 0, W, H))

    assert rig.framebuffer() == picture
    assert rig.memory() == before


# -- limits ------------------------------------------------------------------------------------------------------------


@needs(Cap.GBOBJECTS, Cap.COMMAND_BUFFERS)
def test_SVG_V_071_surfaces_nobody_fills(rig: Rig) -> None:
    """Fifty of the largest: whatever comes of them, the display goes on."""
    driver = rig.up(WAYS[2])
    for number in range(10, 60):
        driver.submit(commands.surface(number, Format.X8R8G8B8, 8192, 8192))
        driver.steer(Dc.START_STOP_CONTEXT, 1, 0)

    assert driver.submit(commands.command(Cmd.NOP)) is CbStatus.COMPLETED
    rig.alive()


@needs(Cap.GBOBJECTS, Cap.COMMAND_BUFFERS, Can.INSIDE)
def test_SVG_V_071_memory_is_taken_when_it_is_filled(rig: Rig) -> None:
    driver = rig.up(WAYS[2])
    for number in range(10, 60):
        driver.send(commands.surface(number, Format.X8R8G8B8, 8192, 8192))
    held = sum(s.data.size for s in rig.device.surfaces._surfaces.values() if s.data is not None)

    assert held <= 4 * W * H


@needs(Cap.GMR2, Cap.SCREEN_OBJECT_2)
def test_SVG_V_071_regions_have_no_more_pages_than_there_are(rig: Rig) -> None:
    driver = rig.up(WAYS[1])
    most = driver.get(R.GMRS_MAX_PAGES)
    for number in range(2, min(driver.get(R.GMR_MAX_IDS), 64)):
        data = commands.command(Cmd.DEFINE_GMR2, number, most)
        if driver.buffers:
            driver.submit(data)
            driver.start()
        else:
            driver.send(data)

    rig.alive()


@needs(Cap.SCREEN_OBJECT_2, Cap.GMR2)
def test_SVG_V_071_screens_without_number(rig: Rig) -> None:
    """Defined and destroyed a thousand times, of sizes that add up to far more than there is."""
    driver = rig.up(WAYS[1])
    for lot in range(20):
        driver.send(
            b"".join(
                commands.screen(1 + n % 8, 200 + lot, 100 + n, rootX=W, size=28)
                + commands.command(Cmd.DESTROY_SCREEN, 1 + n % 8)
                for n in range(50)
            )
        )
    picture = noise()
    driver.show(picture, 0, 0, W, H)

    rig.alive()


# -- memory that goes --------------------------------------------------------------------------------------------------


def tell(rig: Rig, data: bytes) -> None:
    """Commands that may be refused; afterwards the display takes others."""
    if rig.driver.buffers:
        rig.driver.submit(data)
        rig.driver.start()
    else:
        rig.driver.send(data)


@needs(Cap.SCREEN_OBJECT_2, Cap.GMR2, Can.UNMAP)
def test_SVG_V_072_under_a_region(rig: Rig) -> None:
    driver = rig.up(WAYS[1])
    lent = rig.lend(ELSEWHERE, 4 * PAGE)
    driver.send(
        commands.command(Cmd.DEFINE_GMR2, 5, 4)
        + commands.command(Cmd.REMAP_GMR2, 5, Remap.SINGLE_PPN, 0, 4, ELSEWHERE // PAGE)
        + commands.gmrfb(5, 0, 4 * W)
        + commands.blit_to_screen(0, 0, 0, 0, W, H)
    )
    rig.take_back(lent)
    tell(rig, commands.blit_to_screen(0, 0, 0, 0, W, H))
    tell(rig, commands.blit_from_screen(0, 0, 0, 0, W, H))

    rig.alive()


@needs(Cap.GBOBJECTS, Cap.COMMAND_BUFFERS, Can.UNMAP)
def test_SVG_V_072_under_a_surface(rig: Rig) -> None:
    driver = rig.up(WAYS[2])
    lent = rig.lend(ELSEWHERE, 4 * PAGE)
    driver.send(
        commands.mob(40, MobFormat.RANGE, ELSEWHERE // PAGE, 4 * PAGE)
        + commands.surface(9, Format.X8R8G8B8, W, H)
        + commands.body(Cmd3d.BIND_GB_SURFACE, 9, 40)
        + commands.update_image(9, 0, 0, W, H)
    )
    rig.take_back(lent)
    for data in (commands.update_image(9, 0, 0, W, H), commands.body(Cmd3d.READBACK_GB_SURFACE, 9)):
        assert driver.submit(data) is CbStatus.COMMAND_ERROR
        driver.steer(Dc.START_STOP_CONTEXT, 1, 0)

    rig.alive()


@needs(Cap.COMMAND_BUFFERS, FifoCap.FENCE, Can.UNMAP)
def test_SVG_V_072_under_the_commands_of_a_buffer_that_waits(rig: Rig) -> None:
    """It fails; those beside it do not."""
    rig.start(buffers=True)
    lot = Buffers(rig)
    lent = rig.lend(ELSEWHERE, PAGE)
    stop = lot.post(commands.command(Cmd.NOP_ERROR))
    rig.wait(lambda: lot.status(stop) is CbStatus.COMMAND_ERROR)
    gone, fine = lot.post(b"", ptr=ELSEWHERE, length=8), lot.post(commands.fence(6))
    rig.take_back(lent)
    rig.driver.steer(Dc.START_STOP_CONTEXT, 1, 0)
    rig.wait(lambda: lot.status(gone) is not CbStatus.NONE)
    rig.driver.steer(Dc.START_STOP_CONTEXT, 1, 0)

    assert lot.status(gone) in (CbStatus.CB_HEADER_ERROR, CbStatus.COMMAND_ERROR)
    assert rig.wait(lambda: lot.status(fine) is CbStatus.COMPLETED)
    assert rig.last_fence() == 6


@needs(Cap.COMMAND_BUFFERS, Can.UNMAP)
def test_SVG_V_072_under_a_header(rig: Rig) -> None:
    rig.start(buffers=True)
    lot = Buffers(rig)
    lent = rig.lend(ELSEWHERE, PAGE)
    stop = lot.post(commands.command(Cmd.NOP_ERROR))
    rig.wait(lambda: lot.status(stop) is CbStatus.COMMAND_ERROR)
    n = lot.put(commands.command(Cmd.NOP))
    lent.view[:64] = lot.memory.view[64 * n : 64 * n + 64]
    rig.driver.post(ELSEWHERE)
    rig.take_back(lent)
    rig.driver.steer(Dc.START_STOP_CONTEXT, 1, 0)

    assert lot.run(commands.command(Cmd.NOP))[0] is CbStatus.COMPLETED
    rig.alive()
