"""Who a USB pointer says it is: VMware's virtual mouse, and a tablet and a mouse as QEMU has them.

VMware's report descriptor is not published. Its length (46 bytes), its boot interface and the eight buttons and three
axes Linux finds leave one conventional descriptor, which is ours; reports are four bytes.
"""

from dataclasses import dataclass
from functools import cached_property

from svga.usb import wire
from svga.usb.wire import Kind

INPUT_ENDPOINT = wire.IN | 1
CONFIGURATION_VALUE = 1

_MOUSE = bytes.fromhex(
    "0501 0902 A101"  # generic desktop: a mouse, application collection
    "0901 A100"  # pointer, physical collection
    "0509 1901 2908 1500 2501 9508 7501 8102"  # buttons 1 to 8, a bit each: 0 or 1, absolute
    "0501 0930 0931 0938 1581 257F 7508 9503 8106"  # X, Y, wheel: a byte each, -127 to 127, relative
    "C0 C0"
)
_TABLET = bytes.fromhex(
    "0501 0902 A101 0901 A100"
    "0509 1901 2903 1500 2501 9503 7501 8102"  # buttons 1 to 3
    "9501 7505 8101"  # five bits of nothing
    "0501 0930 0931 1500 26FF7F 3500 46FF7F 7510 9502 8102"  # X, Y: 16 bits each, 0 to 0x7FFF, absolute
    "0501 0938 1581 257F 3500 4500 7508 9501 8106"  # wheel
    "C0 C0"
)
_MOUSE_5 = bytes.fromhex(
    "0501 0902 A101 0901 A100"
    "0509 1901 2905 1500 2501 9505 7501 8102"  # buttons 1 to 5
    "9501 7503 8101"  # three bits of nothing
    "0501 0930 0931 0938 1581 257F 7508 9503 8106"
    "C0 C0"
)


@dataclass(frozen=True)
class Persona:
    """What one kind of pointer says of itself. `report`: its report descriptor; `buttons`: how many it has.

    `top`: X and Y are places, 0 to this; 0: they are movements. `boot`: it knows the BIOS's way to report too.
    `texts`: maker, product and perhaps a serial number, strings 1 to 3; `labelled`: configuration and interface carry
    the maker's name. `interval`: ms between two looks of the host.
    """

    name: str
    vendor: int
    product: int
    release: int  # binary coded decimal, as `usb`
    usb: int
    texts: tuple[str, ...]
    report: bytes
    buttons: int
    top: int = 0
    boot: bool = True
    labelled: bool = False
    attributes: int = wire.CONFIGURATION_ALWAYS
    milliamperes: int = 100
    interval: int = 10

    @property
    def report_size(self) -> int:
        """Bytes of an input report."""
        return 6 if self.top else 4

    @cached_property
    def device(self) -> bytes:
        return wire.DEVICE.encode(
            bLength=wire.DEVICE.size,
            bDescriptorType=Kind.DEVICE,
            bcdUSB=self.usb,
            bMaxPacketSize0=8,
            idVendor=self.vendor,
            idProduct=self.product,
            bcdDevice=self.release,
            iManufacturer=1,
            iProduct=2,
            iSerialNumber=3 if len(self.texts) > 2 else 0,
            bNumConfigurations=1,
        )

    @cached_property
    def hid(self) -> bytes:
        return wire.HID.encode(
            bLength=wire.HID.size,
            bDescriptorType=Kind.HID,
            bcdHID=0x0110,
            bNumDescriptors=1,
            bReportType=Kind.REPORT,
            wDescriptorLength=len(self.report),
        )

    @cached_property
    def configuration(self) -> bytes:
        """The configuration with all that belongs to it: interface, HID, endpoint."""
        rest = self.interface + self.hid + self.endpoint
        head = wire.CONFIGURATION.encode(
            bLength=wire.CONFIGURATION.size,
            bDescriptorType=Kind.CONFIGURATION,
            wTotalLength=wire.CONFIGURATION.size + len(rest),
            bNumInterfaces=1,
            bConfigurationValue=CONFIGURATION_VALUE,
            iConfiguration=self.labelled,
            bmAttributes=self.attributes,
            bMaxPower=self.milliamperes // 2,
        )
        return head + rest

    @cached_property
    def interface(self) -> bytes:
        return wire.INTERFACE.encode(
            bLength=wire.INTERFACE.size,
            bDescriptorType=Kind.INTERFACE,
            bNumEndpoints=1,
            bInterfaceClass=wire.CLASS_HID,
            bInterfaceSubClass=wire.SUBCLASS_BOOT if self.boot else 0,
            bInterfaceProtocol=wire.PROTOCOL_MOUSE if self.boot else 0,
            iInterface=self.labelled,
        )

    @cached_property
    def endpoint(self) -> bytes:
        return wire.ENDPOINT.encode(
            bLength=wire.ENDPOINT.size,
            bDescriptorType=Kind.ENDPOINT,
            bEndpointAddress=INPUT_ENDPOINT,
            bmAttributes=wire.INTERRUPT,
            wMaxPacketSize=8,
            bInterval=self.interval,
        )

    def string(self, index: int) -> bytes | None:
        """String descriptor `index`; 0 says which language the others are in. None: there is none."""
        if index > len(self.texts):
            return None
        text = self.texts[index - 1].encode("utf-16-le") if index else wire.ENGLISH.to_bytes(2, "little")
        return bytes((2 + len(text), Kind.STRING)) + text


PERSONAS = {
    persona.name: persona
    for persona in (
        Persona(
            "mouse",
            0x0E0F,
            0x0003,
            0x0103,
            0x0110,
            ("VMware", "VMware Virtual USB Mouse"),
            _MOUSE,
            buttons=8,
            labelled=True,
            attributes=wire.CONFIGURATION_ALWAYS | wire.SELF_POWERED,
            milliamperes=0,
            interval=1,
        ),
        Persona(
            "tablet",
            0x0627,
            0x0001,
            0x0000,
            0x0110,
            ("QEMU", "QEMU USB Tablet", "42"),
            _TABLET,
            buttons=3,
            top=0x7FFF,
            boot=False,
        ),
        Persona("qemu-mouse", 0x0627, 0x0001, 0x0000, 0x0110, ("QEMU", "QEMU USB Mouse", "89126"), _MOUSE_5, buttons=5),
    )
}
