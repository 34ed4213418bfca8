"""A bus as pyusb sees one: `usb.core.find(idVendor=0x0E0F, backend=Backend(bus))` finds what is plugged in to it.

Ref: pyusb usb/backend/__init__.py (`IBackend`), and its libusb 1.0 backend for what errors look like.
"""

import errno
from array import array
from collections.abc import Iterator
from types import SimpleNamespace

import usb.backend
from usb.core import USBError, USBTimeoutError

from pvdev.layout import Layout
from svga.usb import wire
from svga.usb.bus import Bus, Plug
from svga.usb.hid import NAK, STALL, Answer
from svga.usb.personas import CONFIGURATION_VALUE
from svga.usb.wire import Request


class Handle:
    """One program's opened device."""

    def __init__(self, plug: Plug) -> None:
        self.plug = plug


class Backend(usb.backend.IBackend):  # type: ignore[misc]
    """pyusb on a `Bus`. A device that a USB/IP client holds can be opened, not claimed."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    # -- what is there ---------------------------------------------------------------------------------------------

    def enumerate_devices(self) -> Iterator[Plug]:
        return iter(self.bus.plugs)

    def get_parent(self, dev: Plug) -> None:
        return None

    def get_device_descriptor(self, dev: Plug) -> SimpleNamespace:
        found = _read(wire.DEVICE, dev.model.persona.device)
        found.bus, found.address, found.speed = dev.bus.number, dev.address, wire.SPEED_FULL
        found.port_number, found.port_numbers = dev.port, (dev.port,)
        return found

    def get_configuration_descriptor(self, dev: Plug, config: int) -> SimpleNamespace:
        _only(config)
        return _read(wire.CONFIGURATION, dev.model.persona.configuration)

    def get_interface_descriptor(self, dev: Plug, intf: int, alt: int, config: int) -> SimpleNamespace:
        _only(intf, alt, config)
        persona = dev.model.persona
        return _read(wire.INTERFACE, persona.interface, persona.hid)

    def get_endpoint_descriptor(self, dev: Plug, ep: int, intf: int, alt: int, config: int) -> SimpleNamespace:
        _only(ep, intf, alt, config)
        found = _read(wire.ENDPOINT, dev.model.persona.endpoint)
        found.bRefresh = found.bSynchAddress = 0  # of audio endpoints
        return found

    # -- a program's device ----------------------------------------------------------------------------------------

    def open_device(self, dev: Plug) -> Handle:
        if not dev.there:
            raise _error(errno.ENODEV)
        handle = Handle(dev)
        with dev.bus.lock:
            if not dev.model.configuration and dev.holder is None:
                self.set_configuration(handle, CONFIGURATION_VALUE)  # an operating system would have done so
        return handle

    def close_device(self, dev_handle: Handle) -> None:
        dev_handle.plug.release(dev_handle)

    def set_configuration(self, dev_handle: Handle, config_value: int) -> None:
        _not_anothers(dev_handle)
        self._request(dev_handle, wire.STANDARD_DEVICE, Request.SET_CONFIGURATION, config_value, 0)

    def get_configuration(self, dev_handle: Handle) -> int:
        return self._request(dev_handle, wire.STANDARD_DEVICE | wire.IN, Request.GET_CONFIGURATION, 0, 0, 1)[0]

    def set_interface_altsetting(self, dev_handle: Handle, intf: int, altsetting: int) -> None:
        self._request(dev_handle, wire.STANDARD_INTERFACE, Request.SET_INTERFACE, altsetting, intf)

    def claim_interface(self, dev_handle: Handle, intf: int) -> None:
        _only(intf)
        if not dev_handle.plug.hold(dev_handle):
            raise _error(errno.EBUSY if dev_handle.plug.there else errno.ENODEV)

    def release_interface(self, dev_handle: Handle, intf: int) -> None:
        _only(intf)
        dev_handle.plug.release(dev_handle)

    def reset_device(self, dev_handle: Handle) -> None:
        plug = dev_handle.plug
        with plug.bus.lock:
            _not_anothers(dev_handle)
            configuration = plug.model.configuration
            plug.model.reset()
            if configuration:  # libusb brings back what was set
                self.set_configuration(dev_handle, configuration)

    def clear_halt(self, dev_handle: Handle, ep: int) -> None:
        self._request(dev_handle, wire.STANDARD_ENDPOINT, Request.CLEAR_FEATURE, wire.ENDPOINT_HALT, ep)

    def is_kernel_driver_active(self, dev_handle: Handle, intf: int) -> bool:
        return False

    def detach_kernel_driver(self, dev_handle: Handle, intf: int) -> None:
        pass

    def attach_kernel_driver(self, dev_handle: Handle, intf: int) -> None:
        pass

    # -- transfers -------------------------------------------------------------------------------------------------

    def ctrl_transfer(
        self,
        dev_handle: Handle,
        bmRequestType: int,
        bRequest: int,
        wValue: int,
        wIndex: int,
        data: "array[int]",
        timeout: int,
    ) -> int:
        length = len(data) * data.itemsize
        sent = b"" if bmRequestType & wire.IN else data.tobytes()
        answer = self._request(dev_handle, bmRequestType, bRequest, wValue, wIndex, length, sent)
        if not bmRequestType & wire.IN:
            return length
        memoryview(data).cast("B")[: len(answer)] = answer
        return len(answer)

    def intr_read(self, dev_handle: Handle, ep: int, intf: int, buff: "array[int]", timeout: int) -> int:
        """`timeout` in ms; 0: none."""
        answer = dev_handle.plug.wait(ep, timeout * 1_000_000 if timeout else None)
        if answer is NAK:
            raise USBTimeoutError("Operation timed out", errno=errno.ETIMEDOUT)
        report = _whole(dev_handle, answer)
        room = memoryview(buff).cast("B")
        if len(report) > len(room):
            raise _error(errno.EOVERFLOW)
        room[: len(report)] = report
        return len(report)

    def _request(
        self, handle: Handle, kind: int, request: int, value: int, index: int, length: int = 0, sent: bytes = b""
    ) -> bytes:
        setup = wire.SETUP.struct.pack(kind, request, value, index, length)
        return _whole(handle, handle.plug.control(setup, sent))


def _not_anothers(handle: Handle) -> None:
    if handle.plug.holder not in (None, handle):
        raise _error(errno.EBUSY)


def _whole(handle: Handle, answer: Answer) -> bytes:
    if isinstance(answer, bytes):
        return answer
    assert answer is STALL
    raise _error(errno.EPIPE if handle.plug.there else errno.ENODEV)


def _error(number: int) -> USBError:
    names = {
        errno.EBUSY: "Resource busy",
        errno.ENODEV: "No such device (it may have been disconnected)",
        errno.EOVERFLOW: "Overflow",
        errno.EPIPE: "Pipe error",
    }
    return USBError(names[number], errno=number)


def _only(*indices: int) -> None:
    """There is one of each. Raises `IndexError`, by which pyusb knows the end."""
    if any(indices):
        raise IndexError(indices)


def _read(layout: Layout, data: bytes, extra: bytes = b"") -> SimpleNamespace:
    return SimpleNamespace(**layout.numbers(data), extra_descriptors=list(extra))
