"""A kernel's balloon: it asks for the target, takes pages from its own memory and hands them over, or takes them back.

Ref: Linux drivers/misc/vmw_balloon.c (order of commands, large pages first, what RESET means).
"""

from pvdev.mem import GuestMemory
from vmtools.driver.ports import Ports
from vmtools.wire import BATCH_MAX, PAGE, PAGES_2M, SUCCESS_WITH_CAPABILITIES, BalloonStatus
from vmtools.wire import Balloon as Cmd

ALL = 0x2E  # basic, batched, batched 2M, 64-bit target
BASIC, BATCHED, BATCHED_2M = 1 << 1, 1 << 2, 1 << 3
RESET = BalloonStatus.RESET
NOBODY = 0xFFFF_FFFF


class BalloonDriver:
    """`mem`: of the guest, from page 0, `pages` long; the lowest 2 MiB are the kernel's, `batch_page` is among them.

    `small`, `large`: what it has given away.
    """

    def __init__(self, ports: Ports, mem: GuestMemory, pages: int, *, wanted: int = ALL, batch_page: int = 16) -> None:
        self.ports, self.mem, self.pages, self.wanted, self.batch_page = ports, mem, pages, wanted, batch_page
        self.small: list[int] = []
        self.large: list[int] = []
        self.capabilities = self.target = self.resets = self.refusals = 0
        self.used: set[int] = set(range(PAGES_2M))
        self.ports.balloon(Cmd.VMCI_DOORBELL_SET, NOBODY, NOBODY)

    @property
    def size(self) -> int:
        """Pages given away."""
        return len(self.small) + PAGES_2M * len(self.large)

    def start(self) -> None:
        frame = self.ports.balloon(Cmd.START, self.wanted)
        assert frame.rax == SUCCESS_WITH_CAPABILITIES, hex(frame.rax)
        self.capabilities = frame.rcx
        self.ports.balloon(Cmd.GUEST_ID, 1)

    def work(self) -> None:
        """What the driver does once a second."""
        if not self.capabilities:
            self.start()
        if self._ask(Cmd.GET_TARGET, self.pages):
            return
        while self.size < self.target:
            if not self._inflate():
                return
        surplus = self.size - self.target
        if surplus >= PAGES_2M or (surplus and not self.target):
            self._deflate()

    def stop(self) -> None:
        """The module is unloaded: pages are used again without a word."""
        self.ports.balloon(Cmd.START, 0)
        self._pop()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _ask(self, command: int, one: int, two: int = 0) -> int:
        frame = self.ports.balloon(command, one, two)
        if frame.rax == RESET:
            self.resets += 1
            self._pop()
            self.start()
        elif not frame.rax:
            self.target = frame.rbx
        return frame.rax

    def _pop(self) -> None:
        self.small, self.large, self.used, self.capabilities = [], [], set(range(PAGES_2M)), 0

    def _free(self, size: int, most: int) -> list[int]:
        found: list[int] = []
        for page in range(PAGES_2M, self.pages - size + 1, size):
            if len(found) == most:
                break
            if page not in self.used and (size == 1 or self.used.isdisjoint(range(page, page + size))):
                found.append(page)
        return found

    def _inflate(self) -> bool:
        missing = self.target - self.size
        if self.capabilities & BATCHED_2M:
            pages = self._free(PAGES_2M, min(BATCH_MAX, -(-missing // PAGES_2M)))
            if pages:
                return self._move(Cmd.BATCHED_2M_LOCK, pages, self.large, PAGES_2M)
        pages = self._free(1, min(BATCH_MAX, missing))
        if not pages:
            return False
        if self.capabilities & BATCHED:
            return self._move(Cmd.BATCHED_LOCK, pages, self.small, 1)
        for page in pages:
            if self._ask(Cmd.LOCK, page, 1):
                return False
            self.small.append(page)
            self.used.add(page)
        return True

    def _deflate(self) -> None:
        while self.size - self.target >= PAGES_2M and self.large:
            most = (self.size - self.target) // PAGES_2M
            if not self._move(Cmd.BATCHED_2M_UNLOCK, self.large[-min(most, BATCH_MAX) :], self.large, -PAGES_2M):
                return
        while self.size > self.target and self.small:
            pages = self.small[-min(self.size - self.target, BATCH_MAX) :]
            if self.capabilities & BATCHED:
                if not self._move(Cmd.BATCHED_UNLOCK, pages, self.small, -1):
                    return
            else:
                for page in pages:
                    if self._ask(Cmd.UNLOCK, page, 1):
                        return
                    self.small.remove(page)
                    self.used.discard(page)

    def _move(self, command: int, pages: list[int], held: list[int], size: int) -> bool:
        """Hand over a batch, or take it back (`size` below 0). False: nothing moved."""
        data = b"".join((page << 12).to_bytes(8, "little") for page in pages)
        self.mem.write(self.batch_page * PAGE, data)
        if self._ask(command, self.batch_page, len(pages)):
            return False
        moved = 0
        for page, entry in zip(
            pages, memoryview(self.mem.read(self.batch_page * PAGE, len(data))).cast("Q"), strict=True
        ):
            assert entry >> 12 == page, hex(entry)
            if entry & 0x1F:
                self.refusals += 1
                continue
            moved += 1
            if size > 0:
                held.append(page)
                self.used.update(range(page, page + size))
            else:
                held.remove(page)
                self.used.difference_update(range(page, page - size))
        return bool(moved)
