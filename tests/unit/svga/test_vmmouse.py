"""VMMouse: what a driver reads of the pointer, call by call, as Linux's does it."""

import pytest

from svga.vmmouse import COMMANDS, ERROR, REFUSED, VERSION_ID, Command, Flag, Order, Registers, VmMouse

DATA, STATUS, COMMAND, RESTRICT = Command
HIGH = 0xAAAA_5555 << 32
NAMES = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi")


class Call:
    """The registers of one call, each with something in its upper half."""

    def __init__(self, command: int, rbx: int = 0, cpl: int = 0) -> None:
        self.rax, self.rbx, self.rcx, self.rdx = HIGH | 0x564D_5868, HIGH | rbx, HIGH | command, HIGH | 0x5658
        self.rsi, self.rdi, self.cpl = HIGH | 0x1111, HIGH | 0x2222, cpl

    def values(self) -> list[int]:
        return [getattr(self, name) for name in NAMES]

    def low(self) -> list[int]:
        return [value & 0xFFFF_FFFF for value in self.values()]


def call(mouse: VmMouse, command: int, rbx: int = 0, cpl: int = 0) -> list[int]:
    """The low halves of all registers after a call; the upper ones are as they were."""
    registers = Call(command, rbx, cpl)
    assert mouse.call(registers)
    assert [value & ~0xFFFF_FFFF for value in registers.values()] == [HIGH] * 6
    return registers.low()


def status(mouse: VmMouse) -> int:
    return call(mouse, STATUS)[0]


def packet(mouse: VmMouse) -> list[int]:
    return call(mouse, DATA, 4)[:4]


def broken(mouse: VmMouse) -> dict[str, int]:
    return {violation.rule.number: violation.count for violation in mouse.rules}


@pytest.fixture
def mouse() -> VmMouse:
    """As after power-on."""
    return VmMouse()


@pytest.fixture
def on(mouse: VmMouse) -> VmMouse:
    """Absolute, the id read."""
    call(mouse, COMMAND, Order.READ_ID)
    call(mouse, DATA, 1)
    call(mouse, RESTRICT, 1)
    call(mouse, COMMAND, Order.ABSOLUTE)
    return mouse


def test_SVG_V_067_the_handshake(mouse: VmMouse) -> None:
    assert status(mouse) == ERROR
    call(mouse, COMMAND, Order.READ_ID)
    assert status(mouse) == 1
    assert call(mouse, DATA, 1)[0] == VERSION_ID == 0x3442_554A
    assert status(mouse) == 0
    assert not mouse.rules


def test_SVG_V_067_packets_in_order(on: VmMouse) -> None:
    on.point(0x1234, 0xFEDC)
    on.point(0, 0xFFFF, 1)
    on.move(-3, 5, 2 | 4)
    on.wheel(2)

    assert status(on) == 16
    assert packet(on) == [0, 0x1234, 0xFEDC, 0]
    assert packet(on) == [Flag.LEFT, 0, 0xFFFF, 0]
    assert packet(on) == [Flag.RELATIVE_PACKET | Flag.RIGHT | Flag.MIDDLE, 0xFFFF_FFFD, 0xFFFF_FFFB, 0]
    assert packet(on) == [Flag.RIGHT | Flag.MIDDLE, 0, 0xFFFF, 0xFFFF_FFFE]
    assert status(on) == 0
    assert not on.rules


def test_SVG_V_067_a_full_queue_drops_whole_packets(on: VmMouse) -> None:
    for x in range(300):
        on.point(x, 0, 1)

    assert (status(on), on.dropped, on.take_bells()) == (1024, 44, 256)
    assert [packet(on)[1] for _ in range(255)] == list(range(255))
    assert status(on) % 4 == 0


def test_SVG_V_067_what_was_dropped_is_told_of_at_last(on: VmMouse) -> None:
    """A button let go while the queue was full is up once there is room."""
    for x in range(256):
        on.point(x, 0, 1)
    on.point(999, 7, 0)
    seen = [packet(on) for _ in range(257)]

    assert seen[-1] == [0, 999, 7, 0]
    assert status(on) == 0


def test_SVG_V_067_off_when_disabled(on: VmMouse) -> None:
    on.point(1, 2)
    call(on, COMMAND, Order.DISABLE)

    assert status(on) == ERROR
    assert not on.point(3, 4)
    assert status(on) == ERROR


def test_SVG_V_067_nothing_before_the_id_is_read(mouse: VmMouse) -> None:
    mouse.point(1, 1)
    call(mouse, COMMAND, Order.READ_ID)
    mouse.move(1, 1)

    assert status(mouse) == 1
    assert mouse.take_bells() == 0


def test_SVG_V_067_the_id_again_while_packets_wait(on: VmMouse) -> None:
    """As after a driver's reconnect: the id comes first."""
    on.point(1, 1)
    call(on, COMMAND, Order.READ_ID)

    assert (status(on), call(on, DATA, 1)[0], status(on)) == (1, VERSION_ID, 0)


@pytest.mark.parametrize("count", [1, 5, 6])
def test_SVG_V_068_an_over_read_and_how_it_recovers(on: VmMouse, count: int) -> None:
    call(on, DATA, count)
    assert status(on) == ERROR

    call(on, COMMAND, Order.READ_ID)
    assert call(on, DATA, 1)[0] == VERSION_ID
    on.point(5, 6)
    assert packet(on) == [0, 5, 6, 0]


def test_SVG_D_058_data_before_the_id(mouse: VmMouse) -> None:
    answer = call(mouse, DATA, 4)

    assert answer[:4] == [ERROR, 0, 0, 0]
    assert broken(mouse) == {"SVG-D-058": 1}


@pytest.mark.parametrize("count", [0, 5, 7, 0xFFFF_FFFF])
def test_SVG_D_063_data_there_are_not(on: VmMouse, count: int) -> None:
    on.point(1, 1)
    call(on, DATA, count)

    assert status(on) == ERROR
    assert broken(on) == {"SVG-D-063": 1}


def test_SVG_D_063_six_words_of_an_empty_queue_leak_nothing(on: VmMouse) -> None:
    assert call(on, DATA, 6) == [ERROR, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_SVG_D_064_part_of_a_packet(on: VmMouse, count: int) -> None:
    on.point(7, 8, 1)
    answer = call(on, DATA, count)

    assert answer[:count] == [Flag.LEFT, 7, 8][:count]
    assert status(on) == 4 - count
    assert broken(on) == {"SVG-D-064": 1}


@pytest.mark.parametrize("order", [0, 0xF4, 0xFFFF_FFFF])
def test_SVG_D_065_orders_nobody_knows(on: VmMouse, order: int) -> None:
    on.point(7, 8)
    call(on, COMMAND, order)

    assert packet(on) == [0, 7, 8, 0]
    assert broken(on) == {"SVG-D-065": 1}


def test_SVG_D_065_a_restriction_nobody_knows(on: VmMouse) -> None:
    assert call(on, RESTRICT, 3)[0] == REFUSED
    assert broken(on) == {"SVG-D-065": 1}


@pytest.mark.parametrize("command", COMMANDS)
def test_SVG_D_066_who_is_kept_out(on: VmMouse, command: int) -> None:
    """After RESTRICT to level 0 a program's calls find nothing, and change nothing."""
    on.point(1, 2)
    registers = Call(command, 4, cpl=3)
    before = registers.values()[1:]
    assert on.call(registers, iopl=3)

    assert (registers.low()[0], registers.values()[1:]) == (REFUSED, before)
    assert broken(on) == {"SVG-D-066": 1}
    assert packet(on) == [0, 1, 2, 0]


def test_SVG_D_066_by_iopl_and_by_none(on: VmMouse) -> None:
    call(on, RESTRICT, 2)
    answers = []
    for cpl, iopl in ((3, 0), (3, 3), (1, 2)):
        registers = Call(STATUS, cpl=cpl)
        on.call(registers, iopl)
        answers.append(registers.low()[0])
    call(on, RESTRICT, 0)

    assert answers == [REFUSED, 0, 0]
    assert call(on, STATUS, cpl=3)[0] == 0


def test_relative_mode_takes_movements_only(on: VmMouse) -> None:
    call(on, COMMAND, Order.RELATIVE)

    assert not on.point(9, 9, 1)
    assert on.move(127, -128)
    assert on.wheel(-1000)
    assert packet(on) == [Flag.RELATIVE_PACKET | Flag.LEFT, 127, 128, 0]
    assert packet(on) == [Flag.RELATIVE_PACKET | Flag.LEFT, 0, 0, 127]


def test_places_outside_are_on_the_edge(on: VmMouse) -> None:
    on.point(-5, 70000)

    assert packet(on) == [0, 0, 0xFFFF, 0]


def test_other_commands_are_somebody_elses(mouse: VmMouse) -> None:
    registers = Call(10)
    before = registers.values()

    assert not mouse.call(registers)
    assert registers.values() == before


def test_the_high_half_of_ecx_and_rbx_say_nothing(on: VmMouse) -> None:
    """Only 32 bits of RBX and 16 of RCX are the command's."""
    on.point(3, 4)
    registers: Registers = Call(0x7777_0000 | DATA, 4)
    assert on.call(registers)

    assert registers.rbx & 0xFFFF_FFFF == 3


def test_a_bell_for_every_packet(on: VmMouse) -> None:
    on.point(1, 1)
    on.move(1, 1)

    assert (on.take_bells(), on.take_bells()) == (2, 0)


def test_reset(on: VmMouse) -> None:
    on.point(1, 1, 1)
    on.reset()

    assert (on.on, on.absolute, on.buttons, on.take_bells(), on.restrict) == (False, False, 0, 0, 0)
    assert call(on, STATUS, cpl=3)[0] == ERROR
