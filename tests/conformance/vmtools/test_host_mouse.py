"""Duties of the host that others carry out at its port: VMT-V-055, 056 and 059; a mouse plugged in as a root does."""

import pytest

from svga.vmmouse import COMMANDS, ERROR, QUEUE, VERSION_ID, Order, VmMouse
from svga.vmmouse import Command as Mouse
from tests.conformance.vmtools.rig import Rig
from vmtools.frame import Frame
from vmtools.ways import leaves
from vmtools.wire import MASK32


class Desk:
    """A host with a mouse on its port."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.mouse = rig, VmMouse()

        def call(frame: Frame, now_ns: int) -> None:
            self.mouse.call(frame)

        rig.host.backdoor.handlers.update(dict.fromkeys(COMMANDS, call))

    def ask(self, command: int, ebx: int = 0) -> Frame:
        return self.rig.ports.low(command, ebx)

    def status(self) -> int:
        return self.ask(Mouse.ABSPOINTER_STATUS).rax & MASK32

    def enable(self) -> None:
        self.ask(Mouse.ABSPOINTER_COMMAND, Order.READ_ID)
        self.ask(Mouse.ABSPOINTER_DATA, 1)
        self.ask(Mouse.ABSPOINTER_COMMAND, Order.ABSOLUTE)


@pytest.fixture
def desk(rig: Rig) -> Desk:
    return Desk(rig)


def test_VMT_V_055_the_mouse_says_who_it_is(desk: Desk) -> None:
    desk.ask(Mouse.ABSPOINTER_COMMAND, Order.READ_ID)
    before = desk.status()
    name = desk.ask(Mouse.ABSPOINTER_DATA, 1).rax & MASK32
    desk.ask(Mouse.ABSPOINTER_COMMAND, Order.DISABLE)

    assert (before, name, desk.status()) == (1, VERSION_ID, ERROR)
    desk.rig.assert_clean()


def test_VMT_V_056_packets_are_whole(desk: Desk) -> None:
    """Also when there is no room for all."""
    desk.enable()
    lengths = []
    for n in range(300):
        desk.mouse.point(n, n)
        lengths.append(desk.status())

    frame = desk.ask(Mouse.ABSPOINTER_DATA, 4)

    assert all(length % 4 == 0 for length in lengths)
    assert max(lengths) == QUEUE
    assert [value & MASK32 for value in frame.values()[:4]] == [0, 0, 0, 0]
    assert desk.mouse.dropped == 300 - QUEUE // 4


def test_VMT_V_059_no_hypercalls_are_offered() -> None:
    """The ways in carry the port only: CPUID must not say otherwise."""
    features = leaves.answer(leaves.TIMING, 0, lambda leaf, subleaf: (MASK32,) * 4)

    assert features[2] & 3 == 0


@pytest.mark.parametrize("count", [0, 7, 0xFFFF_FFFF])
def test_VMT_hostile_25_reading_what_is_not_there(desk: Desk, count: int) -> None:
    desk.enable()
    desk.mouse.point(1, 1)

    frame = desk.ask(Mouse.ABSPOINTER_DATA, count)

    assert frame.rax & MASK32 == ERROR
    assert desk.status() == ERROR
    desk.rig.assert_alive()
