"""The kinds of device a command can make: each package announces its own by the entry point group `pvdev.devices`.

The commands know no device by name; a device package knows no command. What they share is this.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from pvdev.device import Device, HasFileno
from pvdev.errors import ConfigError
from pvdev.rules import RuleLog

if TYPE_CHECKING:
    from pathlib import Path

    import click

    from pvdev.qemu import Qemu
    from pvdev.transport.vfio_user import Server

GROUP = "pvdev.devices"
JOIN_GROUP = "pvdev.boot"

Screens = Sequence[tuple[int, int, int, int]]  # x, y, width, height of each monitor, in pixels
TellScreens = Callable[[Screens], bool]
"""Tells a guest how its monitors are to be, from any thread; False: nobody there takes it."""
Calls = Mapping[int, Callable[[Any], None]]
"""What answers calls of VMware's backdoor port, by command: called with the registers (rax to rdi, cpl), which it
changes."""


@dataclass
class Built:
    """A device made from a user's options, with what belongs to it. `watch`: descriptors that mean work for it."""

    device: Device
    watch: Sequence[HasFileno] = ()
    owns: ExitStack = field(default_factory=ExitStack)  # ports and files to be closed at the end
    faults: Callable[[], str | None] = lambda: None  # what the host failed the device in, one line
    controls: Mapping[str, Callable[..., object]] = field(default_factory=dict)  # from outside; see `pvdev.control`
    on_wish: Callable[[TellScreens], None] = lambda tell: None  # who is to hear how somebody would like its monitors
    calls: Calls = field(default_factory=dict)  # what it adds to the backdoor port, where the guest has one


@dataclass(frozen=True)
class Suite:
    """A kind's conformance suite: an installed package of pytest files, its options, and the targets it can reach.

    `open` makes of the target's name and the options' values what the suite's fixtures connect to (`pvdev.suite`); it
    raises `ConfigError`. `needs`: modules it imports that are not installed with pvdev alone. `targets`: what the
    help says.
    """

    package: str
    targets: str
    params: "Sequence[click.Parameter]"
    open: Callable[[str, Mapping[str, Any]], Sequence[Any]]
    needs: Sequence[str] = ()


@dataclass(frozen=True)
class Replay:
    """What drives a recording through a kind's device. `recordings`: what it plays, in the plural, as the help names
    it.

    `recognises`: whether a file that begins with these bytes (4096 at most) is one. `command`: all of `pvdev replay`
    for them; its argument is the files, one or several, each perhaps with options behind a comma.
    """

    recordings: str
    recognises: Callable[[bytes], bool]
    command: "click.Command"


@dataclass(frozen=True)
class Kind:
    """One kind of device: its name on the command line, its options, and how it is built from their values.

    `replay` loads what plays recordings through it, where there is something; `suite` its conformance suite.
    `screen`: it is something to look at, and takes `--display` (where to show it) and `--hands` (what carries a
    viewer's pointer and keys).
    """

    name: str
    summary: str
    params: "Sequence[click.Parameter]"
    build: Callable[[Mapping[str, Any]], Built]
    replay: Callable[[], Replay] | None = None
    suite: Callable[[], Suite] | None = None
    screen: bool = False


@dataclass
class Joined:
    """What takes part in a guest that is about to start. `machine`: QEMU's words for machine and memory, in place of
    ours; `args`: further ones. `faults()`: what did not go as it should, one line; `pvdev boot` then fails.

    `carry` gets the devices of the guest, each with what tells its transport that it was touched another way.
    `screens`: how the guest is told of its monitors, if it can be. `add` gets what a device adds to the backdoor port.
    """

    machine: Sequence[str]
    args: Sequence[str]
    rules: RuleLog
    carry: Callable[[Sequence[tuple[Device, Callable[[], None]]]], None] = lambda devices: None
    owns: ExitStack = field(default_factory=ExitStack)
    controls: Mapping[str, Callable[..., object]] = field(default_factory=dict)
    faults: Callable[[], str | None] = lambda: None
    screens: TellScreens | None = None
    add: Callable[[Calls], None] = lambda calls: None


@dataclass(frozen=True)
class Joining:
    """Something other than a device that `pvdev boot` can have in a guest, announced by entry point in `JOIN_GROUP`.

    `join(values, qemu, loop, folder, memory)`: by its options' values, for a QEMU, in a loop that does not run yet,
    with a folder for sockets, and the guest's memory in QEMU's notation. `accel`: the only one it works with.
    """

    summary: str
    params: "Sequence[click.Parameter]"
    join: "Callable[[Mapping[str, Any], Qemu, Server, Path, str], Joined]"
    accel: str | None = None


def joinings() -> "dict[str, Joining]":
    """What there is in `JOIN_GROUP`, by name."""
    found = {point.name: point.load() for point in entry_points(group=JOIN_GROUP)}
    assert all(isinstance(joining, Joining) for joining in found.values())
    return dict(sorted(found.items()))


def names() -> list[str]:
    """The device kinds installed here."""
    return sorted(point.name for point in entry_points(group=GROUP))


def load(name: str) -> Kind:
    """The kind `name`. Raises `ConfigError`."""
    for point in entry_points(group=GROUP, name=name):
        kind = point.load()
        assert isinstance(kind, Kind)
        return kind
    raise ConfigError(f"no device is called {name!r}; there is {', '.join(names())}")
