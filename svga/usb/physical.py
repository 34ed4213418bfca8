"""A mouse on a desk as a guest's hand: read by pyusb, whatever its reports look like.

The operating system's own driver is put aside while it is read, so the mouse then moves the guest's pointer only.
"""

import contextlib
import errno
import re
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import usb.core
import usb.util

from pvdev.errors import ConfigError
from svga.usb import wire
from svga.usb.fields import BUTTON, DESKTOP, WHEEL, Field, X, Y, fields
from svga.usb.wire import HidRequest, Kind, Request
from svga.usb.wire import Protocol as ReportProtocol

LOOK_MS = 200  # how often `follow` sees whether it is to end
TOP = 0xFFFF


class Hands(Protocol):
    """Where movements go: `svga.pointers.Pointers`."""

    def point(self, x: int, y: int, buttons: int | None = None) -> bool: ...

    def move(self, dx: int, dy: int, buttons: int | None = None) -> bool: ...

    def wheel(self, steps: int, *, buttons: int | None = None) -> bool: ...


def parse_name(text: str) -> tuple[int, int] | None:
    """(vendor, product) of "046d:c077"; None for "any". Raises `ConfigError`."""
    found = re.fullmatch(r"([0-9a-fA-F]{4}):([0-9a-fA-F]{4})", text)
    if not found and text != "any":
        raise ConfigError(f"{text!r} is no USB device; write it like 046d:c077 (lsusb shows them), or any")
    return (int(found[1], 16), int(found[2], 16)) if found else None


def open_mouse(name: tuple[int, int] | None = None, backend: object = None) -> "Mouse":
    """The first pointer that is plugged in to this machine, or the one of that vendor and product.

    Raises `ConfigError`: there is none, it may not be opened, or libusb is missing.
    """
    words = {} if name is None else {"idVendor": name[0], "idProduct": name[1]}
    try:
        devices = list(usb.core.find(find_all=True, backend=backend, **words))
    except usb.core.NoBackendError as error:
        raise ConfigError("reading a USB mouse needs libusb: apt install libusb-1.0-0") from error
    why = "no USB mouse is plugged in" if name is None else f"no USB device is {name[0]:04x}:{name[1]:04x}"
    for device in devices:
        for interface in _interfaces(device):
            try:
                return Mouse(device, interface)
            except ConfigError as error:
                why = str(error)
    raise ConfigError(why)


def _interfaces(device: Any) -> Iterator[Any]:
    """Its HID interfaces that may be pointers: a keyboard's are left in peace."""
    with contextlib.suppress(usb.core.USBError):
        for configuration in device:
            for interface in configuration:
                boot = interface.bInterfaceSubClass == wire.SUBCLASS_BOOT
                if interface.bInterfaceClass == wire.CLASS_HID and (
                    not boot or interface.bInterfaceProtocol == wire.PROTOCOL_MOUSE
                ):
                    yield interface


class Mouse:
    """One opened mouse or tablet. Raises `ConfigError` when it is none, or may not be opened."""

    def __init__(self, device: Any, interface: Any) -> None:
        self.device, self._number = device, interface.bInterfaceNumber
        self.name = f"{device.idVendor:04x}:{device.idProduct:04x}"
        self._aside = False
        try:
            self._endpoint = self._open(interface)
            self._fields = fields(self._descriptor(interface))
        except usb.core.USBError as error:
            self.close()
            raise ConfigError(_why(self.name, error)) from error
        if self._endpoint is None or not {X, Y} <= {each.usage for each in self._fields if each.page == DESKTOP}:
            self.close()
            raise ConfigError(f"{self.name} is no pointer; lsusb -v shows which device has one")
        self._buttons = 0

    def _open(self, interface: Any) -> Any:
        device, number = self.device, self._number
        with contextlib.suppress(NotImplementedError):  # not every system has drivers to put aside
            if device.is_kernel_driver_active(number):
                device.detach_kernel_driver(number)
                self._aside = True
        usb.util.claim_interface(device, number)
        if interface.bInterfaceSubClass == wire.SUBCLASS_BOOT:
            with contextlib.suppress(usb.core.USBError):  # what has no other way to report need not know the request
                kind = wire.CLASS_INTERFACE
                device.ctrl_transfer(kind, HidRequest.SET_PROTOCOL, ReportProtocol.REPORT, number)
        return usb.util.find_descriptor(
            interface,
            custom_match=lambda each: (
                each.bEndpointAddress & wire.IN and usb.util.endpoint_type(each.bmAttributes) == wire.INTERRUPT
            ),
        )

    def _descriptor(self, interface: Any) -> bytes:
        length = int.from_bytes(bytes(interface.extra_descriptors)[7:9], "little")
        kind = wire.STANDARD_INTERFACE | wire.IN
        return bytes(
            self.device.ctrl_transfer(kind, Request.GET_DESCRIPTOR, Kind.REPORT << 8, self._number, length or 4096)
        )

    def close(self) -> None:
        """Give it back to the operating system; again: nothing."""
        with contextlib.suppress(usb.core.USBError):
            usb.util.release_interface(self.device, self._number)
            if self._aside:
                self.device.attach_kernel_driver(self._number)
        self._aside = False
        usb.util.dispose_resources(self.device)

    def __enter__(self) -> "Mouse":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def follow(self, hands: Hands, going: Callable[[], bool]) -> None:
        """Hand everything on while `going` says so. Raises `ConfigError` when the mouse is pulled."""
        while going():
            self.read(hands, LOOK_MS)

    def read(self, hands: Hands, timeout_ms: int) -> bool:
        """Hand on the next report; False: there was none in that time. Raises `ConfigError` when the mouse is gone."""
        try:
            data = bytes(self._endpoint.read(self._endpoint.wMaxPacketSize, timeout_ms))
        except usb.core.USBTimeoutError:
            return False
        except usb.core.USBError as error:
            if error.errno == errno.EPIPE:
                self.device.clear_halt(self._endpoint)
                return False
            raise ConfigError(_why(self.name, error)) from error
        self._hand_on(data, hands)
        return True

    def _hand_on(self, data: bytes, hands: Hands) -> None:
        mine = [each for each in self._fields if not each.report or data[:1] == bytes((each.report,))]
        axes = {each.usage: each for each in mine if each.page == DESKTOP}
        across, down, wheel = axes.get(X), axes.get(Y), axes.get(WHEEL)
        if across is None or down is None:
            return  # another report of the same interface, of media keys perhaps
        buttons = sum(
            1 << each.usage - 1 for each in mine if each.page == BUTTON and 1 <= each.usage <= 8 and each.read(data)
        )
        changed, self._buttons = buttons != self._buttons, buttons
        x, y = across.read(data), down.read(data)
        if not across.relative:
            hands.point(_scaled(across, x), _scaled(down, y), buttons)
        elif x or y or changed:
            hands.move(x, y, buttons)
        if wheel is not None and (steps := wheel.read(data)):
            hands.wheel(steps, buttons=buttons)


def _scaled(axis: Field, value: int) -> int:
    """A place on the axis as one of 0 to 65535."""
    span = max(1, axis.high - axis.low)
    return min(max(value - axis.low, 0), span) * TOP // span


def _why(name: str, error: Any) -> str:
    """A line with the mend for what libusb said."""
    if error.errno == errno.EACCES:
        return f"{name} may not be opened; run as root, or give yourself its /dev/bus/usb file (a udev rule)"
    if error.errno == errno.EBUSY:
        return f"{name} is held by another program; end that"
    if error.errno in (errno.ENODEV, errno.EIO):
        return f"{name} was unplugged; plug it in and start again"
    return f"{name} cannot be read: {error}"
