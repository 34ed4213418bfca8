"""Wake-on-LAN: the driver's PMConf read, and the frames that match it."""

import pytest

from pvdev.mem import GuestMemory
from pvdev.pci import CONFIG_REGION
from tests.rig import BROADCAST, MAC, NOWHERE, PEER, RawNic, frame
from vmxnet3.backend import Queue
from vmxnet3.wake import Pattern, WakeFilter, read_wake
from vmxnet3.wire import Cmd
from vmxnet3.wire_args import PM_CONF, PM_FILTER, Wake

Notes = list[tuple[str, str, int]]
BASE = 0x10_0000
PMCSR = 0x44
TARGET = bytes((192, 0, 2, 7))
ARP = BROADCAST + PEER + bytes.fromhex("0806 0001 0800 06 04 0001") + PEER + bytes(4) + bytes(6) + TARGET
# what Linux writes at suspend: the station address; an ARP request for its address
UNICAST = PM_FILTER.encode(maskSize=1, patternSize=6, mask=b"\x3f", pattern=MAC)
ARP_FILTER = PM_FILTER.encode(maskSize=6, patternSize=42, mask=bytes.fromhex("00303000c003"), pattern=ARP)
MAGIC = b"\xff" * 6 + MAC * 16


def conf(*filters: bytes, events: Wake = Wake.MAGIC | Wake.FILTER) -> bytes:
    return PM_CONF.encode(wakeUpEvents=events, numFilters=len(filters), filters=b"".join(filters))


def read(data: bytes, length: int | None = None, *, notes: Notes | None = None) -> WakeFilter | None:
    mem = GuestMemory()
    mem.map(BASE, memoryview(bytearray(data)))
    kept: Notes = [] if notes is None else notes
    return read_wake(
        mem, len(data) if length is None else length, BASE, lambda rule, place, value: kept.append((rule, place, value))
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (frame(), "filter 0"),
        (frame(dst=BROADCAST), None),
        (ARP, "filter 1"),
        (ARP[:-1] + b"\x08", None),  # for somebody else
        (ARP[:21] + b"\x02" + ARP[22:], None),  # an answer
        (ARP[:41], None),  # cut
        (BROADCAST + PEER + b"\x08\x42" + MAGIC, "magic"),
        (BROADCAST + PEER + b"\x08\x00" + bytes(33) + MAGIC + bytes(9), "magic"),  # anywhere
        (BROADCAST + PEER + b"\x08\x42" + MAGIC[:-1], None),
        (BROADCAST + PEER + b"\x08\x42" + b"\xff" * 6 + PEER * 16, None),  # another machine's
    ],
    ids=["unicast", "broadcast", "ARP", "ARP of another", "ARP answer", "ARP cut", "magic", "within", "cut", "another"],
)
def test_what_linux_asks_for(data: bytes, reason: str | None) -> None:
    wake = read(conf(UNICAST, ARP_FILTER))

    assert wake is not None
    assert wake.reason(data, MAC) == reason


@pytest.mark.parametrize(
    ("events", "reasons"),
    [(Wake.MAGIC, ["magic", None]), (Wake.FILTER, [None, "filter 0"]), (Wake(0), [None, None])],
)
def test_only_the_events_asked_for(events: Wake, reasons: list[str | None]) -> None:
    wake = read(conf(UNICAST, events=events))

    assert wake is not None
    assert [wake.reason(data, MAC) for data in (BROADCAST + PEER + b"\x08\x42" + MAGIC, frame())] == reasons


def test_the_lowest_bit_of_a_mask_is_the_first_byte() -> None:
    wake = read(conf(PM_FILTER.encode(maskSize=2, patternSize=9, mask=b"\x02\x01", pattern=bytes(range(9)))))

    assert wake is not None
    assert wake.patterns == (Pattern(b"\0\xff\0\0\0\0\0\0\xff", b"\0\1\0\0\0\0\0\0\x08"),)


def test_bytes_beyond_the_mask_do_not_matter() -> None:
    wake = read(conf(PM_FILTER.encode(maskSize=1, patternSize=100, mask=b"\1", pattern=b"\2" * 100)))

    assert wake is not None
    assert wake.reason(b"\2" + bytes(7), MAC) == "filter 0"


def test_a_filter_that_asks_for_nothing_is_none() -> None:
    wake = read(
        conf(PM_FILTER.encode(maskSize=16, patternSize=128), PM_FILTER.encode(maskSize=1, patternSize=0, mask=b"\1"))
    )

    assert wake is not None
    assert wake.patterns == ()


@pytest.mark.parametrize(("length", "patterns"), [(920, 2), (8 + 152, 1), (8, 0)])
def test_a_configuration_cut_short_is_read_as_far_as_it_goes(length: int, patterns: int) -> None:
    notes: Notes = []
    wake = read(conf(UNICAST, ARP_FILTER)[:length], length, notes=notes)

    assert wake is not None
    assert (wake.magic, len(wake.patterns), notes) == (True, patterns, [])


@pytest.mark.parametrize(
    ("data", "length", "note"),
    [
        (conf(UNICAST), 7, ("VMX-D-063", "confLen", 7)),
        (conf(UNICAST), 0, ("VMX-D-063", "confLen", 0)),
        (conf(UNICAST)[:900], 920, ("VMX-D-063", "confPA", BASE + 900)),
    ],
    ids=["short", "nothing", "not all there"],
)
def test_one_that_cannot_be_read_is_noted(data: bytes, length: int, note: tuple[str, str, int]) -> None:
    notes: Notes = []

    assert read(data, length, notes=notes) is None
    assert notes == [note]


def test_none_at_all_is_no_fault() -> None:
    notes: Notes = []

    assert read_wake(GuestMemory(), 0, 0, lambda *note: notes.append(note)) is None
    assert notes == []


# -- the device asleep -----------------------------------------------------------------------------------------------


def asleep(*, events: Wake = Wake.MAGIC | Wake.FILTER, pme: bool = True) -> RawNic:
    """Active, told what wakes it, and put to sleep."""
    nic = RawNic()
    nic.bring_up()
    where = nic.port.alloc(PM_CONF.size)
    where.view[:] = conf(UNICAST, ARP_FILTER, events=events)
    nic.tell(pmConfVer=1, pmConfLen=PM_CONF.size, pmConfPA=where.address)
    assert nic.command(Cmd.UPDATE_PMCFG) == 0
    nic.port.write(CONFIG_REGION, PMCSR, 3 | pme << 8, 2)
    return nic


def test_a_frame_that_matches_wakes_and_is_delivered_to_nobody() -> None:
    nic = asleep()
    before = nic.snapshot()

    nic.feed(frame(dst=BROADCAST), ARP, frame(), ARP)

    assert nic.device.wakes == {"filter 1": 2, "filter 0": 1}
    assert nic.port.read(CONFIG_REGION, PMCSR, 2) == 3 | 0x8100  # PME
    assert nic.snapshot() == before
    assert nic.port.interrupts() == 0


def test_awake_again_traffic_passes() -> None:
    nic = asleep()
    nic.feed(ARP)

    nic.port.write(CONFIG_REGION, PMCSR, 0x8000, 2)

    assert nic.port.read(CONFIG_REGION, PMCSR, 2) == 0
    nic.assert_traffic()


def test_without_a_link_nobody_calls() -> None:
    nic = asleep()
    nic.device.set_link(False)

    nic.feed(ARP)

    assert nic.device.wakes == {}


class Due(Queue):
    """A port with something due at once."""

    def deadline(self) -> int | None:
        return 0


@pytest.mark.parametrize(("up", "deadline"), [(True, 0), (False, None)])
def test_a_sleeping_device_is_called_only_when_it_can_hear(up: bool, deadline: int | None) -> None:
    nic = asleep()
    nic.device.backend = Due()

    nic.device.set_link(up)

    assert nic.device.deadline() == deadline


def test_a_device_told_nothing_sleeps_on() -> None:
    nic = RawNic()
    nic.bring_up()
    nic.port.write(CONFIG_REGION, PMCSR, 3, 2)

    nic.feed(ARP, frame())

    assert nic.device.wakes == {}
    assert (nic.device.deadline(), len(nic.net.inbound)) == (None, 2)


def test_RESET_DEV_forgets_what_wakes() -> None:
    nic = asleep()
    nic.port.write(CONFIG_REGION, PMCSR, 0, 2)

    nic.command(Cmd.RESET_DEV)

    assert nic.device.wake_config is None


def test_the_address_of_a_pattern_may_lie_anywhere_and_break_nothing() -> None:
    nic = asleep()
    nic.port.write(CONFIG_REGION, PMCSR, 0, 2)
    nic.tell(pmConfPA=NOWHERE)

    assert nic.command(Cmd.UPDATE_PMCFG) == 0

    assert nic.device.wake_config is None
    nic.assert_traffic()
