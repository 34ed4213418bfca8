"""Where things are in an input report: what a HID report descriptor says, as far as pointers need it. Pure.

Ref: HID 1.11, 6.2.2 (items) and 8 (reports); HID usage tables, pages 1 and 9.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

BITS_MOST = 8 * 64  # of one report; what would lie beyond is left out
DESKTOP, BUTTON = 1, 9  # usage pages
X, Y, WHEEL = 0x30, 0x31, 0x38  # usages of DESKTOP

_INPUT, _USAGE_PAGE, _LOGICAL_MINIMUM, _LOGICAL_MAXIMUM = 0x80, 0x04, 0x14, 0x24  # tag and type of an item
_SIZE, _ID, _COUNT, _PUSH, _POP = 0x74, 0x84, 0x94, 0xA4, 0xB4
_USAGE, _USAGE_MINIMUM, _USAGE_MAXIMUM = 0x08, 0x18, 0x28
_MAIN = (0x80, 0x90, 0xA0, 0xB0, 0xC0)
_LONG, _DEPTH = 0xFE, 16
_CONSTANT, _VARIABLE, _RELATIVE = 1, 2, 4


@dataclass(frozen=True)
class Field:
    """One value of an input report: where its bits begin, how many, and what it means. `report`: the number of its
    report, that stands in the first byte; 0: there is none. `low`, `high`: its range."""

    report: int
    at: int
    bits: int
    page: int
    usage: int
    relative: bool
    low: int
    high: int

    def read(self, data: bytes) -> int:
        """Its value in a report; 0 where the report ends before it."""
        if 8 * len(data) < self.at + self.bits:
            return 0
        value = int.from_bytes(data, "little") >> self.at & (1 << self.bits) - 1
        return value - (1 << self.bits) if self.low < 0 and value >> self.bits - 1 else value


@dataclass(frozen=True)
class _Global:
    page: int = 0
    low: int = 0
    high: int = 0
    size: int = 0
    count: int = 0
    report: int = 0


def fields(descriptor: bytes) -> list[Field]:
    """Every input field that is one thing (a button, an axis): arrays and padding are left out.

    A descriptor that is broken gives what was read of it up to there.
    """
    found: list[Field] = []
    ends: dict[int, int] = {}  # report -> bits so far
    now, stack = _Global(), list[_Global]()
    usages: list[int] = []
    bounds = [0, -1]
    for tag, value, signed in _items(descriptor):
        if tag == _INPUT:
            _add(found, ends, now, usages or list(range(bounds[0], min(bounds[1], bounds[0] + 255) + 1)), value)
        elif tag == _USAGE:
            usages.append(value)
        elif tag in (_USAGE_MINIMUM, _USAGE_MAXIMUM):
            bounds[tag == _USAGE_MAXIMUM] = value & 0xFFFF
        elif tag == _PUSH and len(stack) < _DEPTH:
            stack.append(now)
        elif tag == _POP and stack:
            now = stack.pop()
        else:
            now = _global(now, tag, value, signed)
        if tag in _MAIN:
            usages, bounds = [], [0, -1]
    return found


def _global(now: _Global, tag: int, value: int, signed: int) -> _Global:
    if tag == _USAGE_PAGE:
        return replace(now, page=value)
    if tag == _LOGICAL_MINIMUM:
        return replace(now, low=signed)
    if tag == _LOGICAL_MAXIMUM:
        return replace(now, high=signed if now.low < 0 else value)
    if tag == _SIZE:
        return replace(now, size=value)
    if tag == _COUNT:
        return replace(now, count=value)
    return replace(now, report=value & 0xFF) if tag == _ID else now


def _add(found: list[Field], ends: dict[int, int], now: _Global, usages: list[int], flags: int) -> None:
    """The fields of one INPUT item, one behind the other; the last usage is for all that are left."""
    at = ends.get(now.report, 8 if now.report else 0)
    count = min(now.count, max(0, BITS_MOST - at) // now.size) if now.size else 0
    ends[now.report] = at + min(now.count * now.size, BITS_MOST)
    if flags & _CONSTANT or not flags & _VARIABLE or not usages or not now.size <= 32:
        return
    for n in range(count):
        usage = usages[min(n, len(usages) - 1)]
        page = usage >> 16 or now.page
        relative = bool(flags & _RELATIVE)
        place = at + n * now.size
        found.append(Field(now.report, place, now.size, page, usage & 0xFFFF, relative, now.low, now.high))


def _items(descriptor: bytes) -> Iterator[tuple[int, int, int]]:
    """Tag with type, value, and the value as a signed number, of each short item."""
    at = 0
    while at < len(descriptor):
        prefix = descriptor[at]
        if prefix == _LONG:
            at += 3 + (descriptor[at + 1] if at + 1 < len(descriptor) else 0)
            continue
        size = (0, 1, 2, 4)[prefix & 3]
        data = descriptor[at + 1 : at + 1 + size]
        if len(data) < size:
            return
        yield prefix & 0xFC, int.from_bytes(data, "little"), int.from_bytes(data, "little", signed=True)
        at += 1 + size


def size(descriptor: bytes, report: int = 0) -> int:
    """Bytes of an input report, its number included."""
    ends = 8 if report else 0
    now = _Global()
    for tag, value, signed in _items(descriptor):
        if tag == _INPUT and now.report == report:
            ends += min(now.size * now.count, BITS_MOST)
        now = _global(now, tag, value, signed)
    return -(-min(ends, BITS_MOST) // 8)
