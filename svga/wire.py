"""SVGA II and SVGA3 names and numbers: registers, capabilities, FIFO words, interrupt flags, limits.

Ref: svga_reg.h (naming authority) as VMware's SVGA developer kit, Linux drivers/gpu/drm/vmwgfx/device_include and
VirtualBox's vmsvga_include have it. All words are 32 bits, little-endian; sizes in bytes unless said otherwise.
"""

from enum import IntEnum, IntFlag

VENDOR_ID, DEVICE_SVGA2, DEVICE_SVGA3 = 0x15AD, 0x0405, 0x0406
CLASS_VGA, CLASS_OTHER = 0x03_0000, 0x03_8000
PAGE = 4096
MASK32 = 0xFFFF_FFFF

ID_0, ID_1, ID_2, ID_3 = 0x9000_0000, 0x9000_0001, 0x9000_0002, 0x9000_0003
INVALID_ID = 0xFFFF_FFFF  # of a surface, MOB, screen, cursor
GMR_NULL, GMR_FRAMEBUFFER = 0xFFFF_FFFF, 0xFFFF_FFFE

# -- BARs --------------------------------------------------------------------------------------------------------------

BAR_PORTS, BAR_FB, BAR_FIFO = 0, 1, 2  # SVGA II
BAR_REGS, BAR_FB3 = 0, 2  # SVGA3
PORT_INDEX, PORT_VALUE, PORT_BIOS, PORT_IRQSTATUS, PORTS_SIZE = 0, 1, 2, 8, 16
REGS_SIZE = 4 << 20


class Register(IntEnum):
    """SVGA_REG_*: numbers, written to INDEX (SVGA II) or times 4 an offset (SVGA3)."""

    ID = 0
    ENABLE = 1
    WIDTH = 2
    HEIGHT = 3
    MAX_WIDTH = 4
    MAX_HEIGHT = 5
    DEPTH = 6
    BITS_PER_PIXEL = 7
    PSEUDOCOLOR = 8
    RED_MASK = 9
    GREEN_MASK = 10
    BLUE_MASK = 11
    BYTES_PER_LINE = 12
    FB_START = 13
    FB_OFFSET = 14
    VRAM_SIZE = 15
    FB_SIZE = 16
    CAPABILITIES = 17
    MEM_START = 18
    MEM_SIZE = 19
    CONFIG_DONE = 20
    SYNC = 21
    BUSY = 22
    GUEST_ID = 23
    CURSOR_ID = 24
    CURSOR_X = 25
    CURSOR_Y = 26
    CURSOR_ON = 27
    HOST_BITS_PER_PIXEL = 28
    SCRATCH_SIZE = 29
    MEM_REGS = 30
    NUM_DISPLAYS = 31
    PITCHLOCK = 32
    IRQMASK = 33
    NUM_GUEST_DISPLAYS = 34
    DISPLAY_ID = 35
    DISPLAY_IS_PRIMARY = 36
    DISPLAY_POSITION_X = 37
    DISPLAY_POSITION_Y = 38
    DISPLAY_WIDTH = 39
    DISPLAY_HEIGHT = 40
    GMR_ID = 41
    GMR_DESCRIPTOR = 42
    GMR_MAX_IDS = 43
    GMR_MAX_DESCRIPTOR_LENGTH = 44
    TRACES = 45
    GMRS_MAX_PAGES = 46
    MEMORY_SIZE = 47
    COMMAND_LOW = 48
    COMMAND_HIGH = 49
    MAX_PRIMARY_MEM = 50
    SUGGESTED_GBOBJECT_MEM_SIZE_KB = 51
    DEV_CAP = 52
    CMD_PREPEND_LOW = 53
    CMD_PREPEND_HIGH = 54
    SCREENTARGET_MAX_WIDTH = 55
    SCREENTARGET_MAX_HEIGHT = 56
    MOB_MAX_SIZE = 57
    BLANK_SCREEN_TARGETS = 58
    CAP2 = 59
    DEVEL_CAP = 60
    GUEST_DRIVER_ID = 61
    GUEST_DRIVER_VERSION1 = 62
    GUEST_DRIVER_VERSION2 = 63
    GUEST_DRIVER_VERSION3 = 64
    CURSOR_MOBID = 65
    CURSOR_MAX_BYTE_SIZE = 66
    CURSOR_MAX_DIMENSION = 67
    FIFO_CAPS = 68
    FENCE = 69
    CURSOR4_ON = 70
    CURSOR4_X = 71
    CURSOR4_Y = 72
    CURSOR4_SCREEN_ID = 73
    CURSOR4_SUBMIT = 74
    SCREENDMA = 75
    GBOBJECT_MEM_SIZE_KB = 76
    REGS_START_HIGH32 = 77
    REGS_START_LOW32 = 78
    FB_START_HIGH32 = 79
    FB_START_LOW32 = 80
    MSHINT = 81
    IRQ_STATUS = 82
    DIRTY_TRACKING = 83
    FENCE_GOAL = 84


PALETTE_BASE, PALETTE_SIZE = 1024, 3 * 256  # register of component c of colour i: PALETTE_BASE + 3 * i + c
SCRATCH_BASE, SCRATCH_SIZE, SCRATCH_VBE = 1792, 64, 4  # registers; the first four are the VBE BIOS's
ENABLE_ENABLE, ENABLE_HIDE = 1, 2
CURSOR_ON_HIDE, CURSOR_ON_SHOW, CURSOR_ON_REMOVE_FROM_FB, CURSOR_ON_RESTORE_TO_FB = 0, 1, 2, 3
SYNC_GENERIC, SYNC_FIFOFULL = 1, 2


class Cap(IntFlag):
    """SVGA_CAP_*: register CAPABILITIES"""

    RECT_FILL = 1 << 0  # withdrawn; QEMU still says it
    RECT_COPY = 1 << 1
    RASTER_OP = 1 << 4  # withdrawn
    CURSOR = 1 << 5
    CURSOR_BYPASS = 1 << 6
    CURSOR_BYPASS_2 = 1 << 7
    EMULATION_8BIT = 1 << 8
    ALPHA_CURSOR = 1 << 9
    _3D = 1 << 14
    EXTENDED_FIFO = 1 << 15
    MULTIMON = 1 << 16
    PITCHLOCK = 1 << 17
    IRQMASK = 1 << 18
    DISPLAY_TOPOLOGY = 1 << 19
    GMR = 1 << 20
    TRACES = 1 << 21
    GMR2 = 1 << 22
    SCREEN_OBJECT_2 = 1 << 23
    COMMAND_BUFFERS = 1 << 24
    CMD_BUFFERS_2 = 1 << 26
    GBOBJECTS = 1 << 27
    DX = 1 << 28
    HP_CMD_QUEUE = 1 << 29
    NO_BB_RESTRICTION = 1 << 30
    CAP2_REGISTER = 1 << 31


class Cap2(IntFlag):
    """SVGA_CAP2_*: register CAP2"""

    GROW_OTABLE = 1 << 0
    INTRA_SURFACE_COPY = 1 << 1
    DX2 = 1 << 2
    GB_MEMSIZE_2 = 1 << 3
    SCREENDMA_REG = 1 << 4
    OTABLE_PTDEPTH_2 = 1 << 5
    NON_MS_TO_MS_STRETCHBLT = 1 << 6
    CURSOR_MOB = 1 << 7
    MSHINT = 1 << 8
    CB_MAX_SIZE_4MB = 1 << 9
    DX3 = 1 << 10
    FRAME_TYPE = 1 << 11
    EXTRA_REGS = 1 << 14


class FifoCap(IntFlag):
    """SVGA_FIFO_CAP_*: FIFO word CAPABILITIES, register FIFO_CAPS"""

    FENCE = 0x001
    ACCELFRONT = 0x002
    PITCHLOCK = 0x004
    VIDEO = 0x008
    CURSOR_BYPASS_3 = 0x010
    ESCAPE = 0x020
    RESERVE = 0x040
    SCREEN_OBJECT = 0x080
    GMR2 = 0x100
    SCREEN_OBJECT_2 = 0x200


class Fifo(IntEnum):
    """SVGA_FIFO_*: words at the start of FIFO memory"""

    MIN = 0
    MAX = 1
    NEXT_CMD = 2
    STOP = 3
    CAPABILITIES = 4
    FLAGS = 5
    FENCE = 6
    HWVERSION_3D = 7
    PITCHLOCK = 8
    CURSOR_ON = 9
    CURSOR_X = 10
    CURSOR_Y = 11
    CURSOR_COUNT = 12
    CURSOR_LAST_UPDATED = 13
    RESERVED = 14
    CURSOR_SCREEN_ID = 15
    HWVERSION_3D_REVISED = 17
    GUEST_3D_HWVERSION = 288
    FENCE_GOAL = 289
    BUSY = 290
    NUM_REGS = 291


class Irq(IntFlag):
    """SVGA_IRQFLAG_*: IRQSTATUS and IRQMASK"""

    ANY_FENCE = 0x01
    FIFO_PROGRESS = 0x02
    FENCE_GOAL = 0x04
    COMMAND_BUFFER = 0x08
    ERROR = 0x10
    REG_FENCE_GOAL = 0x20


IRQ_ALL = 0x3F

# -- limits ------------------------------------------------------------------------------------------------------------

MAX_DISPLAYS = 10
SCREEN_SIZE_MAX = 8192  # pixels, either way
FIFO_RING_MIN = 10 << 10
FIFO_MEM_MAX = 2 << 20
COMMAND_MAX = 256 << 10  # one command of the FIFO
CURSOR_BYTES_MAX, CURSOR_DIMENSION_MAX = 40 << 10, 1024
DEVCAPS = 262
OVERLAYS = 32
