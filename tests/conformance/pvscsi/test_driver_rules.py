"""PVSCSI driver rules 001 to 016, 026, 027 and 052 to 062: registers, commands, and what comes after what."""

import pytest

from pvdev.pci import CONFIG_REGION
from pvdev.pci_driver import set_interrupts, set_master
from pvscsi import wire
from pvscsi.conform.rig import Drive, MakeRig, Rig
from pvscsi.driver import Driver, cdb
from pvscsi.driver.memory import addresses
from pvscsi.signals import PATIENCE_NS
from pvscsi.wire import STATUS_FAILED, Cmd, Intr
from tests.conformance.pvscsi.told import NOWHERE, assert_alive, rings_of, seen

HELD = Drive(held=True)


def blank(rig: Rig) -> Driver:
    """A driver that has probed PCI and touched no register."""
    driver = rig.blank(strict=False)
    driver.facts()
    return driver


def setup(driver: Driver, **changed: int | list[int]) -> int:
    """SETUP_RINGS with one page of each, some of it changed; COMMAND_STATUS."""
    state, request, completion = addresses(driver.memory.pages(3))
    values: dict[str, int | list[int]] = {
        "reqRingNumPages": 1,
        "cmpRingNumPages": 1,
        "ringsStatePPN": state,
        "reqRingPPNs": [request],
        "cmpRingPPNs": [completion],
    }
    return driver.command(Cmd.SETUP_RINGS, wire.SETUP_RINGS.encode(**{**values, **changed}))


@pytest.fixture
def fresh(rig: Rig) -> Driver:
    """A driver that has reset the adapter."""
    driver = blank(rig)
    driver.command_only(Cmd.ADAPTER_RESET)
    return driver


# -- 001: bus mastering ------------------------------------------------------------------------------------------------


def test_PVS_D_001_rings_without_bus_mastering(rig: Rig, fresh: Driver) -> None:
    set_master(rig.port, False)

    assert setup(fresh) == STATUS_FAILED
    set_master(rig.port, True)

    assert [(place, count) for place, _, count in seen(rig, "PVS-D-001")] == [("SETUP_RINGS", 1)]
    assert_alive(rig)


def test_PVS_D_001_a_page_a_message_ring_and_a_kick(rig: Rig) -> None:
    driver = rig.driver(strict=False, msg_pages=1)
    set_master(rig.port, False)

    driver.config_page(wire.CONFIG_PAGE_CONTROLLER, wire.ADDRESS_CONTROLLER << 32)
    driver.command(Cmd.SETUP_MSG_RING, rings_of(driver).message_arguments())
    driver.kick_io()
    driver.kick_others()
    set_master(rig.port, True)

    assert [place for place, _, _ in seen(rig, "PVS-D-001")] == [
        "CONFIG",
        "SETUP_MSG_RING",
        "KICK_RW_IO",
        "KICK_NON_RW_IO",
    ]
    assert_alive(rig)


# -- 002 to 007: registers and the command protocol --------------------------------------------------------------------


@pytest.mark.parametrize(("offset", "size"), [(0, 1), (2, 2), (0x100C, 2), (0x100D, 1), (0x2012, 4), (0x4018, 8)])
def test_PVS_D_002_other_widths(rig: Rig, offset: int, size: int) -> None:
    driver = blank(rig)

    driver.reg(offset, size)
    driver.set_reg(offset, 0, size)

    assert {count for _, _, count in seen(rig, "PVS-D-002")} == {1}
    assert len(seen(rig, "PVS-D-002")) == 2
    assert_alive(rig)


@pytest.mark.parametrize("offset", [0x000C, 0x00FC, 0x0110, 0x1000, 0x2014, 0x3010, 0x4014, 0x5FFC])
def test_PVS_D_003_where_nothing_is(rig: Rig, offset: int) -> None:
    driver = blank(rig)

    driver.reg(offset)
    driver.set_reg(offset, 1)

    assert seen(rig, "PVS-D-003") == [("BAR read of 4", offset, 1), ("BAR write of 4", offset, 1)]


@pytest.mark.parametrize("offset", [wire.REG_COMMAND, wire.REG_COMMAND_DATA, wire.REG_KICK_RW_IO, wire.REG_DEBUG])
def test_PVS_D_003_reading_what_is_only_written(rig: Rig, offset: int) -> None:
    assert blank(rig).reg(offset) == 0

    assert seen(rig, "PVS-D-003") == [("BAR read of a register that is only written", offset, 1)]


def test_PVS_D_003_registers_without_a_use(rig: Rig) -> None:
    driver = blank(rig)

    driver.reg(wire.REG_LAST_STS + 8)
    driver.set_reg(wire.REG_DEBUG, 7)

    assert seen(rig, "PVS-D-003") == [("LAST_STS", 2, 1), ("DEBUG", 7, 1)]


@pytest.mark.parametrize("command", [0, 12, 0xFFFF_FFFF])
def test_PVS_D_004_no_command(rig: Rig, command: int) -> None:
    assert blank(rig).command(command) == STATUS_FAILED

    assert seen(rig, "PVS-D-004") == [("COMMAND", command, 1)]


def test_PVS_D_004_says_nothing_of_commands_the_device_lacks(rig: Rig) -> None:
    assert blank(rig).command(Cmd.ISSUE_SCSI) == STATUS_FAILED

    assert not rig.broken()


def test_PVS_D_005_data_without_a_command(rig: Rig) -> None:
    driver = blank(rig)

    driver.command_only(Cmd.SETUP_REQCALLTHRESHOLD)
    driver.status()
    for value in (1, 2, 3):  # one belongs to the command
        driver.set_reg(wire.REG_COMMAND_DATA, value)

    assert seen(rig, "PVS-D-005") == [("COMMAND_DATA", 3, 2)]
    assert_alive(rig)


@pytest.mark.parametrize("words", [0, 5])
def test_PVS_D_006_half_a_command(rig: Rig, words: int) -> None:
    driver = blank(rig)

    driver.command(Cmd.ABORT_CMD, bytes(4 * min(words, 3)))
    driver.command_only(Cmd.ADAPTER_RESET)

    assert seen(rig, "PVS-D-006") == [("command 6", min(words, 3), 1)]


def test_PVS_D_006_a_probe_nobody_reads(rig: Rig) -> None:
    driver = blank(rig)

    driver.command_only(Cmd.SETUP_MSG_RING)
    driver.command_only(Cmd.ADAPTER_RESET)

    assert seen(rig, "PVS-D-006") == [("command 8", 0, 1)]


def test_PVS_D_006_a_probe_with_some_arguments(rig: Rig) -> None:
    driver = blank(rig)

    driver.command(Cmd.SETUP_MSG_RING, bytes(8))
    driver.command_only(Cmd.ADAPTER_RESET)

    assert seen(rig, "PVS-D-006") == [("command 8", 2, 1)]


def test_PVS_D_007_used_without_a_probe(rig: Rig, fresh: Driver) -> None:
    assert setup(fresh) == 0

    fresh.command_only(Cmd.SETUP_REQCALLTHRESHOLD, (1).to_bytes(4, "little"))
    fresh.command_only(Cmd.SETUP_MSG_RING, wire.SETUP_MSG_RING.encode(numPages=1, ringPPNs=[0]))

    assert [place for place, _, _ in seen(rig, "PVS-D-007")] == ["SETUP_REQCALLTHRESHOLD", "SETUP_MSG_RING"]


def test_PVS_D_007_the_answer_of_a_whole_command_is_no_probe(rig: Rig) -> None:
    driver = blank(rig)

    for _ in range(2):
        driver.command(Cmd.SETUP_REQCALLTHRESHOLD, (1).to_bytes(4, "little"))

    assert seen(rig, "PVS-D-007") == [("SETUP_REQCALLTHRESHOLD", Cmd.SETUP_REQCALLTHRESHOLD, 2)]


# -- 008 to 016: rings -------------------------------------------------------------------------------------------------


def test_PVS_D_008_rings_before_a_reset(rig: Rig) -> None:
    driver = blank(rig)

    assert setup(driver) == 0

    assert seen(rig, "PVS-D-008") == [("SETUP_RINGS", 0, 1)]
    assert_alive(rig)


@pytest.mark.parametrize("ring", ["reqRingNumPages", "cmpRingNumPages"])
@pytest.mark.parametrize("count", [0, 3, 33, 64, 0x8000_0000, 0xFFFF_FFFF])
def test_PVS_D_009_page_counts(rig: Rig, fresh: Driver, ring: str, count: int) -> None:
    assert setup(fresh, **{ring: count}) == STATUS_FAILED

    assert seen(rig, "PVS-D-009") == [("SETUP_RINGS", count, 1)]
    assert not rig.device.active


@pytest.mark.parametrize("count", [0, 3, 17, 32, 0xFFFF_FFFF])
def test_PVS_D_009_page_counts_of_messages(rig: Rig, count: int) -> None:
    driver = rig.driver(strict=False)

    answer = driver.command(Cmd.SETUP_MSG_RING, wire.SETUP_MSG_RING.encode(numPages=count, ringPPNs=[1]))

    assert answer == STATUS_FAILED
    assert seen(rig, "PVS-D-009") == [("SETUP_MSG_RING", count, 1)]


def test_PVS_D_010_too_small_a_completion_ring(rig: Rig, fresh: Driver) -> None:
    pages = addresses(fresh.memory.pages(8))

    assert setup(fresh, reqRingNumPages=8, reqRingPPNs=pages) == 0

    assert seen(rig, "PVS-D-010") == [("SETUP_RINGS", 1, 1)]


@pytest.mark.parametrize("ppn", [0, NOWHERE >> 12, 1 << 52, (1 << 64) - 1])
@pytest.mark.parametrize("what", ["ringsStatePPN", "reqRingPPNs", "cmpRingPPNs"])
def test_PVS_D_011_pages_out_of_reach(rig: Rig, fresh: Driver, what: str, ppn: int) -> None:
    assert setup(fresh, **{what: ppn if what == "ringsStatePPN" else [ppn]}) == STATUS_FAILED

    assert seen(rig, "PVS-D-011") == [("SETUP_RINGS", ppn, 1)]
    assert_alive(rig)


def test_PVS_D_011_a_message_page_out_of_reach(rig: Rig) -> None:
    driver = rig.driver(strict=False)
    ppn = NOWHERE >> 12

    answer = driver.command(Cmd.SETUP_MSG_RING, wire.SETUP_MSG_RING.encode(numPages=1, ringPPNs=[ppn]))

    assert answer == STATUS_FAILED
    assert seen(rig, "PVS-D-011") == [("SETUP_MSG_RING", ppn, 1)]


def test_PVS_D_012_one_page_for_two_rings(rig: Rig, fresh: Driver) -> None:
    (page,) = addresses(fresh.memory.pages(1))

    setup(fresh, reqRingPPNs=[page], cmpRingPPNs=[page])

    assert [(place, count) for place, _, count in seen(rig, "PVS-D-012")] == [("SETUP_RINGS", 1)]
    assert_alive(rig)


def test_PVS_D_012_messages_on_the_state_page(rig: Rig) -> None:
    driver = rig.driver(strict=False, msg_pages=0)
    ppn = rings_of(driver).page.ppn
    driver.command(Cmd.SETUP_MSG_RING)

    driver.command(Cmd.SETUP_MSG_RING, wire.SETUP_MSG_RING.encode(numPages=1, ringPPNs=[ppn]))

    assert seen(rig, "PVS-D-012") == [("SETUP_MSG_RING", ppn, 1)]
    driver.forsake()
    assert_alive(rig)


def test_PVS_D_013_slots_not_used(rig: Rig, fresh: Driver) -> None:
    request, spare = addresses(fresh.memory.pages(2))

    assert setup(fresh, reqRingPPNs=[request, spare]) == 0

    assert seen(rig, "PVS-D-013") == [("SETUP_RINGS", spare, 1)]


def test_PVS_D_013_the_pad_of_a_message_ring(rig: Rig) -> None:
    driver = rig.driver(strict=False)
    argument = bytearray(rings_of(driver).message_arguments())
    argument[4] = 9

    driver.command(Cmd.SETUP_MSG_RING, bytes(argument))

    assert seen(rig, "PVS-D-013") == [("SETUP_MSG_RING", 9, 1)]


def test_PVS_D_014_a_state_page_that_is_not_clean(rig: Rig, fresh: Driver) -> None:
    page = fresh.memory.pages(1)[0]
    page.view[:] = bytes(wire.PAGE)
    page.view[4000] = 1

    assert setup(fresh, ringsStatePPN=page.ppn) == 0

    assert seen(rig, "PVS-D-014") == [("state page", page.ppn, 1)]


def test_PVS_D_015_rings_over_live_ones(make_rig: MakeRig) -> None:
    rig = make_rig({0: HELD})
    disk = rig.disk(driver=rig.driver(strict=False))
    rig.held(disk, 3)

    assert setup(disk.driver) == 0

    assert seen(rig, "PVS-D-015") == [("SETUP_RINGS", 3, 1)]
    rig.go_on()
    disk.driver.forsake()
    assert_alive(rig)


def test_PVS_D_016_messages_first(rig: Rig, fresh: Driver) -> None:
    ppns = addresses(fresh.memory.pages(1))

    answer = fresh.command(Cmd.SETUP_MSG_RING, wire.SETUP_MSG_RING.encode(numPages=1, ringPPNs=ppns))

    assert answer == 34
    assert seen(rig, "PVS-D-016") == [("SETUP_MSG_RING", 0, 1)]


# -- 026, 027, 062: kicks ----------------------------------------------------------------------------------------------


def test_PVS_D_026_a_kick_with_a_value(rig: Rig) -> None:
    driver = rig.driver(strict=False)

    driver.kick_io(5)
    driver.kick_others(6)

    assert seen(rig, "PVS-D-026") == [("KICK_RW_IO", 5, 1), ("KICK_NON_RW_IO", 6, 1)]


def test_PVS_D_027_a_kick_before_there_are_rings(rig: Rig, fresh: Driver) -> None:
    fresh.kick_io()
    fresh.kick_others()

    assert seen(rig, "PVS-D-027") == [("KICK_RW_IO", 0, 1), ("KICK_NON_RW_IO", 0, 1)]
    assert seen(rig, "PVS-D-062") == []


def test_PVS_D_062_a_kick_after_a_reset_and_no_new_rings(rig: Rig) -> None:
    """As FreeBSD leaves its adapter when all else has failed."""
    driver = rig.driver(strict=False)
    driver.adapter_reset()

    driver.submit(cdb.inquiry(), read=36)

    assert seen(rig, "PVS-D-062") == [("KICK_NON_RW_IO", 0, 1)]
    driver.forsake()
    assert_alive(rig)


# -- 052 to 054: interrupts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0x10, 0xFFFF_FFFF, Intr.MSG_0])
def test_PVS_D_052_bits_there_are_not(rig: Rig, mask: int) -> None:
    driver = rig.driver(strict=False, msg_pages=0)

    driver.set_mask(mask)

    assert seen(rig, "PVS-D-052") == [("INTR_MASK", mask, 1)]


def test_PVS_D_052_unmasked_before_there_are_rings(rig: Rig, fresh: Driver) -> None:
    fresh.set_mask(0)
    fresh.set_mask(3)

    assert seen(rig, "PVS-D-052") == [("INTR_MASK", 3, 1)]


def test_PVS_D_053_acknowledging_what_is_not_set(rig: Rig) -> None:
    driver = rig.driver(strict=False)
    driver.run(cdb.inquiry(), read=36)

    driver.set_reg(wire.REG_INTR_STATUS, 3)  # as firmware does: bit 1 is never set

    assert seen(rig, "PVS-D-053") == [("INTR_STATUS", 3, 1)]


def test_PVS_D_054_an_intx_nobody_acknowledges(rig: Rig) -> None:
    driver = rig.driver(strict=False, intr="intx")
    driver.submit(cdb.inquiry(), read=36)
    rig.settle()
    driver.reap()

    rig.port.until(lambda: False, 10 * PATIENCE_NS / 1e9)

    assert [(place, count) for place, _, count in seen(rig, "PVS-D-054")] == [("INTx", 1)]


def test_PVS_D_054_says_nothing_of_messages(rig: Rig) -> None:
    driver = rig.driver(intr="msix", profile="linux")
    driver.run(cdb.inquiry(), read=36)

    rig.port.until(lambda: False, 10 * PATIENCE_NS / 1e9)

    assert not rig.broken()


# -- 056 to 061: the other commands ------------------------------------------------------------------------------------


def test_PVS_D_056_nothing_to_abort(rig: Rig) -> None:
    driver = rig.driver(strict=False)

    assert driver.abort_context(99, 0) == 0

    assert seen(rig, "PVS-D-056") == [("ABORT_CMD", 99, 1)]


def test_PVS_D_056_what_is_done_and_taken(rig: Rig) -> None:
    driver = rig.driver(strict=False)
    request = driver.run(cdb.inquiry(), read=36)

    driver.abort(request)

    assert seen(rig, "PVS-D-056") == [("ABORT_CMD", request.context, 1)]


def test_PVS_D_056_pad(make_rig: MakeRig) -> None:
    rig = make_rig({0: HELD})
    disk = rig.disk()
    (request,) = rig.held(disk)

    disk.driver.command(Cmd.ABORT_CMD, wire.ABORT_CMD.encode(context=request.context, target=0, pad=8))

    assert seen(rig, "PVS-D-056") == [("ABORT_CMD pad", 8, 1)]
    disk.driver.reap()
    assert request.done


@pytest.mark.parametrize(("target", "lun"), [(9, 0), (0x1_0000, 0), (0, 1)])
def test_PVS_D_057_a_target_or_lun_that_is_not_there(rig: Rig, target: int, lun: int) -> None:
    argument = wire.RESET_DEVICE.encode(target=target, lun=bytes((0, lun, 0, 0, 0, 0, 0, 0)))

    answer = rig.driver(strict=False).command(Cmd.RESET_DEVICE, argument)

    assert answer == (STATUS_FAILED if target else 0)
    assert seen(rig, "PVS-D-057") == [("RESET_DEVICE", target, 1)]


CONTROLLER = {"configPageAddress": wire.ADDRESS_CONTROLLER << 32, "configPageNum": wire.CONFIG_PAGE_CONTROLLER}


@pytest.mark.parametrize(
    ("at", "fields", "place"),
    [
        (2, CONTROLLER, "CONFIG"),
        (4000, CONTROLLER, "CONFIG"),
        (0, {**CONTROLLER, "pad": 1}, "CONFIG"),
        (0, {**CONTROLLER, "configPageNum": 0x1960}, "CONFIG page"),
        (0, {**CONTROLLER, "configPageNum": wire.CONFIG_PAGE_PHY}, "CONFIG page"),
    ],
    ids=["odd address", "over the end of a page", "pad", "page", "address type"],
)
def test_PVS_D_059_config(rig: Rig, fresh: Driver, at: int, fields: dict[str, int], place: str) -> None:
    page = fresh.memory.pages(1)[0]
    page.view[at : at + 16] = b"\x01" * 16

    fresh.command(Cmd.CONFIG, wire.CONFIG.encode(cmpAddr=page.address + at, **fields))

    assert [where for where, _, _ in seen(rig, "PVS-D-059")] == [place]


def test_PVS_D_059_a_header_that_says_success_already(rig: Rig, fresh: Driver) -> None:
    page = fresh.memory.pages(1)[0]
    page.view[:16] = bytes(16)

    assert fresh.command(Cmd.CONFIG, wire.CONFIG.encode(cmpAddr=page.address, **CONTROLLER)) == 0

    assert seen(rig, "PVS-D-059") == [("CONFIG header", page.address, 1)]


def test_PVS_D_060_neither_on_nor_off(rig: Rig) -> None:
    driver = rig.driver(strict=False)

    driver.command(Cmd.SETUP_REQCALLTHRESHOLD, (2).to_bytes(4, "little"))

    assert seen(rig, "PVS-D-060") == [("SETUP_REQCALLTHRESHOLD", 2, 1)]


def test_PVS_D_061_memory_goes_with_live_rings(rig: Rig) -> None:
    driver = rig.driver(strict=False)
    arena = rig.port.arena  # type: ignore[attr-defined]
    rig.device.mem.unmap(arena.base, arena.block.size)

    driver.kick_others()

    assert [(place, count) for place, _, count in seen(rig, "PVS-D-061")] == [("ring", 1)]
    assert not rig.device.active
    rig.device.mem.map(arena.base, arena.block.view)
    assert_alive(rig)


def test_PVS_D_061_bus_mastering_goes_with_live_rings(rig: Rig) -> None:
    rig.driver(strict=False)
    command = rig.port.read(CONFIG_REGION, 4, 2)

    set_master(rig.port, False)
    set_master(rig.port, False)
    set_master(rig.port, True)

    assert seen(rig, "PVS-D-061") == [("bus mastering", command & ~4, 1)]
    assert_alive(rig)


def test_PVS_D_061_says_nothing_after_a_reset(rig: Rig) -> None:
    driver = rig.driver()
    driver.close()

    set_master(rig.port, False)
    set_interrupts(rig.port, driver.facts(), "intx")

    assert not rig.broken()
