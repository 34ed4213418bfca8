"""The completion ring of a queue, of either kind: where it lies, and where the device stands in it."""

from collections.abc import Iterator

from pvdev.mem import GuestMemory, Window

CELL = 16  # bytes per completion


class CompletionRing:
    """`size` completions at guest physical `address`. `words` is the ring as 32-bit words while it is bound."""

    def __init__(self, mem: GuestMemory, address: int, size: int) -> None:
        self._mem, self.address, self.size = mem, address, size
        self.next, self.gen = 0, 1  # the next completion, and the owner bit that makes it the driver's
        self.bind()

    def bind(self) -> None:
        """Find the ring in guest memory. Raises `DmaFault`."""
        self.window: Window = self._mem.window(self.address, CELL * self.size, write=True)
        self.words = self.window.view.cast("I")

    def release(self) -> None:
        """Let go of guest memory."""
        self.words.release()
        self.window.release()

    def clear(self) -> None:
        """All zeros, as the driver expects it at first; the filler of completions stays so from here on."""
        self.window.view[:] = bytes(len(self.window.view))
        self.window.push(0, len(self.window.view))

    def spans(self, count: int) -> Iterator[tuple[int, int, int]]:
        """(first index, how many, owner bit) of each stretch the next `count` completions take, split at the wrap.

        A stretch is published when the caller asks for the next.
        """
        while count:
            at, n = self.next, min(count, self.size - self.next)
            yield at, n, self.gen
            self.window.push(CELL * at, CELL * n)
            count -= n
            self.next = at + n
            if self.next == self.size:
                self.next, self.gen = 0, self.gen ^ 1
