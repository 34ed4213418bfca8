"""RFB 3.8 as it stands on the wire: numbers and layouts, big-endian, nothing that does anything.

Ref: RFC 6143; the RFB protocol's community version (rfbproto) for what clients have agreed on since.
"""

from enum import IntEnum
from struct import Struct

VERSIONS = {b"RFB 003.003\n": 3, b"RFB 003.007\n": 7, b"RFB 003.008\n": 8}
VERSION = b"RFB 003.008\n"
VERSION_SIZE = len(VERSION)

NONE, VNC_AUTHENTICATION = 1, 2  # security types
OK, FAILED = 0, 1  # security results
CHALLENGE_SIZE = 16


class Encoding(IntEnum):
    """What a rectangle's content is, as far as this server writes or hears of it."""

    RAW = 0
    COPY_RECT = 1
    TIGHT = 7
    ZRLE = 16
    DESKTOP_SIZE = -223
    CURSOR = -239
    POINTER_MOTION = -257  # QEMU's: PointerEvents are relative or absolute
    EXTENDED_KEY = -258  # QEMU's: scan codes
    EXTENDED_DESKTOP_SIZE = -308
    FENCE = -312
    CONTINUOUS_UPDATES = -313
    CURSOR_WITH_ALPHA = -314


COMPRESS_LEVELS = range(-256, -246)  # 0 to 9

# client to server
SET_PIXEL_FORMAT = 0
SET_ENCODINGS = 2
UPDATE_REQUEST = 3
KEY_EVENT = 4
POINTER_EVENT = 5
CUT_TEXT = 6
ENABLE_CONTINUOUS_UPDATES = 150
CLIENT_FENCE = 248
XVP = 250
SET_DESKTOP_SIZE = 251
QEMU = 255
QEMU_EXTENDED_KEY, QEMU_AUDIO = 0, 1
AUDIO_SET_FORMAT = 2

# server to client
UPDATE = 0
SET_COLOUR_MAP = 1
END_OF_CONTINUOUS_UPDATES = 150
SERVER_FENCE = 248

FENCE_REQUEST = 1 << 31
FENCE_KNOWN = 7  # block before, block after, sync next
FENCE_MOST = 64  # bytes of payload

SERVER, THIS_CLIENT = 0, 1  # why a desktop has another size
ACCEPTED, PROHIBITED, NO_RESOURCES, INVALID = range(4)  # what became of a client's wish for one

TIGHT_WIDTH_MOST = 2048
TIGHT_LEAST = 12  # bytes that are worth compressing
TIGHT_FILL, TIGHT_FILTER = 0x80, 0x40
TIGHT_PALETTE = 1
ZRLE_TILE = 64

PIXEL_FORMAT = Struct(">BBBBHHHBBB3x")
HEAD_UPDATE = Struct(">BxH")
HEAD_RECT = Struct(">HHHHi")
COPY_RECT = Struct(">HH")
SERVER_INIT = Struct(">HH16sI")
COLOUR_MAP = Struct(">BxHH")
COLOUR = Struct(">HHH")
SCREENS = Struct(">B3x")
SCREEN = Struct(">IHHHHI")
FENCE = Struct(">B3xIB")
U32 = Struct(">I")
I32 = Struct(">i")

SET_ENCODINGS_HEAD = Struct(">xxH")
REQUEST = Struct(">xBHHHH")
KEY = Struct(">xBxxI")
POINTER = Struct(">xBHH")
CUT_TEXT_HEAD = Struct(">xxxxi")
ENABLE = Struct(">xBHHHH")
WISH = Struct(">xxHHBx")
EXTENDED_KEY = Struct(">xxHII")
