"""What the suite can do with an adapter under test: one protocol, one implementation per way of reaching it.

A test asks for what it does, never for what kind of target it has: `need` makes it "not applicable" where that cannot
be done.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Any, NoReturn, Protocol

import pytest

from pvdev.device import Port

ARENA = 16 << 20  # bytes the driver's side lends


class Can(Enum):
    """What not every target can do; the value completes "this target cannot ..."."""

    DRIVES = "be given drives of the test's own"
    LUNS = "have several units at one place"
    HOLD = "have a disk keep its commands for a while"
    ERRORS = "have a disk that fails"
    CUT = "have a disk lose what is not durable"
    PLUG = "have drives plugged in and out"
    MEDIA = "have its media changed from outside"
    RULES = "tell which rules it saw broken"
    OPTIONS = "be built with options of the test's own"
    INSIDE = "be looked into: it is not in this process"


@dataclass(frozen=True)
class Drive:
    """A drive of `size` bytes; a CD drive without any is empty. The default is what every target has at place 0.

    `held`: it keeps commands while told so (HOLD). `volatile`: what is not flushed is lost in a power cut. `bad`: byte
    ranges (offset, bytes) that cannot be read, nor written. `full`: no write finds room. `luns`: units at one target.
    """

    kind: str = "disk"
    size: int = 8 << 20
    block: int = 512
    read_only: bool = False
    removable: bool = False
    thin: bool = True
    held: bool = False
    volatile: bool = False
    bad: tuple[tuple[int, int], ...] = ()
    full: bool = False
    luns: int = 1

    @property
    def needs(self) -> frozenset[Can]:
        """What a target must be able to do to have it."""
        wanted = {
            Can.LUNS: self.luns > 1,
            Can.HOLD: self.held,
            Can.ERRORS: bool(self.bad) or self.full,
            Can.CUT: self.volatile,
        }
        return frozenset(can for can, there in wanted.items() if there)


DISK, CD = Drive(), Drive("cdrom", 1 << 20)
Drives = Mapping[int, Drive]


class Target(Protocol):
    """One fresh adapter, with a `DISK` at place 0 unless the test asked for other drives."""

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

    def plug(self, number: int, drive: Drive) -> None:
        """PLUG"""
        ...

    def unplug(self, number: int) -> None:
        """PLUG"""
        ...

    def hold(self, number: int, on: bool) -> None:
        """HOLD: a `held` drive keeps what it is asked, or goes on."""
        ...

    def resize(self, number: int, size: int) -> None:
        """MEDIA: the disk has another size, and says so."""
        ...

    def load(self, number: int, drive: Drive | None) -> None:
        """MEDIA: another disc in the drive, or none."""
        ...

    def power_cut(self, number: int) -> None:
        """CUT: a `volatile` disk loses what is not durable."""
        ...


class Bench(Protocol):
    """Where fresh targets come from; `drives` by place, `options` are the adapter's."""

    @property
    def name(self) -> str: ...

    @property
    def race(self) -> int:
        """How many requests a race between producer and consumer is to have."""
        ...

    def connect(self, drives: Drives | None, **options: Any) -> AbstractContextManager[Target]: ...


def need(target: Target, *wanted: Can) -> None:
    """End the test as not applicable unless the target can do all of `wanted`."""
    for can in wanted:
        if can not in target.can:
            cannot(can)


def need_for(drives: Iterable[Drive], can: frozenset[Can]) -> None:
    """End the test as not applicable unless a target that can do these can have such drives."""
    for drive in drives:
        for wanted in sorted(drive.needs - can, key=lambda each: each.name):
            cannot(wanted)


def cannot(can: Can) -> NoReturn:
    pytest.skip(f"this target cannot {can.value}")


class Reached:
    """What targets that are only reached from outside cannot do."""

    can: frozenset[Can] = frozenset()

    def broken(self) -> set[str]:
        cannot(Can.RULES)

    def plug(self, number: int, drive: Drive) -> None:
        cannot(Can.PLUG)

    def unplug(self, number: int) -> None:
        cannot(Can.PLUG)

    def hold(self, number: int, on: bool) -> None:
        cannot(Can.HOLD)

    def resize(self, number: int, size: int) -> None:
        cannot(Can.MEDIA)

    def load(self, number: int, drive: Drive | None) -> None:
        cannot(Can.MEDIA)

    def power_cut(self, number: int) -> None:
        cannot(Can.CUT)
