"""PVSCSI device rules 020 to 028 and 039 to 043: the command protocol, rings, CONFIG and the optional commands."""

import pytest

from pvscsi import wire
from pvscsi.conform.rig import Drive, MakeRig, Rig
from pvscsi.driver import Driver, cdb
from pvscsi.driver.common import GUARD
from pvscsi.driver.memory import Piece, addresses
from pvscsi.driver.rings import MSG_LOG2, THRESHOLD, Rings
from pvscsi.wire import ARGUMENTS, STATUS_FAILED, Cmd

NOWHERE = 0x4000_0000_0000  # no driver ever lent this
HELD = Drive(held=True)


def rings_of(driver: Driver) -> Rings:
    assert driver.rings is not None
    return driver.rings


def setup_arguments(driver: Driver, **changed: int | list[int]) -> bytes:
    """Of SETUP_RINGS on fresh pages, some of it changed."""
    state, requests, completions = (driver.memory.pages(1)[0].ppn for _ in range(3))
    values: dict[str, int | list[int]] = {
        "reqRingNumPages": 1,
        "cmpRingNumPages": 1,
        "ringsStatePPN": state,
        "reqRingPPNs": [requests] * 32,
        "cmpRingPPNs": [completions] * 32,
    }
    return wire.SETUP_RINGS.encode(**{**values, **changed})


# -- the protocol ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [0, 12, 13, 255, 0xFFFF_FFFF])
def test_PVS_V_020_unknown_commands(rig: Rig, command: int) -> None:
    driver = rig.driver()
    before = rig.snapshot()

    answers = [driver.command(command)]
    for _ in range(200):
        driver.set_reg(wire.REG_COMMAND_DATA, 1)
    answers.append(driver.status())

    assert answers == [STATUS_FAILED, STATUS_FAILED]
    assert rig.snapshot() == before
    assert driver.run(cdb.inquiry(), read=36).done


def test_PVS_V_020_data_without_a_command(rig: Rig) -> None:
    driver = rig.driver()

    for _ in range(1000):
        driver.set_reg(wire.REG_COMMAND_DATA, 0xFFFF_FFFF)

    assert driver.run(cdb.inquiry(), read=36).done


def test_PVS_V_021_bare_message_ring_command(rig: Rig) -> None:
    assert rig.blank().command(Cmd.SETUP_MSG_RING) == 34


def test_PVS_V_021_revision_1_has_no_messages(make_rig: MakeRig) -> None:
    driver = make_rig(revision=1).driver()

    assert driver.facts().revision == 1
    assert driver.command(Cmd.SETUP_MSG_RING) == STATUS_FAILED
    assert not rings_of(driver).told


@pytest.mark.parametrize("command", [Cmd.SETUP_RINGS, Cmd.SETUP_MSG_RING, Cmd.ABORT_CMD, Cmd.CONFIG, Cmd.RESET_DEVICE])
@pytest.mark.parametrize("words", ["none", "all but one"])
def test_PVS_V_022_a_new_command_drops_a_half_sent_one(rig: Rig, command: Cmd, words: str) -> None:
    driver = rig.driver()
    before = rig.snapshot()
    count = 0 if words == "none" else ARGUMENTS[command] - 1

    driver.command_only(command, bytes(4 * count))
    answer = driver.command(Cmd.SETUP_MSG_RING)  # what a driver probes with
    driver.set_reg(wire.REG_COMMAND, Cmd.SETUP_REQCALLTHRESHOLD)

    assert answer not in (STATUS_FAILED, 0)
    assert rig.snapshot() == before
    assert driver.run(cdb.inquiry(), read=36).good


def test_PVS_V_023_commands_are_done_when_their_last_write_returns(rig: Rig) -> None:
    driver = rig.blank()
    argument = setup_arguments(driver)
    state = driver.memory.pages(1)[0]
    argument = argument[:8] + state.ppn.to_bytes(8, "little") + argument[16:]

    driver.command_only(Cmd.SETUP_RINGS, argument[:-4])
    before = bytes(state.view[:28])
    driver.set_reg(wire.REG_COMMAND_DATA, int.from_bytes(argument[-4:], "little"))
    after = wire.RINGS_STATE.numbers(bytes(state.view[:140]))

    assert before == bytes(28)
    assert (after["reqNumEntriesLog2"], after["cmpNumEntriesLog2"]) == (5, 7)
    driver.command_only(Cmd.ADAPTER_RESET)


def test_PVS_V_023_a_page_is_there_without_a_read(rig: Rig) -> None:
    driver = rig.blank()
    piece = driver.memory.take(480, 4096)
    argument = wire.CONFIG.encode(
        cmpAddr=piece.address,
        configPageAddress=wire.ADDRESS_CONTROLLER << 32,
        configPageNum=wire.CONFIG_PAGE_CONTROLLER,
    )

    driver.command_only(Cmd.CONFIG, argument)

    assert wire.CONFIG_HEADER.numbers(bytes(piece.view[:16]))["numDwords"] == 120


# -- rings -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("req_pages", [1, 2, 4, 8, 16, 32])
@pytest.mark.parametrize("cmp_pages", [1, 8, 32])
def test_PVS_V_024_sizes_are_told(rig: Rig, req_pages: int, cmp_pages: int) -> None:
    driver = rig.blank()
    driver.bring_up(req_pages=req_pages, cmp_pages=cmp_pages)  # looks at log2 fields and indices

    assert driver.run(cdb.inquiry(), read=36).good


@pytest.mark.parametrize("ring", ["req", "cmp"])
@pytest.mark.parametrize("count", [0, 3, 5, 31, 33, 64, 0x8000_0000, 0xFFFF_FFFF])
def test_PVS_V_025_page_counts_that_may_not_be(rig: Rig, ring: str, count: int) -> None:
    driver = rig.driver()
    argument = setup_arguments(driver, **{f"{ring}RingNumPages": count})
    before = rig.snapshot()

    answer = driver.command(Cmd.SETUP_RINGS, argument)

    assert answer == STATUS_FAILED
    assert rig.snapshot() == before
    assert driver.run(cdb.inquiry(), read=36).good  # the rings there were go on


@pytest.mark.parametrize("which", ["state", "request", "last request", "completion", "beyond 2^52", "page 0"])
def test_PVS_V_026_pages_nobody_mapped(rig: Rig, which: str) -> None:
    driver = rig.driver()
    good = [page.ppn for page in driver.memory.pages(4)]
    nowhere = {"beyond 2^52": (1 << 52) + good[0], "page 0": 0}.get(which, NOWHERE >> 12)
    changed: dict[str, dict[str, int | list[int]]] = {
        "state": {"ringsStatePPN": nowhere},
        "last request": {"reqRingNumPages": 4, "reqRingPPNs": [*good[:3], nowhere]},
        "completion": {"cmpRingPPNs": [nowhere]},
    }
    argument = setup_arguments(driver, **changed.get(which, {"reqRingPPNs": [nowhere]}))
    before = rig.snapshot()

    answer = driver.command(Cmd.SETUP_RINGS, argument)

    assert answer == STATUS_FAILED
    assert rig.snapshot() == before
    assert driver.run(cdb.inquiry(), read=36).good


def test_PVS_V_027_rings_over_live_ones(make_rig: MakeRig) -> None:
    rig = make_rig({0: HELD})
    disk = rig.disk(req_pages=1, cmp_pages=1)
    driver, old = disk.driver, rings_of(disk.driver)
    rig.held(disk, 8)
    driver.command_only(Cmd.SETUP_RINGS, setup_arguments(driver))
    driver.set_mask(0)
    pages = [bytes(page.view) for page in (old.page, *old.requests.pages, *old.completions.pages)]

    rig.go_on()

    assert [bytes(page.view) for page in (old.page, *old.requests.pages, *old.completions.pages)] == pages
    driver.command_only(Cmd.ADAPTER_RESET)
    driver.reap()
    driver.forsake()


@pytest.mark.parametrize("pages", [1, 2, 4, 8, 16])
def test_PVS_V_028_message_ring_sizes(rig: Rig, pages: int) -> None:
    driver = rig.driver(msg_pages=pages)

    assert rings_of(driver).state[MSG_LOG2] == (32 * pages).bit_length() - 1


def test_PVS_V_028_before_the_other_rings(rig: Rig) -> None:
    driver = rig.blank()
    page = driver.memory.pages(1)[0]
    before = rig.snapshot()

    answer = driver.command(Cmd.SETUP_MSG_RING, wire.SETUP_MSG_RING.encode(numPages=1, ringPPNs=[page.ppn]))

    assert answer == 34
    assert rig.snapshot() == before


@pytest.mark.parametrize("count", [0, 3, 17, 32, 0xFFFF_FFFF])
def test_PVS_V_028_page_counts_that_may_not_be(rig: Rig, count: int) -> None:
    driver = rig.driver()
    pages = addresses(driver.memory.pages(16))
    before = rig.snapshot()

    answer = driver.command(Cmd.SETUP_MSG_RING, wire.SETUP_MSG_RING.encode(numPages=count, ringPPNs=pages))

    assert answer == STATUS_FAILED
    assert rig.snapshot() == before


# -- configuration -----------------------------------------------------------------------------------------------------


def test_PVS_V_039_controller_page(rig: Rig) -> None:
    driver = rig.blank()

    page = driver.config_page(wire.CONFIG_PAGE_CONTROLLER, wire.ADDRESS_CONTROLLER << 32)

    assert page.answer == 0
    assert page.header == {"pageNum": 0x1958, "numDwords": 120, "hostStatus": 0, "scsiStatus": 0}
    values = wire.CONFIG_CONTROLLER.decode(page.raw[:480])
    assert values["numPhys"] == 65
    assert isinstance(values["manufacturer"], bytes)
    assert values["manufacturer"].decode("utf-16-le").strip("\0").isprintable()


def test_PVS_V_039_at_the_end_of_a_page(rig: Rig) -> None:
    driver = rig.blank()

    page = driver.config_page(wire.CONFIG_PAGE_CONTROLLER, wire.ADDRESS_CONTROLLER << 32, at=4096 - 480)

    assert page.ok


@pytest.mark.parametrize(
    ("number", "address"),
    [
        (0, 0),
        (0x1957, wire.ADDRESS_CONTROLLER << 32),
        (0x1958, wire.ADDRESS_PHY << 32),
        (0x1958, 0),
        (0x1959, wire.ADDRESS_CONTROLLER << 32),
        (0x1959, wire.ADDRESS_PHY << 32 | 0xFFFF),
        (0x195A, wire.ADDRESS_BUSTARGET << 32 | 1 << 16),
        (0x195A, wire.ADDRESS_BUSTARGET << 32 | 60),
        (0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF),
    ],
)
def test_PVS_V_040_pages_there_are_not(rig: Rig, number: int, address: int) -> None:
    driver = rig.blank()

    page = driver.config_page(number, address)  # looks at what lies behind the header

    assert page.answer == STATUS_FAILED
    assert page.header["hostStatus"] != 0
    assert page.header["scsiStatus"] != 0


@pytest.mark.parametrize("address", [NOWHERE, 2, 4096 - 100], ids=["unmapped", "unaligned", "across a page"])
def test_PVS_V_040_bad_places(rig: Rig, address: int) -> None:
    driver = rig.blank()
    piece = driver.memory.take(8192, 4096)
    at = address if address == NOWHERE else piece.address + address

    answer = driver.command(
        Cmd.CONFIG,
        wire.CONFIG.encode(
            cmpAddr=at, configPageAddress=wire.ADDRESS_CONTROLLER << 32, configPageNum=wire.CONFIG_PAGE_CONTROLLER
        ),
    )

    assert answer == STATUS_FAILED
    assert not bytes(piece.view).strip(bytes([GUARD]))


def test_PVS_V_040_number_of_targets_by_command(rig: Rig) -> None:
    driver = rig.blank()
    page = driver.controller_page()

    assert page is not None
    assert driver.max_targets() == page["numPhys"]


def test_PVS_V_040_phy_and_device_pages(rig: Rig) -> None:
    driver = rig.blank()
    phy = driver.config_page(wire.CONFIG_PAGE_PHY, wire.ADDRESS_PHY << 32)
    device = driver.config_page(wire.CONFIG_PAGE_DEVICE, wire.ADDRESS_BUSTARGET << 32)
    empty = driver.config_page(wire.CONFIG_PAGE_PHY, wire.ADDRESS_PHY << 32 | 60)

    facts = [wire.CONFIG_PHY.numbers(page.raw[:40]) for page in (phy, empty)]
    disk = wire.CONFIG_DEVICE.numbers(device.raw[:40])
    assert [page.header["numDwords"] for page in (phy, device, empty)] == [10, 10, 10]
    assert facts[0]["attachedDeviceWWN"] == disk["deviceWWN"] != 0
    assert facts[0]["phyWWN"] == disk["phyWWN"] != facts[1]["phyWWN"]
    assert facts[1]["attachedDeviceWWN"] == 0
    assert (disk["target"], disk["bus"], disk["phyNum"]) == (0, 0, 0)


# -- the rest ----------------------------------------------------------------------------------------------------------


def with_calls(driver: Driver) -> Driver:
    if driver.command(Cmd.SETUP_REQCALLTHRESHOLD) == STATUS_FAILED:
        pytest.skip("this device has no request call threshold")
    return driver


def test_PVS_V_042_call_threshold_on_and_off(rig: Rig) -> None:
    driver = with_calls(rig.driver(calls=False))
    state = rings_of(driver).state

    on = driver.set_calls(True)
    rig.settle()
    during = state[THRESHOLD]
    off = driver.set_calls(False)
    driver.run(cdb.TEST_UNIT_READY)
    rig.settle()

    assert (on, off) == (True, False)
    assert during <= 1
    assert state[THRESHOLD] <= 1


def test_PVS_V_042_a_reset_forgets_it(rig: Rig) -> None:
    driver = with_calls(rig.driver(profile="linux"))
    assert driver.calls

    driver.reset_host()
    driver.run(cdb.TEST_UNIT_READY)

    assert rings_of(driver).state[THRESHOLD] == 0


@pytest.mark.parametrize("command", [Cmd.ISSUE_SCSI, Cmd.DEVICE_UNPLUG])
def test_PVS_V_043_optional_commands(rig: Rig, command: Cmd) -> None:
    driver = rig.driver()

    answer = driver.command(command)

    assert answer in (STATUS_FAILED, ARGUMENTS[command])
    if answer == STATUS_FAILED:
        before = rig.snapshot()
        for _ in range(ARGUMENTS[command]):
            driver.set_reg(wire.REG_COMMAND_DATA, 0x1000)
        assert rig.snapshot() == before


def test_PVS_V_043_issue_scsi(rig: Rig) -> None:
    driver = rig.driver()
    if driver.command(Cmd.ISSUE_SCSI) == STATUS_FAILED:
        pytest.skip("this device has no ISSUE_SCSI")
    request, completion = driver.memory.take(128, 4096, fill=0), driver.memory.take(32, 64, fill=0)
    data: Piece = driver.memory.take(36)
    request.view[:] = wire.REQUEST.encode(
        context=7, dataAddr=data.address, dataLen=36, flags=wire.Flag.DIR_TOHOST, cdb=cdb.inquiry(), cdbLen=6, tag=0x20
    )

    driver.command(Cmd.ISSUE_SCSI, wire.ISSUE_SCSI.encode(reqAddr=request.address, cmpAddr=completion.address))
    found = wire.COMPLETION.numbers(bytes(completion.view))

    assert (found["context"], found["dataLen"], found["hostStatus"], found["scsiStatus"]) == (7, 36, 0, 0)
