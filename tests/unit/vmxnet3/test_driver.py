"""The reference driver against a puppet: what it tells a device, and that it catches a device that breaks a duty."""

from collections.abc import Iterator
from typing import Any

import pytest

from pvdev.errors import ConfigError
from tests.unit.vmxnet3.puppet import Puppet
from vmxnet3 import wire
from vmxnet3.driver import Csum, DeviceBroke, Driver, RingFull, Tso, TxD
from vmxnet3.wire import Feature

SMALL: dict[str, Any] = {"tx_ring": 32, "rx_ring0": 32, "rx_ring1": 32}
GOOD = {"sop": 1, "eop": 1, "fcs": 1, "cnc": 1, "type": 3, "gen": 1, "len": 60}


@pytest.fixture
def puppet() -> Iterator[Puppet]:
    puppet = Puppet()
    yield puppet
    puppet.close()


@pytest.fixture
def driver(puppet: Puppet) -> Driver:
    return Driver(puppet).bring_up(**SMALL)


def complete_tx(driver: Driver, at: int, **fields: int) -> None:
    driver.tx[0].comp.view[16 * at : 16 * at + 16] = wire.TX_COMP.encode(**fields)


def complete_rx(driver: Driver, at: int, **fields: int) -> None:
    driver.rx[0].comp.view[16 * at : 16 * at + 16] = wire.RX_COMP.encode(**fields)


def descriptor(driver: Driver, index: int) -> dict[str, Any]:
    return dict(wire.TX_DESC.decode(driver.tx[0].desc.view, 16 * index))


# -- what it says --------------------------------------------------------------------------------------------------

COMMANDS = {
    "linux": "GET_CONF_INTR GET_LINK ACTIVATE_DEV UPDATE_RX_MODE UPDATE_VLAN_FILTERS UPDATE_MAC_FILTERS GET_LINK",
    "dpdk": "QUIESCE_DEV GET_CONF_INTR GET_STATS UPDATE_FEATURE UPDATE_VLAN_FILTERS ACTIVATE_DEV REGISTER_MEMREGS "
    "UPDATE_RX_MODE GET_LINK",
    "freebsd": "GET_CONF_INTR GET_PERM_MAC_LO GET_PERM_MAC_HI ACTIVATE_DEV UPDATE_MAC_FILTERS UPDATE_RX_MODE "
    "UPDATE_VLAN_FILTERS GET_LINK",
    "openbsd": "GET_CONF_INTR GET_PERM_MAC_LO GET_PERM_MAC_HI GET_LINK QUIESCE_DEV ACTIVATE_DEV UPDATE_FEATURE "
    "UPDATE_MAC_FILTERS UPDATE_RX_MODE GET_LINK",
    "ipxe": "RESET_DEV GET_PERM_MAC_LO GET_PERM_MAC_HI GET_LINK ACTIVATE_DEV",
    "vpp": "QUIESCE_DEV RESET_DEV GET_LINK ACTIVATE_DEV GET_LINK",
}


@pytest.mark.parametrize("profile", COMMANDS)
def test_profiles_give_their_commands_in_order(puppet: Puppet, profile: str) -> None:
    Driver(puppet).bring_up(profile=profile)

    commands = [value for verb, bar, offset, value in puppet.log if (verb, bar, offset) == ("W", 1, wire.REG_CMD)]
    assert [wire.Cmd(value).name for value in commands] == COMMANDS[profile].split()


def test_linux_masks_are_lifted_before_disable_all_and_nothing_follows(puppet: Puppet) -> None:
    driver = Driver(puppet).bring_up(profile="linux")

    assert [entry[:3] for entry in puppet.log[-driver.num_intrs :]] == [
        ("W", 0, 8 * n) for n in range(driver.num_intrs)
    ]
    assert driver.shared["intrCtrl"] == 0


def test_interrupts_are_switched_on_with_every_entry_filled(puppet: Puppet) -> None:
    driver = Driver(puppet).bring_up()

    table = [[puppet.bars[2, 16 * n + at] for at in (0, 4, 8, 12)] for n in range(25)]
    assert table == [[0xFEE0_0000, 0, 0x40 + n, int(n >= driver.num_intrs)] for n in range(25)]
    assert puppet.config[0x9C + 3] == 0x80
    assert puppet.config[4] & 6 == 6


def test_refused_activation_clears_the_address(puppet: Puppet) -> None:
    puppet.answers[wire.Cmd.ACTIVATE_DEV] = 1

    with pytest.raises(ConfigError, match="refused"):
        Driver(puppet).bring_up()

    assert [entry[2:] for entry in puppet.log[-2:]] == [(wire.REG_DSAL, 0), (wire.REG_DSAH, 0)]


@pytest.mark.parametrize("offered", [0, 2, 0b101])
def test_versions_with_holes_are_a_complaint(puppet: Puppet, offered: int) -> None:
    puppet.bars[1, wire.REG_VRRS] = offered

    with pytest.raises(DeviceBroke, match="VMX-V-003"):
        Driver(puppet).bring_up()


def test_another_device_is_refused(puppet: Puppet) -> None:
    puppet.config[2] = 0xB1

    with pytest.raises(ConfigError, match="15ad:07b1"):
        Driver(puppet).bring_up()


# -- transmit ------------------------------------------------------------------------------------------------------


def test_first_descriptor_is_published_last(driver: Driver) -> None:
    publish = driver.send_raw([*map(plain, (20, 30, 40))], publish=False)

    before = [descriptor(driver, n)["gen"] for n in range(4)]
    publish()

    assert before == [0, 1, 1, 0]
    assert [descriptor(driver, n)["gen"] for n in range(4)] == [1, 1, 1, 0]


def plain(size: int) -> TxD:
    return TxD(0x1000, size, wire.TXD_EOP | wire.TXD_CQ if size == 40 else 0)


def test_gen_turns_with_every_lap(driver: Driver) -> None:
    gens = []
    for n in range(80):
        driver.send(bytes(60))
        gens.append(descriptor(driver, n % 32)["gen"])
        complete_tx(driver, n % 32, txdIdx=n % 32, gen=1 - n // 32 % 2)
        assert driver.reap_tx() == 1

    assert gens == [1] * 32 + [0] * 32 + [1] * 16


def test_offloads_in_the_descriptor(driver: Driver) -> None:
    driver.send(bytes(200), offload=Csum(34, 50), vlan=0x2005)
    driver.send(bytes(3000), offload=Tso(54, 1448), header=54)

    first, second, third = (descriptor(driver, n) for n in range(3))
    assert [first[k] for k in ("len", "hlen", "om", "msscof", "ti", "tci", "eop", "cq")] == [
        200,
        34,
        2,
        50,
        1,
        0x2005,
        1,
        1,
    ]
    assert [second[k] for k in ("len", "hlen", "om", "msscof", "ti", "eop", "cq")] == [54, 54, 3, 1448, 0, 0, 0]
    assert [third[k] for k in ("len", "hlen", "om", "msscof", "ti", "eop", "cq")] == [2946, 0, 0, 0, 0, 1, 1]
    assert driver.tx[0].data is not None
    assert second["addr"] == driver.tx[0].data.address + 128


def test_bell_waits_for_the_threshold(puppet: Puppet, driver: Driver) -> None:
    driver.tx_desc[0]["txThreshold"] = 4
    puppet.log.clear()

    for _ in range(3):
        driver.send(bytes(60))
    quiet = [*puppet.log, driver.tx_desc[0]["txNumDeferred"]]
    driver.send(bytes(1500), offload=Tso(54, 1400))

    assert quiet == [3]
    assert puppet.log == [("W", 0, wire.REG_TXPROD, 4)]
    assert driver.tx_desc[0]["txNumDeferred"] == 0


def test_one_descriptor_stays_free(driver: Driver) -> None:
    taken = driver.send_batch([bytes(60)] * 40)

    assert (taken, driver.tx[0].room) == (31, 0)
    with pytest.raises(RingFull):
        driver.send(bytes(60))


BAD_TX = {
    "VMX-V-021 filler": {"txdIdx": 0, "ext2": 1, "gen": 1},
    "VMX-V-021 type": {"txdIdx": 0, "type": 3, "gen": 1},
    "VMX-V-021 high": {"txdIdx": 0, "ext1": 1, "gen": 1},
    "VMX-V-025 order": {"txdIdx": 1, "gen": 1},
    "VMX-V-025 unknown": {"txdIdx": 9, "gen": 1},
}


@pytest.mark.parametrize("name", BAD_TX)
def test_bad_transmit_completions_are_caught(driver: Driver, name: str) -> None:
    driver.send(bytes(60))
    driver.send(bytes(60))

    complete_tx(driver, 0, **BAD_TX[name])

    with pytest.raises(DeviceBroke, match=name.split()[0]):
        driver.reap_tx()


def test_packets_without_cq_come_back_with_the_next(driver: Driver) -> None:
    driver.send(bytes(60), cq=False)
    driver.send(bytes(60), cq=False)
    driver.send(bytes(60))

    complete_tx(driver, 0, txdIdx=2, gen=1)

    assert driver.reap_tx() == 3


# -- receive -------------------------------------------------------------------------------------------------------

BAD_RX: dict[str, dict[str, int]] = {
    "VMX-V-041 type": {**GOOD, "type": 0},
    "VMX-V-041 lro on version 1": {**GOOD, "type": 4},
    "VMX-V-041 fcs": {**GOOD, "fcs": 0},
    "VMX-V-041 reserved": {**GOOD, "ext1": 2},
    "VMX-V-042 queue": {**GOOD, "rqID": 2},
    "VMX-V-043 not posted": {**GOOD, "rxdIdx": 31},
    "VMX-V-043 outside": {**GOOD, "rxdIdx": 40},
    "VMX-V-044 head skipped": {**GOOD, "rxdIdx": 1},
    "VMX-V-047 no start": {**GOOD, "sop": 0},
    "VMX-V-049 length": {**GOOD, "len": 1537},
    "VMX-V-050 body": {**GOOD, "rqID": 1},
    "VMX-V-050 empty": {**GOOD, "eop": 0, "len": 0},
    "VMX-V-052 raw": {**GOOD, "csum": 7},
    "VMX-V-053 fragment": {**GOOD, "frg": 1, "tuc": 1},
    "VMX-V-053 both": {**GOOD, "v4": 1, "v6": 1},
    "VMX-V-058 hash": {**GOOD, "rssType": 2},
}


@pytest.mark.parametrize("name", BAD_RX)
def test_bad_receive_completions_are_caught(puppet: Puppet, name: str) -> None:
    driver = Driver(puppet).bring_up(**SMALL, head_size=1536)

    complete_rx(driver, 0, **BAD_RX[name])

    with pytest.raises(DeviceBroke, match=name.split()[0]):
        driver.receive()


@pytest.mark.parametrize(("rule", "fields"), [("VMX-V-053", {"cnc": 0}), ("VMX-V-054", {"ts": 1})])
def test_status_nobody_asked_for_is_caught(puppet: Puppet, rule: str, fields: dict[str, int]) -> None:
    driver = Driver(puppet).bring_up(**SMALL, features=Feature(0))

    complete_rx(driver, 0, **{**GOOD, **fields})

    with pytest.raises(DeviceBroke, match=rule):
        driver.receive()


def test_overwritten_guard_is_caught(puppet: Puppet) -> None:
    driver = Driver(puppet).bring_up(**SMALL, head_size=256, guard=32)
    driver.rx[0].rings[0].memory[256 + 31] = 0

    complete_rx(driver, 0, **GOOD)

    with pytest.raises(DeviceBroke, match="VMX-V-043"):
        driver.receive()


def test_second_start_inside_a_packet_is_caught(driver: Driver) -> None:
    complete_rx(driver, 0, **{**GOOD, "eop": 0})
    complete_rx(driver, 1, **{**GOOD, "rxdIdx": 1})

    with pytest.raises(DeviceBroke, match="VMX-V-047"):
        driver.receive()


def test_complaints_can_be_collected(puppet: Puppet) -> None:
    driver = Driver(puppet, strict=False).bring_up(**SMALL)

    complete_rx(driver, 0, **{**GOOD, "csum": 7, "fcs": 0})

    assert len(driver.receive()) == 1
    assert [complaint.rule for complaint in driver.complaints] == ["VMX-V-052", "VMX-V-041"]


def test_half_a_packet_waits_for_its_end(driver: Driver) -> None:
    complete_rx(driver, 0, **{**GOOD, "eop": 0})
    half = driver.receive()
    complete_rx(driver, 1, **{**GOOD, "sop": 0, "rqID": 1, "rxdIdx": 0, "len": 5})

    packets = driver.receive()

    assert half == []
    assert packets[0].parts == ((0, 0, 60), (1, 0, 5))


def test_drain_gives_runs_and_joined_packets_in_order(driver: Driver) -> None:
    ring = driver.rx[0].rings[0]
    for n in range(6):
        ring.memory[n * ring.stride : n * ring.stride + 60] = bytes([n]) * 60
        complete_rx(driver, n, **{**GOOD, "rxdIdx": n})
    complete_rx(driver, 3, **{**GOOD, "rxdIdx": 3, "eop": 0})
    complete_rx(driver, 4, **{**GOOD, "sop": 0, "rqID": 1, "rxdIdx": 0, "len": 2})
    complete_rx(driver, 5, **{**GOOD, "rxdIdx": 4})
    seen: list[tuple[int, list[bytes]]] = []

    count = driver.drain(lambda queue, frames: seen.append((queue, [bytes(frame) for frame in frames])))

    assert count == 5
    assert seen == [
        (0, [bytes([n]) * 60 for n in range(3)]),
        (0, [bytes([3]) * 60 + b"\0\0"]),
        (0, [bytes([4]) * 60]),
    ]


def test_drain_wraps_and_rearms_by_gen_alone(driver: Driver) -> None:
    ring, gen = driver.rx[0].rings[0], 1
    addresses = [wire.RX_DESC.decode(ring.view, 16 * n)["addr"] for n in range(32)]
    for n in range(200):
        complete_rx(driver, n % 64, **{**GOOD, "rxdIdx": n % 32, "gen": gen ^ (n // 64 & 1)})
        assert driver.drain(lambda queue, frames: None) == 1

    assert [wire.RX_DESC.decode(ring.view, 16 * n)["addr"] for n in range(32)] == addresses
    assert (ring.posted, driver.rx[0].packets) == (31, 200)
    driver.audit()


def test_drain_drops_and_counts_errors(driver: Driver) -> None:
    complete_rx(driver, 0, **{**GOOD, "err": 1})
    complete_rx(driver, 1, **{**GOOD, "rxdIdx": 1})

    assert driver.drain(lambda queue, frames: None) == 1
    assert driver.rx[0].errors == 1


# -- memory --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["shared", "table", "tx ring", "rx ring", "behind"])
def test_audit_finds_a_stray_write(driver: Driver, what: str) -> None:
    driver.audit()
    places = {
        "shared": (driver._shared_buffer.view, 720),
        "table": (driver.tx_desc[0].view, 56),
        "tx ring": (driver.tx[0].desc.view, 5),
        "rx ring": (driver.rx[0].rings[1].view, 9),
        "behind": (driver._tails[1], 0),
    }
    view, at = places[what]

    view[at] ^= 1

    with pytest.raises(DeviceBroke, match="VMX-V-079"):
        driver.audit()


def test_all_memory_comes_back(puppet: Puppet) -> None:
    before = puppet.arena._free[:]
    for profile in ("linux", "freebsd", "ipxe"):
        driver = Driver(puppet).bring_up(profile=profile)
        driver.send(bytes(3000) if profile == "linux" else bytes(60))
        driver.close()

    assert puppet.arena._free == before
