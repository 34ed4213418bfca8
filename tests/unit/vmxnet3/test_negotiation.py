"""Version and capabilities: what is read, what is kept, what is only noted."""

import pytest

from vmxnet3.negotiation import Negotiation
from vmxnet3.versions import CAPABILITIES, LIVE_CAPS
from vmxnet3.wire import Cap

Notes = list[tuple[str, str, int]]
OFFERED = int(CAPABILITIES)


class Agreement(Negotiation):
    """One whose notes and capability changes are kept."""

    def __init__(self, newest: int) -> None:
        self.notes: Notes = []
        self.heard: list[Cap] = []
        super().__init__(newest, lambda rule, place, value: self.notes.append((rule, place, value)), self.heard.append)


@pytest.mark.parametrize("newest", range(1, 10))
def test_all_versions_up_to_the_newest_are_offered(newest: int) -> None:
    agreed = Agreement(newest)

    for version in range(1, newest + 1):
        agreed._write_VRRS(1 << version - 1)
        assert agreed.version == version
        assert agreed._read_VRRS() == (1 << newest) - 1

    agreed._write_VRRS(1 << newest)
    assert agreed.version == newest
    assert agreed.notes == [("VMX-D-003", "VRRS", 1 << newest)]


@pytest.mark.parametrize("value", [0, 3, 0xFFFF_FFFF, 0x8000_0001])
def test_a_value_that_names_no_version_leaves_the_old_one(value: int) -> None:
    agreed = Agreement(9)
    agreed._write_VRRS(1 << 3)

    agreed._write_VRRS(value)

    assert (agreed.version, agreed.notes) == (4, [("VMX-D-003", "VRRS", value)])


def test_there_is_one_upt_version() -> None:
    agreed = Agreement(9)

    agreed._write_UVRS(1)
    agreed._write_UVRS(2)

    assert (agreed._read_UVRS(), agreed.notes) == (1, [("VMX-D-003", "UVRS", 2)])


@pytest.mark.parametrize(
    ("version", "dcr", "ptcr"), [(0, 0, 0), (6, 0, 0), (7, OFFERED, 1 << 31), (9, OFFERED, 1 << 31)]
)
def test_capabilities_show_from_version_7_on(version: int, dcr: int, ptcr: int) -> None:
    agreed = Agreement(9)
    if version:
        agreed._write_VRRS(1 << version - 1)

    assert [agreed._read_DCR(index) for index in range(8)] == [dcr] + [0] * 7
    assert {agreed._read_PTCR(index) for index in range(6)} == {ptcr}


@pytest.mark.parametrize(("asked", "got"), [(0, 0), (OFFERED, OFFERED), (0x8000_0001, 1), (1 << 17, 0)])
def test_what_is_asked_for_and_there_is_in_force(asked: int, got: int) -> None:
    agreed = Agreement(9)
    agreed._write_VRRS(1 << 8)

    agreed._write_DCR(0, asked)

    assert agreed.caps == got
    assert agreed.notes == [("VMX-D-005", "DCR 0", asked)] * (asked != got)
    assert agreed._read_DCR(0) == OFFERED  # what the device has, whatever was asked for


def test_while_active_only_offloads_change_and_somebody_hears_of_it() -> None:
    agreed = Agreement(9)
    agreed._write_VRRS(1 << 8)
    agreed._write_DCR(0, Cap.LARGE_BAR | Cap.UDP_RSS)
    agreed.active = True

    agreed._write_DCR(0, Cap.LARGE_BAR | Cap.GENEVE_TSO)
    agreed._write_DCR(0, 0)

    assert agreed.heard == [Cap.LARGE_BAR | Cap.UDP_RSS, Cap.LARGE_BAR | Cap.GENEVE_TSO, Cap.LARGE_BAR]
    assert agreed.notes == [("VMX-D-004", "DCR 0", 0)]


def test_while_active_versions_stay() -> None:
    agreed = Agreement(9)
    agreed._write_VRRS(1 << 8)
    agreed.active = True

    agreed._write_VRRS(1)
    agreed._write_UVRS(1)

    assert agreed.version == 9
    assert agreed.notes == [("VMX-D-004", "VRRS", 1), ("VMX-D-004", "UVRS", 1)]


def test_a_version_selected_anew_has_no_capabilities_yet() -> None:
    agreed = Agreement(9)
    agreed._write_VRRS(1 << 8)
    agreed._write_DCR(0, OFFERED)

    agreed._write_VRRS(1 << 2)

    assert (agreed.version, agreed.caps) == (3, 0)


def test_a_reset_forgets_everything() -> None:
    agreed = Agreement(9)
    agreed._write_VRRS(1 << 8)
    agreed._write_DCR(0, OFFERED)
    agreed.active = True

    agreed.reset()

    assert (agreed.version, agreed.caps, agreed.active) == (0, Cap(0), False)


def test_what_is_live_is_what_linux_switches() -> None:
    assert LIVE_CAPS & CAPABILITIES == CAPABILITIES & ~Cap.LARGE_BAR
