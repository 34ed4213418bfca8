"""Mode pages: what they say now, what may be changed, MODE SENSE and MODE SELECT.

Nothing is saved: a reset brings the defaults back. Ref: SPC-4 mode parameters; SBC-3 caching page; MMC page 2A.
"""

from collections.abc import Mapping, Sequence
from struct import pack
from typing import TYPE_CHECKING, NamedTuple

from pvscsi.scsi.command import Steps, number
from pvscsi.scsi.sense import (
    MODE_CHANGED,
    PARAMETER_LIST_LENGTH_ERROR,
    SAVING_NOT_SUPPORTED,
    Check,
    bad_cdb,
    bad_list,
)
from pvscsi.scsi.task import Task

if TYPE_CHECKING:
    from pvscsi.scsi.unit import LogicalUnit

RECOVERY, CACHING, CONTROL, CD_AUDIO, EXCEPTIONS, CAPABILITIES, ALL = 0x01, 0x08, 0x0A, 0x0E, 0x1C, 0x2A, 0x3F
ALL_SUBPAGES = 0xFF

WCE = 0x04  # byte 2 of the caching page
D_SENSE = 0x04  # byte 2 of the control page
SWP = 0x08  # byte 4 of the control page
WP, DPOFUA = 0x80, 0x10  # device-specific parameter of the header
_LONGLBA = 0x01


class Page(NamedTuple):
    """One mode page as it is by default, and a mask of what an initiator may change. Header included, as sent."""

    default: bytes
    changeable: bytes


def page(code: int, size: int, given: Mapping[int, int] | None = None, free: Mapping[int, int] | None = None) -> Page:
    """A page of `size` bytes (header included): bytes that are not zero by default, and bits that may be changed."""
    default, changeable = bytearray(size), bytearray(size)
    default[:2] = changeable[:2] = bytes((code, size - 2))
    for where, value in (given or {}).items():
        default[where] = value
    for where, value in (free or {}).items():
        changeable[where] = value
    return Page(bytes(default), bytes(changeable))


def disk_pages(*, write_cache: bool = True) -> Sequence[Page]:
    """01: remaps by itself. 08: write cache. 0A: unrestricted reordering. 1C: exceptions are not reported."""
    return (
        page(RECOVERY, 12, {2: 0xC0}),
        page(CACHING, 20, {2: WCE if write_cache else 0}, {2: WCE}),
        page(CONTROL, 12, {2: 0x02, 3: 0x10}, {2: D_SENSE, 4: SWP}),
        page(EXCEPTIONS, 12, {2: 0x08}),
    )


def cd_pages() -> Sequence[Page]:
    """The same for a CD drive; 2A: reads CD-R, CD-RW and DVD, has a tray that locks and ejects, plays no audio."""
    return (
        page(RECOVERY, 12, {3: 1}),
        page(CONTROL, 12, {2: 0x02, 3: 0x10}, {2: D_SENSE}),
        page(CD_AUDIO, 16, {2: 0x04, 7: 75}),
        page(EXCEPTIONS, 12, {2: 0x08}),
        page(CAPABILITIES, 22, {2: 0x3B, 4: 0x70, 6: 0x29, 8: 0x15, 9: 0x90, 13: 0x02, 14: 0x15, 15: 0x90}),
    )


class ModePages:
    """The pages of one unit."""

    def __init__(self, pages: Sequence[Page]) -> None:
        self._pages = {made.default[0]: made for made in pages}
        self.reset()

    def reset(self) -> None:
        """Defaults again."""
        self._now = {code: made.default for code, made in self._pages.items()}

    @property
    def codes(self) -> list[int]:
        return sorted(self._pages)

    def bit(self, code: int, byte: int, mask: int) -> bool:
        """Whether any bit of `mask` is set; not if there is no such page."""
        now = self._now.get(code)
        return now is not None and bool(now[byte] & mask)

    def read(self, code: int, control: int) -> bytes:
        """One page. `control` (PC): 0 current, 1 what may be changed, 2 default."""
        made = self._pages[code]
        return (self._now[code], made.changeable, made.default)[control]

    def offered(self, data: bytes, start: int) -> dict[int, bytes]:
        """The pages of a parameter list from byte `start` on, checked, as they would be. Raises `Check`."""
        wanted: dict[int, bytes] = {}
        while start < len(data):
            if start + 2 > len(data):
                raise Check(PARAMETER_LIST_LENGTH_ERROR)
            code, size = data[start] & 0x3F, data[start + 1] + 2
            made = self._pages.get(code)
            if made is None or data[start] & 0x40:
                raise bad_list(start, 6)
            if size != len(made.default):
                raise bad_list(start + 1)
            if start + size > len(data):
                raise Check(PARAMETER_LIST_LENGTH_ERROR)
            before, free = wanted.get(code, self._now[code]), made.changeable
            for i in range(2, size):
                if (data[start + i] ^ before[i]) & ~free[i]:
                    raise bad_list(start + i)
            wanted[code] = before[:2] + data[start + 2 : start + size]
            start += size
        return wanted

    def change(self, wanted: Mapping[int, bytes]) -> bool:
        """Take over what `offered` found good. True: something is different now."""
        before = dict(self._now)
        self._now.update(wanted)
        return self._now != before


def mode_sense(unit: "LogicalUnit", task: Task) -> bytes:
    """MODE SENSE(6) and (10)."""
    cdb = task.cdb
    long = cdb[0] == 0x5A
    control, code, subpage = cdb[2] >> 6, cdb[2] & 0x3F, cdb[3]
    if control == 3:
        raise Check(SAVING_NOT_SUPPORTED)
    if code != ALL and code not in unit.modes.codes:
        raise bad_cdb(2, 5)
    if subpage not in (0, ALL_SUBPAGES):
        raise bad_cdb(3)
    codes = unit.modes.codes if code == ALL else [code]
    pages = b"".join(unit.mode_page(each, control) for each in codes)
    wide = long and bool(cdb[1] & 0x10)
    described = b"" if cdb[1] & 0x08 else unit.block_descriptor(wide=wide)
    specific = unit.mode_specific()
    if long:
        head = pack(">HBBBxH", 6 + len(described) + len(pages), 0, specific, _LONGLBA if wide else 0, len(described))
    else:
        head = pack(">BBBB", 3 + len(described) + len(pages), 0, specific, len(described))
    return head + described + pages


def mode_select(unit: "LogicalUnit", task: Task) -> Steps | None:
    """MODE SELECT(6) and (10): every page of the list or none of it. Clearing WCE flushes before it is done."""
    cdb = task.cdb
    if not cdb[1] & 0x10:
        raise bad_cdb(1, 4)
    if cdb[1] & 0x01:
        raise bad_cdb(1, 0)
    long = cdb[0] == 0x55
    data = unit.parameters(task, number(cdb, 7, 2) if long else cdb[4])
    if not data:
        return None
    start = _after_descriptors(unit, data, long=long)
    wanted = unit.modes.offered(data, start)
    flush = unit.modes.bit(CACHING, 2, WCE) and not wanted.get(CACHING, bytes((0, 0, WCE)))[2] & WCE
    if flush:
        return _flush_then_change(unit, task, wanted)
    _change(unit, task, wanted)
    return None


def _flush_then_change(unit: "LogicalUnit", task: Task, wanted: Mapping[int, bytes]) -> Steps:
    _change(unit, task, wanted)  # from here on every write goes through
    with unit.claims.hold((0, unit.blocks * unit.block)) as writes_begun_before:
        yield from writes_begun_before
        yield from unit.flush()


def _change(unit: "LogicalUnit", task: Task, wanted: Mapping[int, bytes]) -> None:
    if unit.modes.change(wanted):
        unit.attention.add(MODE_CHANGED, but=task.nexus)
        unit.settle()


def _after_descriptors(unit: "LogicalUnit", data: bytes, *, long: bool) -> int:
    """Where the pages begin: behind the header and a block descriptor that asks for nothing new. Raises `Check`."""
    head = 8 if long else 4
    if len(data) < head:
        raise Check(PARAMETER_LIST_LENGTH_ERROR)
    size = number(data, 6, 2) if long else data[3]
    wide = long and bool(data[4] & _LONGLBA)
    if head + size > len(data):
        raise Check(PARAMETER_LIST_LENGTH_ERROR)
    if size not in (0, 16 if wide else 8):
        raise bad_list(6 if long else 3)
    if size:
        count = number(data, head, 8 if wide else 4)
        block = number(data, head + 12, 4) if wide else number(data, head + 5, 3)
        if block != unit.block:
            raise bad_list(head + (12 if wide else 5))
        if count and number(unit.block_descriptor(wide=wide) or data[head:], 0, 8 if wide else 4) != count:
            raise bad_list(head)
    return head + size
