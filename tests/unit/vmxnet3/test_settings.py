"""What a driver sets by commands: each argument read once, checked, and in force when the command returns."""

from typing import Any

import pytest

from tests.rig import NOWHERE, RawNic, frame
from vmxnet3 import wire
from vmxnet3.datapath import Datapath
from vmxnet3.wire import DRIVER_SHARED, INTR_CONF_EXT, RSS_CONF, Cmd, Feature, RssField
from vmxnet3.wire_args import COALESCE_SCHEME, CONF_DESC, MEM_REGS, RING_BUFFER_SIZE, Coalesce

KEY, TABLE = bytes(range(1, 41)), bytes(n % 4 for n in range(128))
CMD_INFO = DRIVER_SHARED.offset["cmdInfo"]


def nic_of(version: int, *, rx: int = 4, rss: dict[str, Any] | None = None) -> RawNic:
    """Active, RSS asked for with a good configuration unless `rss` says otherwise."""
    nic = RawNic(version=version, queues=(8, 8) if version >= 6 else None)
    nic.prepare(rx=rx)
    values = {"hashType": 0xF, "hashFunc": 1, "hashKeySize": 40, "indTableSize": 128, "hashKey": KEY, "indTable": TABLE}
    conf = nic.port.alloc(RSS_CONF.size)
    conf.view[:] = RSS_CONF.encode(**{**values, **(rss or {})})
    nic.tell(uptFeatures=Feature.RSS, rssConfVer=1, rssConfLen=RSS_CONF.size, rssConfPA=conf.address)
    assert nic.activate() == 0
    return nic


def path_of(nic: RawNic) -> Datapath:
    path = nic.device._path
    assert path is not None
    return path


def argue(nic: RawNic, data: bytes) -> None:
    """Put a command's argument into cmdInfo."""
    nic.shared.view[CMD_INFO : CMD_INFO + 16] = data.ljust(16, b"\0")


def point(nic: RawNic, data: bytes, length: int | None = None) -> Any:
    """Put `data` into memory and a descriptor of it into cmdInfo; the memory."""
    buffer = nic.port.alloc(max(len(data), 64), 64)
    buffer.view[: len(data)] = data
    length = len(data) if length is None else length
    argue(nic, CONF_DESC.encode(confVer=1, confLen=length, confPA=buffer.address))
    return buffer


# -- RSS -----------------------------------------------------------------------------------------------------------


def test_an_rss_configuration_chooses_queues() -> None:
    nic = nic_of(1)

    assert path_of(nic).rss is not None
    assert nic.rules.count() == 0


@pytest.mark.parametrize(("length", "used"), [(176, True), (52, True), (48, True), (47, False), (0, False)])
def test_a_short_rss_configuration(length: int, used: bool) -> None:
    nic = nic_of(1, rss={"indTableSize": 4})
    nic.area["rssConfLen"] = length
    nic.shared.view[:] = DRIVER_SHARED.encode(**nic.area)

    assert nic.command(Cmd.UPDATE_RSSIDT) == 0

    assert (path_of(nic).rss is not None) is used


def test_an_rss_configuration_at_the_end_of_memory_is_not_read_beyond_its_length() -> None:
    nic = nic_of(1)
    nic.lend(NOWHERE, 60)[:] = RSS_CONF.encode(hashFunc=1, hashKeySize=40, indTableSize=8)[:60]
    nic.area.update(rssConfPA=NOWHERE, rssConfLen=60)
    nic.shared.view[:] = DRIVER_SHARED.encode(**nic.area)

    nic.command(Cmd.UPDATE_RSSIDT)

    assert path_of(nic).rss is not None
    assert nic.rules.count() == 0


@pytest.mark.parametrize(
    ("version", "wanted", "kept"),
    [
        (4, 0x1F, 0x1F),
        (4, 0x3F, 0x1F),
        (6, 0x3F, 0x3F),
        (9, 0x3F, 0x03),  # nothing negotiated
        (6, 0, 0),
        (6, 0xFFFF_FFFF, 0x3F),
    ],
)
def test_hash_fields_by_version(version: int, wanted: int, kept: int) -> None:
    nic = nic_of(version)
    assert nic.command(Cmd.GET_RSS_FIELDS) == RssField.TCPIP4 | RssField.TCPIP6
    argue(nic, wanted.to_bytes(4, "little"))

    assert nic.command(Cmd.SET_RSS_FIELDS) == 0

    assert nic.command(Cmd.GET_RSS_FIELDS) == kept
    assert bool(nic.seen("VMX-D-026")) is (wanted != kept)


# -- coalescing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scheme",
    [
        {"mode": Coalesce.DISABLED},
        {"mode": Coalesce.ADAPT},
        {"mode": Coalesce.STATIC, "tx_depth": 128, "tx_comp_depth": 64, "rx_depth": 0},
        {"mode": Coalesce.RBC, "tx_depth": 100},
        {"mode": Coalesce.RBC, "tx_depth": 100_000},
    ],
)
def test_a_coalescing_scheme_comes_back_as_it_was_set(scheme: dict[str, int]) -> None:
    nic = nic_of(3)
    data = COALESCE_SCHEME.encode(**scheme)
    point(nic, data)

    assert nic.command(Cmd.SET_COALESCE) == 0
    answer = point(nic, bytes(16))
    assert nic.command(Cmd.GET_COALESCE) == 0

    assert bytes(answer.view[:16]) == data
    assert nic.rules.count() == 0


def test_without_a_scheme_the_device_adapts() -> None:
    nic = nic_of(3)
    answer = point(nic, b"\xff" * 16)

    nic.command(Cmd.GET_COALESCE)

    assert COALESCE_SCHEME.numbers(answer.view)["mode"] == Coalesce.ADAPT


def test_static_depths_hold_interrupts_back_and_not_for_ever() -> None:
    nic = RawNic(version=3)
    nic.bring_up()
    for vector in (0, 1):
        nic.pt(wire.REG_IMR + 8 * vector, 0)
    nic.port.write(7, nic.device.pci.config.caps[0x11] + 2, 0x8000, 2)
    nic.port.write(wire.BAR_MSIX, 12, 0)
    point(nic, COALESCE_SCHEME.encode(mode=Coalesce.STATIC, tx_depth=64, tx_comp_depth=3, rx_depth=64))
    nic.command(Cmd.SET_COALESCE)

    fired = []
    for n in range(3):
        nic.send(frame(seed=n))
        fired.append(nic.port.interrupts())
    nic.send(frame(seed=4))
    early = nic.port.interrupts()
    nic.port.advance(2_000_000)

    assert (fired, early, nic.port.interrupts()) == ([0, 0, 1], 0, 1)


def test_levels_between_none_and_adaptive_hold_back_too() -> None:
    nic = RawNic(version=1)
    nic.prepare()
    nic.tell(modLevels=(3, 3))
    assert nic.activate() == 0
    nic.port.write(7, nic.device.pci.config.caps[0x11] + 2, 0x8000, 2)
    nic.port.write(wire.BAR_MSIX, 12, 0)
    nic.pt(wire.REG_IMR, 0)

    nic.send(frame())
    held = nic.port.interrupts()
    nic.port.advance(1_000_000)
    after = nic.port.interrupts()
    nic.tell(modLevels=(0, 0))
    nic.command(Cmd.UPDATE_IML)
    nic.send(frame())

    assert (held, after, nic.port.interrupts()) == (0, 1, 1)


def test_levels_of_an_extended_area() -> None:
    nic = RawNic(version=6)
    nic.prepare()
    area = nic.port.alloc(800)
    area.view[:720] = DRIVER_SHARED.encode(**{**nic.area, "numIntrs": 0})
    area.view[720:] = INTR_CONF_EXT.encode(numIntrs=3, eventIntrIdx=2, modLevels=(1, 2, 3))
    assert nic.activate(area.address) == 0

    assert path_of(nic).tables.levels() == (1, 2, 3)


# -- hints -----------------------------------------------------------------------------------------------------------


def test_ring_buffer_sizes_are_kept() -> None:
    nic = nic_of(7)
    argue(nic, RING_BUFFER_SIZE.encode(ring1BufSizeType0=1522, ring1BufSizeType1=0, ring2BufSizeType1=4096))

    assert nic.command(Cmd.SET_RING_BUFFER_SIZE) == 0
    assert nic.device._settings.ring_buffers == (1522, 0, 4096)


def test_memory_regions_are_only_looked_at() -> None:
    nic = nic_of(3)
    point(nic, MEM_REGS.encode(numRegs=2) + bytes(32))

    assert nic.command(Cmd.REGISTER_MEMREGS) == 0
    assert nic.rules.count() == 0


def test_tunnel_ports_are_told_in_place() -> None:
    nic = nic_of(4)

    assert nic.command(Cmd.GET_ENCAP_DSTPORT) == 0
    assert bytes(nic.shared.view[CMD_INFO : CMD_INFO + 4]) == (6081 | 4789 << 16).to_bytes(4, "little")
