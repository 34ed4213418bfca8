"""USB pointers beside a served display: plugged in to a bus, offered by USB/IP, moved from outside."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import Literal

from pvdev.errors import ConfigError
from pvdev.rules import RuleLog
from svga.pointers import Pointers
from svga.usb.bus import Bus
from svga.usb.models import model
from svga.usb.usbip import UsbipServer, parse_address

Controls = Mapping[str, Callable[..., object]]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def pointers(
    names: Sequence[str], address: str | None, hand: str | None, rules: RuleLog, say: Callable[[str], None] = _say
) -> Iterator[tuple[Pointers, Controls]]:
    """Devices of these personas behind a USB/IP server, for as long as the context lasts: hands that move them, and
    what can be asked of them from outside.

    `hand`: the mouse of this machine that does too. Raises `ConfigError` where one option lacks the other, when the
    server cannot listen, and when there is no such mouse.
    """
    if not names and address is None:
        raise ConfigError(f"--hand {hand}: nothing to move; give --usb mouse --usbip 127.0.0.1:3240")
    if not names:
        raise ConfigError(f"--usbip {address}: nothing to offer there; give --usb mouse or --usb tablet")
    if address is None:
        raise ConfigError(f"--usb {names[0]}: no guest could attach it; give --usbip 127.0.0.1:3240")
    bus = Bus()
    for name in names:
        bus.plug(model(name, rules))
    hands = Pointers(bus.plugs, bus.plugs)
    with _moved_by(hand, hands, say), UsbipServer(bus, parse_address(address), say, rules) as server:
        host, port = server.address
        say(f"USB/IP at {host}:{port}; in a guest: modprobe vhci-hcd; usbip --tcp-port {port} attach -r HOST -b 1-1")
        for plug in bus.plugs:
            say(f"  {plug.busid}  {plug.model.persona.texts[1]} ({plug.model.persona.name})")
        yield hands, controls(bus, hands, rules)


@contextmanager
def _moved_by(hand: str | None, hands: Pointers, say: Callable[[str], None]) -> Iterator[None]:
    """A thread that hands on what the mouse `hand` does; None: nothing."""
    if hand is None:
        yield
        return
    try:
        from svga.usb.physical import open_mouse, parse_name
    except ModuleNotFoundError as error:
        raise ConfigError(f"--hand {hand}: pyusb is missing; pip install 'pvdev[usb]'") from error
    over = Event()
    with open_mouse(parse_name(hand)) as mouse:

        def follow() -> None:
            try:
                mouse.follow(hands, lambda: not over.is_set())
            except ConfigError as error:
                say(str(error))

        thread = Thread(target=follow, name="hand", daemon=True)
        thread.start()
        say(f"{mouse.name} moves them, and nothing else until the end")
        try:
            yield
        finally:
            over.set()
            thread.join()


def controls(bus: Bus, hands: Pointers, rules: RuleLog) -> Controls:
    """What can be done with a running bus from outside."""

    def point(x: int, y: int, *, buttons: int | None = None) -> None:
        _taken(hands.point(x, y, buttons), "tablet")

    def move(dx: int, dy: int, *, buttons: int | None = None) -> None:
        _taken(hands.move(dx, dy, buttons), "mouse")

    def wheel(steps: int) -> None:
        _taken(hands.wheel(steps), "pointer")

    def key(code: int, what: Literal["down", "up", "press"]) -> None:
        """By XT scan code: 30 is A."""
        for down in {"down": (True,), "up": (False,), "press": (True, False)}[what]:
            _taken(hands.key(code, down), "keyboard with that key")

    def plug(device: Literal["mouse", "tablet", "qemu-mouse", "keyboard"]) -> str:
        busid = bus.plug(model(device, rules)).busid
        hands.pointers = hands.keyboards = bus.plugs
        return busid

    def unplug(busid: str) -> None:
        there = bus.find(busid)
        if there is None:
            raise ConfigError(f"nothing is plugged in at {busid!r}; `usb` tells what is where")
        bus.unplug(there)
        hands.pointers = hands.keyboards = bus.plugs

    def usb() -> object:
        return [
            {
                "busid": plug.busid,
                "device": plug.model.persona.name,
                "attached": plug.holder is not None,
                "configured": bool(plug.model.configuration),
            }
            for plug in bus.plugs
        ]

    return {"point": point, "move": move, "wheel": wheel, "key": key, "plug": plug, "unplug": unplug, "usb": usb}


def _taken(taken: bool, what: str) -> None:
    if not taken:
        raise ConfigError(f"no guest has a {what} of ours; attach one there, `usb` tells what is offered")
