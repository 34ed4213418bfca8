"""VMXNET3 device rules 003 to 011, 071 to 076 and hostile case 37: negotiation and commands, by version."""

from typing import Any

import pytest

from vmxnet3 import wire
from vmxnet3.conform.rig import Can, MakeRig, Rig, frame
from vmxnet3.driver import KNOWN_VERSIONS, Config, Driver, Scheme
from vmxnet3.driver.profiles import PROFILES
from vmxnet3.wire import SINCE, Cap, Cmd, Event, Feature, RssField
from vmxnet3.wire_args import Coalesce

SMALL: dict[str, Any] = {"tx_ring": 32, "rx_ring0": 32, "rx_ring1": 32}
MANY: dict[str, Any] = {**SMALL, "body_size": 512}  # for queues by the dozen


def both_ways(rig: Rig, driver: Driver, seed: int = 0) -> None:
    """Frames of many sizes pass unchanged in both directions."""
    frames = [frame(size, seed=seed + size) for size in (60, 128, 129, 700, 1514)]
    for data in frames:
        driver.send(data)
    assert rig.sent(len(frames)) == frames
    rig.reap(driver, len(frames))
    rig.feed(*frames)
    assert [packet.data for packet in rig.got(driver, len(frames))] == frames


# -- versions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("newest", KNOWN_VERSIONS)
def test_VMX_V_003_ones_up_to_the_version_offered(make_rig: MakeRig, newest: int) -> None:
    rig = make_rig(version=newest)
    driver = rig.blank()

    before = driver.reg(wire.REG_VRRS)
    driver.bring_up()

    assert before == (1 << newest) - 1
    assert driver.version == newest
    assert driver.reg(wire.REG_VRRS) == before


@pytest.mark.parametrize("version", KNOWN_VERSIONS)
def test_VMX_V_003_all_stay_offered_whichever_is_chosen(rig: Rig, version: int) -> None:
    rig.need_version(version)
    driver = rig.blank()
    before = driver.reg(wire.REG_VRRS)

    driver.bring_up(version=version)

    assert [driver.reg(wire.REG_VRRS) for _ in range(2)] == [before, before]


@pytest.mark.parametrize("version", KNOWN_VERSIONS)
def test_VMX_V_011_activate_at_every_version(rig: Rig, version: int) -> None:
    driver = rig.driver(version=version)

    both_ways(rig, driver)

    assert driver.queue_status() == ([(False, 0)], [(False, 0)])
    assert rig.kept("VMX-D-006", "VMX-D-018", "VMX-D-021", "VMX-D-023")


BY_PROFILE = [
    (name, version) for name, profile in PROFILES.items() for version in KNOWN_VERSIONS if version <= profile.newest
]


OFFENCES = {  # what shipping drivers are known for
    "dpdk": {"VMX-D-006", "VMX-D-009"},
    "freebsd": {"VMX-D-053"},
    "openbsd": {"VMX-D-030"},
    "ipxe": {"VMX-D-053"},
}


@pytest.mark.parametrize(("profile", "version"), [pair for pair in BY_PROFILE if pair[0] != "plain"])
def test_VMX_V_011_every_driver_at_every_version_it_knows(rig: Rig, profile: str, version: int) -> None:
    driver = rig.driver(profile=profile, version=version)

    for n in range(3):
        driver.send(frame(100, seed=n))

    assert rig.sent(3) == [frame(100, seed=n) for n in range(3)]
    assert rig.carried(driver, frame(90, seed=5)) == [frame(90, seed=5)]
    driver.stop()
    driver.bring_up(profile=profile, version=version)
    assert rig.carried(driver, frame(91, seed=6)) == [frame(91, seed=6)]
    assert not rig.can(Can.RULES) or rig.broken() <= OFFENCES.get(profile, set())


@pytest.mark.parametrize("version", KNOWN_VERSIONS)
def test_VMX_V_011_up_and_down_again(rig: Rig, version: int) -> None:
    driver = rig.driver(profile="linux", version=version, **SMALL)

    for n in range(4):
        both_ways(rig, driver, seed=n)
        driver.stop()
        driver.open()
    both_ways(rig, driver)


def test_VMX_V_007_one_version_after_the_other(rig: Rig) -> None:
    rig.need_version(2)
    driver = rig.blank()

    for version in (rig.offered(), 1, 2, rig.offered()):
        driver.bring_up(version=version, **SMALL)
        both_ways(rig, driver, seed=version)
        driver.quiesce()
        driver.reset()


def test_VMX_V_007_version_and_capabilities_survive(rig: Rig) -> None:
    driver = rig.driver(version=9, **SMALL)
    caps = driver.caps

    driver.quiesce()
    quiesced = driver.command(Cmd.GET_DCR0_REG)
    driver.reset()
    reset = driver.command(Cmd.GET_DCR0_REG)
    driver.open()

    assert (quiesced, reset) == (caps, caps)
    assert caps, "no capability was had that could be lost"
    both_ways(rig, driver)
    assert rig.kept("VMX-D-002", "VMX-D-034")


def test_VMX_V_007_capabilities_survive_d3(rig: Rig) -> None:
    driver = rig.driver(version=7, **SMALL)
    caps = driver.caps

    driver.suspend()
    driver.resume()

    assert driver.command(Cmd.GET_DCR0_REG) == caps
    both_ways(rig, driver)
    assert rig.kept("VMX-D-002", "VMX-D-034")


def test_VMX_V_076_function_reset_forgets_version_and_capabilities(rig: Rig) -> None:
    driver = rig.driver(version=9, **SMALL)

    driver.reset_function()
    forgotten = [driver.command(cmd) for cmd in (Cmd.GET_DCR0_REG, Cmd.GET_MAX_QUEUES_CONF, Cmd.GET_TXDATA_DESC_SIZE)]
    driver.bring_up(version=9, caps=Cap(0), **SMALL)

    assert forgotten == [0, 0, 0]
    assert driver.caps == 0
    both_ways(rig, driver)


NEWER = [(cmd, since - 1) for cmd, since in SINCE.items()]


@pytest.mark.parametrize(("cmd", "version"), NEWER, ids=[cmd.name for cmd, _ in NEWER])
def test_VMX_V_005_commands_of_later_versions_have_no_effect(rig: Rig, cmd: Cmd, version: int) -> None:
    driver = rig.driver(version=version, **SMALL)
    driver.command(Cmd.GET_LINK)
    driver.carry(b"\xff" * 4)
    before = rig.snapshot()

    answer = driver.command(cmd)

    assert answer == 0
    assert rig.snapshot() == before
    both_ways(rig, driver)


@pytest.mark.parametrize("version", [6, 9])
def test_VMX_V_010_questions_are_answered_in_every_state(rig: Rig, version: int) -> None:
    rig.need_version(version)
    driver = rig.blank()
    driver.config = Config(version=version, **SMALL)
    driver.probe()

    def answers() -> list[int]:
        return [driver.command(cmd) for cmd, since in SINCE.items() if since <= version and cmd in QUESTIONS]

    fresh = answers()
    driver.open()
    active = answers()
    driver.quiesce()
    quiesced = answers()
    driver.reset()

    assert [active, quiesced, answers()] == [fresh] * 3
    assert 0 not in fresh[:3]


QUESTIONS = (Cmd.GET_TXDATA_DESC_SIZE, Cmd.GET_MAX_QUEUES_CONF, Cmd.GET_DCR0_REG, Cmd.GET_MAX_CAPABILITIES)


# -- version 3 -------------------------------------------------------------------------------------------------------

SCHEMES = [
    Scheme(Coalesce.DISABLED),
    Scheme(Coalesce.ADAPT),
    Scheme(Coalesce.STATIC, 64, 32, 16),
    Scheme(Coalesce.STATIC, 128, 128, 128),
    Scheme(Coalesce.RBC, 100),
    Scheme(Coalesce.RBC, 100_000),
]


@pytest.mark.parametrize("version", [3, 9])
def test_VMX_V_071_coalescing_comes_back_as_set(rig: Rig, version: int) -> None:
    driver = rig.driver(version=version)

    for scheme in SCHEMES:
        assert driver.set_coalesce(scheme) == 0
        assert driver.get_coalesce() == scheme
    both_ways(rig, driver)


BAD_SCHEMES = [
    Scheme(4),
    Scheme(Coalesce.STATIC, 129, 1, 1),
    Scheme(Coalesce.STATIC, 1, 129, 1),
    Scheme(Coalesce.STATIC, 1, 1, 0xFFFF_FFFF),
    Scheme(Coalesce.RBC, 99),
    Scheme(Coalesce.RBC, 100_001),
    Scheme(Coalesce.RBC, 0),
]


@pytest.mark.parametrize("scheme", BAD_SCHEMES)
def test_VMX_V_071_bad_schemes_are_refused(rig: Rig, scheme: Scheme) -> None:
    driver = rig.driver(version=3)
    good = SCHEMES[2]
    driver.set_coalesce(good)

    answer = driver.set_coalesce(scheme)

    assert answer != 0
    assert driver.get_coalesce() == good
    both_ways(rig, driver)


def test_VMX_V_071_hints_are_taken(rig: Rig) -> None:
    driver = rig.driver(version=3)

    answers = [driver.register_memregs(), driver.set_polling(True), driver.set_polling(False)]

    assert answers == [0, 0, 0]
    both_ways(rig, driver)


# -- version 4 -------------------------------------------------------------------------------------------------------

TCP_FIELDS = RssField.TCPIP4 | RssField.TCPIP6
FIELD_SETS = [
    TCP_FIELDS,
    RssField.TCPIP4,
    TCP_FIELDS | RssField.UDPIP4,
    TCP_FIELDS | RssField.UDPIP4 | RssField.UDPIP6 | RssField.ESPIP4,
]


@pytest.mark.parametrize("version", [4, 6, 7, 9])
def test_VMX_V_072_hash_fields_come_back_as_set(rig: Rig, version: int) -> None:
    driver = rig.driver(version=version, rx_queues=2, **SMALL)

    before = driver.get_rss_fields()
    found = []
    for fields in FIELD_SETS:
        assert driver.set_rss_fields(fields) == 0
        found.append(driver.get_rss_fields())

    assert before & TCP_FIELDS == TCP_FIELDS
    assert found == FIELD_SETS


def test_VMX_V_072_fields_of_later_versions_are_not_taken(rig: Rig) -> None:
    driver = rig.driver(version=5, rx_queues=2, **SMALL)

    driver.set_rss_fields(TCP_FIELDS | RssField.ESPIP6 | RssField(0x8000_0000))

    assert driver.get_rss_fields() & ~TCP_FIELDS == 0


# -- version 6 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [6, 7, 9])
def test_VMX_V_073_most_queues(rig: Rig, version: int) -> None:
    driver = rig.driver(version=version)

    tx, rx = driver.max_queues()

    assert 1 <= tx <= 32
    assert 1 <= rx <= 32


@pytest.mark.parametrize("queues", [(1, 1), (4, 8), (32, 32)])
def test_VMX_V_073_most_queues_of_other_devices(make_rig: MakeRig, queues: tuple[int, int]) -> None:
    rig = make_rig(queues=queues)

    assert rig.driver(version=6).max_queues() == queues


@pytest.mark.parametrize("version", [1, 3, 5, 6])
def test_VMX_V_073_short_shared_area_is_not_overrun(rig: Rig, version: int) -> None:
    driver = rig.driver(profile="linux", version=version)
    if rig.can(Can.LINK):
        rig.set_link(False)
        rig.set_link(True)
        driver.ack_events()
    driver.stats()
    driver.queue_status()
    both_ways(rig, driver)

    assert not driver.extended
    driver.audit()  # the bytes from 720 on are watched


@pytest.mark.parametrize("queues", [1, 2])
def test_VMX_V_073_extended_interrupts_of_few_queues(rig: Rig, queues: int) -> None:
    driver = rig.driver(version=6, tx_queues=queues, rx_queues=queues, ext_intr=True, **SMALL)

    driver.send(frame(seed=1), queue=queues - 1)
    fired = rig.interrupts(1 << queues - 1)

    assert driver.shared["numIntrs"] == 0
    assert fired == 1 << queues - 1
    assert rig.sent(1) == [frame(seed=1)]


def test_VMX_V_073_65_vectors(rig: Rig) -> None:
    driver = rig.driver(version=6, tx_queues=32, rx_queues=32, **MANY)

    driver.send(frame(seed=1), queue=31)
    sent = rig.interrupts(1 << 31)
    rig.feed(frame(seed=2))
    received = rig.interrupts(1 << 32)

    assert (driver.num_intrs, driver.event_vector) == (65, 64)
    assert (sent, received) == (1 << 31, 1 << 32)


def test_VMX_V_073_events_by_the_last_vector(rig: Rig) -> None:
    driver = rig.driver(version=6, tx_queues=32, rx_queues=32, **MANY)

    rig.set_link(False)
    fired = rig.interrupts(1 << 64)

    assert fired == 1 << 64
    assert driver.ack_events() == Event.LINK


def test_VMX_V_073_automatic_masks_of_the_extended_area(rig: Rig) -> None:
    driver = rig.driver(version=6, ext_intr=True, auto_mask=True, **SMALL)

    rig.feed(frame(seed=1))
    fired = rig.interrupts(1 << 1)

    assert fired == 1 << 1
    assert [driver.imr(n) for n in range(3)] == [0, 1, 0]


def test_VMX_V_073_a_count_that_is_no_power_of_two(rig: Rig) -> None:
    driver = rig.driver(version=6, tx_queues=3, rx_queues=5, **MANY)

    for queue in range(3):
        driver.send(frame(seed=queue), queue=queue)

    assert sorted(rig.sent(3)) == sorted(frame(seed=queue) for queue in range(3))
    assert rig.carried(driver, frame(seed=8)) == [frame(seed=8)]


# -- version 7 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [7, 8, 9])
def test_VMX_V_074_capabilities_are_what_was_asked_for_and_is_there(rig: Rig, version: int) -> None:
    driver = rig.driver(version=version)
    single = [Cap(1 << bit) for bit in range(10)]

    found = [driver.request_caps(cap | driver.caps & Cap.LARGE_BAR) for cap in single]

    large = driver.caps & Cap.LARGE_BAR
    assert found == [cap & driver.dcr | large for cap in single]
    assert driver.reg(wire.REG_DCR) == driver.dcr  # what is offered does not change


@pytest.mark.parametrize("version", [7, 9])
def test_VMX_V_074_nothing_is_passed_through(rig: Rig, version: int) -> None:
    driver = rig.driver(version=version)

    driver.set_reg(wire.REG_PTCR, 0xFFFF)

    assert driver.ptcr & Cap.ERROR
    assert driver.reg(wire.REG_PTCR) & Cap.ERROR
    assert not driver.dcr & Cap.ERROR


@pytest.mark.parametrize("version", [1, 6])
def test_VMX_V_074_older_versions_have_no_capabilities(rig: Rig, version: int) -> None:
    driver = rig.driver(version=version)

    driver.set_reg(wire.REG_DCR, 0xFFFF_FFFF)

    assert driver.command(Cmd.GET_DCR0_REG) == 0
    both_ways(rig, driver)


def test_VMX_V_074_an_older_driver_afterwards_finds_its_bells(rig: Rig) -> None:
    driver = rig.driver(version=7, **SMALL)
    driver.quiesce()
    driver.reset()

    driver.bring_up(version=1, **SMALL)

    assert driver.bells == (wire.REG_TXPROD, wire.REG_RXPROD, wire.REG_RXPROD2)
    both_ways(rig, driver)
    assert rig.kept("VMX-D-034")


def test_VMX_V_074_ring_buffer_sizes_are_taken(rig: Rig) -> None:
    driver = rig.driver(version=7)

    assert driver.set_ring_buffer_size() == 0
    both_ways(rig, driver)


def test_hostile_37_every_capability_asked_for(rig: Rig) -> None:
    driver = rig.driver(version=7, caps=Cap(0), **SMALL)
    driver.quiesce()

    driver.set_reg(wire.REG_DCR, 0xFFFF_FFFF)
    found = driver.command(Cmd.GET_DCR0_REG)

    assert found & ~int(driver.dcr) == 0
    assert found & Cap.ERROR == 0
    driver.asked = Cap(found)
    driver.know_caps(found)
    driver.open()
    both_ways(rig, driver)
    assert not rig.can(Can.RULES) or "VMX-D-005" in rig.broken()


@pytest.mark.parametrize("start", [Cap(0), Cap.LARGE_BAR])
def test_hostile_37_large_bar_switched_while_active(rig: Rig, start: Cap) -> None:
    driver = rig.driver(version=7, caps=start, **SMALL)
    bells = driver.bells

    driver.set_reg(wire.REG_DCR, int(Cap.LARGE_BAR ^ start))

    assert driver.command(Cmd.GET_DCR0_REG) == start & driver.dcr
    assert driver.bells == bells
    both_ways(rig, driver)
    assert not rig.can(Can.RULES) or "VMX-D-004" in rig.broken()


# -- version 9 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("disabled", range(4))
def test_VMX_V_075_disabled_offloads(make_rig: MakeRig, disabled: int) -> None:
    rig = make_rig(disabled_offloads=disabled)

    assert rig.driver(version=9).disabled_offloads() == (bool(disabled & 1), bool(disabled & 2))


def test_VMX_V_075_large_receive_the_host_does_not_want(make_rig: MakeRig) -> None:
    rig = make_rig(disabled_offloads=2)

    driver = rig.driver(profile="linux", version=9, features=Feature.RXCSUM | Feature.LRO)

    assert driver.shared["uptFeatures"] == Feature.RXCSUM
    both_ways(rig, driver)


def test_VMX_V_075_time_stamp_slots(rig: Rig) -> None:
    driver = rig.driver(version=9)

    answer = driver.command(Cmd.GET_TSRING_DESC_SIZE)

    sizes = [answer & 0xFF, answer >> 16 & 0xFF]
    assert answer & ~0x00FF_00FF == 0
    assert [size % 64 for size in sizes] == [0, 0]
