"""Which of a guest's pointers a viewer's hand moves: its VMMouse while a driver listens, else the others."""

import pytest

from svga.console.vmmouse import VmMouseHands
from svga.vmmouse import Command, Flag, Order, VmMouse
from tests.unit.svga.console.rfb import FakeHands
from tests.unit.svga.test_vmmouse import Call


class Guest:
    """A driver at the port, and what the other pointers felt."""

    def __init__(self) -> None:
        self.others = FakeHands()
        self.hands = VmMouseHands(VmMouse(), self.others)

    def call(self, command: int, rbx: int = 0) -> list[int]:
        registers = Call(command, rbx)
        self.hands.calls[command](registers)
        return registers.low()

    def switch_on(self, mode: Order = Order.ABSOLUTE) -> None:
        self.call(Command.ABSPOINTER_COMMAND, Order.READ_ID)
        self.call(Command.ABSPOINTER_DATA, 1)
        self.call(Command.ABSPOINTER_COMMAND, mode)

    def packets(self) -> list[list[int]]:
        count = self.call(Command.ABSPOINTER_STATUS)[0] // 4
        return [self.call(Command.ABSPOINTER_DATA, 4)[:4] for _ in range(count)]

    def felt(self) -> list[tuple[object, ...]]:
        """What the others did since."""
        did, self.others.did = self.others.did, []
        return did


@pytest.fixture
def guest() -> Guest:
    return Guest()


def test_all_goes_to_the_others_while_no_driver_listens(guest: Guest) -> None:
    guest.hands.point(5, 6, 1)
    guest.hands.move(1, 2, 0)
    guest.hands.wheel(1, -1)

    assert guest.felt() == [("point", 5, 6, 1), ("move", 1, 2, 0), ("wheel", 1, -1)]


def test_places_go_to_the_driver_with_a_bell_for_each(guest: Guest) -> None:
    guest.switch_on()
    guest.hands.point(0x1234, 0xFEDC, 0)
    guest.hands.point(0xFFFF, 0, 1)
    guest.hands.wheel(2)
    first, *bells = guest.felt()

    assert guest.packets() == [
        [0, 0x1234, 0xFEDC, 0],
        [Flag.LEFT, 0xFFFF, 0, 0],
        [Flag.LEFT, 0xFFFF, 0, 0xFFFF_FFFE],
    ]
    assert first == ("move", 0, 0, 0)  # no button stays down there
    assert bells == [("move", 1, 0, 0), ("move", -1, 0, 0), ("move", 1, 0, 0)]


def test_movements_go_to_the_driver_in_either_mode(guest: Guest) -> None:
    for mode in (Order.ABSOLUTE, Order.RELATIVE):
        guest.switch_on(mode)
        guest.hands.move(3, 4, 0)

        assert guest.packets() == [[Flag.RELATIVE_PACKET, 3, 0xFFFF_FFFC, 0]]


def test_places_go_to_the_others_while_the_driver_wants_movements(guest: Guest) -> None:
    guest.switch_on(Order.RELATIVE)
    guest.hands.point(5, 6, 0)
    guest.hands.wheel(1)

    assert guest.packets() == []
    assert guest.felt() == [("point", 5, 6, 0), ("wheel", 1, 0)]


def test_keys_are_never_the_mouse_s(guest: Guest) -> None:
    guest.switch_on()
    guest.hands.key(30, True)

    assert guest.felt() == [("key", 30, True)]


def test_a_button_held_while_the_driver_comes_or_goes_is_let_go(guest: Guest) -> None:
    guest.hands.point(5, 6, 1)
    guest.switch_on()
    guest.hands.point(7, 8, 1)
    came = guest.felt()
    guest.call(Command.ABSPOINTER_COMMAND, Order.RELATIVE)
    guest.hands.point(9, 9, 1)

    assert came == [("point", 5, 6, 1), ("move", 0, 0, 0), ("move", 1, 0, 0)]
    assert guest.packets() == [[Flag.LEFT, 7, 8, 0], [Flag.RELATIVE_PACKET, 0, 0, 0]]
    assert guest.felt() == [("move", -1, 0, 0), ("point", 9, 9, 1)]


def test_the_driver_goes_and_the_others_have_it_again(guest: Guest) -> None:
    guest.switch_on()
    guest.hands.point(7, 8, 1)
    guest.call(Command.ABSPOINTER_COMMAND, Order.DISABLE)
    guest.felt()
    guest.hands.point(9, 9, 0)

    assert guest.felt() == [("point", 9, 9, 0)]


def test_what_a_driver_is_too_late_for_is_nobody_else_s(guest: Guest) -> None:
    guest.switch_on()
    for n in range(300):
        guest.hands.point(n, 0, 0)

    assert ("point", 299, 0, 0) not in guest.felt()
    assert len(guest.packets()) == 256
    assert guest.packets() == [[0, 299, 0, 0]]  # it catches up


def test_nothing_rings_for_packets_that_are_gone(guest: Guest) -> None:
    guest.switch_on()
    for n in range(300):
        guest.hands.point(n, 0, 0)
    guest.packets()  # one more is queued while it reads
    guest.call(Command.ABSPOINTER_COMMAND, Order.DISABLE)
    guest.felt()
    guest.hands.point(5, 6, 0)

    assert guest.felt() == [("point", 5, 6, 0)]
