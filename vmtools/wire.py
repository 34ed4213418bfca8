"""Names and numbers of the backdoor, its messages and the balloon.

Ref: open-vm-tools lib/include/backdoor_def.h, guest_msg_def.h (naming authority); Linux arch/x86/include/asm/vmware.h,
drivers/misc/vmw_balloon.c.
"""

from enum import IntEnum, IntFlag

MASK16, MASK32, MASK64 = 0xFFFF, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF
PAGE = 4096

BDOOR_MAGIC = 0x564D5868
VERSION = 6  # GETVERSION: the only one guests accept


class Cmd(IntEnum):
    """BDOOR_CMD_*: the commands answered here. ECX bits 15:0; a sub-command in bits 31:16."""

    GETMHZ = 1
    GETPTRLOCATION = 4
    SETPTRLOCATION = 5
    GETSELLENGTH = 6
    GETNEXTPIECE = 7
    SETSELLENGTH = 8
    SETNEXTPIECE = 9
    GETVERSION = 10
    GETDEVICELISTELEMENT = 11
    TOGGLEDEVICE = 12
    GETGUIOPTIONS = 13
    SETGUIOPTIONS = 14
    GETSCREENSIZE = 15
    GETHWVERSION = 17
    GETUUID = 19
    GETMEMSIZE = 20
    GETTIME = 23
    STOPCATCHUP = 24
    MESSAGE = 30
    ISMOUSEABSOLUTE = 36
    GETHZ = 45
    GETTIMEFULL = 46
    GETTIMEFULL_WITH_LAG = 55
    GET_VCPU_INFO = 68
    MKS_GUEST_STATS = 85
    STEALCLOCK = 91
    PRECISIONCLOCK = 97


CMD_MAX = 104
RETIRED = frozenset({21, 26, 27, 29, 35, 42, 43, 44, 47, 51, 59, 61, 62, 70, 87, 96, 98})
KERNEL_ONLY = frozenset(  # annotated so in the header
    {2, 18, 28, 37, 48, 49, 50, 54, 64, 65, 69, 71, 73, *range(74, 81), 85, 91, 92, 93, 103}
)

# -- GETVERSION, GETGUIOPTIONS -----------------------------------------------------------------------------------------


class Product(IntEnum):
    """VMX_TYPE_*: ECX of GETVERSION."""

    UNSET = 0
    EXPRESS = 1
    SCALABLE_SERVER = 2  # ESX; some plugins load on nothing else
    WGS = 3
    WORKSTATION = 4
    ACE = 5


class Gui(IntFlag):
    """VMWARE_GUI_*: EAX of GETGUIOPTIONS."""

    AUTO_GRAB = 0x1
    AUTO_UNGRAB = 0x2
    AUTO_SCROLL = 0x4
    AUTO_RAISE = 0x8
    EXCHANGE_SELECTIONS = 0x10
    WARP_CURSOR_ON_UNGRAB = 0x20
    FULL_SCREEN = 0x40
    TO_FULL_SCREEN = 0x80
    TO_WINDOW = 0x100
    AUTO_RAISE_DISABLED = 0x200
    SYNC_TIME = 0x400
    DISABLE_CURSOR_PAGE = 0x800


DEVICES_MAX, DEVICE_INFO_SIZE = 50, 40  # RD_Info: name[32], uid, enabled + 3 bytes
POINTER_OUTSIDE = -100 & MASK16
X2APIC_OK = 1 << 3  # GET_VCPU_INFO: x2APIC without interrupt remapping

# -- messages ----------------------------------------------------------------------------------------------------------

PROTO_RPCI, PROTO_TCLO, FLAG_COOKIE = 0x49435052, 0x4F4C4354, 0x80000000
CHANNELS_MAX = 128  # GUESTMSG_MAX_CHANNEL
IN_SIZE_MAX = 64 << 10  # GUESTMSG_MAX_IN_SIZE
HB_MESSAGE = 0  # EBX bits 15:0 at the high-bandwidth port


class Message(IntEnum):
    """MESSAGE_TYPE_*: ECX bits 31:16 of a request."""

    OPEN = 0
    SENDSIZE = 1
    SENDPAYLOAD = 2
    RECVSIZE = 3
    RECVPAYLOAD = 4
    RECVSTATUS = 5
    CLOSE = 6


TYPE_SENDSIZE, TYPE_SENDPAYLOAD = 1, 2  # EDX bits 31:16 of an answer, said of what the host sends

SUCCESS, DORECV, CLOSED, UNSENT, CPT, POWEROFF, TIMEOUT, HB = 0x1, 0x2, 0x4, 0x8, 0x10, 0x20, 0x40, 0x80

# -- the balloon -------------------------------------------------------------------------------------------------------

BALLOON_MAGIC = 0x456C6D6F


class Balloon(IntEnum):
    """VMW_BALLOON_CMD_*."""

    START = 0
    GET_TARGET = 1
    LOCK = 2
    UNLOCK = 3
    GUEST_ID = 4
    BATCHED_LOCK = 6
    BATCHED_UNLOCK = 7
    BATCHED_2M_LOCK = 8
    BATCHED_2M_UNLOCK = 9
    VMCI_DOORBELL_SET = 10


class BalloonCap(IntFlag):
    """VMW_BALLOON_*_CMDS: what START asks for and gets."""

    BASIC = 1 << 1
    BATCHED = 1 << 2
    BATCHED_2M = 1 << 3
    SIGNALLED_WAKEUP = 1 << 4
    TARGET_64 = 1 << 5


class BalloonStatus(IntEnum):
    """VMW_BALLOON_ERROR_*."""

    SUCCESS = 0
    CMD_INVALID = 1
    PPN_INVALID = 2
    PPN_LOCKED = 3
    PPN_UNLOCKED = 4
    PPN_PINNED = 5
    PPN_NOTNEEDED = 6
    RESET = 7
    BUSY = 8


SUCCESS_WITH_CAPABILITIES = 0x0300_0000
BATCH_MAX = PAGE // 8
PAGES_2M = 512
