"""Register blocks: a table of registers in, two methods out. Widths and undeclared offsets are settled here, once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

Access = Literal["rw", "ro", "wo"]
Note = Callable[[str, str, int], None]  # RuleLog.note


@dataclass(frozen=True)
class Reg:
    """One 32-bit register, or `count` of them `stride` bytes apart. `offset` in bytes; "wo" reads 0.

    With a stride of 8 the upper half of each slot belongs to the register.
    """

    offset: int
    name: str
    access: Access = "rw"
    reset: int = 0
    count: int = 1
    stride: int = 8


class RegBlock:
    """The registers of one BAR, bound once to their owners' handlers.

    For register `CMD` one of `owners` may have `_read_CMD() -> int` and `_write_CMD(value)`; for an array they take the
    index first. Without a handler a register is plain storage, found in `values[name]` (a list for arrays).

    Drivers use aligned 4-byte accesses. An 8-byte access at a multiple of 4 is split; any other width reads 0 and is
    dropped; both, and undeclared offsets, are noted under `odd_rule`. With a `stray_rule` undeclared offsets are noted
    under that one, and with them the reading of what can only be written.
    """

    def __init__(
        self,
        name: str,
        table: Sequence[Reg],
        owners: Sequence[object],
        note: Note,
        odd_rule: str,
        stray_rule: str | None = None,
    ) -> None:
        self.name, self.table, self._note, self._odd, self._stray = name, table, note, odd_rule, stray_rule
        self.values: dict[str, list[int]] = {}
        self._reads: dict[int, Callable[[], int]] = {}
        self._writes: dict[int, Callable[[int], None]] = {}
        self._halves: set[int] = set()  # the unused upper halves of eight-byte slots: read 0, ignore writes
        for reg in table:
            cells = self.values[reg.name] = [reg.reset] * reg.count
            on_read, on_write = (_handler(owners, f"_{way}_{reg.name}") for way in ("read", "write"))
            for i in range(reg.count):
                at = reg.offset + i * reg.stride
                if reg.stride >= 8:
                    self._halves.add(at + 4)
                index = () if reg.count == 1 else (i,)
                if reg.access != "wo":
                    self._reads[at] = partial(on_read, *index) if on_read else partial(cells.__getitem__, i)
                else:
                    self._reads[at] = _zero if stray_rule is None else partial(self._unreadable, at)
                if reg.access != "ro":
                    self._writes[at] = partial(on_write, *index) if on_write else partial(cells.__setitem__, i)
                else:
                    self._writes[at] = _ignore

    def reset(self) -> None:
        """Every plain register back to its reset value; handlers keep their own state."""
        for reg in self.table:
            self.values[reg.name][:] = [reg.reset] * reg.count

    def read(self, offset: int, size: int) -> int:
        if size == 4 and (handler := self._reads.get(offset)) is not None:
            return handler() & 0xFFFF_FFFF
        if size == 8 and offset % 4 == 0:
            self._note(self._odd, f"{self.name} read of 8 bytes", offset)
            return self.read(offset, 4) | self.read(offset + 4, 4) << 32
        if not (size == 4 and offset in self._halves):
            self._note(self._rule(offset, size), f"{self.name} read of {size}", offset)
        return 0

    def write(self, offset: int, size: int, value: int) -> None:
        if size == 4 and (handler := self._writes.get(offset)) is not None:
            handler(value)
        elif size == 8 and offset % 4 == 0:
            self._note(self._odd, f"{self.name} write of 8 bytes", offset)
            self.write(offset, 4, value & 0xFFFF_FFFF)
            self.write(offset + 4, 4, value >> 32)
        elif not (size == 4 and offset in self._halves):
            self._note(self._rule(offset, size), f"{self.name} write of {size}", offset)

    def _rule(self, offset: int, size: int) -> str:
        """What an access that finds no register breaks."""
        return self._odd if self._stray is None or size != 4 or offset % 4 else self._stray

    def _unreadable(self, offset: int) -> int:
        assert self._stray is not None
        self._note(self._stray, f"{self.name} read of a register that is only written", offset)
        return 0


def _handler(owners: Sequence[object], name: str) -> Callable[..., Any] | None:
    """The method of that name of the first owner that has one."""
    return next((getattr(owner, name) for owner in owners if hasattr(owner, name)), None)


def _zero() -> int:
    return 0


def _ignore(value: int) -> None:
    pass
