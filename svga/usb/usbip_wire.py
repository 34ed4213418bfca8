"""Messages of USB/IP 1.1.1, all in network order.

Ref: Linux Documentation/usb/usbip_protocol.rst and tools/usb/usbip/src/usbip_network.h (spellings).
"""

from enum import IntEnum

from pvdev.layout import Layout

VERSION = 0x0111
PORT = 3240


class Op(IntEnum):
    """`code` before a device is imported: 0x8000 and more ask, the others answer."""

    REQ_DEVLIST = 0x8005
    REP_DEVLIST = 0x0005
    REQ_IMPORT = 0x8003
    REP_IMPORT = 0x0003


class Status(IntEnum):
    """`status` of an answer."""

    OK = 0
    NA = 1
    DEV_BUSY = 2
    DEV_ERR = 3
    NODEV = 4
    ERROR = 5


class Command(IntEnum):
    """What goes to and fro once a device is imported."""

    CMD_SUBMIT = 1
    CMD_UNLINK = 2
    RET_SUBMIT = 3
    RET_UNLINK = 4


OUT, IN = 0, 1  # direction
NO_PACKETS = (0, 0xFFFF_FFFF)  # number_of_packets of what is not isochronous
# Linux's numbers, whatever the host runs on
ENOMEM, EPIPE, EOVERFLOW, ECONNRESET = 12, 32, 75, 104

OP_COMMON = Layout("op_common", 8, (("version", "H"), ("code", "H"), ("status", "I")), order=">")
BUSID_SIZE = 32
DEVICE = Layout(
    "usbip_usb_device",
    312,
    (
        ("path", "256s"),
        ("busid", "32s"),
        ("busnum", "I"),
        ("devnum", "I"),
        ("speed", "I"),
        ("idVendor", "H"),
        ("idProduct", "H"),
        ("bcdDevice", "H"),
        ("bDeviceClass", "B"),
        ("bDeviceSubClass", "B"),
        ("bDeviceProtocol", "B"),
        ("bConfigurationValue", "B"),
        ("bNumConfigurations", "B"),
        ("bNumInterfaces", "B"),
    ),
    order=">",
)
INTERFACE = Layout(
    "usbip_usb_interface",
    4,
    (("bInterfaceClass", "B"), ("bInterfaceSubClass", "B"), ("bInterfaceProtocol", "B"), ("", "B")),
    order=">",
)
_BASIC = (("command", "I"), ("seqnum", "I"), ("devid", "I"), ("direction", "I"), ("ep", "I"))
CMD_SUBMIT = Layout(
    "usbip_cmd_submit",
    48,
    (
        *_BASIC,
        ("transfer_flags", "I"),
        ("transfer_buffer_length", "i"),
        ("start_frame", "i"),
        ("number_of_packets", "I"),
        ("interval", "i"),
        ("setup", "8s"),
    ),
    order=">",
)
RET_SUBMIT = Layout(
    "usbip_ret_submit",
    48,
    (
        *_BASIC,
        ("status", "i"),
        ("actual_length", "i"),
        ("start_frame", "i"),
        ("number_of_packets", "I"),
        ("error_count", "i"),
        ("", "8s"),
    ),
    order=">",
)
CMD_UNLINK = Layout("usbip_cmd_unlink", 48, (*_BASIC, ("unlink_seqnum", "I"), ("", "24s")), order=">")
RET_UNLINK = Layout("usbip_ret_unlink", 48, (*_BASIC, ("status", "i"), ("", "24s")), order=">")
