"""`pvdev boot --tools`: a guest of QEMU's that finds VMware's host behind its ports, and what that host is asked."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pvdev.control import Loop
from pvdev.errors import ConfigError
from pvdev.kinds import Joined, Joining
from pvdev.qemu import Qemu
from vmtools import served
from vmtools.backdoor import Machine
from vmtools.host import Host
from vmtools.ways.plugin.guest import GuestLink
from vmtools.ways.plugin.ram import Ram, parse_size
from vmtools.wire import PAGE


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
        link = GuestLink(qemu, loop, folder, host, ram, time.monotonic_ns)
        owns.callback(link.close)
        undo.pop_all()
    return Joined(ram.machine_args(), link.args(), host.rules, link.carry, owns, controls(host, ram))


def controls(host: Host, ram: Ram) -> Mapping[str, Callable[..., object]]:
    """What can be asked of a running host from outside; a control runs in the loop, as the calls do."""

    def status() -> object:
        balloon = host.balloon_device
        return {
            "version": host.tools_version,
            "heartbeat": host.heartbeat.state(time.monotonic_ns()).name.lower(),
            "addresses": host.info.addresses,
            "balloon": {"target": balloon.target, "pages": balloon.current, "limit": balloon.limit},
            "resident": ram.resident(),
            "violations": sum(1 for _ in host.rules),
        }

    def balloon(megabytes: int) -> None:
        """How much of the guest's memory the host takes."""
        try:
            host.balloon_device.set_target((megabytes << 20) // PAGE)
        except ValueError as error:
            raise ConfigError(f"{error}; give fewer MiB") from error

    def get(key: str) -> object:
        value = host.variables.get(key.removeprefix(served.PREFIX))
        return None if value is None else value.decode("utf-8", "replace")

    def put(key: str, value: str) -> None:
        try:
            host.variables[key.removeprefix(served.PREFIX)] = value
        except ValueError as error:
            raise ConfigError(str(error)) from error

    return {"status": status, "balloon": balloon, "get": get, "set": put}


TOOLS = Joining(
    "be VMware's host to the guest: its drivers, open-vm-tools and the balloon find one",
    served.PARAMS,
    join,
    accel="tcg",
)
