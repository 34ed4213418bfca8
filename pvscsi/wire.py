"""PVSCSI names and numbers: registers, commands, rings, descriptors, status codes.

Ref: Linux drivers/scsi/vmw_pvscsi.h (naming authority); FreeBSD sys/dev/vmware/pvscsi/pvscsi.h and VMware's older
pvscsi_defs.h for what Linux leaves out. Everything is little-endian; sizes in bytes.
"""

from enum import IntEnum, IntFlag

from pvdev.layout import Layout, bits

VENDOR_ID, DEVICE_ID, REVISION = 0x15AD, 0x07C0, 2
CLASS_CODE = 0x01_0700
PAGE = 4096

# -- registers: one BAR of eight pages, 32 bits each -------------------------------------------------------------------

BAR_SIZE = 8 * PAGE
REG_COMMAND, REG_COMMAND_DATA, REG_COMMAND_STATUS, REG_LAST_STS = 0x0000, 0x0004, 0x0008, 0x0100
REG_INTR_STATUS, REG_INTR_MASK = 0x100C, 0x2010
REG_KICK_NON_RW_IO, REG_DEBUG, REG_KICK_RW_IO = 0x3014, 0x3018, 0x4018
MSIX_TABLE, MSIX_PBA, MSIX_VECTORS = 0x6000, 0x7000, 24


class Cmd(IntEnum):
    """Written to COMMAND; arguments follow through COMMAND_DATA, dword by dword."""

    FIRST = 0
    ADAPTER_RESET = 1
    ISSUE_SCSI = 2
    SETUP_RINGS = 3
    RESET_BUS = 4
    RESET_DEVICE = 5
    ABORT_CMD = 6
    CONFIG = 7
    SETUP_MSG_RING = 8
    DEVICE_UNPLUG = 9
    SETUP_REQCALLTHRESHOLD = 10
    GET_MAX_TARGETS = 11


ARGUMENTS = {  # dwords that follow a command
    Cmd.ADAPTER_RESET: 0,
    Cmd.ISSUE_SCSI: 4,
    Cmd.SETUP_RINGS: 132,
    Cmd.RESET_BUS: 0,
    Cmd.RESET_DEVICE: 3,
    Cmd.ABORT_CMD: 4,
    Cmd.CONFIG: 6,
    Cmd.SETUP_MSG_RING: 34,
    Cmd.DEVICE_UNPLUG: 6,
    Cmd.SETUP_REQCALLTHRESHOLD: 1,
    Cmd.GET_MAX_TARGETS: 0,
}
STATUS_FAILED = 0xFFFF_FFFF


class Intr(IntFlag):
    """INTR_STATUS and INTR_MASK"""

    CMPL_0 = 1
    CMPL_1 = 2
    MSG_0 = 4
    MSG_1 = 8


INTR_ALL = 0xF
MAX_PAGES, MAX_MSG_PAGES = 32, 16  # per ring

SETUP_RINGS = Layout(
    "CmdDescSetupRings",
    528,
    (
        ("reqRingNumPages", "I"),
        ("cmpRingNumPages", "I"),
        ("ringsStatePPN", "Q"),
        ("reqRingPPNs", "32Q"),
        ("cmpRingPPNs", "32Q"),
    ),
    ref="PVSCSICmdDescSetupRings",
)
SETUP_MSG_RING = Layout(
    "CmdDescSetupMsgRing", 136, (("numPages", "I"), ("", "4s"), ("ringPPNs", "16Q")), ref="PVSCSICmdDescSetupMsgRing"
)
RESET_DEVICE = Layout("CmdDescResetDevice", 12, (("target", "I"), ("lun", "8s")), ref="PVSCSICmdDescResetDevice")
ABORT_CMD = Layout(
    "CmdDescAbortCmd", 16, (("context", "Q"), ("target", "I"), ("pad", "I")), ref="PVSCSICmdDescAbortCmd"
)
CONFIG = Layout(
    "CmdDescConfigCmd",
    24,
    (("cmpAddr", "Q"), ("configPageAddress", "Q"), ("configPageNum", "I"), ("pad", "I")),
    ref="PVSCSICmdDescConfigCmd",
)
ISSUE_SCSI = Layout("CmdDescIssueScsi", 16, (("reqAddr", "Q"), ("cmpAddr", "Q")), ref="pvscsi_defs.h")
DEVICE_UNPLUG = Layout(
    "CmdDescDeviceUnplug",
    24,
    (("hostStatusAddr", "Q"), ("bus", "I"), ("target", "I"), ("lun", "8s")),
    ref="pvscsi_defs.h",
)

# -- rings -------------------------------------------------------------------------------------------------------------

RINGS_STATE = Layout(
    "RingsState",
    140,
    (
        ("reqProdIdx", "I"),
        ("reqConsIdx", "I"),
        ("reqNumEntriesLog2", "I"),
        ("cmpProdIdx", "I"),
        ("cmpConsIdx", "I"),
        ("cmpNumEntriesLog2", "I"),
        ("reqCallThreshold", "I"),
        ("", "100s"),
        ("msgProdIdx", "I"),
        ("msgConsIdx", "I"),
        ("msgNumEntriesLog2", "I"),
    ),
    ref="PVSCSIRingsState",
)

REQUEST = Layout(
    "RingReqDesc",
    128,
    (
        ("context", "Q"),
        ("dataAddr", "Q"),
        ("dataLen", "Q"),
        ("senseAddr", "Q"),
        ("senseLen", "I"),
        ("flags", "I"),
        ("cdb", "16s"),
        ("cdbLen", "B"),
        ("lun", "8s"),
        ("tag", "B"),
        ("bus", "B"),
        ("target", "B"),
        ("vcpuHint", "H"),
        ("unused", "58s"),
    ),
    ref="PVSCSIRingReqDesc",
)
COMPLETION = Layout(
    "RingCmpDesc",
    32,
    (
        ("context", "Q"),
        ("dataLen", "Q"),
        ("senseLen", "I"),
        ("hostStatus", "H"),
        ("scsiStatus", "H"),
        ("pad", "Q"),
    ),
    ref="PVSCSIRingCmpDesc",
)
MESSAGE = Layout("RingMsgDesc", 128, (("type", "I"), ("args", "31I")), ref="PVSCSIRingMsgDesc")
MSG_DEV = Layout(
    "MsgDescDevStatusChanged",
    128,
    (("type", "I"), ("bus", "I"), ("target", "I"), ("lun", "8s"), ("pad", "108s")),
    ref="PVSCSIMsgDescDevStatusChanged",
)
MSG_DEV_ADDED, MSG_DEV_REMOVED = 0, 1
REQUESTS_PER_PAGE, COMPLETIONS_PER_PAGE, MESSAGES_PER_PAGE = 32, 128, 32

SG_ELEMENT = Layout(
    "SGElement", 16, (("addr", "Q"), ("length", "I"), ("flags", "I", bits(chain=1, reserved=31))), ref="PVSCSISGElement"
)
SG_CHAIN = 1
SG_ELEMENTS_MAX, SG_SEGMENTS_MAX = 128, 128  # elements a segment, segments a list


class Flag(IntFlag):
    """flags of a request"""

    CMD_WITH_SG_LIST = 1
    CMD_OUT_OF_BAND_CDB = 2
    DIR_NONE = 4
    DIR_TOHOST = 8
    DIR_TODEVICE = 16


FLAG_RESERVED = 0xFFFF_FFE0
TAG_SIMPLE, TAG_HEAD, TAG_ORDERED = 0x20, 0x21, 0x22


class HostStatus(IntEnum):
    """hostStatus of a completion (BTSTAT_*)"""

    SUCCESS = 0x00
    LINKED_COMMAND_COMPLETED = 0x0A
    LINKED_COMMAND_COMPLETED_WITH_FLAG = 0x0B
    DATA_UNDERRUN = 0x0C
    SELTIMEO = 0x11
    DATARUN = 0x12
    BUSFREE = 0x13
    INVPHASE = 0x14
    LUNMISMATCH = 0x17
    INVPARAM = 0x1A
    SENSFAILED = 0x1B
    TAGREJECT = 0x1C
    BADMSG = 0x1D
    HAHARDWARE = 0x20
    NORESPONSE = 0x21
    SENTRST = 0x22
    RECVRST = 0x23
    DISCONNECT = 0x24
    BUSRESET = 0x25
    ABORTQUEUE = 0x26
    HASOFTWARE = 0x27
    HATIMEOUT = 0x30
    SCSIPARITY = 0x34


# -- configuration pages ---------------------------------------------------------------------------------------------

CONFIG_PAGE_CONTROLLER, CONFIG_PAGE_PHY, CONFIG_PAGE_DEVICE = 0x1958, 0x1959, 0x195A
ADDRESS_CONTROLLER, ADDRESS_BUSTARGET, ADDRESS_PHY = 0x2120, 0x2121, 0x2122  # bits 63:32 of configPageAddress
CONFIG_HEADER = Layout(
    "ConfigPageHeader",
    16,
    (("pageNum", "I"), ("numDwords", "H"), ("hostStatus", "H"), ("scsiStatus", "H"), ("", "6s")),
    ref="PVSCSIConfigPageHeader",
)
CONFIG_CONTROLLER = Layout(
    "ConfigPageController",
    480,
    (
        ("header", "16s"),
        ("nodeWWN", "Q"),
        ("manufacturer", "128s"),
        ("serialNumber", "128s"),
        ("opromVersion", "64s"),
        ("hwVersion", "64s"),
        ("firmwareVersion", "64s"),
        ("numPhys", "I"),
        ("useConsecutivePhyWWNs", "B"),
        ("", "3s"),
    ),
    ref="PVSCSIConfigPageController",
)
CONFIG_PHY = Layout(
    "ConfigPagePhy",
    40,
    (("header", "16s"), ("phyWWN", "Q"), ("attachedDeviceWWN", "Q"), ("attachedDeviceType", "B"), ("", "7s")),
    ref="pvscsi_defs.h",
)
CONFIG_DEVICE = Layout(
    "ConfigPageDevice",
    40,
    (
        ("header", "16s"),
        ("deviceWWN", "Q"),
        ("phyWWN", "Q"),
        ("phyNum", "I"),
        ("target", "B"),
        ("bus", "B"),
        ("", "2s"),
    ),
    ref="pvscsi_defs.h",
)
