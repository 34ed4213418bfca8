"""XDR, as much of it as the tools speak: a reader that never reads past its message, and a writer.

Ref: RFC 4506.
"""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class XdrError(ValueError):
    """The message is not what it should be. It never leaves the room."""


class Reader:
    """Reads one message from its beginning. Every method raises `XdrError`."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def u32(self) -> int:
        end = self._at + 4
        if end > len(self._data):
            raise XdrError(f"{len(self._data)} bytes end at {self._at}")
        value, self._at = int.from_bytes(self._data[self._at : end], "big"), end
        return value

    def u64(self) -> int:
        return self.u32() << 32 | self.u32()

    def boolean(self) -> bool:
        return self.enum(0, 1) == 1

    def enum(self, *known: int) -> int:
        value = self.u32()
        if value not in known:
            raise XdrError(f"{value} is none of {known}")
        return value

    def fixed(self, size: int) -> bytes:
        """Opaque data of a known length, padded to words."""
        end = self._at + size
        if end + -size % 4 > len(self._data):
            raise XdrError(f"{size} bytes at {self._at} of {len(self._data)}")
        value, self._at = self._data[self._at : end], end + -size % 4
        return value

    def opaque(self, most: int) -> bytes:
        """Opaque data or a string, its length before it."""
        return self.fixed(self.count(most))

    def text(self, most: int) -> str:
        return self.opaque(most).decode("utf-8", "replace")

    def chars(self, size: int) -> str:
        """An array of `char`: a word each, up to the first NUL."""
        return bytes(self.u32() & 0xFF for _ in range(size)).partition(b"\0")[0].decode("utf-8", "replace")

    def count(self, most: int) -> int:
        value = self.u32()
        if value > most:
            raise XdrError(f"{value} where {most} are the most")
        return value

    def array(self, most: int, read: Callable[[], T]) -> list[T]:
        return [read() for _ in range(self.count(most))]

    def optional(self, read: Callable[[], T]) -> T | None:
        return read() if self.boolean() else None

    def end(self) -> None:
        if self._at != len(self._data):
            raise XdrError(f"{len(self._data) - self._at} bytes follow")


def u32(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "big") for value in values)


def opaque(data: bytes) -> bytes:
    """Opaque data or a string, its length before it."""
    return u32(len(data)) + data + bytes(-len(data) % 4)
