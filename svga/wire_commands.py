"""Command ids and payloads: 2D, screen objects, guest-backed objects, and the header of a command buffer.

Ref: svga_reg.h (SVGA_CMD_*, SVGACBHeader), svga3d_cmd.h (SVGA_3D_CMD_*), svga_overlay.h, svga_escape.h. Payloads are
given as 32-bit words without the id; a 3D command has its size in bytes as the first word after the id.
"""

from enum import IntEnum, IntFlag
from struct import Struct

from pvdev.layout import Layout


class Cmd(IntEnum):
    """SVGA_CMD_*: what FIFO and command buffers carry"""

    INVALID = 0
    UPDATE = 1
    RECT_FILL = 2
    RECT_COPY = 3
    RECT_ROP_COPY = 14
    DEFINE_CURSOR = 19
    DISPLAY_CURSOR = 20
    MOVE_CURSOR = 21
    DEFINE_ALPHA_CURSOR = 22
    UPDATE_VERBOSE = 25
    FRONT_ROP_FILL = 29
    FENCE = 30
    ESCAPE = 33
    DEFINE_SCREEN = 34
    DESTROY_SCREEN = 35
    DEFINE_GMRFB = 36
    BLIT_GMRFB_TO_SCREEN = 37
    BLIT_SCREEN_TO_GMRFB = 38
    ANNOTATION_FILL = 39
    ANNOTATION_COPY = 40
    DEFINE_GMR2 = 41
    REMAP_GMR2 = 42
    NOP = 45
    NOP_ERROR = 46


WORDS = {  # payload of the commands whose length is fixed
    Cmd.UPDATE: 4,
    Cmd.RECT_FILL: 5,
    Cmd.RECT_COPY: 6,
    Cmd.RECT_ROP_COPY: 7,
    Cmd.DISPLAY_CURSOR: 2,
    Cmd.MOVE_CURSOR: 2,
    Cmd.UPDATE_VERBOSE: 5,
    Cmd.FRONT_ROP_FILL: 6,
    Cmd.FENCE: 1,
    Cmd.DESTROY_SCREEN: 1,
    Cmd.DEFINE_GMRFB: 4,
    Cmd.BLIT_GMRFB_TO_SCREEN: 7,
    Cmd.BLIT_SCREEN_TO_GMRFB: 7,
    Cmd.ANNOTATION_FILL: 1,
    Cmd.ANNOTATION_COPY: 3,
    Cmd.DEFINE_GMR2: 2,
    Cmd.NOP: 0,
    Cmd.NOP_ERROR: 0,
}
ROP_COPY = 3
CMD_3D_FIRST, CMD_3D_END = 1040, 1303


class Cmd3d(IntEnum):
    """SVGA_3D_CMD_*, those that are more than drawing"""

    SURFACE_COPY = 1042
    SET_OTABLE_BASE = 1091
    READBACK_OTABLE = 1092
    DEFINE_GB_MOB = 1093
    DESTROY_GB_MOB = 1094
    DEFINE_GB_SURFACE = 1097
    DESTROY_GB_SURFACE = 1098
    BIND_GB_SURFACE = 1099
    COND_BIND_GB_SURFACE = 1100
    UPDATE_GB_IMAGE = 1101
    UPDATE_GB_SURFACE = 1102
    READBACK_GB_IMAGE = 1103
    READBACK_GB_SURFACE = 1104
    INVALIDATE_GB_IMAGE = 1105
    INVALIDATE_GB_SURFACE = 1106
    SET_OTABLE_BASE64 = 1115
    NOP = 1119
    DEFINE_GB_SCREENTARGET = 1124
    DESTROY_GB_SCREENTARGET = 1125
    BIND_GB_SCREENTARGET = 1126
    UPDATE_GB_SCREENTARGET = 1127
    BIND_GB_SURFACE_WITH_PITCH = 1132
    GB_MOB_FENCE = 1133
    DEFINE_GB_SURFACE_V2 = 1134
    DEFINE_GB_MOB64 = 1135
    REDEFINE_GB_MOB64 = 1136
    NOP_ERROR = 1137
    GROW_OTABLE = 1236
    DEFINE_GB_SURFACE_V3 = 1239
    UPDATE_GB_SCREENTARGET_V2 = 1266
    DEFINE_GB_SURFACE_V4 = 1267
    UPDATE_GB_SCREENTARGET_MOVE = 1278


BODY = {  # bodies of the guest-backed commands; SURFACE_COPY goes on with any number of COPY_BOX
    Cmd3d.SURFACE_COPY: Struct("<6I"),  # source sid, face, mip; destination sid, face, mip
    Cmd3d.SET_OTABLE_BASE: Struct("<5I"),  # type, base PPN, size, valid size, page table depth
    Cmd3d.SET_OTABLE_BASE64: Struct("<IQ3I"),
    Cmd3d.GROW_OTABLE: Struct("<IQ3I"),
    Cmd3d.READBACK_OTABLE: Struct("<I"),
    Cmd3d.DEFINE_GB_MOB: Struct("<4I"),  # mobid, page table depth, base PPN, size
    Cmd3d.DEFINE_GB_MOB64: Struct("<IIQI"),
    Cmd3d.REDEFINE_GB_MOB64: Struct("<IIQI"),
    Cmd3d.DESTROY_GB_MOB: Struct("<I"),
    Cmd3d.DEFINE_GB_SURFACE: Struct("<9I"),  # sid, flags, format, mips, samples, autogen filter, width, height, depth
    Cmd3d.DEFINE_GB_SURFACE_V2: Struct("<11I"),  # + array size, pad
    # sid, flags, format, mips, samples, pattern, quality, autogen filter, width, height, depth, array size
    Cmd3d.DEFINE_GB_SURFACE_V3: Struct("<IQ10I"),
    Cmd3d.DEFINE_GB_SURFACE_V4: Struct("<IQ11I"),  # + buffer byte stride
    Cmd3d.DESTROY_GB_SURFACE: Struct("<I"),
    Cmd3d.BIND_GB_SURFACE: Struct("<II"),  # sid, mobid
    Cmd3d.BIND_GB_SURFACE_WITH_PITCH: Struct("<III"),
    Cmd3d.COND_BIND_GB_SURFACE: Struct("<4I"),  # sid, mobid it is bound to, mobid, flags
    Cmd3d.UPDATE_GB_IMAGE: Struct("<9I"),  # sid, face, mip, x, y, z, w, h, d
    Cmd3d.UPDATE_GB_SURFACE: Struct("<I"),
    Cmd3d.READBACK_GB_IMAGE: Struct("<3I"),
    Cmd3d.READBACK_GB_SURFACE: Struct("<I"),
    Cmd3d.INVALIDATE_GB_IMAGE: Struct("<3I"),
    Cmd3d.INVALIDATE_GB_SURFACE: Struct("<I"),
    Cmd3d.NOP: Struct(""),
    Cmd3d.NOP_ERROR: Struct(""),
    Cmd3d.DEFINE_GB_SCREENTARGET: Struct("<3I2i2I"),  # stid, width, height, x, y, flags, dpi
    Cmd3d.DESTROY_GB_SCREENTARGET: Struct("<I"),
    Cmd3d.BIND_GB_SCREENTARGET: Struct("<4I"),  # stid, sid, face, mip
    Cmd3d.UPDATE_GB_SCREENTARGET: Struct("<I4i"),  # stid, x, y, w, h
    Cmd3d.UPDATE_GB_SCREENTARGET_V2: Struct("<I4iI"),  # + frame type
    Cmd3d.UPDATE_GB_SCREENTARGET_MOVE: Struct("<I4iI2i"),  # + where from: x, y
    Cmd3d.GB_MOB_FENCE: Struct("<III"),  # value, mobid, offset
}
COPY_BOX = Struct("<9I")  # x, y, z, w, h, d, source x, y, z
COND_BIND_READBACK, COND_BIND_UPDATE = 1, 2
SCREENTARGET_PRIMARY = 1


class Otable(IntEnum):
    """SVGA_OTABLE_*"""

    MOB = 0
    SURFACE = 1
    CONTEXT = 2
    SHADER = 3
    SCREENTARGET = 4
    DXCONTEXT = 5


OTABLE_ENTRY = {  # bytes
    Otable.MOB: 16,
    Otable.SURFACE: 64,
    Otable.CONTEXT: 8,
    Otable.SHADER: 16,
    Otable.SCREENTARGET: 64,
    Otable.DXCONTEXT: 8,
}
OTABLE_MOB = Struct("<IIQ")  # page table depth, size, base PPN
OTABLE_SURFACE = Struct("<16I")
OTABLE_SCREENTARGET = Struct("<5I2i2I28x")


class MobFormat(IntEnum):
    """SVGA3D_MOBFMT_*: how the pages of a MOB or an object table are found"""

    PT_0 = 0
    PT_1 = 1
    PT_2 = 2
    RANGE = 3
    PT64_0 = 4
    PT64_1 = 5
    PT64_2 = 6
    EMPTY = 7
    INVALID = 0xFFFF_FFFF


class SurfaceFlag(IntFlag):
    """SVGA3D_SURFACE_*, as far as they matter here"""

    CUBEMAP = 1 << 0
    HINT_TEXTURE = 1 << 5
    HINT_RENDERTARGET = 1 << 6
    MOB_PITCH = 1 << 12
    SCREENTARGET = 1 << 16


class Format(IntEnum):
    """SVGA3D_*: surface formats a screen can show, and plain memory"""

    X8R8G8B8 = 1
    A8R8G8B8 = 2
    R5G6B5 = 3
    X1R5G5B5 = 4
    A1R5G5B5 = 5
    BUFFER = 37
    B8G8R8A8_UNORM = 141
    B8G8R8X8_UNORM = 142


class Devcap(IntEnum):
    """SVGA3D_DEVCAP_*, those that are not zero here"""

    MAX_TEXTURE_WIDTH = 19
    MAX_TEXTURE_HEIGHT = 20
    DXFMT_X8R8G8B8 = 100


DXFMT_SUPPORTED, DXFMT_COLOR_RENDERTARGET = 1, 4

# -- screen objects ----------------------------------------------------------------------------------------------------

SCREEN = Layout(
    "ScreenObject",
    44,
    (
        ("structSize", "I"),
        ("id", "I"),
        ("flags", "I"),
        ("width", "I"),
        ("height", "I"),
        ("rootX", "i"),
        ("rootY", "i"),
        ("gmrId", "I"),
        ("offset", "I"),
        ("pitch", "I"),
        ("cloneCount", "I"),
    ),
    ref="SVGAScreenObject",
)
SCREEN_SIZES, SCREEN_STRUCT_MAX = (28, 40, 44), 256  # bytes of structSize: known ones, and what is skipped at most


class ScreenFlag(IntFlag):
    """SVGA_SCREEN_*"""

    MUST_BE_SET = 1
    IS_PRIMARY = 2
    FULLSCREEN_HINT = 4
    DEACTIVATE = 8
    BLANKING = 16


class Remap(IntFlag):
    """SVGA_REMAP_GMR2_*"""

    VIA_GMR = 1
    PPN64 = 2
    SINGLE_PPN = 4


REMAP_ALL = 7

# -- cursors in a MOB --------------------------------------------------------------------------------------------------

MOB_CURSOR = Layout("GBCursorHeader", 32, (("type", "I"), ("header", "24s"), ("sizeInBytes", "I")), ref="svga_reg.h")
MOB_CURSOR_COLOR, MOB_CURSOR_ALPHA = 0, 1

# -- escapes -----------------------------------------------------------------------------------------------------------

ESCAPE_VMWARE, ESCAPE_DEVEL = 0, 0xFFFF_FFFF
ESCAPE_VIDEO_SET_REGS, ESCAPE_VIDEO_FLUSH, ESCAPE_HINT_FULLSCREEN = 0x0002_0001, 0x0002_0002, 0x0003_0001
VIDEO_REGS = (
    *("ENABLED", "FLAGS", "DATA_OFFSET", "FORMAT", "COLORKEY", "SIZE", "WIDTH", "HEIGHT", "SRC_X", "SRC_Y"),
    *("SRC_WIDTH", "SRC_HEIGHT", "DST_X", "DST_Y", "DST_WIDTH", "DST_HEIGHT", "PITCH_1", "PITCH_2", "PITCH_3"),
    *("DATA_GMRID", "DST_SCREEN_ID"),
)

# -- command buffers ---------------------------------------------------------------------------------------------------

CB_HEADER = Layout(
    "CBHeader",
    64,
    (
        ("status", "I"),
        ("errorOffset", "I"),
        ("id", "Q"),
        ("flags", "I"),
        ("length", "I"),
        ("ptr", "Q"),
        ("offset", "I"),
        ("dxContext", "I"),
        ("mustBeZero", "24s"),
    ),
    ref="SVGACBHeader",
)
CB_ALIGN, CB_CONTEXT_MASK = 64, 0x3F
CB_SIZE_MAX, CB_SIZE_MAX_4MB, CB_QUEUED_MAX = 512 << 10, 4 << 20, 32
CONTEXT_0, CONTEXT_1, CONTEXT_DEVICE = 0, 1, 0x3F


class CbFlag(IntFlag):
    """SVGA_CB_FLAG_*"""

    NO_IRQ = 1
    DX_CONTEXT = 2
    MOB = 4


class CbStatus(IntEnum):
    """SVGA_CB_STATUS_*"""

    NONE = 0
    COMPLETED = 1
    QUEUE_FULL = 2
    COMMAND_ERROR = 3
    CB_HEADER_ERROR = 4
    PREEMPTED = 5
    SUBMISSION_ERROR = 6
    PARTIAL_COMPLETE = 7


class Dc(IntEnum):
    """SVGA_DC_CMD_*: commands of a device context buffer"""

    NOP = 0
    START_STOP_CONTEXT = 1
    PREEMPT = 2
    START_QUEUE = 3
    ASYNC_STOP_QUEUE = 4
    EMPTY_CONTEXT_QUEUE = 5


DC_WORDS = {  # payload
    Dc.NOP: 0,
    Dc.START_STOP_CONTEXT: 2,  # enable, context
    Dc.PREEMPT: 2,  # context, ignoreIDZero
    Dc.START_QUEUE: 1,
    Dc.ASYNC_STOP_QUEUE: 1,
    Dc.EMPTY_CONTEXT_QUEUE: 1,
}
