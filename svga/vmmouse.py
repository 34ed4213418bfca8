"""VMMouse: a pointer behind the backdoor port, read by a driver that a PS/2 packet has woken. Pure.

Whoever carries backdoor calls gives those of `COMMANDS` to `call` with the registers they came with. The port has no
interrupt: for every packet that `take_bells` tells of, the PS/2 mouse beside it has to send something, anything, or the
driver never looks.

Ref: open-vm-tools lib/include/backdoor_def.h (names); Linux drivers/input/mouse/vmmouse.c (what a driver expects);
QEMU hw/i386/vmmouse.c (cross-check: size of the queue, what overflow and over-reads do).
"""

from collections import deque
from enum import IntEnum, IntFlag
from typing import Protocol

from pvdev.rules import RuleLog
from svga.rules import RULES


class Command(IntEnum):
    """The low half of ECX."""

    ABSPOINTER_DATA = 39
    ABSPOINTER_STATUS = 40
    ABSPOINTER_COMMAND = 41
    ABSPOINTER_RESTRICT = 86


class Order(IntEnum):
    """EBX of ABSPOINTER_COMMAND."""

    READ_ID = 0x4541_4552
    DISABLE = 0x0000_00F5
    RELATIVE = 0x4C45_5252
    ABSOLUTE = 0x5342_4152


class Restrict(IntEnum):
    """EBX of ABSPOINTER_RESTRICT: who may use the pointer."""

    ANY = 0
    CPL0 = 1
    IOPL = 2


class Flag(IntFlag):
    """Word 0 of a packet; words 1 to 3 are X, Y and the wheel."""

    MIDDLE = 0x08
    RIGHT = 0x10
    LEFT = 0x20
    RELATIVE_PACKET = 0x1_0000


COMMANDS = frozenset(Command)
VERSION_ID = 0x3442_554A
PACKET = 4  # words
QUEUE = 1024  # words
DATA_MOST = 6  # words, one a register
ERROR = 0xFFFF_0000
REFUSED = 0xFFFF_FFFF  # EAX of a command that is not there, or not for this caller
TOP = 0xFFFF  # X and Y of absolute packets go from 0 to this, over the whole desktop
WHEEL_MOST = 127

_WORD = 0xFFFF_FFFF
_OUT = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi")
_BUTTONS = ((1, Flag.LEFT), (2, Flag.RIGHT), (4, Flag.MIDDLE))


class Registers(Protocol):
    """The registers of one call, 64-bit unsigned, and the privilege level it came from; 0 where nobody can tell."""

    rax: int
    rbx: int
    rcx: int
    rdx: int
    rsi: int
    rdi: int
    cpl: int


def _set(registers: Registers, name: str, word: int) -> None:
    """Store the low 32 bits; the others stay."""
    setattr(registers, name, getattr(registers, name) & ~_WORD | word & _WORD)


class VmMouse:
    """One pointer. Hands call `point`, `move` and `wheel`; a driver's calls come in by `call`.

    Off (`on` False) until a driver has sent READ_ID and taken the id; what happens before is not kept. `rules`: a log
    to share with other devices of the same guest. Hands and calls are one thread's, or share a lock.
    """

    top = TOP

    def __init__(self, rules: RuleLog | None = None) -> None:
        self.rules = rules if rules is not None else RuleLog(RULES)
        self.dropped = 0  # packets there was no room for
        self.reset()

    def reset(self) -> None:
        """As after power-on."""
        self.absolute = False
        self.restrict = Restrict.ANY
        self.buttons = self._x = self._y = 0
        self._off()

    @property
    def on(self) -> bool:
        """Whether packets are taken: the id has been asked for, and read."""
        return not self._error and not self._id_waits

    def _off(self) -> None:
        self._queue: deque[int] = deque()
        self._bells = 0
        self._error, self._id_waits, self._late = True, False, False

    # -- hands -----------------------------------------------------------------------------------------------------

    def point(self, x: int, y: int, buttons: int | None = None) -> bool:
        """The pointer is there, each 0 to 65535 over the whole desktop (`svga.aim`). `buttons`: 1 left, 2 right, 4
        middle; None: as before. False: nothing was told, as the driver is off or wants movements."""
        self._x, self._y = min(max(x, 0), TOP), min(max(y, 0), TOP)
        self._press(buttons)
        return self.absolute and self._packet(0, self._x, self._y, 0)

    def move(self, dx: int, dy: int, buttons: int | None = None) -> bool:
        """It moved by so many steps to the right and down; told in either mode, in a packet that says so."""
        self._press(buttons)
        return self._packet(Flag.RELATIVE_PACKET, dx, -dy, 0)  # Linux: up is positive here, and only here

    def wheel(self, steps: int, *, buttons: int | None = None) -> bool:
        """The wheel turned, up is positive; 127 steps at most."""
        self._press(buttons)
        z = -max(-WHEEL_MOST, min(WHEEL_MOST, steps))
        if self.absolute:
            return self._packet(0, self._x, self._y, z)
        return self._packet(Flag.RELATIVE_PACKET, 0, 0, z)

    def take_bells(self) -> int:
        """How many packets were queued since the last call: so many times the PS/2 mouse is to interrupt."""
        bells, self._bells = self._bells, 0
        return bells

    def _press(self, buttons: int | None) -> None:
        if buttons is not None:
            self.buttons = sum(flag for bit, flag in _BUTTONS if buttons & bit)

    def _packet(self, flags: int, x: int, y: int, z: int) -> bool:
        if not self.on:
            return False
        if len(self._queue) > QUEUE - PACKET:
            self.dropped += 1
            self._late = True
            return False
        self._queue.extend((flags | self.buttons, x & _WORD, y & _WORD, z & _WORD))
        self._bells += 1
        return True

    def _catch_up(self) -> None:
        """Where packets were dropped, the last one says what is true: no button stays down that is up."""
        if self._late and len(self._queue) <= QUEUE - PACKET:
            self._late = False
            if self.absolute:
                self._packet(0, self._x, self._y, 0)
            else:
                self._packet(Flag.RELATIVE_PACKET, 0, 0, 0)

    # -- the driver ------------------------------------------------------------------------------------------------

    def call(self, registers: Registers, iopl: int = 0) -> bool:
        """Do what the command in ECX asks; False, and nothing changed, when it is none of `COMMANDS`.

        `iopl`: the guest's IOPL, for RESTRICT to it. Registers that are no output keep all 64 bits, outputs their high
        32.
        """
        command = registers.rcx & 0xFFFF
        if command not in COMMANDS:
            return False
        if not self._allowed(registers.cpl, iopl):
            self.rules.note("SVG-D-066", Command(command).name, registers.cpl)
            _set(registers, "rax", REFUSED)
            return True
        word = registers.rbx & _WORD
        if command == Command.ABSPOINTER_DATA:
            self._data(registers, word)
        elif command == Command.ABSPOINTER_STATUS:
            _set(registers, "rax", ERROR if self._error else len(self._queue))
        elif command == Command.ABSPOINTER_COMMAND:
            self._command(word)
        elif word in tuple(Restrict):
            self.restrict = Restrict(word)
        else:
            self.rules.note("SVG-D-065", "ABSPOINTER_RESTRICT", word)
            _set(registers, "rax", REFUSED)
        return True

    def _allowed(self, cpl: int, iopl: int) -> bool:
        return self.restrict == Restrict.ANY or cpl <= (iopl if self.restrict == Restrict.IOPL else 0)

    def _command(self, order: int) -> None:
        if order == Order.READ_ID:
            self._off()
            self._error, self._id_waits = False, True
            self._queue.append(VERSION_ID)
        elif order == Order.DISABLE:
            self._off()
        elif order in (Order.ABSOLUTE, Order.RELATIVE):
            self.absolute = order == Order.ABSOLUTE
        else:
            self.rules.note("SVG-D-065", "ABSPOINTER_COMMAND", order)

    def _data(self, registers: Registers, count: int) -> None:
        """The first words of the queue, one a register. Asked for what is not there: all of them 0, and off."""
        if self._error:
            self.rules.note("SVG-D-058", "ABSPOINTER_DATA", count)
        elif not 0 < count <= min(DATA_MOST, len(self._queue)):
            self.rules.note("SVG-D-063", "ABSPOINTER_DATA", count)
            self._off()
        else:
            if count != (1 if self._id_waits else PACKET):
                self.rules.note("SVG-D-064", "ABSPOINTER_DATA", count)
            for name in _OUT[:count]:
                _set(registers, name, self._queue.popleft())
            self._id_waits = False
            self._catch_up()
            return
        for name in _OUT[: min(count, DATA_MOST)]:
            _set(registers, name, 0)
        _set(registers, "rax", ERROR)
