"""Who a USB device says it is: VMware's virtual mouse, and a tablet, a mouse and a keyboard as QEMU has them.

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
_KEYBOARD = bytes.fromhex(
    "0501 0906 A101"  # generic desktop: a keyboard
    "0507 19E0 29E7 1500 2501 7501 9508 8102"  # keys E0 to E7 (shifts, controls), a bit each
    "9501 7508 8101"  # a byte of nothing
    "0508 1901 2905 9505 7501 9102"  # from the host: five lights, a bit each
    "9501 7503 9101"  # three bits of nothing
    "0507 1900 29FF 1500 26FF00 9506 7508 8100"  # up to six keys that are down, a byte each
    "C0"
)


@dataclass(frozen=True)
class Persona:
    """What one kind of device says of itself. `report`: its report descriptor; `buttons`: how many it has.

    `top`: X and Y are places, 0 to this; 0: they are movements. `boot`: what it is to a BIOS, whose way to report it
    knows too: a keyboard or a mouse; 0: nothing. `size`, `output`: bytes of a report, and of what a host may send.
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
    size: int
    boot: int
    output: int = 0
    buttons: int = 0
    top: int = 0
    labelled: bool = False
    attributes: int = wire.CONFIGURATION_ALWAYS
    milliamperes: int = 100
    interval: int = 10

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
            bInterfaceProtocol=self.boot,
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


_QEMU = 0x0627, 0x0001, 0x0000, 0x0110  # one number for all of its

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
            size=4,
            boot=wire.PROTOCOL_MOUSE,
            buttons=8,
            labelled=True,
            attributes=wire.CONFIGURATION_ALWAYS | wire.SELF_POWERED,
            milliamperes=0,
            interval=1,
        ),
        Persona("tablet", *_QEMU, ("QEMU", "QEMU USB Tablet", "42"), _TABLET, size=6, boot=0, buttons=3, top=0x7FFF),
        Persona(
            "qemu-mouse",
            *_QEMU,
            ("QEMU", "QEMU USB Mouse", "89126"),
            _MOUSE_5,
            size=4,
            boot=wire.PROTOCOL_MOUSE,
            buttons=5,
        ),
        Persona(
            "keyboard",
            *_QEMU,
            ("QEMU", "QEMU USB Keyboard", "68284"),
            _KEYBOARD,
            size=8,
            boot=wire.PROTOCOL_KEYBOARD,
            output=1,
        ),
    )
}
POINTERS = tuple(name for name, persona in PERSONAS.items() if persona.buttons)
