"""What the suite can do with a device under test: one protocol, one implementation per way of reaching a device.

A test asks for what it does, never for what kind of target it has: `need` makes it "not applicable" where that cannot
be done.
"""

from contextlib import AbstractContextManager
from enum import Enum
from typing import Any, NoReturn, Protocol

import pytest

from pvdev.device import Port
from vmxnet3.backend import Queue

MAC = bytes.fromhex("02000a0b0c0d")  # the permanent address every device under test has
ARENA = 16 << 20  # bytes the driver's side lends


class Can(Enum):
    """What not every target can do; the value completes "this target cannot ..."."""

    WIRE = "carry frames (give --wire)"
    HOLD = "be said to keep a frame until the driver has a buffer for it"
    DROP = "be said to drop a frame the driver has no buffer for"
    FULL = "have its network refuse frames for a while"
    LINK = "have its cable plugged out and in"
    SPEED = "have its link speed chosen"
    RULES = "tell which rules it saw broken"
    UNPLUG = "lose the memory it was lent"
    PAGE_0 = "have memory at address 0 that nobody lent it"
    OPTIONS = "be built with options of the test's own"
    INSIDE = "be looked into: it is not in this process"


class Target(Protocol):
    """One fresh device. `net` is the suite's end of its cable: `inbound` goes in, `sent` came out."""

    @property
    def can(self) -> frozenset[Can]: ...

    @property
    def net(self) -> Queue: ...

    @property
    def port(self) -> Port: ...

    def pump(self) -> None:
        """Move what is in `net` and on the cable, without waiting."""
        ...

    def settle(self) -> None:
        """Let the device do all it can do now; everything it sent is in `net` then."""
        ...

    def memory(self) -> bytes:
        """All memory the driver's side lends, as it is."""
        ...

    def set_link(self, up: bool, mbps: int | None) -> None:
        """LINK; with `mbps`, SPEED."""
        ...

    def broken(self) -> set[str]:
        """RULES: numbers of those the device saw broken so far."""
        ...

    def unplug(self) -> memoryview:
        """UNPLUG: take all memory away; what `plug` gives back."""
        ...

    def plug(self, view: memoryview) -> None: ...

    def page_0(self) -> memoryview:
        """PAGE_0: 4096 bytes at address 0."""
        ...


class Bench(Protocol):
    """Where fresh targets come from. Devices are made with the address `MAC` unless `options` say otherwise."""

    @property
    def name(self) -> str: ...

    def connect(self, net: Queue, **options: Any) -> AbstractContextManager[Target]: ...


def need(target: Target, *wanted: Can) -> None:
    """End the test as not applicable unless the target can do all of `wanted`."""
    for can in wanted:
        if can not in target.can:
            cannot(can)


def cannot(can: Can) -> NoReturn:
    pytest.skip(f"this target cannot {can.value}")


def need_for(net: Queue, can: frozenset[Can]) -> None:
    """End the test as not applicable unless the target's network can behave like `net`."""
    if not net.waits and Can.DROP not in can:
        cannot(Can.DROP)
    if net.room is not None and Can.FULL not in can:
        cannot(Can.FULL)


class Reached:
    """What targets that are only reached from outside cannot do."""

    can: frozenset[Can] = frozenset()

    def set_link(self, up: bool, mbps: int | None) -> None:
        cannot(Can.LINK)

    def broken(self) -> set[str]:
        cannot(Can.RULES)

    def unplug(self) -> memoryview:
        cannot(Can.UNPLUG)

    def plug(self, view: memoryview) -> None:
        cannot(Can.UNPLUG)

    def page_0(self) -> memoryview:
        cannot(Can.PAGE_0)
