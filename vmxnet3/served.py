"""A NIC as it is served to a guest: its options on the command line, and how it is made from their values."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import click

from pvdev.errors import ConfigError
from pvdev.irq import Pace
from pvdev.kinds import Built
from pvdev.mem import SharedBlock
from vmxnet3.controls import controls
from vmxnet3.device import DEFAULT_MAC, VERSIONS, Vmxnet3
from vmxnet3.ports.port import Port
from vmxnet3.profiles import LETTER, PROFILES
from vmxnet3.wire import PAGE

SERVED_PACE = Pace(frames=128, ns=500_000, lazy_frames=192, lazy_ns=1_500_000)
"""Found with `make bench-guest`: each interrupt costs a guest some 200 us (a trapped IMR write), each frame 5 to 8."""


def parse_mac(text: str) -> bytes:
    """Six bytes from "02:00:00:00:00:01". Raises `ConfigError`."""
    try:
        mac = bytes.fromhex(text.replace(":", "").replace("-", ""))
    except ValueError:
        mac = b""
    if len(mac) != 6 or mac[0] & 1:
        raise ConfigError(f"{text!r} is no unicast MAC address; write it like 02:00:00:00:00:01")
    return mac


def make(values: Mapping[str, Any], port: Port) -> tuple[Vmxnet3, Built]:
    """The NIC that `values` of PARAMS ask for, with `port` behind it; the port is the result's to close."""
    owns = ExitStack()
    owns.enter_context(port)
    try:
        mac, page = parse_mac(values["mac"]), None
        if values["map_masks"] and values["version"] >= 7:
            page = SharedBlock(PAGE, "vmxnet3 masks")
            owns.callback(page.close)
        device = Vmxnet3(
            port,
            mac=mac,
            version=values["version"],
            link_mbps=values["speed"],
            moderation=SERVED_PACE if values["moderation"] else None,
            profile=PROFILES[values["profile"]],
            empty_vlan_table_passes=values["empty_vlan_table"] == "accept",
            mask_page=page,
        )
    except BaseException:
        owns.close()
        raise
    if values["link"] == "down":
        device.set_link(False)
    watched = (port,) if port.fileno() >= 0 else ()
    return device, Built(device, watched, owns, lambda: port.fault, controls=controls(device, port))


PARAMS: tuple[click.Parameter, ...] = (
    click.Option(["--mac"], default=DEFAULT_MAC.hex(":"), show_default=True, help="permanent address"),
    click.Option(
        ["--version"],
        type=click.IntRange(1, VERSIONS),
        default=VERSIONS,
        show_default=True,
        help="highest device version offered",
    ),
    click.Option(["--speed"], type=click.IntRange(1, 65535), default=10_000, show_default=True, help="link, Mbit/s"),
    click.Option(
        ["--link"],
        type=click.Choice(["up", "down"]),
        default="up",
        show_default=True,
        help="whether the cable is in at the start; `pvdev control` plugs it in and out",
    ),
    click.Option(
        ["--moderation/--no-moderation"], default=True, show_default=True, help="let interrupts wait under load"
    ),
    click.Option(
        ["--map-masks/--no-map-masks"],
        default=True,
        show_default=True,
        help="let the guest write interrupt masks in memory, from version 7 on: quicker, and unseen by the rules",
    ),
    click.Option(
        ["--profile"],
        type=click.Choice(list(PROFILES)),
        default=LETTER.name,
        show_default=True,
        help="the driver to expect: what it is known to break is marked so, and fails no --strict run",
    ),
    click.Option(
        ["--empty-vlan-table"],
        type=click.Choice(["drop", "accept"]),
        default="drop",
        show_default=True,
        help="tagged frames while the driver's VLAN table is all zeros (the profiles of BSD drivers accept them)",
    ),
)


def defaults() -> dict[str, Any]:
    """The values of PARAMS where nothing is said."""
    return click.Command("nic", params=list(PARAMS)).make_context("nic", []).params
