"""What the suite can do with a display under test: one protocol, one implementation per way of reaching it.

A test says what it needs, of the display (`needs(Cap.RECT_COPY)`) and of the target (`needs(Can.PICTURE)`), never what
kind of target it has: what is not there makes it "not applicable".
"""

from array import array
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Any, NoReturn, Protocol

import pytest

from pvdev.device import DmaBuffer, Port
from svga.display import CursorImage, Damage
from svga.wire import Cap, Cap2, FifoCap

ARENA = 8 << 20  # bytes the driver's side lends
NO_CAPS_2, NO_FIFO_CAPS = Cap2(0), FifoCap(0)


class Can(Enum):
    """What not every target can do; the value completes "this target cannot ..."."""

    PICTURE = "be looked at: what it shows stays inside"
    MONITORS = "tell where its monitors are"
    DAMAGE = "tell what it takes to have changed"
    POINTER = "tell what its pointer looks like"
    UNMAP = "have memory taken away under it"
    RULES = "tell which rules it saw broken"
    OPTIONS = "be built with options of the test's own"
    INSIDE = "be looked into: it is not in this process"


class Part(Enum):
    """What displays have or have not, beside capabilities; the value completes "this display has no ..."."""

    PORTS = "ports: its registers are in memory"
    FIFO = "FIFO"
    FLAT = "registers in memory"
    INTERRUPT = "interrupts"
    DEPTHS = "depths to choose from"
    EXTENDED = "FIFO of more than four registers"


Need = Cap | Cap2 | FifoCap | Part | Can


@dataclass(frozen=True)
class Display:
    """What a display says of itself. `name`: its part of a case's name; `make`: what a bench of ours builds it of."""

    name: str
    svga3: bool
    caps: Cap
    caps2: Cap2 = NO_CAPS_2
    fifo_caps: FifoCap = NO_FIFO_CAPS
    make: tuple[tuple[str, Any], ...] = ()

    def has(self, need: Need) -> bool:
        """Whether it has that; what targets can do is not asked here."""
        if isinstance(need, Cap):
            return bool(self.caps & need)
        if isinstance(need, Cap2):
            return bool(self.caps2 & need)
        if isinstance(need, FifoCap):
            return bool(self.fifo_caps & need)
        if isinstance(need, Can):
            return True
        extended = bool(self.caps & Cap.EXTENDED_FIFO)
        return {
            Part.PORTS: not self.svga3,
            Part.FIFO: not self.svga3,
            Part.FLAT: self.svga3,
            Part.INTERRUPT: bool(self.caps & Cap.IRQMASK),
            Part.DEPTHS: bool(self.caps & Cap.EMULATION_8BIT),
            Part.EXTENDED: extended and not self.svga3,
        }[need]


def lacking(need: Need) -> str:
    """The reason a test ends with when a need is not met."""
    if isinstance(need, Can):
        return f"this target cannot {need.value}"
    return f"this display has no {need.value if isinstance(need, Part) else need.name}"


@dataclass(frozen=True)
class Frame:
    """What a monitor shows: `pixels`, three bytes each, red first, rows from the top."""

    width: int
    height: int
    pixels: bytes

    def at(self, x: int, y: int) -> tuple[int, ...]:
        start = 3 * (y * self.width + x)
        return tuple(self.pixels[start : start + 3])


def rgb(picture: bytes) -> bytes:
    """A picture of four bytes a pixel as `Frame` has it."""
    out = bytearray(len(picture) // 4 * 3)
    for channel in range(3):
        out[channel::3] = picture[2 - channel :: 4]
    return bytes(out)


def words(image: CursorImage) -> list[int]:
    """The pixels of a pointer's image: 0xAARRGGBB."""
    return array("I", image.pixels).tolist()


@dataclass(frozen=True)
class Pointed:
    """The pointer as it is shown."""

    x: int
    y: int
    visible: bool
    image: CursorImage


class Target(Protocol):
    """One fresh display."""

    @property
    def can(self) -> frozenset[Can]: ...

    @property
    def port(self) -> Port: ...

    def settle(self) -> None:
        """Let the device do all it can do now."""
        ...

    def memory(self) -> bytes:
        """All memory the driver's side lends, as it is."""
        ...

    def broken(self) -> set[str]:
        """RULES: numbers of those the device saw broken so far."""
        ...

    def frame(self, monitor: int) -> Frame | None:
        """PICTURE: what a monitor shows; None: it is blank."""
        ...

    def monitors(self) -> list[tuple[int, int, int, int, int]]:
        """MONITORS: number, x, y, width, height of each, on a desktop that begins at 0."""
        ...

    def damage(self) -> Damage:
        """DAMAGE: what changed since the last call."""
        ...

    def pointer(self) -> Pointed:
        """POINTER"""
        ...

    def lend(self, address: int, size: int) -> DmaBuffer:
        """UNMAP: more memory, at an address of the test's own, a page at least."""
        ...

    def take_back(self, buffer: DmaBuffer) -> None:
        """UNMAP: that memory is not there any more."""
        ...


class Bench(Protocol):
    """Where fresh targets come from."""

    @property
    def name(self) -> str: ...

    @property
    def displays(self) -> tuple[Display, ...]: ...

    @property
    def chooses(self) -> bool:
        """Whether a test is only made on displays that have what it needs: others could be had."""
        ...

    @property
    def can(self) -> frozenset[Can]: ...

    def connect(self, display: Display, **options: Any) -> AbstractContextManager[Target]: ...


def need(display: Display, can: frozenset[Can], *wanted: Need) -> None:
    """End the test as not applicable unless all of `wanted` is there."""
    for each in wanted:
        if not (each in can if isinstance(each, Can) else display.has(each)):
            pytest.skip(lacking(each))


def cannot(can: Can) -> NoReturn:
    pytest.skip(lacking(can))


class Reached:
    """What targets that are only reached from outside cannot do."""

    can: frozenset[Can] = frozenset()

    def broken(self) -> set[str]:
        cannot(Can.RULES)

    def frame(self, monitor: int) -> Frame | None:
        cannot(Can.PICTURE)

    def monitors(self) -> list[tuple[int, int, int, int, int]]:
        cannot(Can.MONITORS)

    def damage(self) -> Damage:
        cannot(Can.DAMAGE)

    def pointer(self) -> Pointed:
        cannot(Can.POINTER)

    def lend(self, address: int, size: int) -> DmaBuffer:
        cannot(Can.UNMAP)

    def take_back(self, buffer: DmaBuffer) -> None:
        cannot(Can.UNMAP)
