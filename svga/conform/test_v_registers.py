"""SVGA device rules 001 to 009, 026, 030, 045, 057: identity, ports, registers."""

import pytest

from pvdev.pci_driver import line_up, probe
from svga.conform.rig import Can, MakeRig, Part, Rig
from svga.wire import (
    BAR_FB,
    BAR_FB3,
    BAR_FIFO,
    BAR_PORTS,
    BAR_REGS,
    DEVCAPS,
    DEVICE_SVGA2,
    DEVICE_SVGA3,
    ID_0,
    ID_1,
    ID_2,
    ID_3,
    PALETTE_BASE,
    PORT_INDEX,
    PORT_IRQSTATUS,
    PORT_VALUE,
    SCRATCH_BASE,
    SCRATCH_VBE,
    VENDOR_ID,
    Cap,
    Irq,
    Register,
)

R = Register
needs = pytest.mark.needs
FULL = 0xFFFF_FFFF
SAME = (  # what says one number for ever
    *(R.MAX_WIDTH, R.MAX_HEIGHT, R.VRAM_SIZE, R.CAPABILITIES, R.MEM_SIZE, R.SCRATCH_SIZE, R.MEM_REGS),
    *(R.NUM_DISPLAYS, R.HOST_BITS_PER_PIXEL),
)
SAME_TARGETS = (
    *(R.MAX_PRIMARY_MEM, R.SCREENTARGET_MAX_WIDTH, R.SCREENTARGET_MAX_HEIGHT, R.MOB_MAX_SIZE),
    *(R.SUGGESTED_GBOBJECT_MEM_SIZE_KB,),
)


def test_SVG_V_001_identity(rig: Rig) -> None:
    facts = probe(rig.port, place=False)

    device = DEVICE_SVGA3 if rig.display.svga3 else DEVICE_SVGA2
    assert facts.ids == (VENDOR_ID, device, VENDOR_ID, device)
    assert facts.class_code in (0x03_0000, 0x03_8000)
    assert facts.pin == 1 or (not facts.pin and not rig.has(Part.INTERRUPT))


@needs(Part.PORTS)
def test_SVG_V_001_ports_video_memory_and_fifo(rig: Rig) -> None:
    facts = probe(rig.port, place=False)

    assert (facts.bars[BAR_PORTS], facts.bar_flags[BAR_PORTS]) == (16, 1)
    for bar, register in ((BAR_FB, R.VRAM_SIZE), (BAR_FIFO, R.MEM_SIZE)):
        rig.driver.negotiate()
        assert not facts.bar_flags[bar] & 1
        assert facts.bars[bar] >= rig.driver.get(register) > 0
    assert facts.bar_flags[BAR_FB] & 8  # prefetchable


@needs(Part.FLAT)
def test_SVG_V_001_registers_and_video_memory(rig: Rig) -> None:
    facts = probe(rig.port, place=False)
    rig.driver.negotiate()

    assert not facts.bar_flags[BAR_REGS] & 1
    assert facts.bars[BAR_REGS] >= 4 * (SCRATCH_BASE + rig.driver.get(R.SCRATCH_SIZE))
    assert facts.bars[BAR_FB3] >= rig.driver.get(R.VRAM_SIZE) > 0


# -- ports -------------------------------------------------------------------------------------------------------------


def fragments(rig: Rig, index: int, value: int | None = None) -> int:
    """A register through VALUE, which comes in three pieces: 1 byte at 1, 2 at 2, 1 at 4."""
    port = rig.port
    port.write(BAR_PORTS, PORT_INDEX, index)
    got = 0
    for offset, size, shift in ((1, 1, 0), (2, 2, 8), (4, 1, 24)):
        if value is None:
            got |= port.read(BAR_PORTS, offset, size) << shift
        else:
            port.write(BAR_PORTS, offset, value >> shift & (1 << 8 * size) - 1, size)
    return got


@needs(Part.PORTS)
def test_SVG_V_002_VALUE_in_one_piece_and_in_three(rig: Rig) -> None:
    rig.driver.negotiate()

    rig.driver.set(R.GUEST_ID, 0x1234_5678)
    in_three = fragments(rig, R.GUEST_ID)
    fragments(rig, R.GUEST_ID, 0x9ABC_DEF0)

    assert (in_three, rig.driver.get(R.GUEST_ID)) == (0x1234_5678, 0x9ABC_DEF0)


@needs(Part.PORTS, Part.FIFO)
def test_SVG_V_003_a_write_in_pieces_has_its_effect_once(rig: Rig) -> None:
    """A device that acts on a piece of a width acts on another width."""
    driver = rig.up()
    before = driver.get(R.WIDTH)
    fragments(rig, R.WIDTH, 0)  # refused as a whole
    kept = driver.get(R.WIDTH)
    fragments(rig, R.WIDTH, 0x0000_0140)  # 320: no piece of it is

    assert (kept, driver.get(R.WIDTH)) == (before, 320)


@needs(Part.PORTS, Can.INSIDE)
def test_SVG_V_003_a_read_in_pieces_is_one_read(rig: Rig) -> None:
    rig.driver.negotiate()
    reads: list[int] = []
    inside = rig.device.registers
    read = inside.read

    def counted(number: int) -> int:
        reads.append(number)
        return read(number)

    inside.read = counted  # type: ignore[method-assign]
    fragments(rig, R.BUSY)

    assert reads == [R.BUSY]


@needs(Part.PORTS)
@pytest.mark.parametrize(("offset", "size"), [(0, 1), (0, 2), (8, 1), (8, 2), (12, 1), (6, 2)])
def test_SVG_V_004_other_widths_do_no_harm(rig: Rig, offset: int, size: int) -> None:
    rig.driver.negotiate()
    rig.driver.set(R.GUEST_ID, 5)

    rig.port.write(BAR_PORTS, offset, 0xA5A5 & (1 << 8 * size) - 1, size)
    got = rig.port.read(BAR_PORTS, offset, size)

    assert got == (1 << 8 * size) - 1
    assert rig.driver.get(R.GUEST_ID) == 5
    assert rig.port.read(BAR_PORTS, PORT_INDEX) == R.GUEST_ID


@needs(Part.FLAT)
@pytest.mark.parametrize(("offset", "size"), [(0, 1), (2, 2), (1, 2), (3, 1)])
def test_SVG_V_004_registers_are_dwords(rig: Rig, offset: int, size: int) -> None:
    rig.driver.negotiate()
    rig.driver.set(R.GUEST_ID, 5)

    rig.port.write(BAR_REGS, 4 * R.GUEST_ID + offset, 0xA5A5 & (1 << 8 * size) - 1, size)
    rig.port.read(BAR_REGS, 4 * R.GUEST_ID + offset, size)

    assert rig.driver.get(R.GUEST_ID) == 5


@needs(Part.PORTS)
@pytest.mark.parametrize("index", [0, 17, 85, 1024, 5000, 0x8000_0000, FULL])
def test_SVG_V_005_INDEX_keeps_what_is_written(rig: Rig, index: int) -> None:
    rig.port.write(BAR_PORTS, PORT_INDEX, index)
    rig.port.read(BAR_PORTS, PORT_VALUE)

    assert rig.port.read(BAR_PORTS, PORT_INDEX) == index


# -- the version -------------------------------------------------------------------------------------------------------


@needs(Part.PORTS)
def test_SVG_V_006_from_the_highest_version_down(rig: Rig) -> None:
    driver, echoed = rig.driver, []
    for version in (0x9000_0007, ID_3, ID_2):
        driver.set(R.ID, version)
        echoed.append(driver.get(R.ID) == version)

    assert echoed == [False, False, True]


@needs(Part.PORTS)
@pytest.mark.parametrize("version", [ID_0, ID_1, ID_2])
def test_SVG_V_006_older_versions_are_spoken(rig: Rig, version: int) -> None:
    rig.driver.set(R.ID, version)

    assert rig.driver.get(R.ID) == version


@needs(Part.FLAT)
@pytest.mark.parametrize("version", [ID_0, ID_1, ID_2, 0x9000_0004])
def test_SVG_V_006_one_version_only(rig: Rig, version: int) -> None:
    rig.driver.set(R.ID, ID_3)
    rig.driver.set(R.ID, version)

    assert rig.driver.get(R.ID) == ID_3


@pytest.mark.parametrize("wrong", [0, 1, 0x9000_0100, FULL, 0xDEAD_BEEF])
def test_SVG_V_006_a_version_nobody_speaks_changes_nothing(rig: Rig, wrong: int) -> None:
    rig.driver.negotiate()
    before = rig.driver.get(R.ID)
    rig.driver.set(R.ID, wrong)

    assert rig.driver.get(R.ID) == before


# -- reset -------------------------------------------------------------------------------------------------------------


def test_SVG_V_007_a_reset_switches_everything_off(rig: Rig) -> None:
    driver = rig.up()
    driver.send(b"")
    driver.set(R.GUEST_ID, 0x500A)
    driver.set(SCRATCH_BASE + 9, 77)
    if rig.has(Part.INTERRUPT):
        driver.set(R.IRQMASK, Irq.ANY_FENCE)

    driver = rig.fresh()

    driver.negotiate()
    numbers = [R.ENABLE, R.CONFIG_DONE, R.BUSY, R.GUEST_ID, R.CURSOR_X, R.CURSOR_ON, SCRATCH_BASE + 9]
    numbers += [R.IRQMASK] if rig.has(Part.INTERRUPT) else []
    assert {number: driver.get(number) for number in numbers} == dict.fromkeys(numbers, 0)
    rig.alive()


@needs(Part.INTERRUPT)
def test_SVG_V_007_a_reset_takes_the_interrupt_back(rig: Rig) -> None:
    driver = rig.up()
    driver.expect(Irq.ANY_FENCE)
    driver.fence()
    raised = line_up(rig.port)

    driver = rig.fresh()

    assert (raised, line_up(rig.port), driver.status()) == (True, False, 0)


@needs(Part.DEPTHS)
def test_SVG_V_007_a_reset_forgets_the_palette(rig: Rig) -> None:
    rig.driver.negotiate()
    rig.driver.set(PALETTE_BASE + 5, 200)

    driver = rig.fresh()
    driver.negotiate()

    assert driver.get(PALETTE_BASE + 5) == 0


# -- what is there, and what is not ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [85, 200, 1023, 0x10000])
def test_SVG_V_008_what_nobody_defined_reads_0(rig: Rig, number: int) -> None:
    rig.driver.negotiate()
    rig.driver.set(number, 0x1234)

    assert rig.driver.get(number) == 0


def test_SVG_V_009_what_a_device_can_do_stays(rig: Rig) -> None:
    rig.driver.negotiate()
    numbers = SAME + (SAME_TARGETS if rig.has(Cap.GBOBJECTS) else ())
    numbers += (R.CAP2,) if rig.has(Cap.CAP2_REGISTER) else ()
    before = {number: rig.driver.get(number) for number in numbers}
    for number in numbers:
        rig.driver.set(number, 0)
        rig.driver.set(number, FULL)
    rig.best()

    assert {number: rig.driver.get(number) for number in numbers} == before


def test_SVG_V_009_registers_read_twice_say_the_same(rig: Rig) -> None:
    """All that are read at the start of a driver's life, before and after it has set a mode."""
    rig.driver.negotiate()
    wanted = (R.CAPABILITIES, R.VRAM_SIZE, R.MEM_SIZE, R.MAX_WIDTH, R.MAX_HEIGHT)
    first = [rig.driver.get(number) for number in wanted]
    rig.up()

    assert [rig.driver.get(number) for number in wanted] == first
    assert first[1] >= 4 * 640 * 480 or first[1] >= 1 << 20


@pytest.mark.parametrize("value", [1, 3, 0])
def test_SVG_V_026_ENABLE_says_what_was_written(rig: Rig, value: int) -> None:
    driver = rig.up()
    driver.set(R.ENABLE, value)

    assert driver.get(R.ENABLE) == value


@needs(Can.PICTURE)
def test_SVG_V_026_what_is_enabled_is_shown(rig: Rig) -> None:
    driver = rig.up()
    driver.set(R.ENABLE, 3)
    hidden = rig.look()
    driver.set(R.ENABLE, 1)
    shown = rig.look()

    assert hidden is None
    assert shown is not None
    assert (shown.width, shown.height) == driver.size


def test_SVG_V_030_scratch_registers_and_GUEST_ID(rig: Rig) -> None:
    driver = rig.driver
    driver.negotiate()
    count = driver.get(R.SCRATCH_SIZE)
    numbers = [SCRATCH_BASE + n for n in (SCRATCH_VBE, 17, count - 1)]
    for n, number in enumerate(numbers):
        driver.set(number, 0xDEAD_0000 + n)
    driver.set(R.GUEST_ID, 0x500A)

    assert count > SCRATCH_VBE
    assert [driver.get(number) for number in numbers] == [0xDEAD_0000 + n for n in range(3)]
    assert driver.get(R.GUEST_ID) == 0x500A


def test_SVG_V_045_IRQMASK_may_be_written_in_any_case(rig: Rig) -> None:
    """Linux does, and the port beside it, without its capability, too."""
    driver = rig.up()
    driver.acknowledge(Irq.ANY_FENCE)
    driver.set(R.IRQMASK, Irq.ANY_FENCE)
    masked = driver.get(R.IRQMASK)
    driver.set(R.IRQMASK, 0)

    assert masked == (Irq.ANY_FENCE if rig.has(Part.INTERRUPT) else 0)
    rig.alive()


@needs(Part.PORTS)
def test_SVG_V_045_IRQSTATUS_may_be_written_in_any_case(rig: Rig) -> None:
    rig.driver.negotiate()
    rig.port.write(BAR_PORTS, PORT_IRQSTATUS, 0x3F)

    assert rig.port.read(BAR_PORTS, PORT_IRQSTATUS) in (0, FULL)
    rig.alive()


@needs(Cap.GBOBJECTS)
def test_SVG_V_057_device_capabilities_by_index(rig: Rig) -> None:
    driver = rig.driver
    driver.negotiate()
    found = {}
    for index in (*range(DEVCAPS), DEVCAPS, 1000, FULL):
        driver.set(R.DEV_CAP, index)
        found[index] = driver.get(R.DEV_CAP)

    assert [found[index] for index in (DEVCAPS, 1000, FULL)] == [0, 0, 0]
    assert min(found[19], found[20]) >= driver.get(R.SCREENTARGET_MAX_WIDTH)  # textures as large as targets
    if not rig.has(Cap._3D):
        assert found[0] == 0


@needs(Can.OPTIONS)
@pytest.mark.parametrize("monitors", [1, 3])
def test_SVG_V_028_as_many_monitors_as_are_plugged_in(make_rig: MakeRig, monitors: int) -> None:
    rig = make_rig(monitors=monitors)
    rig.driver.negotiate()

    assert rig.driver.get(R.NUM_DISPLAYS) == monitors


def test_SVG_V_028_there_is_a_monitor(rig: Rig) -> None:
    rig.driver.negotiate()

    assert rig.driver.get(R.NUM_DISPLAYS) >= 1
