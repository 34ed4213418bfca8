"""What a scenario may have a host do, and how it is known that it has come about.

Ref: the services' own modules; what a step is to be called in a text is ours.
"""

import re
from collections.abc import Callable
from typing import Any

from vmtools import power
from vmtools.heartbeat import Pulse
from vmtools.host import Host
from vmtools.wire import PAGE, PAGES_2M

SECOND = 1_000_000_000
UNITS = {"ns": 1, "us": 1000, "ms": 1_000_000, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND}
SIZES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

Check = Callable[[int], str | None]  # "" it has come about; None not yet; else why it never will
Begin = Callable[[Host, int], Check]


def duration(text: object) -> int:
    """ns of "5s", "500ms", "2m" or a number of seconds. Raises `ValueError`."""
    if isinstance(text, int | float) and not isinstance(text, bool) and 0 <= text < 1e9:
        return int(text * SECOND)
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,9})?)(ns|us|ms|s|m|h)", text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f'{text!r} is no time: write "5s", "500ms", "2m"')
    return int(float(found[1]) * UNITS[found[2]])


def amount_of_memory(text: object) -> Callable[[int], int]:
    """Of a number of pages, how many are meant by "60%" or "256M". Raises `ValueError`."""
    if text == "0":
        return lambda pages: 0
    found = re.fullmatch(r"(\d{1,10})(%|K|M|G)", text) if isinstance(text, str) else None
    if found is None or (found[2] == "%" and int(found[1]) > 100):
        raise ValueError(f'{text!r} is no amount of memory: write "60%" or "256M"')
    number, unit = int(found[1]), found[2]
    if unit == "%":
        return lambda pages: pages * number // 100
    return lambda pages: number * SIZES[unit] // PAGE


def _done(now_ns: int) -> str | None:
    return ""


def _balloon(value: Any) -> Begin:
    amount = amount_of_memory(value)

    def begin(host: Host, now_ns: int) -> Check:
        balloon = host.balloon_device
        balloon.set_target(amount(balloon.pages))
        # a driver rounds up to large pages, and keeps a surplus of less than one
        return lambda now_ns: "" if 0 <= balloon.current - balloon.target < PAGES_2M else None

    return begin


def _balloon_reset(value: Any) -> Begin:
    _true(value)

    def begin(host: Host, now_ns: int) -> Check:
        balloon = host.balloon_device
        asked: list[int] = []  # how often it had been started

        def check(now_ns: int) -> str | None:
            if not asked and balloon.started:
                asked.append(balloon.calls["START"])
                balloon.reset()
            return "" if asked and balloon.calls["START"] > asked[0] else None

        return check

    return begin


def _snapshot(value: Any) -> Begin:
    _true(value)

    def begin(host: Host, now_ns: int) -> Check:
        ended: list[str] = []
        begun = host.snapshot.start(now_ns, None, lambda outcome, when: ended.append("" if outcome.ok else outcome.why))
        if not begun and not ended:
            ended.append("another snapshot is under way")
        return lambda now_ns: ended[0] if ended else None

    return begin


def _power(value: Any) -> Begin:
    if value not in power.COMMANDS:
        raise ValueError(f"power = {value!r}: one of {', '.join(power.COMMANDS)}")

    def begin(host: Host, now_ns: int) -> Check:
        ended: list[str] = []
        begun = host.power.request(value, now_ns, lambda outcome, when: ended.append(outcome.why))
        if not begun and not ended:
            ended.append(f"{host.power.pending} is under way")
        return lambda now_ns: ended[0] if ended else None

    return begin


def _shutdown(value: Any) -> Begin:
    _true(value)
    return _power("shutdown")


def _force(value: Any) -> Begin:
    if value not in ("off", "reset"):
        raise ValueError(f'force = {value!r}: "off" or "reset"')

    def begin(host: Host, now_ns: int) -> Check:
        host.power.force(value, now_ns)
        return _done

    return begin


def _drop(value: Any) -> Begin:
    for_ns = duration(value)

    def begin(host: Host, now_ns: int) -> Check:
        host.heartbeat.drop(for_ns, now_ns)
        return _done

    return begin


def _heartbeat(value: Any) -> Begin:
    wanted = {pulse.value for pulse in Pulse}
    if value not in wanted:
        raise ValueError(f"heartbeat = {value!r}: one of {', '.join(sorted(wanted))}")

    def begin(host: Host, now_ns: int) -> Check:
        return lambda now_ns: "" if host.heartbeat.state(now_ns).value == value else None

    return begin


def _ping(value: Any) -> Begin:
    _true(value)

    def begin(host: Host, now_ns: int) -> Check:
        ended: list[str] = []
        host.heartbeat.ping(
            now_ns, lambda result, when: ended.append("" if result.ok else result.text.decode("utf-8", "replace"))
        )
        return lambda now_ns: ended[0] if ended else None

    return begin


def _set(value: Any) -> Begin:
    table = _table(value)

    def begin(host: Host, now_ns: int) -> Check:
        for key, text in table.items():
            host.variables[key.removeprefix("guestinfo.")] = text
        return _done

    return begin


def _variable(value: Any) -> Begin:
    table = _table(value)

    def begin(host: Host, now_ns: int) -> Check:
        def check(now_ns: int) -> str | None:
            wanted = {key.removeprefix("guestinfo."): text.encode() for key, text in table.items()}
            return "" if all(host.variables.get(key) == text for key, text in wanted.items()) else None

        return check

    return begin


def _option(value: Any) -> Begin:
    table = _table(value)

    def begin(host: Host, now_ns: int) -> Check:
        for name, text in table.items():
            host.set_option(name, text, now_ns)
        return _done

    return begin


def _clock(value: Any) -> Begin:
    sign = -1 if isinstance(value, str) and value.startswith("-") else 1
    if not isinstance(value, str) or value[:1] not in ("+", "-"):
        raise ValueError(f'clock = {value!r}: by how much it jumps, like "+1h" or "-30s"')
    jump = sign * duration(value[1:])

    def begin(host: Host, now_ns: int) -> Check:
        host.clock.skew(jump)
        return _done

    return begin


def _sync(value: Any) -> Begin:
    if value not in ("once", "backward", "on", "off"):
        raise ValueError(f'sync-time = {value!r}: "once", "backward", "on" or "off"')

    def begin(host: Host, now_ns: int) -> Check:
        if value in ("on", "off"):
            host.timesync.keep(value == "on", now_ns)
            return _done
        ended: list[str] = []
        host.timesync.once(
            now_ns,
            backward=value == "backward",
            then=lambda result, when: ended.append("" if result.ok else result.text.decode("utf-8", "replace")),
        )
        return lambda now_ns: ended[0] if ended else None

    return begin


def _resolution(value: Any) -> Begin:
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f'resolution = {value!r}: write "1024x768"')
    width, height = int(found[1]), int(found[2])

    def begin(host: Host, now_ns: int) -> Check:
        ended: list[str] = []
        host.resolution.resize(
            width, height, now_ns, lambda r, when: ended.append("" if r.ok else r.text.decode("utf-8", "replace"))
        )
        return lambda now_ns: ended[0] if ended else None

    return begin


def _address(value: Any) -> Begin:
    if not isinstance(value, str) or not value:
        raise ValueError(f'address = {value!r}: one the guest is to report, like "192.0.2.10"')

    def begin(host: Host, now_ns: int) -> Check:
        return lambda now_ns: "" if value in host.info.addresses else None

    return begin


def _true(value: Any) -> None:
    if value is not True:
        raise ValueError(f"{value!r}: write true")


def _table(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not value or not all(isinstance(text, str) for text in value.values()):
        raise ValueError('names and texts are wanted, like { name = "text" }')
    return value


ACTIONS: dict[str, Callable[[Any], Begin]] = {
    "balloon": _balloon,
    "balloon-reset": _balloon_reset,
    "snapshot": _snapshot,
    "power": _power,
    "shutdown": _shutdown,
    "force": _force,
    "drop-heartbeats": _drop,
    "heartbeat": _heartbeat,
    "ping": _ping,
    "set": _set,
    "variable": _variable,
    "option": _option,
    "clock": _clock,
    "sync-time": _sync,
    "resolution": _resolution,
    "address": _address,
}
