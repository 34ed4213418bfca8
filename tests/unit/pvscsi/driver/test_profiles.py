"""Bring-up and close as drivers in the field do it: the register accesses, one by one."""

import pytest

from pvdev.errors import ConfigError
from pvscsi.driver import PROFILES, Driver, cdb
from pvscsi.wire import Flag
from tests.unit.pvscsi.driver.puppet import Puppet

BRING_UP = {
    "linux": "C(7,+6) C(1,+0) C(8,+0) R(STATUS) C(3,+132) C(8,+34) C(10,+0) R(STATUS) C(10,+1) R(STATUS) "
    "W(INTR_MASK)=0xf",
    "freebsd": "C(11,+0) R(STATUS) C(8,+0) R(STATUS) C(1,+0) R(INTR_STATUS) C(3,+132) C(8,+34) C(10,+0) R(STATUS) "
    "C(10,+1) R(STATUS) W(INTR_MASK)=0xf",
    "netbsd": "C(11,+0) R(STATUS) C(8,+0) R(STATUS) C(1,+0) R(INTR_STATUS) C(3,+132) C(8,+34) W(INTR_MASK)=0xf",
    "openbsd": "W(INTR_MASK)=0x0 C(8,+0) R(STATUS) C(7,+6) C(3,+132) C(8,+34) W(INTR_MASK)=0xf",
    "illumos": "C(1,+0) C(3,+132) C(8,+34) W(INTR_MASK)=0xf",
    "ovmf": "C(1,+0) C(3,+132)",
    "seabios": "C(1,+0) C(3,+132)",
}


@pytest.mark.parametrize("profile", BRING_UP)
def test_register_accesses_of_bring_up(puppet: Puppet, profile: str) -> None:
    Driver(puppet).bring_up(profile=profile)

    assert puppet.said() == BRING_UP[profile].split()


def test_without_messages_and_calls(puppet: Puppet) -> None:
    puppet.refused = (8, 10)

    driver = Driver(puppet).bring_up(profile="linux")

    assert puppet.said()[2:] == ["C(8,+0)", "R(STATUS)", "C(3,+132)", "C(10,+0)", "R(STATUS)", "W(INTR_MASK)=0x3"]
    assert (driver.has_messages, driver.calls) == (False, False)


@pytest.mark.parametrize(
    ("profile", "ring", "contexts"),
    [
        ("linux", 1024, [1, 2]),
        ("openbsd", 64, [0xDEADBEEF00000000, 0xDEADBEEF00000001]),
        ("ovmf", 32, [0, 0]),
    ],
)
def test_ring_sizes_and_contexts(puppet: Puppet, profile: str, ring: int, contexts: list[int]) -> None:
    driver = Driver(puppet).bring_up(profile=profile)
    assert driver.rings is not None

    driver.submit(cdb.TEST_UNIT_READY)
    driver.submit(cdb.TEST_UNIT_READY)

    assert driver.rings.requests.entries == ring
    assert [puppet.request(driver, n)["context"] for n in range(2)] == contexts


def test_few_targets_few_pages(puppet: Puppet) -> None:
    puppet.phys = None

    driver = Driver(puppet).bring_up(profile="linux")

    assert driver.rings is not None
    assert (driver.targets, driver.rings.requests.entries) == (16, 256)


def test_openbsd_wants_the_controller_page(puppet: Puppet) -> None:
    puppet.phys = None

    with pytest.raises(ConfigError, match="does not attach"):
        Driver(puppet).bring_up(profile="openbsd")


@pytest.mark.parametrize(
    ("profile", "kicks"),
    [("plain", ["NON_RW", "RW"]), ("ovmf", ["RW", "RW"]), ("seabios", ["RW", "RW"]), ("openbsd", ["NON_RW", "RW"])],
)
def test_which_register_is_kicked(puppet: Puppet, profile: str, kicks: list[str]) -> None:
    driver = Driver(puppet).bring_up(profile=profile)
    puppet.log.clear()

    driver.submit(cdb.TEST_UNIT_READY)
    driver.submit(cdb.read(0, 1), read=512)

    assert puppet.said() == [f"W(KICK_{kick})=0x0" for kick in kicks]


def test_seabios_fills_in_less(puppet: Puppet) -> None:
    driver = Driver(puppet).bring_up(profile="seabios")

    driver.submit(cdb.TEST_UNIT_READY)
    sent = puppet.request(driver, 0)

    assert (sent["cdbLen"], sent["senseLen"], sent["senseAddr"]) == (16, 0, 0)
    assert sent["flags"] == Flag.DIR_TODEVICE


def test_firmware_polls_and_takes_one(puppet: Puppet) -> None:
    driver = Driver(puppet).bring_up(profile="ovmf")
    first, second = driver.submit(cdb.TEST_UNIT_READY), driver.submit(cdb.TEST_UNIT_READY)
    puppet.complete(driver)
    puppet.complete(driver)
    puppet.log.clear()

    assert driver.look() == [first]
    assert puppet.said() == ["R(INTR_STATUS)", "W(INTR_STATUS)=0x3"]
    assert driver.look() == []
    assert not second.done


@pytest.mark.parametrize(("profile", "accesses"), [("linux", 0), ("freebsd", 2), ("openbsd", 0)])
def test_who_acknowledges_messages(puppet: Puppet, profile: str, accesses: int) -> None:
    driver = Driver(puppet).bring_up(profile=profile)
    driver.submit(cdb.TEST_UNIT_READY)
    puppet.complete(driver)
    puppet.log.clear()

    assert len(driver.look()) == 1
    assert len(puppet.said()) == accesses


@pytest.mark.parametrize(
    ("profile", "last"), [("linux", "C(1,+0)"), ("freebsd", "R(INTR_STATUS)"), ("openbsd", "W(INTR_MASK)=0x0")]
)
def test_close(puppet: Puppet, profile: str, last: str) -> None:
    Driver(puppet).bring_up(profile=profile).close()

    assert puppet.said()[-1] == last


def test_linux_sets_up_again_and_keeps_its_call_rule(puppet: Puppet) -> None:
    driver = Driver(puppet).bring_up(profile="linux")
    waiting = driver.submit(cdb.TEST_UNIT_READY)
    puppet.log.clear()

    assert driver.reset_host() == [waiting]
    assert waiting.dropped
    assert puppet.said() == ["W(KICK_NON_RW)=0x0", "C(1,+0)", "C(3,+132)", "C(8,+34)", "W(INTR_MASK)=0xf"]
    assert driver.calls


def test_freebsd_leaves_a_dead_adapter(puppet: Puppet) -> None:
    driver = Driver(puppet).bring_up(profile="freebsd")

    driver.reset_host()

    assert not driver.active


def test_every_profile_is_brought_up_and_closed() -> None:
    for name in PROFILES:
        puppet = Puppet()
        driver = Driver(puppet).bring_up(profile=name)
        assert driver.active
        driver.close()
        puppet.close()
