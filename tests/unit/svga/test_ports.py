"""The two fronts: ports that overlap, in one piece and in fragments; registers in memory."""

from svga.wire import ID_2, MASK32, SCRATCH_BASE, Register
from tests.unit.svga.rig import Rig

INDEX, VALUE, BIOS, IRQSTATUS = 0, 1, 2, 8
WORD = SCRATCH_BASE + 8


def fragments_out(rig: Rig, value: int) -> None:
    for offset, size, shift in ((1, 1, 0), (2, 2, 8), (4, 1, 24)):
        rig.port.write(0, offset, value >> shift & (1 << 8 * size) - 1, size)


def fragments_in(rig: Rig) -> int:
    return sum(rig.port.read(0, offset, size) << shift for offset, size, shift in ((1, 1, 0), (2, 2, 8), (4, 1, 24)))


def test_SVG_V_002_VALUE_in_one_piece_and_in_three(powered: Rig) -> None:
    port = powered.port
    port.write(0, INDEX, Register.ID)
    fragments_out(powered, ID_2)
    port.write(0, INDEX, WORD)
    fragments_out(powered, 0x1234_5678)

    assert (port.read(0, VALUE), fragments_in(powered)) == (0x1234_5678, 0x1234_5678)
    assert powered.seen("SVG-D-003") == []


def test_SVG_V_003_fragments_reach_the_register_once(legacy: Rig) -> None:
    calls: list[int] = []
    registers = legacy.device.registers
    registers._writes[Register.GUEST_ID] = calls.append
    registers._reads[Register.GUEST_ID] = lambda: calls.append(-1) or 0xAABB_CCDD  # type: ignore[func-returns-value]
    legacy.port.write(0, INDEX, Register.GUEST_ID)

    fragments_out(legacy, 0x0102_0304)
    value = fragments_in(legacy)

    assert (calls, value) == ([0x0102_0304, -1], 0xAABB_CCDD)


def test_fragments_never_finished_do_nothing(powered: Rig) -> None:
    port = powered.port
    powered.driver.negotiate()
    powered.driver.set(WORD, 7)
    port.write(0, INDEX, WORD)
    port.write(0, 1, 0xFF, 1)
    port.write(0, 2, 0xFFFF, 2)

    port.read(0, INDEX)
    port.write(0, 4, 0xFF, 1)

    assert powered.driver.get(WORD) == 7
    assert powered.seen("SVG-D-003") == [("port write", 4)]


def test_a_read_broken_off_leaves_no_latch(powered: Rig) -> None:
    port = powered.port
    powered.driver.negotiate()
    powered.driver.set(WORD, 0x1122_3344)
    port.write(0, INDEX, WORD)
    port.read(0, 1, 1)
    port.write(0, INDEX, WORD + 1)

    assert fragments_in(powered) == 0
    assert (port.read(0, 2, 2), port.read(0, BIOS)) == (0xCAFE, 0xCAFE)


def test_SVG_D_003_SVG_V_004_other_widths_and_places(powered: Rig) -> None:
    port = powered.port

    assert [port.read(0, 0, 1), port.read(0, 8, 2), port.read(0, 12)] == [0xFF, 0xFFFF, MASK32]
    port.write(0, 0, 5, 2)
    port.write(0, 12, 5)

    assert port.read(0, INDEX) == 0
    assert powered.seen("SVG-D-003") == [("port read", 12), ("port write", 12)]


def test_SVG_V_005_INDEX_keeps_what_is_written(powered: Rig) -> None:
    powered.port.write(0, INDEX, 0xFFFF_FFF0)

    assert powered.port.read(0, INDEX) == 0xFFFF_FFF0


def test_IRQSTATUS_is_a_port_of_its_own(powered: Rig) -> None:
    powered.device.causes._write_IRQMASK(3)
    powered.device.causes.signal(3)
    before = powered.port.read(0, IRQSTATUS)
    powered.port.write(0, IRQSTATUS, 1)

    assert (before, powered.port.read(0, IRQSTATUS)) == (3, 2)


def test_SVG_D_003_svga3_takes_dwords_only() -> None:
    rig = Rig(front="svga3")
    rig.driver.negotiate()
    rig.driver.set(WORD, 0x55AA_55AA)

    assert [rig.port.read(0, 4 * WORD, size) for size in (1, 2, 8)] == [0, 0, 0]
    rig.port.write(0, 4 * WORD + 2, 1)
    rig.port.write(0, 4 * WORD, 1, 2)

    assert rig.driver.get(WORD) == 0x55AA_55AA
    assert [place for place, _ in rig.seen("SVG-D-003")] == [
        *("read of 1", "read of 2", "read of 8", "write of 4", "write of 2"),
    ]


def test_SVG_V_001_identity_and_bars() -> None:
    two, three = Rig(vga=True).device.pci, Rig(front="svga3").device.pci

    assert [two.config.read(at, 4) for at in (0x00, 0x08, 0x2C)] == [0x0405_15AD, 0x0300_0000, 0x0405_15AD]
    assert [three.config.read(at, 4) for at in (0x00, 0x08, 0x2C)] == [0x0406_15AD, 0x0380_0000, 0x0406_15AD]
    assert (two.config.read(0x10, 4), two.region_size(0), two.bars[1].prefetch) == (1, 16, True)
    assert {index: bar.size for index, bar in three.bars.items()} == {0: 4 << 20, 2: 1 << 20}


def ports(rig: Rig, *accesses: tuple[str, int]) -> None:
    """Accesses in the order in which they come: to INDEX ("i"), of VALUE ("w" for a write, "r" for a read)."""
    for kind, value in accesses:
        if kind == "r":
            rig.port.read(0, VALUE)
        else:
            rig.port.write(0, INDEX if kind == "i" else VALUE, value)


def test_SVG_D_004_two_processors_that_do_not_wait_for_each_other(powered: Rig) -> None:
    """Each means its own register by VALUE; the second of them gets the first one's."""
    powered.driver.negotiate()
    ports(powered, ("i", Register.GUEST_ID), ("i", SCRATCH_BASE + 9), ("w", 5), ("w", 6))

    assert powered.seen("SVG-D-004") == [("VALUE", SCRATCH_BASE + 9)]


def test_SVG_D_004_pairs_and_what_is_written_after_it_was_read(powered: Rig) -> None:
    powered.driver.negotiate()
    ports(powered, ("i", Register.GUEST_ID), ("r", 0), ("w", 5), ("w", 6))
    ports(powered, ("i", Register.GUEST_ID), ("i", SCRATCH_BASE + 9), ("r", 0))
    ports(powered, ("i", Register.GUEST_ID), ("r", 0), ("r", 0))

    assert powered.seen("SVG-D-004") == []
