"""Commands of versions 3 to 9: what they carry, and what is made of the answers."""

from collections.abc import Callable

import pytest

from tests.unit.vmxnet3.puppet import SMALL, Puppet
from vmxnet3 import wire, wire_args
from vmxnet3.driver import DeviceBroke, Driver, MemRegion, Scheme
from vmxnet3.wire import Cap, Cmd, Feature, RssField


class Carrying(Puppet):
    """A puppet that looks at what a command carries while it runs, and may write where it points."""

    def __init__(self, version: int = 9) -> None:
        super().__init__(version=version)
        self.carried: dict[int, bytes] = {}
        self.pointed: dict[int, bytes] = {}
        self.reply: bytes | Callable[[memoryview], None] = b""

    def write(self, region: int, offset: int, value: int, size: int = 4) -> None:
        if (region, offset) == (1, wire.REG_CMD) and self.bars.get((1, wire.REG_DSAL)):
            self.carried[value] = bytes(self.memory(self.bars[1, wire.REG_DSAL] + 704, 16))
            conf = wire_args.CONF_DESC.numbers(self.carried[value])
            if conf["confVer"] == 1 and conf["confPA"]:
                view = self.memory(conf["confPA"], conf["confLen"] + 1)
                self.pointed[value] = bytes(view[:-1])
                if value == Cmd.GET_COALESCE and isinstance(self.reply, bytes):
                    view[: len(self.reply)] = self.reply
        super().write(region, offset, value, size)


@pytest.fixture
def nic() -> Carrying:
    return Carrying()


@pytest.fixture
def up(nic: Carrying) -> Driver:
    return Driver(nic).bring_up(**SMALL)


def test_coalescing_goes_by_pointer_both_ways(nic: Carrying, up: Driver) -> None:
    nic.answers[Cmd.SET_COALESCE] = 1
    nic.reply = bytes.fromhex("02000000400000002000000010000000")

    result = up.set_coalesce(Scheme(3, 5000))

    assert result == 1
    assert nic.pointed[Cmd.SET_COALESCE] == bytes.fromhex("03000000881300000000000000000000")
    assert up.get_coalesce() == Scheme(2, 64, 32, 16)


def test_an_answer_longer_than_its_place_is_caught(nic: Carrying, up: Driver) -> None:
    nic.reply = bytes(17)

    with pytest.raises(DeviceBroke, match="VMX-V-079"):
        up.get_coalesce()


def test_memory_regions(nic: Carrying, up: Driver) -> None:
    up.register_memregs([MemRegion(0x1000, 0x2000, 1, 6)])
    given = nic.pointed[Cmd.REGISTER_MEMREGS]
    up.register_memregs()

    assert given == wire_args.MEM_REGS.encode(numRegs=1) + wire_args.MEM_REGION.encode(
        startPA=0x1000, length=0x2000, txQueueBits=1, rxQueueBits=6
    )
    own = nic.pointed[Cmd.REGISTER_MEMREGS]
    assert (own[0], len(own)) == (3, 8 + 3 * 16)


def test_small_arguments_are_carried(nic: Carrying, up: Driver) -> None:
    up.set_polling(True)
    up.set_ring_buffer_size()
    whole = nic.carried[Cmd.SET_RING_BUFFER_SIZE]
    up.set_ring_buffer_size(256, 512, 1024)

    assert nic.carried[Cmd.SET_POLLING] == b"\x01" + bytes(15)
    assert whole == bytes.fromhex("f205000000100000") + bytes(8)
    assert nic.carried[Cmd.SET_RING_BUFFER_SIZE] == bytes.fromhex("0001000200040000") + bytes(8)


def test_hash_fields_need_their_capability_first(nic: Carrying) -> None:
    driver = Driver(nic).bring_up(**SMALL, caps=Cap(0))
    nic.answers[Cmd.GET_RSS_FIELDS] = 0xF

    driver.set_rss_fields(RssField(0xF))
    on = driver.caps
    driver.set_rss_fields(RssField(3))

    assert (on, driver.caps) == (Cap.UDP_RSS, Cap(0))
    assert nic.carried[Cmd.SET_RSS_FIELDS] == b"\x03" + bytes(15)
    assert driver.rx[0].judge.fields == 0xF


def test_hash_fields_of_version_4_need_none(nic: Carrying) -> None:
    driver = Driver(nic).bring_up(**SMALL, version=4)

    assert driver.set_rss_fields(RssField(7)) == 0
    assert not [entry for entry in nic.log if entry[1:3] == (1, wire.REG_DCR)]


@pytest.mark.parametrize(("answer", "queues"), [(0x0804, (4, 8)), (0x2020, (32, 32))])
def test_most_queues(nic: Carrying, up: Driver, answer: int, queues: tuple[int, int]) -> None:
    nic.answers[Cmd.GET_MAX_QUEUES_CONF] = answer

    assert up.max_queues() == queues


@pytest.mark.parametrize("answer", [0, 0x8000_0101, 0x0800, 8])
def test_most_queues_that_cannot_be_are_caught(nic: Carrying, up: Driver, answer: int) -> None:
    nic.answers[Cmd.GET_MAX_QUEUES_CONF] = answer

    with pytest.raises(DeviceBroke, match="VMX-V-073"):
        up.max_queues()


def test_a_device_that_does_not_say_how_many_queues_has_8(nic: Carrying) -> None:
    nic.answers[Cmd.GET_MAX_QUEUES_CONF] = 0
    driver = Driver(nic, strict=False).bring_up(**SMALL)

    assert driver.max_queues() == (8, 8)


@pytest.mark.parametrize("answer", [Cap.ERROR, Cap.LARGE_BAR])
def test_capabilities_nobody_has_are_caught(nic: Carrying, up: Driver, answer: Cap) -> None:
    nic.answers[Cmd.GET_DCR0_REG] = int(answer)

    with pytest.raises(DeviceBroke, match="VMX-V-074"):
        up.know_caps(up.command(Cmd.GET_DCR0_REG))


def test_disabled_offloads(nic: Carrying, up: Driver) -> None:
    found = []
    for answer in range(4):
        nic.answers[Cmd.GET_DISABLED_OFFLOADS] = answer
        found.append(up.disabled_offloads())

    assert found == [(False, False), (True, False), (False, True), (True, True)]


@pytest.mark.parametrize(("answer", "asked"), [(0, Feature.LRO), (1, Feature.LRO), (2, Feature(0))])
def test_large_receive_is_not_asked_for_when_disabled(nic: Carrying, answer: int, asked: Feature) -> None:
    nic.answers[Cmd.GET_DISABLED_OFFLOADS] = answer

    driver = Driver(nic).bring_up(**SMALL, features=Feature.RXCSUM | Feature.LRO)

    assert driver.shared["uptFeatures"] == Feature.RXCSUM | asked
    assert driver.rx[0].judge.features == Feature.RXCSUM | asked


@pytest.mark.parametrize(
    ("version", "answer", "sizes"),
    [
        (3, 256, (256, 128)),
        (3, 64, (128, 128)),
        (8, 512 << 16 | 2048, (2048, 128)),
        (9, 0 << 16 | 128, (128, 0)),
        (9, 2048 << 16 | 192, (192, 2048)),
        (9, 100 << 16 | 2112, (128, 128)),
    ],
)
def test_data_ring_slots(nic: Carrying, version: int, answer: int, sizes: tuple[int, int]) -> None:
    nic.answers[Cmd.GET_TXDATA_DESC_SIZE] = answer

    driver = Driver(nic, strict=False).bring_up(**SMALL, version=version)

    assert (driver.tx_slot_size, driver.rx_slot_size) == sizes
    bad = sizes[0] != answer & 0xFFFF or (version == 9 and sizes[1] != answer >> 16)
    assert [complaint.rule for complaint in driver.complaints] == ["VMX-V-071"] * bad


@pytest.mark.parametrize(("answer", "sizes"), [(0, (0, 0)), (192 << 16 | 64, (64, 192)), (64 << 16 | 65, (0, 64))])
def test_time_stamp_slots(nic: Carrying, answer: int, sizes: tuple[int, int]) -> None:
    nic.answers[Cmd.GET_TSRING_DESC_SIZE] = answer

    driver = Driver(nic, strict=False).bring_up(**SMALL)

    assert (driver.tx_stamp_size, driver.rx_stamp_size) == sizes
    assert [complaint.rule for complaint in driver.complaints] == ["VMX-V-075"] * (answer & 63 > 0)


def test_hash_fields_without_tcp_are_caught(nic: Carrying, up: Driver) -> None:
    nic.answers[Cmd.GET_RSS_FIELDS] = 4

    with pytest.raises(DeviceBroke, match="VMX-V-072"):
        up.get_rss_fields()
