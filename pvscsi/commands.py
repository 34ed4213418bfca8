"""How commands come in: COMMAND, then its arguments through COMMAND_DATA; what SETUP_* ask for, checked.

A command runs inside the write of its last dword. Drivers probe by writing a command without its arguments and reading
COMMAND_STATUS; the next command drops what was begun. Ref: Linux pvscsi_write_cmd_desc, pvscsi_setup_msg_workqueue.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from pvdev.mem import GuestMemory
from pvscsi.wire import ARGUMENTS, MAX_MSG_PAGES, MAX_PAGES, PAGE, SETUP_MSG_RING, SETUP_RINGS, STATUS_FAILED, Cmd

Note = Callable[[str, str, int], None]

PPN_END = 1 << 52
_PROBES = (Cmd.SETUP_MSG_RING, Cmd.DEVICE_UNPLUG, Cmd.SETUP_REQCALLTHRESHOLD)


class Commands:
    """The command registers. `execute`: command -> what it does with its argument; it returns COMMAND_STATUS.

    `ran` hears of every command and its status. `note` records broken rules.
    """

    def __init__(
        self, execute: Mapping[int, Callable[[bytes], int]], ran: Callable[[int, int], None], note: Note
    ) -> None:
        self._execute, self._ran, self._note = execute, ran, note
        self.reset()

    def reset(self) -> None:
        self.status = 0
        self._pending: int | None = None  # a command whose arguments are still coming
        self._arguments = bytearray()
        self._bare = -1  # the last command, while it has no arguments
        self._answered = False  # COMMAND_STATUS was read since
        self._probed: set[int] = set()

    def _write_COMMAND(self, value: int) -> None:
        pending = self._pending
        if pending is not None and (self._arguments or not self._answered or pending not in _PROBES):
            self._note("PVS-D-006", f"command {pending}", len(self._arguments) // 4)
        self._pending, self._arguments = None, bytearray()
        self._bare, self._answered = value, False
        if value not in self._execute:
            if not Cmd.ADAPTER_RESET <= value <= Cmd.GET_MAX_TARGETS:
                self._note("PVS-D-004", "COMMAND", value)
            self.status = STATUS_FAILED
            return
        words = ARGUMENTS[Cmd(value)]
        if words:
            self._pending, self.status = value, words
        else:
            self._run(value, b"")

    def _write_COMMAND_DATA(self, value: int) -> None:
        if self._pending is None:
            self._note("PVS-D-005", "COMMAND_DATA", value)
            return
        self._bare = -1
        self._arguments += value.to_bytes(4, "little")
        if len(self._arguments) == 4 * ARGUMENTS[Cmd(self._pending)]:
            command, argument = self._pending, bytes(self._arguments)
            self._pending, self._arguments = None, bytearray()
            if command in _PROBES and command not in self._probed:
                self._note("PVS-D-007", Cmd(command).name, command)
            self._run(command, argument)

    def _run(self, command: int, argument: bytes) -> None:
        self.status = self._execute[command](argument) & 0xFFFF_FFFF
        self._ran(command, self.status)

    def _read_COMMAND_STATUS(self) -> int:
        self._answered = True
        self._probed.add(self._bare)
        return self.status

    def _read_LAST_STS(self, index: int) -> int:
        self._note("PVS-D-003", "LAST_STS", index)
        return 0

    def _write_DEBUG(self, value: int) -> None:
        self._note("PVS-D-003", "DEBUG", value)


class Rings(NamedTuple):
    """What SETUP_RINGS asks for: page numbers."""

    state: int
    requests: list[int]
    completions: list[int]


def rings_asked(argument: bytes, mem: GuestMemory, note: Note) -> Rings | None:
    """The rings of a SETUP_RINGS; None for what cannot be."""
    place, values = "SETUP_RINGS", SETUP_RINGS.numbers(argument)
    counts = values["reqRingNumPages"], values["cmpRingNumPages"]
    if not all(_right_count(count, MAX_PAGES, place, note) for count in counts):
        return None
    if 4 * counts[1] < counts[0]:
        note("PVS-D-010", place, counts[1])
    slots = [[values[f"{name}RingPPNs{n}"] for n in range(MAX_PAGES)] for name in ("req", "cmp")]
    requests, completions = (ppns[:count] for ppns, count in zip(slots, counts, strict=True))
    _check_spare([*slots[0][counts[0] :], *slots[1][counts[1] :]], place, note)
    rings = Rings(values["ringsStatePPN"], requests, completions)
    pages = [rings.state, *requests, *completions]
    return rings if _right_pages(pages, [], place, mem, note) else None


def message_count(argument: bytes, note: Note) -> int | None:
    """How many pages a SETUP_MSG_RING asks for; None for what cannot be."""
    count = SETUP_MSG_RING.numbers(argument)["numPages"]
    return count if _right_count(count, MAX_MSG_PAGES, "SETUP_MSG_RING", note) else None


def message_pages(argument: bytes, taken: list[int], mem: GuestMemory, note: Note) -> list[int] | None:
    """The page numbers of a SETUP_MSG_RING of the right size; `taken` are other rings'. None for what cannot be."""
    place, values = "SETUP_MSG_RING", SETUP_MSG_RING.numbers(argument)
    count, slots = values["numPages"], [values[f"ringPPNs{n}"] for n in range(MAX_MSG_PAGES)]
    _check_spare([int.from_bytes(argument[4:8], "little"), *slots[count:]], place, note)
    return slots[:count] if _right_pages(slots[:count], taken, place, mem, note) else None


def _right_count(count: int, most: int, place: str, note: Note) -> bool:
    right = 1 <= count <= most and not count & count - 1
    if not right:
        note("PVS-D-009", place, count)
    return right


def _check_spare(numbers: list[int], place: str, note: Note) -> None:
    used = next(filter(None, numbers), None)
    if used is not None:
        note("PVS-D-013", place, used)


def _right_pages(ppns: list[int], taken: list[int], place: str, mem: GuestMemory, note: Note) -> bool:
    """Whether all pages are there; that none of them serves twice is only noted."""
    if len({*ppns, *taken}) < len(ppns) + len(taken):
        note("PVS-D-012", place, ppns[0])
    for ppn in ppns:
        if not 0 < ppn < PPN_END or not mem.reachable(ppn * PAGE, PAGE, write=True):
            note("PVS-D-011", place, ppn)
            return False
    return True
