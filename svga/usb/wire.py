"""What a USB host and a device say to each other on a control pipe, and how a device describes itself.

Ref: USB 2.0 chapter 9 and HID 1.11 (spellings of fields); Linux include/uapi/linux/usb/ch9.h (cross-check).
"""

from enum import IntEnum

from pvdev.layout import Layout


class Request(IntEnum):
    """Standard requests, `bRequest`."""

    GET_STATUS = 0
    CLEAR_FEATURE = 1
    SET_FEATURE = 3
    SET_ADDRESS = 5
    GET_DESCRIPTOR = 6
    SET_DESCRIPTOR = 7
    GET_CONFIGURATION = 8
    SET_CONFIGURATION = 9
    GET_INTERFACE = 10
    SET_INTERFACE = 11
    SYNCH_FRAME = 12


class HidRequest(IntEnum):
    """Requests of class HID."""

    GET_REPORT = 1
    GET_IDLE = 2
    GET_PROTOCOL = 3
    SET_REPORT = 9
    SET_IDLE = 10
    SET_PROTOCOL = 11


class Kind(IntEnum):
    """`bDescriptorType`."""

    DEVICE = 1
    CONFIGURATION = 2
    STRING = 3
    INTERFACE = 4
    ENDPOINT = 5
    HID = 0x21
    REPORT = 0x22


class Protocol(IntEnum):
    """SET_PROTOCOL's value: reports as every BIOS knows them, or as the report descriptor says."""

    BOOT = 0
    REPORT = 1


class ReportType(IntEnum):
    INPUT = 1
    OUTPUT = 2
    FEATURE = 3


IN = 0x80  # of bmRequestType and of an endpoint's address
STANDARD_DEVICE, STANDARD_INTERFACE, STANDARD_ENDPOINT, CLASS_INTERFACE = 0x00, 0x01, 0x02, 0x21  # bmRequestType
ENDPOINT_HALT = 0  # feature
INTERRUPT = 3  # bmAttributes of an endpoint
CLASS_HID, SUBCLASS_BOOT, PROTOCOL_KEYBOARD, PROTOCOL_MOUSE = 3, 1, 1, 2
SELF_POWERED, CONFIGURATION_ALWAYS = 0x40, 0x80  # bmAttributes of a configuration
SPEED_FULL = 2
ENGLISH = 0x0409  # the language of strings
ADDRESS_MOST = 127

SETUP = Layout(
    "Setup",
    8,
    (("bmRequestType", "B"), ("bRequest", "B"), ("wValue", "H"), ("wIndex", "H"), ("wLength", "H")),
    ref="usb_ctrlrequest",
)
DEVICE = Layout(
    "Device",
    18,
    (
        ("bLength", "B"),
        ("bDescriptorType", "B"),
        ("bcdUSB", "H"),
        ("bDeviceClass", "B"),
        ("bDeviceSubClass", "B"),
        ("bDeviceProtocol", "B"),
        ("bMaxPacketSize0", "B"),
        ("idVendor", "H"),
        ("idProduct", "H"),
        ("bcdDevice", "H"),
        ("iManufacturer", "B"),
        ("iProduct", "B"),
        ("iSerialNumber", "B"),
        ("bNumConfigurations", "B"),
    ),
    ref="usb_device_descriptor",
)
CONFIGURATION = Layout(
    "Configuration",
    9,
    (
        ("bLength", "B"),
        ("bDescriptorType", "B"),
        ("wTotalLength", "H"),
        ("bNumInterfaces", "B"),
        ("bConfigurationValue", "B"),
        ("iConfiguration", "B"),
        ("bmAttributes", "B"),
        ("bMaxPower", "B"),
    ),
    ref="usb_config_descriptor",
)
INTERFACE = Layout(
    "Interface",
    9,
    (
        ("bLength", "B"),
        ("bDescriptorType", "B"),
        ("bInterfaceNumber", "B"),
        ("bAlternateSetting", "B"),
        ("bNumEndpoints", "B"),
        ("bInterfaceClass", "B"),
        ("bInterfaceSubClass", "B"),
        ("bInterfaceProtocol", "B"),
        ("iInterface", "B"),
    ),
    ref="usb_interface_descriptor",
)
HID = Layout(
    "Hid",
    9,
    (
        ("bLength", "B"),
        ("bDescriptorType", "B"),
        ("bcdHID", "H"),
        ("bCountryCode", "B"),
        ("bNumDescriptors", "B"),
        ("bReportType", "B"),  # of the one descriptor that follows
        ("wDescriptorLength", "H"),
    ),
    ref="hid_descriptor",
)
ENDPOINT = Layout(
    "Endpoint",
    7,
    (
        ("bLength", "B"),
        ("bDescriptorType", "B"),
        ("bEndpointAddress", "B"),
        ("bmAttributes", "B"),
        ("wMaxPacketSize", "H"),
        ("bInterval", "B"),
    ),
    ref="usb_endpoint_descriptor",
)
