"""VMXNET3 names and numbers: registers, commands, descriptors, the shared area.

Ref: Linux drivers/net/vmxnet3/vmxnet3_defs.h and upt1_defs.h (naming authority for vendor spellings); open-vm-tools
modules/shared/vmxnet/vmxnet3_defs.h (cross-check). Everything is little-endian; sizes in bytes.
"""

from enum import IntEnum, IntFlag

from pvdev.layout import Layout, bits

VENDOR_ID, DEVICE_ID, REVISION = 0x15AD, 0x07B0, 1
PAGE = 4096

# -- registers (BAR0: "PT", BAR1: "VD"); 32 bits each, 8 bytes apart -------------------------------------------------

BAR_PT, BAR_VD, BAR_MSIX = 0, 1, 2
REG_IMR, REG_TXPROD, REG_RXPROD, REG_RXPROD2 = 0x000, 0x600, 0x800, 0xA00  # + 8 * index
REG_VRRS, REG_UVRS, REG_DSAL, REG_DSAH, REG_CMD = 0x00, 0x08, 0x10, 0x18, 0x20
REG_MACL, REG_MACH, REG_ICR, REG_ECR = 0x28, 0x30, 0x38, 0x40
REG_DCR, REG_PTCR = 0x48, 0x88  # version 7: capabilities, + 8 * index
NUM_DCR, NUM_PTCR = 8, 6
LARGE_PT_SIZE = 4096 * PAGE  # BAR0 with Cap.LARGE_BAR; the doorbells then stand on a page of their own:
LB_REG_TXPROD, LB_REG_RXPROD, LB_REG_RXPROD2 = 0x1000, 0x1400, 0x1800


class Cmd(IntEnum):
    """Values written to CMD. SET commands answer 0 for success, GET commands a value."""

    ACTIVATE_DEV = 0xCAFE_0000
    QUIESCE_DEV = 0xCAFE_0001
    RESET_DEV = 0xCAFE_0002
    UPDATE_RX_MODE = 0xCAFE_0003
    UPDATE_MAC_FILTERS = 0xCAFE_0004
    UPDATE_VLAN_FILTERS = 0xCAFE_0005
    UPDATE_RSSIDT = 0xCAFE_0006
    UPDATE_IML = 0xCAFE_0007
    UPDATE_PMCFG = 0xCAFE_0008
    UPDATE_FEATURE = 0xCAFE_0009
    STOP_EMULATION = 0xCAFE_000A
    LOAD_PLUGIN = 0xCAFE_000B
    ACTIVATE_VF = 0xCAFE_000C
    SET_POLLING = 0xCAFE_000D
    SET_COALESCE = 0xCAFE_000E
    REGISTER_MEMREGS = 0xCAFE_000F
    SET_RSS_FIELDS = 0xCAFE_0010
    SET_PKTSTEERING = 0xCAFE_0011
    SET_ESP_QUEUE_SELECTION_CONF = 0xCAFE_0012
    SET_RING_BUFFER_SIZE = 0xCAFE_0013

    GET_QUEUE_STATUS = 0xF00D_0000
    GET_STATS = 0xF00D_0001
    GET_LINK = 0xF00D_0002
    GET_PERM_MAC_LO = 0xF00D_0003
    GET_PERM_MAC_HI = 0xF00D_0004
    GET_DID_LO = 0xF00D_0005
    GET_DID_HI = 0xF00D_0006
    GET_DEV_EXTRA_INFO = 0xF00D_0007
    GET_CONF_INTR = 0xF00D_0008
    GET_ADAPTIVE_RING_INFO = 0xF00D_0009
    GET_TXDATA_DESC_SIZE = 0xF00D_000A
    GET_COALESCE = 0xF00D_000B
    GET_RSS_FIELDS = 0xF00D_000C
    GET_ENCAP_DSTPORT = 0xF00D_000D
    GET_PKTSTEERING = 0xF00D_000E
    GET_MAX_QUEUES_CONF = 0xF00D_000F
    GET_RSS_HASH_FUNC = 0xF00D_0010
    GET_MAX_CAPABILITIES = 0xF00D_0011
    GET_DCR0_REG = 0xF00D_0012
    GET_TSRING_DESC_SIZE = 0xF00D_0013
    GET_DISABLED_OFFLOADS = 0xF00D_0014


SINCE = {  # first device version that knows a command; absent: version 1
    Cmd.SET_POLLING: 3,
    Cmd.SET_COALESCE: 3,
    Cmd.REGISTER_MEMREGS: 3,
    Cmd.GET_TXDATA_DESC_SIZE: 3,
    Cmd.GET_COALESCE: 3,
    Cmd.SET_RSS_FIELDS: 4,
    Cmd.GET_RSS_FIELDS: 4,
    Cmd.GET_ENCAP_DSTPORT: 4,
    Cmd.SET_PKTSTEERING: 5,
    Cmd.GET_PKTSTEERING: 5,
    Cmd.GET_MAX_QUEUES_CONF: 6,
    Cmd.GET_RSS_HASH_FUNC: 6,
    Cmd.SET_ESP_QUEUE_SELECTION_CONF: 7,
    Cmd.SET_RING_BUFFER_SIZE: 7,
    Cmd.GET_MAX_CAPABILITIES: 7,
    Cmd.GET_DCR0_REG: 7,
    Cmd.GET_TSRING_DESC_SIZE: 9,
    Cmd.GET_DISABLED_OFFLOADS: 9,
}

# -- bits ----------------------------------------------------------------------------------------------------------


class Feature(IntFlag):
    """misc.uptFeatures"""

    RXCSUM = 0x1
    RSS = 0x2
    RXVLAN = 0x4
    LRO = 0x8
    RXINNEROFLD = 0x10  # version 4


class Cap(IntFlag):
    """DCR0 and PTCR0, version 7"""

    UDP_RSS = 1 << 0
    ESP_RSS_IPV4 = 1 << 1
    GENEVE_CHECKSUM_OFFLOAD = 1 << 2
    GENEVE_TSO = 1 << 3
    VXLAN_CHECKSUM_OFFLOAD = 1 << 4
    VXLAN_TSO = 1 << 5
    GENEVE_OUTER_CHECKSUM_OFFLOAD = 1 << 6
    VXLAN_OUTER_CHECKSUM_OFFLOAD = 1 << 7
    PKT_STEERING_IPV4 = 1 << 8
    ESP_RSS_IPV6 = 1 << 9
    ESP_OVER_UDP_RSS = 1 << 10
    INNER_RSS = 1 << 11
    INNER_ESP_RSS = 1 << 12
    CRC32_HASH_FUNC = 1 << 13
    OAM_FILTER = 1 << 14
    ESP_QS = 1 << 15
    LARGE_BAR = 1 << 16
    OOORX_COMP = 1 << 17
    PKT_STEERING_IPV6 = 1 << 18
    ERROR = 1 << 31


class RxMode(IntFlag):
    """rxFilterConf.rxMode"""

    UCAST = 0x1
    MCAST = 0x2
    BCAST = 0x4
    ALL_MULTI = 0x8
    PROMISC = 0x10


class Event(IntFlag):
    """ECR"""

    RQERR = 0x1
    TQERR = 0x2
    LINK = 0x4
    DIC = 0x8
    DEBUG = 0x10


class QueueError(IntEnum):
    """status.error of a stopped queue"""

    NOEOP = 0x8000_0000
    TXD_REUSE = 0x8000_0001
    BIG_PKT = 0x8000_0002
    DESC_NOT_SPT = 0x8000_0003
    SMALL_BUF = 0x8000_0004
    STRESS = 0x8000_0005
    SWITCH = 0x8000_0006
    TXD_INVALID = 0x8000_0007


class RssType(IntEnum):
    """rssType in a receive completion"""

    NONE = 0
    IPV4 = 1
    TCPIPV4 = 2
    IPV6 = 3
    TCPIPV6 = 4
    UDPIPV4 = 5
    UDPIPV6 = 6
    ESPIPV4 = 7
    ESPIPV6 = 8


class RssField(IntFlag):
    """cmdInfo of SET_RSS_FIELDS (version 4): what is hashed beyond the addresses"""

    TCPIP4 = 0x01
    TCPIP6 = 0x02
    UDPIP4 = 0x04
    UDPIP6 = 0x08
    ESPIP4 = 0x10
    ESPIP6 = 0x20  # version 6


class HashType(IntFlag):
    """UPT1_RSSConf.hashType"""

    IPV4 = 1
    TCP_IPV4 = 2
    IPV6 = 4
    TCP_IPV6 = 8


HASH_FUNC_TOEPLITZ = 1

# -- the shared area -----------------------------------------------------------------------------------------------

MAGIC = 0xBABE_FEE1

DRIVER_SHARED = Layout(
    "DriverShared",
    720,  # what every version reads; INTR_CONF_EXT follows from version 6 on
    (
        ("magic", "I"),
        ("size", "I"),
        ("version", "I"),
        ("gos", "I", bits(gosBits=2, gosType=4, gosVer=16, gosMisc=10)),
        ("vmxnet3RevSpt", "I"),
        ("uptVerSpt", "I"),
        ("uptFeatures", "Q"),
        ("ddPA", "Q"),
        ("queueDescPA", "Q"),
        ("ddLen", "I"),
        ("queueDescLen", "I"),
        ("mtu", "I"),
        ("maxNumRxSG", "H"),
        ("numTxQueues", "B"),
        ("numRxQueues", "B"),
        ("", "16s"),
        ("autoMask", "B"),
        ("numIntrs", "B"),
        ("eventIntrIdx", "B"),
        ("modLevels", "25B"),
        ("intrCtrl", "I"),
        ("", "8s"),
        ("rxMode", "I"),
        ("mfTableLen", "H"),
        ("", "2s"),
        ("mfTablePA", "Q"),
        ("vfTable", "512s"),
        ("rssConfVer", "I"),
        ("rssConfLen", "I"),
        ("rssConfPA", "Q"),
        ("pmConfVer", "I"),
        ("pmConfLen", "I"),
        ("pmConfPA", "Q"),
        ("pluginConfVer", "I"),
        ("pluginConfLen", "I"),
        ("pluginConfPA", "Q"),
        ("ecr", "I"),
        ("", "4s"),
        ("cmdInfo", "16s"),
    ),
    ref="Vmxnet3_DriverShared",
)

INTR_CONF_EXT = Layout(
    "IntrConfExt",
    80,
    (
        ("autoMask", "B"),
        ("numIntrs", "B"),
        ("eventIntrIdx", "B"),
        ("", "1s"),
        ("intrCtrl", "I"),
        ("", "4s"),
        ("modLevels", "65B"),
        ("", "3s"),
    ),
    ref="Vmxnet3_IntrConfExt: behind DriverShared, instead of its intrConf, from version 6 on",
)
DRIVER_SHARED_EXT_SIZE = DRIVER_SHARED.size + INTR_CONF_EXT.size

TX_QUEUE_DESC = Layout(
    "TxQueueDesc",
    256,
    (
        ("txNumDeferred", "I"),
        ("txThreshold", "I"),
        ("", "8s"),
        ("txRingBasePA", "Q"),
        ("dataRingBasePA", "Q"),
        ("compRingBasePA", "Q"),
        ("ddPA", "Q"),
        ("", "8s"),
        ("txRingSize", "I"),
        ("dataRingSize", "I"),
        ("compRingSize", "I"),
        ("ddLen", "I"),
        ("intrIdx", "B"),
        ("", "1s"),
        ("txDataRingDescSize", "H"),
        ("", "4s"),
        ("stopped", "B"),
        ("", "3s"),
        ("error", "I"),
        ("stats", "10Q"),
        ("txTSRingBasePA", "Q"),
        ("txTSRingDescSize", "H"),
        ("", "2s"),
        ("sampleRate", "H"),
        ("", "74s"),
    ),
    ref="Vmxnet3_TxQueueDesc",
)

RX_QUEUE_DESC = Layout(
    "RxQueueDesc",
    256,
    (
        ("updateRxProd", "B"),
        ("", "15s"),
        ("rxRingBasePA", "2Q"),
        ("compRingBasePA", "Q"),
        ("ddPA", "Q"),
        ("rxDataRingBasePA", "Q"),
        ("rxRingSize", "2I"),
        ("compRingSize", "I"),
        ("ddLen", "I"),
        ("intrIdx", "B"),
        ("", "1s"),
        ("rxDataRingDescSize", "H"),
        ("", "4s"),
        ("stopped", "B"),
        ("", "3s"),
        ("error", "I"),
        ("stats", "10Q"),
        ("rxTSRingBasePA", "Q"),
        ("rxTSRingDescSize", "H"),
        ("", "78s"),
    ),
    ref="Vmxnet3_RxQueueDesc",
)

TX_STATS = (  # UPT1_TxStats, ten counters from offset 88 of the queue descriptor
    "TSOPktsTxOK",
    "TSOBytesTxOK",
    "ucastPktsTxOK",
    "ucastBytesTxOK",
    "mcastPktsTxOK",
    "mcastBytesTxOK",
    "bcastPktsTxOK",
    "bcastBytesTxOK",
    "pktsTxError",
    "pktsTxDiscard",
)

RX_STATS = (  # UPT1_RxStats
    "LROPktsRxOK",
    "LROBytesRxOK",
    "ucastPktsRxOK",
    "ucastBytesRxOK",
    "mcastPktsRxOK",
    "mcastBytesRxOK",
    "bcastPktsRxOK",
    "bcastBytesRxOK",
    "pktsRxOutOfBuf",
    "pktsRxError",
)

RSS_CONF = Layout(
    "RSSConf",
    176,
    (
        ("hashType", "H"),
        ("hashFunc", "H"),
        ("hashKeySize", "H"),
        ("indTableSize", "H"),
        ("hashKey", "40s"),
        ("indTable", "128s"),
    ),
    ref="UPT1_RSSConf",
)


# -- descriptors and completions -----------------------------------------------------------------------------------

TX_DESC = Layout(
    "TxDesc",
    16,
    (
        ("addr", "Q"),
        ("word2", "I", bits(len=14, gen=1, oco=1, dtype=1, ext1=1, msscof=14)),
        ("word3", "I", bits(hlen=10, om=2, eop=1, cq=1, ext2=1, ti=1, tci=16)),
    ),
    ref="Vmxnet3_TxDesc",
)
TXD_LEN, TXD_GEN, TXD_OCO, TXD_DTYPE, TXD_EXT1 = (TX_DESC.mask[f] for f in ("len", "gen", "oco", "dtype", "ext1"))
TXD_HLEN, TXD_OM, TXD_EOP, TXD_CQ, TXD_EXT2, TXD_TI = (
    TX_DESC.mask[f] for f in ("hlen", "om", "eop", "cq", "ext2", "ti")
)
TXD_MSSCOF_SHIFT, TXD_OM_SHIFT, TXD_TCI_SHIFT = (TX_DESC.shift[f] for f in ("msscof", "om", "tci"))
TXD_LEN_MAX = 16384  # what a length field of 0 means
OM_NONE, OM_ENCAP, OM_CSUM, OM_TSO = 0, 1, 2, 3

TX_COMP = Layout(
    "TxCompDesc",
    16,
    (
        ("word0", "I", bits(txdIdx=12, ext1=20)),
        ("ext2", "I"),
        ("ext3", "I"),
        ("word3", "I", bits(rsvd=24, type=7, gen=1)),
    ),
    ref="Vmxnet3_TxCompDesc",
)
TCD_GEN = TX_COMP.mask["gen"]

RX_DESC = Layout(
    "RxDesc",
    16,
    (
        ("addr", "Q"),
        ("word2", "I", bits(len=14, btype=1, dtype=1, rsvd=15, gen=1)),
        ("ext1", "I"),
    ),
    ref="Vmxnet3_RxDesc",
)
RXD_LEN, RXD_BTYPE, RXD_DTYPE, RXD_RSVD, RXD_GEN = (RX_DESC.mask[f] for f in ("len", "btype", "dtype", "rsvd", "gen"))

RX_COMP = Layout(
    "RxCompDesc",
    16,
    (
        ("word0", "I", bits(rxdIdx=12, ext1=2, eop=1, sop=1, rqID=10, rssType=4, cnc=1, ext2=1)),
        ("rssHash", "I"),
        ("word2", "I", bits(len=14, err=1, ts=1, tci=16)),
        ("word3", "I", bits(csum=16, tuc=1, udp=1, tcp=1, ipc=1, v6=1, v4=1, frg=1, fcs=1, type=7, gen=1)),
    ),
    ref="Vmxnet3_RxCompDesc",
)
RCD_EOP, RCD_SOP, RCD_CNC = (RX_COMP.mask[f] for f in ("eop", "sop", "cnc"))
RCD_RQID_SHIFT, RCD_RSSTYPE_SHIFT, RCD_TCI_SHIFT, RCD_TYPE_SHIFT = (
    RX_COMP.shift[f] for f in ("rqID", "rssType", "tci", "type")
)
RCD_ERR, RCD_TS = (RX_COMP.mask[f] for f in ("err", "ts"))
RCD_RSS_INNER, RCD_HDR_INNER = 1 << 12, 1 << 13  # ext1; the header's comment names them the other way round
RCD_EXT2 = RX_COMP.mask["ext2"]  # version 9: the driver is to put a time stamp into its slot
RCD_TUC, RCD_UDP, RCD_TCP, RCD_IPC, RCD_V6, RCD_V4, RCD_FRG, RCD_FCS, RCD_GEN = (
    RX_COMP.mask[f] for f in ("tuc", "udp", "tcp", "ipc", "v6", "v4", "frg", "fcs", "gen")
)
CDTYPE_TXCOMP, CDTYPE_RXCOMP, CDTYPE_RXCOMP_LRO = 0, 3, 4

RX_COMP_LRO = Layout(
    "RxCompDescExt",
    16,
    (
        ("word0", "I", bits(rxdIdx=12, ext1=2, eop=1, sop=1, rqID=10, rssType=4, cnc=1, ext2=1)),
        ("segCnt", "B"),
        ("dupAckCnt", "B"),
        ("tsDelta", "H"),
        ("word2", "I", bits(len=14, err=1, ts=1, tci=16)),
        ("word3", "I", bits(mss=16, tuc=1, udp=1, tcp=1, ipc=1, v6=1, v4=1, frg=1, fcs=1, type=7, gen=1)),
    ),
    ref="Vmxnet3_RxCompDescExt: the completion with sop of a packet merged by LRO, version 2",
)

# -- limits --------------------------------------------------------------------------------------------------------

INIT_GEN = 1
MAX_INTRS, MAX_TX_QUEUES, MAX_RX_QUEUES = 25, 8, 16  # below version 6
EXT_MAX_INTRS, EXT_MAX_TX_QUEUES, EXT_MAX_RX_QUEUES = 65, 32, 32
RING_BASE_ALIGN, RING_SIZE_ALIGN = 512, 32
TX_RING_MAX_SIZE = TC_RING_MAX_SIZE = RX_RING_MAX_SIZE = 4096
RC_RING_MAX_SIZE = 8192
MIN_MTU, MAX_MTU, EXT_MAX_MTU = 60, 9000, 9190  # the last from version 6 on
MAX_TXD_PER_PKT, MAX_TSO_TXD_PER_PKT = 16, 24
HARD_TXD_PER_PKT = 32  # FreeBSD's driver goes this far
MIN_T0_BUF_SIZE = 128
MAX_CSUM_OFFSET = 1024
MF_TABLE_MAX = 65532  # bytes of 6-byte addresses
ETH_HEADER, VLAN_TAG, ETH_MIN = 14, 4, 60
TX_DATA_SLOT = 128  # bytes per data ring slot when the queue descriptor says 0
DATA_SLOT_ALIGN, MIN_DATA_SLOT, MAX_DATA_SLOT = 64, 128, 2048
GENEVE_PORT, VXLAN_PORTS = 6081, (4789, 8472)  # UDP destination ports
