"""VMXNET3 on the command line: its options, and how a device is made from them."""

from collections.abc import Mapping
from typing import Any

import click

from pvdev.errors import ConfigError
from pvdev.irq import Pace
from pvdev.kinds import Built, Kind
from vmxnet3.device import DEFAULT_MAC, VERSIONS, Vmxnet3
from vmxnet3.replay import replay

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


def build(values: Mapping[str, Any]) -> Built:
    """A served NIC: interrupts paced, the port watched."""
    from vmxnet3.host import open_port

    mac = parse_mac(values["mac"])
    port = open_port(values["port"])
    device = Vmxnet3(
        port,
        mac=mac,
        version=values["version"],
        link_mbps=values["speed"],
        moderation=SERVED_PACE if values["moderation"] else None,
        empty_vlan_table_passes=values["empty_vlan_table"] == "accept",
    )
    built = Built(device, (port,) if port.fileno() >= 0 else (), faults=lambda: port.fault)
    built.owns.enter_context(port)
    return built


KIND = Kind(
    "vmxnet3",
    "the paravirtual NIC",
    (
        click.Option(
            ["--port"],
            default="null",
            show_default=True,
            help="the network behind it: null, loopback, pcap:IN,out=OUT, tap:NAME, dgram:PATH,peer=PATH, stream:PATH",
        ),
        click.Option(["--mac"], default=DEFAULT_MAC.hex(":"), show_default=True, help="permanent address"),
        click.Option(
            ["--version"],
            type=click.IntRange(1, VERSIONS),
            default=VERSIONS,
            show_default=True,
            help="highest device version offered",
        ),
        click.Option(
            ["--speed"], type=click.IntRange(1, 65535), default=10_000, show_default=True, help="link, Mbit/s"
        ),
        click.Option(
            ["--moderation/--no-moderation"], default=True, show_default=True, help="let interrupts wait under load"
        ),
        click.Option(
            ["--empty-vlan-table"],
            type=click.Choice(["drop", "accept"]),
            default="drop",
            show_default=True,
            help="tagged frames while the driver's VLAN table is all zeros (BSD drivers leave it so)",
        ),
    ),
    build,
    replay,
)
