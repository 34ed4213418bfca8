"""pyusb finds our pointers and reads them as if they were plugged in."""

import errno
from collections.abc import Iterator
from threading import Thread

import pytest
import usb.core
import usb.util

from pvdev.errors import ConfigError
from svga.usb.backend import Backend
from svga.usb.bus import PORTS, Bus, Plug
from svga.usb.personas import PERSONAS
from svga.usb.pointer import HidPointer

MOUSE, TABLET = (0x0E0F, 0x0003), (0x0627, 0x0001)


@pytest.fixture
def bus() -> Bus:
    """A mouse in port 1, a tablet in port 2."""
    found = Bus()
    for name in ("mouse", "tablet"):
        found.plug(HidPointer(PERSONAS[name]))
    return found


@pytest.fixture
def mouse(bus: Bus) -> Iterator[usb.core.Device]:
    device = usb.core.find(idVendor=0x0E0F, backend=Backend(bus))
    yield device
    usb.util.dispose_resources(device)


@pytest.fixture
def plug(bus: Bus) -> Plug:
    return bus.plugs[0]


def test_SVG_V_069_found_by_vendor(bus: Bus, mouse: usb.core.Device) -> None:
    assert (mouse.idVendor, mouse.idProduct) == MOUSE
    assert (mouse.manufacturer, mouse.product) == ("VMware", "VMware Virtual USB Mouse")
    assert (mouse.bus, mouse.address, mouse.port_numbers, mouse.speed) == (1, 2, (1,), usb.util.SPEED_FULL)
    devices = usb.core.find(find_all=True, backend=Backend(bus))
    assert [(device.idVendor, device.idProduct) for device in devices] == [MOUSE, TABLET]


def test_SVG_V_069_descriptors_as_pyusb_reads_them(mouse: usb.core.Device) -> None:
    (configuration,) = mouse
    (interface,) = configuration
    (endpoint,) = interface

    assert (configuration.wTotalLength, configuration.bmAttributes, configuration.bMaxPower) == (34, 0xC0, 0)
    assert (interface.bInterfaceClass, interface.bInterfaceSubClass, interface.bInterfaceProtocol) == (3, 1, 2)
    assert (endpoint.bEndpointAddress, endpoint.wMaxPacketSize, endpoint.bInterval) == (0x81, 8, 1)
    assert bytes(interface.extra_descriptors)[7:9] == b"\x2e\x00"
    assert usb.util.get_string(mouse, interface.iInterface) == "VMware"
    assert "VMware Virtual USB Mouse" in str(mouse)
    report = mouse.ctrl_transfer(0x81, 6, 0x2200, 0, 46)
    assert bytes(report) == PERSONAS["mouse"].report


def test_SVG_V_069_reports_while_the_pointer_moves(mouse: usb.core.Device, plug: Plug) -> None:
    mouse.set_configuration()
    plug.move(3, -4)
    plug.move(0, 0, 1)
    plug.wheel(-1)

    assert [bytes(mouse.read(0x81, 8, 1)) for _ in range(2)] == [b"\0\x03\xfc\0", b"\x01\0\0\xff"]
    with pytest.raises(usb.core.USBTimeoutError):
        mouse.read(0x81, 8, 1)


def test_a_read_waits_for_the_hand(mouse: usb.core.Device, plug: Plug) -> None:
    mouse.set_configuration()
    hand = Thread(target=lambda: plug.move(7, 7))
    hand.start()
    read = bytes(mouse.read(0x81, 8, 10_000))
    hand.join()

    assert read == b"\0\x07\x07\0"


def test_a_read_ends_when_the_pointer_is_pulled(bus: Bus, mouse: usb.core.Device, plug: Plug) -> None:
    mouse.set_configuration()
    hand = Thread(target=lambda: bus.unplug(plug))
    hand.start()
    with pytest.raises(usb.core.USBError) as error:
        mouse.read(0x81, 8, 10_000)
    hand.join()

    assert error.value.errno == errno.ENODEV
    assert usb.core.find(idVendor=0x0E0F, backend=Backend(bus)) is None


def test_it_is_configured_as_an_operating_system_has_it(bus: Bus) -> None:
    tablet = usb.core.find(idVendor=TABLET[0], backend=Backend(bus))
    assert tablet.get_active_configuration().bConfigurationValue == 1
    bus.plugs[1].point(1, 2, 4)

    assert bytes(tablet.read(0x81, 8, 1)) == b"\x04\x01\0\x02\0\0"
    usb.util.dispose_resources(tablet)


def test_idle_reports_come_by_themselves(mouse: usb.core.Device) -> None:
    mouse.set_configuration()
    mouse.ctrl_transfer(0x21, 0x0A, 0x0100, 0)

    assert [bytes(mouse.read(0x81, 8, 10_000)) for _ in range(3)] == [bytes(4)] * 3


@pytest.mark.parametrize(
    ("do", "number"),
    [
        (lambda device: device.ctrl_transfer(0xA1, 0x33, 0, 0, 8), errno.EPIPE),
        (
            lambda device: device.set_interface_altsetting(0, 0) or device.ctrl_transfer(0x21, 9, 0x100, 0, bytes(64)),
            32,
        ),
        (lambda device: device.read(0x81, 1, 1), errno.EOVERFLOW),
    ],
)
def test_refusals_look_like_libusbs(mouse: usb.core.Device, plug: Plug, do: object, number: int) -> None:
    mouse.set_configuration()
    plug.move(1, 1)
    with pytest.raises(usb.core.USBError) as error:
        do(mouse)  # type: ignore[operator]

    assert error.value.errno == number


def test_a_halted_endpoint(mouse: usb.core.Device, plug: Plug) -> None:
    mouse.set_configuration()
    mouse.ctrl_transfer(2, 3, 0, 0x81)
    with pytest.raises(usb.core.USBError):
        mouse.read(0x81, 8, 1)
    mouse.clear_halt(0x81)
    plug.move(1, 0)

    assert bytes(mouse.read(0x81, 8, 1)) == b"\0\x01\0\0"


def test_a_read_ends_when_its_endpoint_is_halted(mouse: usb.core.Device, plug: Plug) -> None:
    mouse.set_configuration()
    halting = Thread(target=lambda: plug.control(bytes((2, 3, 0, 0, 0x81, 0, 0, 0))))
    halting.start()
    with pytest.raises(usb.core.USBError) as error:
        mouse.read(0x81, 8, 10_000)
    halting.join()

    assert error.value.errno == errno.EPIPE


def test_reset_keeps_the_configuration(mouse: usb.core.Device, plug: Plug) -> None:
    mouse.set_configuration()
    plug.move(1, 0)
    mouse.reset()

    assert plug.model.configuration == 1
    with pytest.raises(usb.core.USBTimeoutError):
        mouse.read(0x81, 8, 1)


def test_who_holds_it_holds_it_alone(bus: Bus, plug: Plug, mouse: usb.core.Device) -> None:
    mouse.set_configuration()
    assert plug.hold("somebody")
    for do in (lambda: mouse.read(0x81, 8, 1), mouse.set_configuration, mouse.reset):
        with pytest.raises(usb.core.USBError) as error:
            do()
        assert error.value.errno == errno.EBUSY

    plug.release("somebody", reset=True)
    mouse.set_configuration()
    usb.util.claim_interface(mouse, 0)
    assert not plug.hold("somebody")
    usb.util.release_interface(mouse, 0)
    assert plug.hold("somebody")


def test_a_bus_has_eight_ports(bus: Bus) -> None:
    for _ in range(PORTS - 2):
        bus.plug(HidPointer(PERSONAS["mouse"]))
    with pytest.raises(ConfigError, match="8 ports"):
        bus.plug(HidPointer(PERSONAS["mouse"]))
    bus.unplug(bus.plugs[2])

    assert bus.plug(HidPointer(PERSONAS["mouse"])).busid == "1-3"
