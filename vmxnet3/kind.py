"""VMXNET3 on the command line: the device kind, and the network behind it."""

from collections.abc import Mapping
from typing import Any

import click

from pvdev.kinds import Built, Kind, Replay, Suite
from vmxnet3.served import PARAMS, SERVED_PACE, make

__all__ = ["KIND", "SERVED_PACE"]


def build(values: Mapping[str, Any]) -> Built:
    """A served NIC: interrupts paced, the port watched, what passes recorded if asked for."""
    from vmxnet3.captures.recorder import Recorder
    from vmxnet3.ports.host import open_port

    device, built = make(values, open_port(values["port"]))
    if values["record"] is None:
        return built
    try:
        recorder = built.owns.enter_context(Recorder(values["record"]))
    except BaseException:
        built.owns.close()
        raise
    device.tap, port_faults = recorder, built.faults
    built.faults = lambda: port_faults() or recorder.fault
    return built


def replay() -> Replay:
    """What plays captures."""
    from vmxnet3.captures.capture import recognises
    from vmxnet3.replay import replay

    return Replay("packet captures (pcap, pcapng)", recognises, replay)


def suite() -> Suite:
    """The conformance suite."""
    from vmxnet3.conform.suite import SUITE

    return SUITE


KIND = Kind(
    "vmxnet3",
    "the paravirtual NIC",
    (
        click.Option(
            ["--port"],
            default="null",
            show_default=True,
            help="the network behind it: null, loopback, pcap:IN,out=OUT, switch:NAME, tap:NAME, packet:INTERFACE, "
            "stream:PATH (passt), dgram:PATH,peer=PATH; see docs/PORTS.md",
        ),
        *PARAMS,
        click.Option(
            ["--record"],
            type=click.Path(),
            help="capture at the device: pcapng, an interface per queue and direction, injected facts as comments",
        ),
    ),
    build,
    replay,
    suite,
)
