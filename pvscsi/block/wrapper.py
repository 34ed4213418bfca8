"""What a wrapper is: a medium around another, which it passes everything on to unless it says otherwise."""

from collections.abc import Sequence

from pvscsi.block.backend import Io
from pvscsi.block.medium import Medium


class Wrapper(Medium):
    """`inner` as it is. It belongs to the wrapper: `close` closes both."""

    def __init__(self, name: str, inner: Medium) -> None:
        super().__init__(f"{name} {inner.name}", 0)
        self.inner = inner

    @property
    def size(self) -> int:
        return self.inner.size

    @property
    def read_only(self) -> bool:
        return self.inner.read_only

    @property
    def zeroes(self) -> bool:
        return self.inner.zeroes

    @property
    def rotational(self) -> bool:
        return self.inner.rotational

    @property
    def fault(self) -> str | None:
        return self._fault or self.inner.fault

    def submit(self, ios: Sequence[Io]) -> None:
        self.inner.submit(ios)

    def reap(self, now_ns: int) -> Sequence[Io]:
        return self.inner.reap(now_ns)

    def cancel(self, ios: Sequence[Io]) -> None:
        self.inner.cancel(ios)

    def allocated(self, offset: int, length: int) -> Sequence[tuple[int, bool]]:
        return self.inner.allocated(offset, length)

    def fileno(self) -> int:
        return self.inner.fileno()

    def deadline(self) -> int | None:
        return self.inner.deadline()

    def refresh(self) -> None:
        self.inner.refresh()

    def close(self) -> None:
        self.inner.close()
