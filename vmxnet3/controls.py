"""What can be asked of a running NIC, or changed about it, from outside: see `pvdev.control`."""

from collections.abc import Callable, Generator, Mapping
from typing import Any, Literal

from pvdev import ui
from pvdev.errors import ConfigError
from vmxnet3.device import Vmxnet3
from vmxnet3.ports.port import Port

SPEED_MOST = 65535  # Mbit/s; GET_LINK has 16 bits for it
TIMES_MOST = 1_000_000
INTERVAL_MOST = 3600.0  # seconds


def controls(device: Vmxnet3, port: Port) -> Mapping[str, Callable[..., object]]:
    """The controls of `device` behind which is `port`."""

    def link_facts() -> dict[str, Any]:
        return {"up": device.link_up, "mbps": device.link_mbps}

    def link(
        state: Literal["up", "down", "flap"], *, speed: int | None = None, times: int = 1, interval: float = 1.0
    ) -> object:
        """Plug the cable in or out; `flap`: out and in again, `times` times, `interval` seconds each way."""
        _within("speed", speed, 1, SPEED_MOST)
        _within("times", times, 1, TIMES_MOST)
        _within("interval", interval, 0, INTERVAL_MOST)
        if state == "flap":
            return flap(speed, times, interval)
        device.set_link(state == "up", speed)
        return link_facts()

    def flap(speed: int | None, times: int, interval: float) -> Generator[float, None, dict[str, Any]]:
        for n in range(times):
            if n:
                yield interval
            device.set_link(False)
            yield interval
            device.set_link(True, speed)
        return link_facts()

    def status() -> dict[str, Any]:
        return {
            "state": device.state.value,
            "version": device.version,
            "mac": device.mac.hex(":"),
            "link": link_facts(),
            "port": {
                "frames_out": port.frames_out,
                "bytes_out": port.bytes_out,
                "frames_in": port.frames_in,
                "bytes_in": port.bytes_in,
                "dropped": port.dropped,
                "stale": port.stale,
                "fault": port.fault,
            },
            "queues": dict(zip(("transmit", "receive"), device.counters(), strict=True)),
            "wakes": dict(device.wakes),
            "violations": ui.violations_json(device.rules),
        }

    return {"link": link, "status": status}


def _within(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low <= value <= high:
        raise ConfigError(f"link: {name} {value}: give {low:g} to {high:g}")
