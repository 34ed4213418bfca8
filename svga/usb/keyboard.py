"""A USB keyboard: keys as reports, as every BIOS and every system knows them. Pure.

Ref: HID 1.11, appendix B (report) and C; HID usage tables, page 7; the IBM PC's scan codes, set 1.
"""

from collections import deque

from pvdev.rules import RuleLog
from svga.usb.hid import HidDevice
from svga.usb.personas import Persona

REPORTS = 64  # that wait for a host; from then on only the last state counts
KEYS = 6  # that a report can name
ROLL_OVER = 1  # in place of every key, when more are down

_FIRST_MODIFIER = 0xE0
_ROWS = {  # scan code of the first -> usages of it and the next ones
    0x01: "29 1e 1f 20 21 22 23 24 25 26 27 2d 2e 2a",  # escape, 1 to 0, minus, equals, backspace
    0x0F: "2b 14 1a 08 15 17 1c 18 0c 12 13 2f 30 28",  # tab, Q to P, brackets, enter
    0x1D: "e0 04 16 07 09 0a 0b 0d 0e 0f 33 34 35",  # control, A to L, semicolon, quote, backquote
    0x2A: "e1 31 1d 1b 06 19 05 11 10 36 37 38 e5",  # shift, backslash, Z to slash, right shift
    0x37: "55 e2 2c 39",  # keypad *, alt, space, caps lock
    0x3B: "3a 3b 3c 3d 3e 3f 40 41 42 43",  # F1 to F10
    0x45: "53 47 5f 60 61 56 5c 5d 5e 57 59 5a 5b 62 63",  # num lock, scroll lock, keypad
    0x54: "46",  # print screen with alt
    0x56: "64 44 45",  # the key beside left shift, F11, F12
    0x9C: "58 e4",  # keypad enter, right control
    0xB5: "54",  # keypad /
    0xB7: "46 e6",  # print screen, right alt
    0xC6: "48 4a 52 4b",  # pause, home, up, page up
    0xCB: "50",  # left
    0xCD: "4f",  # right
    0xCF: "4d 51 4e 49 4c",  # end, down, page down, insert, delete
    0xDB: "e3 e7 65",  # the system keys, menu
    0x70: "88",  # the keys of Japanese keyboards
    0x73: "87",
    0x79: "8a",
    0x7B: "8b",
    0x7D: "89",
    0xA0: "7f",  # mute, quieter, louder
    0xAE: "81",
    0xB0: "80",
}
USAGES = {first + n: usage for first, row in _ROWS.items() for n, usage in enumerate(bytes.fromhex(row))}


class HidKeyboard(HidDevice):
    """A keyboard. `lights`: what its host shows there, bit 0 num lock, 1 caps lock, 2 scroll lock."""

    def __init__(self, persona: Persona, rules: RuleLog | None = None) -> None:
        self._down: list[int] = []  # usages, the longest held first
        self._modifiers = 0
        self._reports: deque[bytes] = deque()
        super().__init__(persona, rules)

    def key(self, code: int, down: bool) -> bool:
        usage = USAGES.get(code)
        if usage is None or not self.configuration:
            return False
        before = self._still()
        if usage >= _FIRST_MODIFIER:
            bit = 1 << usage - _FIRST_MODIFIER
            self._modifiers = self._modifiers | bit if down else self._modifiers & ~bit
        elif down and usage not in self._down:
            self._down.append(usage)
        elif not down and usage in self._down:
            self._down.remove(usage)
        report = self._still()
        if report != before:
            if len(self._reports) == REPORTS:
                self._reports.pop()
            self._reports.append(report)
        return True

    def _next(self) -> bytes | None:
        return self._reports.popleft() if self._reports else None

    def _still(self) -> bytes:
        keys = bytes(self._down) if len(self._down) <= KEYS else bytes((ROLL_OVER,)) * KEYS
        return bytes((self._modifiers, 0)) + keys.ljust(KEYS, b"\0")

    def _forget(self) -> None:
        self._down.clear()
        self._reports.clear()
        self._modifiers = 0
