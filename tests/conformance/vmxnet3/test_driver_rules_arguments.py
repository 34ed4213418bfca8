"""VMXNET3 driver rules 062 and 063: what later commands point at. Anything in it may be wrong."""

import pytest

from pvdev.device import DmaBuffer
from tests.rig import BROADCAST, NOWHERE, RawNic, frame
from vmxnet3.wire import Cmd
from vmxnet3.wire_args import COALESCE_SCHEME, CONF_DESC, PM_CONF, PM_FILTER, Coalesce, Wake


def active_at(version: int) -> RawNic:
    """Active, receive buffers posted."""
    nic = RawNic(version=version)
    nic.bring_up()
    return nic


SCHEMES: dict[str, tuple[dict[str, int], str, int]] = {
    "mode": ({"mode": 4}, "mode", 4),
    "mode of all ones": ({"mode": 0xFFFF_FFFF}, "mode", 0xFFFF_FFFF),
    "rate 0": ({"mode": Coalesce.RBC}, "tx_depth", 0),
    "rate 99": ({"mode": Coalesce.RBC, "tx_depth": 99}, "tx_depth", 99),
    "rate 100,001": ({"mode": Coalesce.RBC, "tx_depth": 100_001}, "tx_depth", 100_001),
    "transmit depth": ({"mode": Coalesce.STATIC, "tx_depth": 129}, "tx_depth", 129),
    "completion depth": ({"mode": Coalesce.STATIC, "tx_comp_depth": 129}, "tx_comp_depth", 129),
    "receive depth": ({"mode": Coalesce.STATIC, "rx_depth": 0xFFFF_FFFF}, "rx_depth", 0xFFFF_FFFF),
}


@pytest.mark.parametrize(("scheme", "field", "value"), SCHEMES.values(), ids=SCHEMES.keys())
def test_VMX_D_062_coalescing_out_of_range(scheme: dict[str, int], field: str, value: int) -> None:
    nic = active_at(3)
    answers = nic.port.alloc(64)
    before = coalescing(nic, answers)
    nic.point_at(COALESCE_SCHEME.encode(**scheme))

    answer = nic.command(Cmd.SET_COALESCE)

    assert answer == 1
    assert nic.seen("VMX-D-062") == [(f"SET_COALESCE {field}", value, 1)]
    assert coalescing(nic, answers) == before
    nic.assert_traffic()


def coalescing(nic: RawNic, into: DmaBuffer) -> bytes:
    """The scheme in force, asked for."""
    nic.argue(CONF_DESC.encode(confVer=1, confLen=16, confPA=into.address))
    assert nic.command(Cmd.GET_COALESCE) == 0
    return bytes(into.view[:16])


@pytest.mark.parametrize("command", [Cmd.SET_COALESCE, Cmd.GET_COALESCE], ids=lambda command: command.name)
@pytest.mark.parametrize("length", [0, 15])
def test_VMX_D_062_a_scheme_without_room(command: Cmd, length: int) -> None:
    nic = active_at(3)
    buffer = nic.point_at(b"\xee" * 16, length=length)

    answer = nic.command(command)

    assert answer == 1
    assert nic.seen("VMX-D-062") == [(f"{command.name} length", length, 1)]
    assert buffer.view[:16] == b"\xee" * 16
    nic.assert_traffic()


def wake_up(nic: RawNic, data: bytes, *, length: int | None = None, address: int | None = None) -> int:
    """UPDATE_PMCFG with this PMConf; where it is said to be."""
    buffer = nic.port.alloc(1024)
    buffer.view[: len(data)] = data
    where = buffer.address if address is None else address
    nic.tell(pmConfVer=1, pmConfLen=len(data) if length is None else length, pmConfPA=where)
    assert nic.command(Cmd.UPDATE_PMCFG) == 0
    return where


FILTER = PM_FILTER.encode(maskSize=1, patternSize=6, mask=b"\x3f", pattern=b"\x02\x00\x0a\x0b\x0c\x0d")


def pm_conf(filters: list[bytes], **fields: int) -> bytes:
    return PM_CONF.encode(
        **{"wakeUpEvents": Wake.FILTER, "numFilters": len(filters), **fields}, filters=b"".join(filters)
    )


WAKES: dict[str, tuple[bytes, int | None, str, int]] = {
    "too many filters": (pm_conf([FILTER], numFilters=7), None, "numFilters", 7),
    "255 filters": (pm_conf([FILTER], numFilters=255), None, "numFilters", 255),
    "mask": (pm_conf([PM_FILTER.encode(maskSize=17, patternSize=9, mask=b"\1")]), None, "filter 0", 17 << 8 | 9),
    "pattern": (
        pm_conf([FILTER, PM_FILTER.encode(maskSize=16, patternSize=129, mask=b"\1")]),
        None,
        "filter 1",
        16 << 8 | 129,
    ),
    "length": (pm_conf([FILTER]), 7, "confLen", 7),
}


@pytest.mark.parametrize(("data", "length", "place", "value"), WAKES.values(), ids=WAKES.keys())
def test_VMX_D_063_wake_up_out_of_limits(data: bytes, length: int | None, place: str, value: int) -> None:
    nic = active_at(1)

    wake_up(nic, data, length=length)

    assert nic.seen("VMX-D-063") == [(place, value, 1)]
    nic.assert_traffic()


@pytest.mark.parametrize("address", [NOWHERE, 2**64 - 8])
def test_VMX_D_063_wake_up_configuration_unmapped(address: int) -> None:
    nic = active_at(9)

    wake_up(nic, pm_conf([FILTER]), address=address)

    assert [place for place, _, _ in nic.seen("VMX-D-063")] == ["confPA"]
    assert nic.device.wake_config is None
    nic.assert_traffic()


@pytest.mark.parametrize("filters", [0, 1, 6])
def test_VMX_D_063_says_nothing_of_what_linux_writes(filters: int) -> None:
    nic = active_at(1)

    wake_up(nic, pm_conf([FILTER] * filters, wakeUpEvents=Wake.FILTER | Wake.MAGIC))

    assert nic.rules.count() == 0
    assert nic.device.wake_config is not None
    assert len(nic.device.wake_config.patterns) == filters
    nic.feed(frame(dst=BROADCAST))
    nic.assert_traffic()
