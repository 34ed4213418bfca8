"""The balloon: pages a guest's driver takes from its own kernel and hands to the host, as many as the host asks for.

A page that is locked is the host's: `release` may drop what is behind it. One that is unlocked is the guest's again,
and reads as anything.

Ref: Linux drivers/misc/vmw_balloon.c; open-vm-tools modules/shared/vmmemctl/balloon_def.h.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable

from pvdev.errors import GuestFault
from pvdev.mem import GuestMemory
from pvdev.trace import Sink
from vmtools.frame import Frame
from vmtools.wire import (
    BALLOON_MAGIC,
    BATCH_MAX,
    MASK32,
    MASK64,
    PAGE,
    PAGES_2M,
    SUCCESS_WITH_CAPABILITIES,
    BalloonCap,
    BalloonStatus,
)
from vmtools.wire import Balloon as Cmd

S = BalloonStatus
NEEDS = {  # command -> the capability it is covered by
    Cmd.LOCK: BalloonCap.BASIC,
    Cmd.UNLOCK: BalloonCap.BASIC,
    Cmd.BATCHED_LOCK: BalloonCap.BATCHED,
    Cmd.BATCHED_UNLOCK: BalloonCap.BATCHED,
    Cmd.BATCHED_2M_LOCK: BalloonCap.BATCHED_2M,
    Cmd.BATCHED_2M_UNLOCK: BalloonCap.BATCHED_2M,
}
LOCKS = frozenset({Cmd.LOCK, Cmd.BATCHED_LOCK, Cmd.BATCHED_2M_LOCK})
OFFERED = BalloonCap.BASIC | BalloonCap.BATCHED | BalloonCap.BATCHED_2M | BalloonCap.TARGET_64
GUESTS = {0: "unknown", 1: "Linux", 2: "BSD", 3: "Windows NT4", 4: "Windows NT", 5: "Solaris", 6: "macOS", 7: "FrobOS"}

Range = tuple[int, int]  # address and length in bytes


class Balloon:
    """`mem`: guest physical memory; without it there are no batches, and any page below `pages` counts as RAM.

    `release(ranges)` hears of memory that became the host's, `restore(ranges)` of what the guest has back; both get
    (address, length) in bytes. `size()`: bytes of memory the guest has.
    """

    def __init__(
        self,
        note: Callable[[str, str, int], None],
        mem: GuestMemory | None,
        size: Callable[[], int],
        *,
        offered: int = OFFERED,
    ) -> None:
        self.mem, self._size = mem, size
        self.offered = offered if mem is not None else offered & ~(BalloonCap.BATCHED | BalloonCap.BATCHED_2M)
        self.release: Callable[[list[Range]], None] = lambda ranges: None
        self.restore: Callable[[list[Range]], None] = lambda ranges: None
        self.on_size: list[Callable[[int, int], None]] = []  # (pages in it, now_ns) after each change
        self.target = 0  # pages the host wants
        self.trace: Sink | None = None
        self.calls: Counter[str] = Counter()
        self.refused: Counter[int] = Counter()  # status -> pages, or whole calls, that got it
        self._note = note
        self._small: set[int] = set()
        self._large: set[int] = set()  # first pages of 2 MiB
        self._resetting = False
        self.forget()

    def forget(self) -> None:
        """The machine starts anew: every page is its own."""
        self._empty()
        self.started = self._resetting = False
        self.capabilities = 0
        self.limit = 0  # pages the driver says the guest has
        self.guest = ""

    # -- the host's ----------------------------------------------------------------------------------------------------

    @property
    def pages(self) -> int:
        """Of the whole guest, 4096 bytes each."""
        return self._size() // PAGE

    @property
    def current(self) -> int:
        """Pages in the balloon, 4096 bytes each."""
        return len(self._small) + PAGES_2M * len(self._large)

    def holds(self, page: int) -> bool:
        """Whether the host has this page."""
        return page in self._small or page & ~(PAGES_2M - 1) in self._large

    def set_target(self, pages: int) -> None:
        """How many pages the balloon is to hold; the driver asks once a second. Raises `ValueError`."""
        if not 0 <= pages <= self.pages:
            raise ValueError(f"a balloon of {pages} pages: the guest has {self.pages}")
        self.target = pages
        if self.trace is not None:
            self.trace("balloon.target", pages=pages)

    def set_fraction(self, part: float) -> None:
        """The same as a part of the guest's memory, 0 to 1."""
        if not 0 <= part <= 1:
            raise ValueError(f"a balloon of {part} of the memory: 0 to 1")
        self.set_target(int(self.pages * part))

    def reset(self) -> None:
        """Have the driver let go of everything and start again: its next call gets RESET."""
        if self.started:
            self._resetting = True

    # -- the guest's ---------------------------------------------------------------------------------------------------

    def call(self, frame: Frame, now_ns: int) -> None:
        """IN at the balloon's port."""
        if frame.rax & MASK32 != BALLOON_MAGIC or frame.cpl:
            self._note("VMT-D-005" if frame.cpl else "VMT-D-001", "balloon", frame.rax & MASK32)
            frame.rax = MASK32
            return
        command, before = frame.rcx & MASK32, self.current
        status = self._command(command, frame)
        if status:
            self.refused[status] += 1
        if command != Cmd.START or status:
            frame.rax = status
        if command in NEEDS or command == Cmd.GET_TARGET:
            wide = self.capabilities & BalloonCap.TARGET_64
            frame.rbx = self.target if wide else min(self.target, MASK32)
        if self.current != before:
            if self.trace is not None:
                self.trace("balloon.size", pages=self.current)
            for hear in self.on_size:
                hear(self.current, now_ns)

    def _command(self, command: int, frame: Frame) -> int:
        try:
            self.calls[Cmd(command).name] += 1
        except ValueError:
            self.calls["unknown"] += 1
            self._note("VMT-D-039", "command", command)
            return S.CMD_INVALID
        if command == Cmd.START:
            return self._start(frame)
        if command == Cmd.VMCI_DOORBELL_SET:
            off = frame.rbx & MASK32 == MASK32 and frame.rsi & MASK32 == MASK32
            return S.SUCCESS if off else S.CMD_INVALID
        if self._resetting:
            if not self.started:  # it was told already
                self._note("VMT-D-037", "command after RESET", command)
            self._empty()
            self.started = False
            return S.RESET
        if not self.started:
            self._note("VMT-D-037", "command before START", command)
            return S.CMD_INVALID
        if command == Cmd.GET_TARGET:
            self.limit = frame.rbx
            return S.SUCCESS
        if command == Cmd.GUEST_ID:
            self.guest = GUESTS.get(frame.rbx & MASK32, "unknown")
            return S.SUCCESS
        if not self.capabilities & NEEDS[Cmd(command)]:
            self._note("VMT-D-039", "command without its capability", command)
            return S.CMD_INVALID
        lock = command in LOCKS
        if command in (Cmd.LOCK, Cmd.UNLOCK):
            return self._single(lock, frame.rbx)
        large = command in (Cmd.BATCHED_2M_LOCK, Cmd.BATCHED_2M_UNLOCK)
        return self._batch(lock, large, frame.rbx, frame.rsi)

    def _start(self, frame: Frame) -> int:
        """What is in the balloon is the guest's again: a driver that starts has let go of it all."""
        self._empty()
        wanted = frame.rbx & self.offered & ~1
        self.started, self._resetting, self.capabilities = bool(wanted), False, wanted
        frame.rax, frame.rcx = SUCCESS_WITH_CAPABILITIES, wanted
        if self.trace is not None:
            self.trace("balloon.start", capabilities=wanted)
        return S.SUCCESS

    def _single(self, lock: bool, page: int) -> int:
        done: list[int] = []
        if page > MASK32:
            self._note("VMT-D-038", "page", page)
            return S.PPN_INVALID
        status = self._page(lock, False, page, -1, done)
        self._hand_over(lock, False, done)
        return status

    def _batch(self, lock: bool, large: bool, batch: int, count: int) -> int:
        """Pages listed in a page: each entry gets its status in bits 4 to 0, and keeps the rest."""
        if not 0 < count <= BATCH_MAX:
            self._note("VMT-D-038", "batch count", count & MASK32)
            return S.CMD_INVALID
        mem = self.mem
        assert mem is not None
        address = batch * PAGE
        if not self._ram(batch, 1):
            self._note("VMT-D-038", "batch page", batch & MASK64)
            return S.PPN_INVALID
        try:
            entries = array("Q", bytes(mem.read(address, 8 * count)))
        except GuestFault:
            return S.PPN_INVALID
        done: list[int] = []
        for n, entry in enumerate(entries):
            if entry & (PAGE - 1):
                self._note("VMT-D-038", "low bits of an entry", entry & (PAGE - 1))
            status = self._page(lock, large, entry >> 12, batch, done)
            if status:
                self.refused[status] += 1
            entries[n] = entry & ~0x1F | status
        try:
            mem.write(address, entries.tobytes())
        except GuestFault:  # read-only: the driver will not learn what became of them
            self._note("VMT-D-038", "batch page is read-only", batch)
        self._hand_over(lock, large, done)
        return S.SUCCESS

    def _page(self, lock: bool, large: bool, page: int, batch: int, done: list[int]) -> int:
        """One page, or 512 of them, to be locked or unlocked. Its status."""
        pages = PAGES_2M if large else 1
        if page % pages or not self._ram(page, pages):
            self._note("VMT-D-038", "page", page)
            return S.PPN_INVALID
        held = self._large if large else self._small
        if lock:
            if page <= batch < page + pages:
                self._note("VMT-D-038", "the batch's own page", page)
                return S.PPN_PINNED
            if page in held or self._overlaps(large, page):
                self._note("VMT-D-039", "page locked twice", page)
                return S.PPN_LOCKED
            if self.current >= self.target:
                return S.PPN_NOTNEEDED
            held.add(page)
        else:
            if page not in held:
                self._note("VMT-D-039", "page not locked", page)
                return S.PPN_UNLOCKED
            held.remove(page)
        done.append(page)
        return S.SUCCESS

    def _overlaps(self, large: bool, page: int) -> bool:
        """Whether a page of the other size holds it, or is part of it."""
        if not large:
            return page & ~(PAGES_2M - 1) in self._large
        return bool(self._small) and any(part in self._small for part in range(page, page + PAGES_2M))

    def _ram(self, page: int, pages: int) -> bool:
        if self.mem is None:
            return page + pages <= self.pages
        return page <= MASK64 >> 12 and self.mem.reachable(page * PAGE, pages * PAGE)

    def _hand_over(self, lock: bool, large: bool, pages: Iterable[int]) -> None:
        ranges = merged(pages, PAGES_2M if large else 1)
        if ranges:
            (self.release if lock else self.restore)(ranges)

    def _empty(self) -> None:
        small, large = self._small, self._large
        self._small, self._large = set(), set()
        ranges = merged(small, 1) + merged(large, PAGES_2M)
        if ranges:
            self.restore(ranges)


def merged(pages: Iterable[int], size: int) -> list[Range]:
    """(address, length) in bytes of runs of neighbouring pages, each `size` times 4096 bytes."""
    out: list[list[int]] = []
    for page in sorted(pages):
        if out and out[-1][1] == page:
            out[-1][1] = page + size
        else:
            out.append([page, page + size])
    return [(lo * PAGE, (hi - lo) * PAGE) for lo, hi in out]
