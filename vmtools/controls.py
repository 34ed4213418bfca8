"""What can be asked of a running host of the tools from outside: see `pvdev.control`.

A control that waits for the guest yields the seconds until it looks again. `now_ns` is the clock of whoever ticks the
host.
"""

from collections.abc import Callable, Generator, Mapping
from typing import Any, Literal

from pvdev import ui
from pvdev.errors import ConfigError
from vmtools.balloon import Balloon
from vmtools.host import Host
from vmtools.power import Outcome
from vmtools.snapshot import Outcome as Taken
from vmtools.snapshot import State
from vmtools.steps import amount_of_memory
from vmtools.tclo import Result, Then
from vmtools.wire import PAGE

LOOK_S = 0.1
SECOND = 1_000_000_000
PREFIX = "guestinfo."

Waits = Generator[float, None, object]


def controls(host: Host, now_ns: Callable[[], int]) -> Mapping[str, Callable[..., object]]:
    """The controls of `host`."""

    def status() -> dict[str, Any]:
        """How the guest does, in short."""
        return {
            "tools": host.tools_version,
            "heartbeat": host.heartbeat.state(now_ns()).value,
            "health": host.heartbeat.health,
            "hostname": host.info.hostname,
            "addresses": host.info.addresses,
            "balloon": balloon_facts(host.balloon_device),
            "snapshot": host.snapshot.state.value,
            "power": host.power.pending,
            "violations": ui.violations_json(host.rules),
        }

    def info() -> dict[str, Any]:
        """What the guest says of itself."""
        told = host.info
        return {
            "hostname": told.hostname,
            "os": {"name": told.os_name, "full": told.os_full, **told.os_details},
            "nics": [
                {"mac": nic.mac, "addresses": [f"{address.ip}/{address.prefix}" for address in nic.addresses]}
                for nic in told.network.nics
            ],
            "routes": [{"to": f"{route.to}/{route.prefix}", "via": route.via} for route in told.network.routes],
            "dns": {"servers": list(told.network.servers), "search": list(told.network.search)},
            "disks": [{"name": disk.name, "free": disk.free, "size": disk.size} for disk in told.disks],
            "uptime": told.uptime_s,
            "statistics": told.statistics,
            "capabilities": host.capabilities,
            "log": list(host.log)[-20:],
        }

    def balloon(amount: str) -> dict[str, int]:
        """How much of the guest's memory the host takes: "60%", "256M", "0"."""
        device = host.balloon_device
        with_mend(lambda: device.set_target(amount_of_memory(amount)(device.pages)))
        return balloon_facts(device)

    def get(key: str) -> str | None:
        """A variable; null when there is none."""
        value = host.variables.get(key.removeprefix(PREFIX))
        return None if value is None else value.decode("utf-8", "replace")

    def put(key: str, value: str) -> None:
        with_mend(lambda: host.variables.__setitem__(key.removeprefix(PREFIX), value))

    def unset(key: str) -> None:
        if key.removeprefix(PREFIX) not in host.variables:
            raise ConfigError(f"{key}: there is no such variable; `variables` lists them")
        del host.variables[key.removeprefix(PREFIX)]

    def variables() -> list[str]:
        """The names of all."""
        return sorted(host.variables)

    def option(name: str, value: str) -> None:
        """Tell the guest's service an option (Set_Option)."""
        with_mend(lambda: host.set_option(name, value, now_ns()))

    def power(operation: Literal["shutdown", "reboot", "suspend", "resume", "power-on"]) -> Waits:
        """Ask the guest, and wait for what its script says."""
        ended: list[Outcome] = []
        begun = host.power.request(operation, now_ns(), lambda outcome, when: ended.append(outcome))
        if not begun and not ended:
            raise ConfigError(f"{host.power.pending} is under way: wait for its end")
        while not ended:
            yield LOOK_S
        return {"ok": ended[0].ok, "why": ended[0].why}

    def snapshot(do: Literal["freeze", "thaw", "abort"]) -> Waits:
        """`freeze` ends when the disks may be copied; then `thaw`, which ends when the guest has."""
        taking = host.snapshot
        if do == "freeze":
            ended: list[Taken] = []
            begun = taking.start(now_ns(), lambda when: None, lambda outcome, when: ended.append(outcome))
            if not begun and not ended:
                raise ConfigError("a snapshot is under way: end it with `snapshot thaw` or `snapshot abort`")
            while not ended and taking.state is not State.FROZEN:
                yield LOOK_S
            return {"frozen": not ended, "why": ended[0].why if ended else ""}
        if not taking.busy or (do == "thaw" and taking.state is not State.FROZEN):
            raise ConfigError(f"the guest is not frozen but {taking.state.value}: begin with `snapshot freeze`")
        if do == "thaw":
            taking.taken(True, now_ns())
        else:
            taking.abort(now_ns())
        while taking.busy:
            yield LOOK_S
        last = taking.last
        return {"ok": last is not None and last.ok, "why": last.why if last is not None else ""}

    def heartbeat(drop: float) -> None:
        """Take no notice of the guest's beats for so many seconds."""
        if not 0 < drop <= 86400:
            raise ConfigError(f"drop {drop:g}: seconds, up to a day")
        host.heartbeat.drop(int(drop * SECOND), now_ns())

    def ping() -> Waits:
        """Have the service answer."""
        return waiting(lambda then: host.heartbeat.ping(now_ns(), then))

    def time(do: Literal["once", "backward", "on", "off"]) -> Waits:
        """Have the guest set its clock, back too if need be, or keep it in step from now on."""
        if do in ("on", "off"):
            host.timesync.keep(do == "on", now_ns())
            yield 0
            return {"ok": True, "why": ""}
        return (yield from waiting(lambda then: host.timesync.once(now_ns(), backward=do == "backward", then=then)))

    def clock(jump: float) -> None:
        """Have the host's clock jump by so many seconds."""
        host.clock.skew(int(jump * SECOND))

    def resize(width: int, height: int) -> Waits:
        """Have the guest give its screen this size."""
        return waiting(lambda then: with_mend(lambda: host.resolution.resize(width, height, now_ns(), then)))

    return {
        "status": status,
        "info": info,
        "balloon": balloon,
        "get": get,
        "set": put,
        "unset": unset,
        "variables": variables,
        "option": option,
        "power": power,
        "snapshot": snapshot,
        "heartbeat": heartbeat,
        "ping": ping,
        "time": time,
        "clock": clock,
        "resize": resize,
    }


def balloon_facts(balloon: Balloon) -> dict[str, int]:
    """Bytes the host wants, and has."""
    return {"target": balloon.target * PAGE, "held": balloon.current * PAGE, "limit": balloon.limit * PAGE}


def waiting(ask: Callable[[Then], object]) -> Waits:
    """Ask the guest something, and wait for its result."""
    results: list[Result] = []
    ask(lambda result, when: results.append(result))
    while not results:
        yield LOOK_S
    return {"ok": results[0].ok, "why": "" if results[0].ok else results[0].text.decode("utf-8", "replace")}


def with_mend(do: Callable[[], object]) -> None:
    """What a model says is wrong, as a user's mistake."""
    try:
        do()
    except ValueError as error:
        raise ConfigError(str(error)) from error
