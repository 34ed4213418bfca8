"""An adapter as it is served to a guest: its options on the command line, how it is made, what can be changed later."""

import select
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import reduce
from operator import or_
from typing import Any

import click

from pvdev import ui
from pvdev.errors import ConfigError
from pvdev.irq import Pace
from pvdev.kinds import Built
from pvscsi.block.host import open_disk
from pvscsi.block.medium import Medium
from pvscsi.device import Pvscsi
from pvscsi.engine import MAX_TARGETS
from pvscsi.function import LAYOUTS
from pvscsi.profiles import LETTER, PROFILES
from pvscsi.scsi.cdrom import Cdrom
from pvscsi.scsi.disk import Disk
from pvscsi.scsi.identity import Identity
from pvscsi.scsi.target import Target
from pvscsi.scsi.unit import LogicalUnit

SERVED_PACE = Pace(frames=1, ns=0, lazy_frames=16, lazy_ns=300_000)
"""While more completions are on their way, interrupts wait for 16 of them or 0.3 ms; the last one waits for nobody."""
INITIATOR = 7  # the adapter's own place; no disk stands there
UNIT = 0  # every target has one logical unit


class Shelf:
    """The targets of one adapter and the media in them; readable when a medium has something to say."""

    def __init__(self, device: Pvscsi, *, block: int, physical: int, write_cache: bool) -> None:
        self.device, self._block, self._physical, self._write_cache = device, block, physical, write_cache
        self._epoll = select.epoll()
        self._media: dict[int, Medium] = {}
        self._fault: str | None = None  # of a medium that is not here any more

    def fileno(self) -> int:
        return self._epoll.fileno()

    @property
    def fault(self) -> str | None:
        """The first thing the host failed a medium in, also one that has been taken out since."""
        return self._fault or next((medium.fault for medium in self._media.values() if medium.fault), None)

    def close(self) -> None:
        for number in tuple(self._media):
            self._let_go(number)
        self._epoll.close()

    def add_disk(self, text: str, number: int | None = None) -> int:
        """A disk at the next free place, or at `number`; where it is. Raises `ConfigError`."""
        number = self._place(number)
        medium = open_disk(text)
        try:
            unit = Disk(
                medium,
                Identity.of(f"{number} {medium.name}"),
                block=self._block,
                physical=max(self._physical, self._block),
                write_cache=self._write_cache,
            )
        except ValueError as error:
            medium.close()
            raise ConfigError(f"disk {text!r}: {error}") from error
        self._hold(number, medium)
        self.device.add(number, Target({UNIT: unit}))
        return number

    def add_cdrom(self, text: str, number: int | None = None) -> int:
        """A CD drive with this disc in it, or none ("")."""
        number = self._place(number)
        medium = open_disk(text) if text else None
        if medium is not None:
            self._hold(number, medium)
        self.device.add(number, Target({UNIT: Cdrom(medium, Identity.of(f"{number} cdrom", product="Virtual CD-ROM"))}))
        return number

    def remove(self, number: int) -> None:
        """Pull a target out."""
        self._unit(number)
        self.device.remove(number)
        self._let_go(number)

    def load(self, number: int, text: str) -> None:
        """Put another medium into a drive, unless the guest has locked the door."""
        unit = self._drive(number)
        if unit.tray.locked_by and not unit.tray.open:
            raise ConfigError(_locked(number))
        medium = open_disk(text)
        self.device.end(number)
        unit.load(medium)
        self._let_go(number)
        self._hold(number, medium)

    def eject(self, number: int) -> None:
        """Take the medium out, unless the guest has locked the door."""
        if not self._drive(number).eject():
            raise ConfigError(_locked(number))

    def grown(self, number: int) -> None:
        """Look at the size of a medium again."""
        unit = self._unit(number)
        if (medium := self._media.get(number)) is not None:
            medium.refresh()
        unit.grown()

    def status(self) -> dict[str, Any]:
        """Every target, for people and scripts."""
        return {
            str(number): {
                "kind": type(target.units[UNIT]).__name__.lower(),
                "medium": self._media[number].name if number in self._media else None,
                "bytes": self._media[number].size if number in self._media else 0,
                "fault": self._media[number].fault if number in self._media else None,
            }
            for number, target in sorted(self.device.targets.items())
        }

    def _unit(self, number: int) -> LogicalUnit:
        target = self.device.targets.get(number)
        if target is None:
            there = ", ".join(map(str, sorted(self.device.targets))) or "none"
            raise ConfigError(f"target {number}: there is none; there is {there}")
        return target.units[UNIT]

    def _drive(self, number: int) -> LogicalUnit:
        unit = self._unit(number)
        if not unit.removable:
            raise ConfigError(f"target {number}: a disk that is fixed in its place; use detach, and attach another")
        return unit

    def _place(self, number: int | None) -> int:
        free = [n for n in range(MAX_TARGETS) if n != INITIATOR and n not in self.device.targets]
        if number is None and free:
            return free[0]
        if number is None or number not in free:
            raise ConfigError(f"target {number}: not free; use 0 to {MAX_TARGETS - 1} without {INITIATOR}, each once")
        return number

    def _hold(self, number: int, medium: Medium) -> None:
        self._media[number] = medium
        if medium.fileno() >= 0:
            self._epoll.register(medium.fileno(), select.EPOLLIN)

    def _let_go(self, number: int) -> None:
        medium = self._media.pop(number, None)
        if medium is not None:
            self._fault = self._fault or medium.fault
            if medium.fileno() >= 0:
                self._epoll.unregister(medium.fileno())
            medium.close()


def _locked(number: int) -> str:
    return f"target {number}: the guest has locked the door; eject it there"


def controls(shelf: Shelf) -> Mapping[str, Callable[..., object]]:
    """What can be asked of a running adapter, or changed about it, from outside."""

    def attach(disk: str, *, target: int | None = None) -> object:
        """Plug a disk in."""
        return {"target": shelf.add_disk(disk, target)}

    def detach(target: int) -> object:
        """Pull a target out."""
        shelf.remove(target)
        return {"target": target}

    def load(target: int, medium: str) -> object:
        """Put a medium into a drive."""
        shelf.load(target, medium)
        return {"target": target, "medium": medium}

    def eject(target: int) -> object:
        """Take the medium out of a drive."""
        shelf.eject(target)
        return {"target": target}

    def grown(target: int) -> object:
        """Look at a disk's size again."""
        shelf.grown(target)
        return {"target": target}

    def status() -> object:
        return {"targets": shelf.status(), "violations": ui.violations_json(shelf.device.rules)}

    return {"attach": attach, "detach": detach, "load": load, "eject": eject, "grown": grown, "status": status}


def build(values: Mapping[str, Any]) -> Built:
    """A served adapter with its disks."""
    device = Pvscsi(
        layout=values["layout"],
        revision=values["revision"],
        moderation=SERVED_PACE if values["moderation"] else None,
        profile=reduce(or_, (PROFILES[name] for name in values["profile"])),
        watch=values["watch"],
    )
    owns = ExitStack()
    shelf = Shelf(
        device, block=values["block"], physical=values["physical"] or values["block"], write_cache=values["write_cache"]
    )
    owns.callback(shelf.close)
    try:
        for text in values["disk"]:
            shelf.add_disk(text)
        for text in values["cdrom"]:
            shelf.add_cdrom(text)
    except BaseException:
        owns.close()
        raise
    return Built(device, (shelf,), owns, lambda: shelf.fault, controls=controls(shelf))


PARAMS: tuple[click.Parameter, ...] = (
    click.Option(
        ["--disk"],
        multiple=True,
        help="a disk: mem:1G, file:disk.img, nbd:URI; see docs/DISKS.md; may be repeated",
    ),
    click.Option(
        ["--cdrom"], multiple=True, help='a CD drive with this disc in it: file:cd.iso,readonly=yes; "" for none'
    ),
    click.Option(
        ["--block"], type=click.Choice([512, 4096]), default=512, show_default=True, help="bytes per logical block"
    ),
    click.Option(["--physical"], type=click.Choice([512, 4096]), help="bytes per physical block  [default: --block]"),
    click.Option(
        ["--write-cache/--no-write-cache"],
        default=True,
        show_default=True,
        help="writes are durable when flushed, or each by itself",
    ),
    click.Option(
        ["--layout"],
        type=click.Choice(LAYOUTS),
        default=LAYOUTS[0],
        show_default=True,
        help="registers at BAR0, as firmware wants them, or where VMware has them",
    ),
    click.Option(
        ["--revision"], type=click.IntRange(1, 2), default=2, show_default=True, help="1: without a message ring"
    ),
    click.Option(
        ["--moderation/--no-moderation"], default=True, show_default=True, help="let interrupts wait under load"
    ),
    click.Option(
        ["--profile"],
        type=click.Choice(list(PROFILES)),
        multiple=True,
        default=(LETTER.name,),
        show_default=True,
        help="the driver to expect: what it is known to break is marked so, and fails no --strict run; may be "
        "repeated, for firmware and an operating system",
    ),
    click.Option(
        ["--watch/--no-watch"],
        default=False,
        show_default=True,
        help="take a close look at every request: overlaps, changes under way, missing kicks; slower",
    ),
)
