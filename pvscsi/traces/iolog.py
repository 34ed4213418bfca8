"""The iologs of fio, versions 2 and 3.

Ref: fio(1), "Trace file format v2" and "v3". Stamps of version 3 are microseconds.
"""

import re
from collections.abc import Iterator

from pvscsi.block.backend import Op
from pvscsi.traces.trace import DISK_MOST, SECTOR, Event, Lines, Record, malformed, shown

US = 1000  # ns
WAIT_LEAST = 100  # microseconds; fio discards shorter waits

_VERSION = re.compile(rb"fio version (\d+) iolog\s*")
_NUMBER = re.compile(rb"\d{1,19}")
_OPS = {
    b"read": Op.READ,
    b"write": Op.WRITE,
    b"trim": Op.DISCARD,
    b"sync": Op.FLUSH,
    b"datasync": Op.FLUSH,
}
_FILES = (b"add", b"open", b"close")


def recognises(head: bytes) -> bool:
    """Whether text that begins like this is an iolog."""
    return head.startswith(b"fio version ")


def parse(lines: Lines, name: str) -> Iterator[Record]:
    """Records of the lines that ask for something; the file is the device."""
    numbered = iter(lines)
    version = 0
    for number, line in numbered:
        match = _VERSION.fullmatch(line)
        if match is None or int(match[1]) not in (2, 3):
            raise malformed(name, number, f"{shown(line.strip())}: not 'fio version 2 iolog' or 'fio version 3 iolog'")
        version = int(match[1])
        break
    form = "TIME FILE ACTION [OFFSET LENGTH]" if version == 3 else "FILE ACTION [OFFSET LENGTH]"
    stamp = 0
    for number, line in numbered:
        words = line.split()
        if not words:
            continue
        if version == 3:
            stamp = _number(words.pop(0), "time", name, number) * US
        if len(words) not in (2, 4):
            raise malformed(name, number, f"{len(words) + version - 2} words: not {form}")
        file, action = words[0].decode("utf-8", "backslashreplace"), words[1]
        if len(words) == 2:
            if action not in _FILES:
                raise malformed(name, number, f"action {shown(action)}: not add, open or close, which stand alone")
            continue
        offset, length = (_number(word, what, name, number) for word, what in zip(words[2:], _PLACE, strict=True))
        op = _OPS.get(action)
        if op is Op.FLUSH:
            yield Record(file, "", (Event(stamp, op),))
        elif op is not None:
            for what, value in (("offset", offset), ("length", length)):
                if value % SECTOR:
                    raise malformed(name, number, f"{what} {value}: no multiple of {SECTOR}, a sector")
            if offset + length > DISK_MOST:
                raise malformed(name, number, f"offset {offset}: no disk is that large")
            if length:
                yield Record(file, "", (Event(stamp, op, offset, length),))
            else:
                yield Record(file, "", (), "of no bytes")
        elif action != b"wait":
            raise malformed(name, number, f"action {shown(action)}: not read, write, trim, sync, datasync or wait")
        elif version == 3:
            yield Record(file, "", (), "that wait, which version 3 does not")
        elif offset >= WAIT_LEAST:
            stamp += offset * US


_PLACE = ("offset", "length")


def _number(word: bytes, what: str, name: str, number: int) -> int:
    if not _NUMBER.fullmatch(word):
        raise malformed(name, number, f"{what} {shown(word)}: not a number")
    return int(word)
