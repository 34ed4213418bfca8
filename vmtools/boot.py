"""`pvdev boot --tools`: a guest of QEMU's that finds VMware's host behind its ports, and what that host is asked."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from pvdev.control import Loop
from pvdev.kinds import Calls, Joined, Joining, Screens, TellScreens
from pvdev.qemu import Qemu
from vmtools import served
from vmtools.backdoor import Handler, Machine
from vmtools.controls import controls as of_host
from vmtools.frame import Frame
from vmtools.host import Host
from vmtools.ways.plugin.guest import GuestLink
from vmtools.ways.plugin.ram import Ram, parse_size


def join(values: Mapping[str, Any], qemu: Qemu, loop: Loop, folder: Path, memory: str) -> Joined:
    """A host for the guest that is about to start. Raises `ConfigError`."""
    size = parse_size(memory)
    options, log, owns = served.options(values)
    with ExitStack() as undo:
        undo.enter_context(owns)
        ram = Ram(size)
        owns.callback(ram.close)
        host = Host(mem=ram.memory, machine=Machine(memory=size), **options)
        host.trace = log
        faults = served.company(host, values, owns)
        link = GuestLink(qemu, loop, folder, host, ram, time.monotonic_ns)
        owns.callback(link.close)
        undo.pop_all()
    return Joined(
        ram.machine_args(),
        link.args(),
        host.rules,
        carry=link.carry,
        owns=owns,
        controls=controls(host, ram),
        faults=faults,
        screens=screens(host, link.turn),
        add=adds(host, link.turn),
    )


def screens(host: Host, turn: AbstractContextManager[object]) -> TellScreens:
    """How the guest's monitors are to be, for the program there that arranges them; with `turn` held."""

    def tell(wanted: Screens) -> bool:
        with turn:
            try:
                return host.resolution.topology(wanted, time.monotonic_ns())
            except ValueError:
                return False

    return tell


def adds(host: Host, turn: AbstractContextManager[object]) -> Callable[[Calls], None]:
    """How devices answer commands at the host's port, in its loop with `turn` held; each the first that wants it."""

    def add(calls: Calls) -> None:
        with turn:
            for command, call in calls.items():
                host.backdoor.handlers.setdefault(command, _without_time(call))

    return add


def _without_time(call: Callable[[Any], None]) -> Handler:
    def handler(frame: Frame, now_ns: int) -> None:
        call(frame)

    return handler


def controls(host: Host, ram: Ram) -> Mapping[str, Callable[..., object]]:
    """What can be asked of a running host from outside; a control runs in the loop, as the calls do."""
    asked = of_host(host, time.monotonic_ns)

    def status() -> object:
        return {**asked["status"](), "resident": ram.resident()}  # type: ignore[dict-item]

    return {**asked, "status": status}


TOOLS = Joining(
    "be VMware's host to the guest: its drivers, open-vm-tools and the balloon find one",
    served.PARAMS,
    join,
    accel="tcg",
)
