"""The text of blkparse in its default format.

Ref: blkparse(1), "OUTPUT DESCRIPTION AND FORMATTING", "ACTION IDENTIFIERS", "RWBS DESCRIPTION".
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from pvscsi.block.backend import Op
from pvscsi.traces.trace import DISK_MOST, SECTOR, Event, Lines, Record, malformed, shown

ACTIONS = ("D", "Q")  # issued to the driver, queued: what can be replayed, the better one first
SECOND = 1_000_000_000  # ns

_FIELDS = (  # of every line: what it is called, its form, the form in words
    ("device", rb"\d{1,4},\d{1,8}", "MAJOR,MINOR"),
    ("CPU", rb"\d{1,6}", "a number"),
    ("sequence", rb"\d{1,20}", "a number"),
    ("time", rb"\d{1,10}\.\d{9}", "SECONDS.NANOSECONDS, nine digits behind the point"),
    ("process", rb"\d{1,10}", "a number"),
    ("action", rb"[A-Za-z]{1,2}", "one or two letters"),
    ("RWBS", rb"[A-Z]{1,8}", "capital letters"),
)
_LINE = re.compile(
    rb"\s*(\d{1,4},\d{1,8})\s+\d{1,6}\s+\d{1,20}\s+(\d{1,10})\.(\d{9})\s+\d{1,10}\s+([A-Za-z]{1,2})\s+([A-Z]{1,8})\s+"
    rb"(?:(\d{1,20}) \+ (\d{1,10})\s)?(.*)",
    re.DOTALL,
)
_PASS_THROUGH = re.compile(rb"\d+ [(\[]")  # bytes, then the CDB or the process's name
_SUMMARY = re.compile(rb"(?:(?:CPU ?\d+|Total) \(.*\):|\S.* \(\d+(?:, \.\.\.)?\)|Throughput .*)\s*")
_NOISE = re.compile(rb"Input file .* added\s*|\s*")
_OPS = {"R": Op.READ, "W": Op.WRITE, "D": Op.DISCARD, "E": Op.DISCARD, "N": Op.ZERO}


def recognises(head: bytes) -> bool:
    """Whether text that begins like this is blkparse's: its first line that says anything is one of an event."""
    for line in head.splitlines(keepends=True):
        if not _NOISE.fullmatch(line):
            return _LINE.fullmatch(line) is not None
    return False


def parse(lines: Lines, name: str) -> Iterator[Record]:
    """Records of the lines of ACTIONS, up to the summary. `N` with sectors, which blkparse does not write, zeroes."""
    fullmatch = _LINE.fullmatch
    for number, line in lines:
        match = fullmatch(line)
        if match is None:
            if _NOISE.fullmatch(line):
                continue
            if _SUMMARY.fullmatch(line):
                return
            raise malformed(name, number, _wrong(line))
        device, seconds, ns, action, rwbs, sector, count, rest = match.groups()
        if action not in _WANTED:
            continue
        try:
            op, flush, fua = meaning(rwbs)
        except ValueError as error:
            raise malformed(name, number, str(error)) from None
        where, what = device.decode(), action.decode()
        stamp = int(seconds) * SECOND + int(ns)
        length = int(count) * SECTOR if count is not None else 0
        if op is Op.FLUSH or (flush and not length):
            yield Record(where, what, (Event(stamp, Op.FLUSH),))
        elif length:
            offset = int(sector) * SECTOR
            if offset + length > DISK_MOST:
                raise malformed(name, number, f"sector {int(sector)}: no disk is that large")
            event = Event(stamp, op, offset, length, fua)
            yield Record(where, what, (Event(stamp, Op.FLUSH), event) if flush else (event,))
        elif _PASS_THROUGH.match(rest):
            yield Record(where, what, (), "of pass-through commands")
        elif rest.startswith(b"[") or sector is not None:
            yield Record(where, what, (), "without sectors")
        else:
            raise malformed(name, number, f"{shown(rest.strip())}: not SECTOR + COUNT")


_WANTED = frozenset(action.encode() for action in ACTIONS)


@lru_cache(maxsize=256)
def meaning(rwbs: bytes) -> tuple[Op, bool, bool]:
    """What an RWBS field says: (operation, a flush goes first, FUA). Raises `ValueError`.

    A leading F is a flush before the operation, one behind it FUA. S, M and A (synchronous, metadata, read-ahead) are
    hints.
    """
    text = rwbs.decode()
    flush = text[0] == "F"
    letters = text[1:] if flush else text
    if flush and letters.strip("FSMAN") == "":
        return Op.FLUSH, True, False
    if letters[0] not in _OPS or letters[1:].strip("FSMAEB"):
        raise ValueError(f"RWBS {text!r}: not R, W, D, F or N with F, S, M, A behind it")
    return _OPS[letters[0]], flush, letters[0] == "W" and "F" in letters


def _wrong(line: bytes) -> str:
    """What is wrong with a line, as far as it can be told."""
    words = line.split(None, len(_FIELDS))
    for (name, form, wanted), word in zip(_FIELDS, words, strict=False):
        if not re.fullmatch(form, word):
            return f"{name} {shown(word)}: not {wanted} (blkparse's default format is wanted)"
    return f"ends after {len(words)} fields: cut short?"
