"""Which format a trace has, and what is in it before any of it is replayed."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from pvdev.errors import ConfigError
from pvscsi.block.backend import Op
from pvscsi.traces import blkparse, iolog
from pvscsi.traces.trace import Parse, Record

BINARY = (b"\x07tae", b"eat\x07")  # what blktrace itself writes: magic and version, either byte order

LISTED = 8  # devices in a message


class Format(NamedTuple):
    """`lines`: what a line is that can be replayed; `devices`: what it calls a device."""

    name: str
    parse: Parse
    devices: str


BLKPARSE = Format("blkparse", blkparse.parse, "devices")
IOLOG = Format("iolog", iolog.parse, "files")


def recognises(head: bytes) -> bool:
    """Whether a file that begins like this is a trace, or what one could be made of."""
    return iolog.recognises(head) or blkparse.recognises(head) or head[:4] in BINARY


def format_of(head: bytes, name: str) -> Format:
    """The format of a file that begins like this. Raises `ConfigError`."""
    if iolog.recognises(head):
        return IOLOG
    if blkparse.recognises(head):
        return BLKPARSE
    if head[:4] in BINARY:
        raise ConfigError(f"{name}: binary, as blktrace writes it; make text of it: blkparse -i {name}")
    raise ConfigError(f"{name}: not a trace; give blkparse's text or an iolog of fio")


@dataclass
class Content:
    """What a trace asks of one device. `end`: no event reaches this byte; `longest`: bytes of one read or write."""

    events: int = 0
    end: int = 0
    longest: int = 0
    left_out: Counter[str] = field(default_factory=Counter)  # lines, by why


@dataclass(frozen=True)
class Chosen:
    """What of a trace is replayed."""

    device: str
    action: str
    content: Content


class Survey:
    """Everything a trace asks for, by device and action."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.devices: dict[str, dict[str, Content]] = {}
        moved = (Op.READ, Op.WRITE)
        for device, action, events, left_out in records:
            content = self.devices.setdefault(device, {}).setdefault(action, Content())
            if not events:
                content.left_out[left_out] += 1
            for _, op, offset, length, _ in events:
                content.events += 1
                content.end = max(content.end, offset + length)
                if op in moved:
                    content.longest = max(content.longest, length)

    def choose(self, name: str, form: Format, device: str | None, action: str | None) -> Chosen:
        """The events to replay. Raises `ConfigError`: there are none, or nobody says which."""
        if action is not None and form is not BLKPARSE:
            raise ConfigError(f"--action is for blkparse's text; {name} is an iolog")
        there = {each: found for each, actions in self.devices.items() if (found := _best(actions, action)) is not None}
        if not there:
            raise ConfigError(f"{name}: nothing in it can be replayed{_instead(self.devices, action)}")
        listed = ", ".join(f"{each} ({there[each][1].events:,} requests)" for each in list(there)[:LISTED])
        listed += f" and {len(there) - LISTED:,} more" if len(there) > LISTED else ""
        if device is None:
            if len(there) > 1:
                raise ConfigError(f"{name}: several {form.devices}: {listed}; choose one with --device")
            device = next(iter(there))
        if device not in there:
            raise ConfigError(f"{name}: --device {device}: not in it; there is {listed}")
        return Chosen(device, *there[device])


def _best(actions: dict[str, Content], action: str | None) -> tuple[str, Content] | None:
    for each in (*blkparse.ACTIONS, "") if action is None else (action,):
        if each in actions and actions[each].events:
            return each, actions[each]
    return None


def _instead(devices: dict[str, dict[str, Content]], action: str | None) -> str:
    others = sorted({each for actions in devices.values() for each, found in actions.items() if found.events})
    return f" as --action {action}; there is {', '.join(others)}" if action is not None and others else ""
