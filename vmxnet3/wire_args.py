"""What VMXNET3 commands of later versions point at, or carry in cmdInfo. Continues `wire`; same sources, same rules."""

from enum import IntEnum, IntFlag

from pvdev.layout import Layout, bits

CONF_DESC = Layout(
    "VariableLenConfDesc", 16, (("confVer", "I"), ("confLen", "I"), ("confPA", "Q")), ref="Vmxnet3_VariableLenConfDesc"
)


class Coalesce(IntEnum):
    """CoalesceScheme.mode, version 3"""

    DISABLED = 0
    ADAPT = 1
    STATIC = 2
    RBC = 3


COALESCE_SCHEME = Layout(
    "CoalesceScheme",
    16,
    (("mode", "I"), ("tx_depth", "I"), ("tx_comp_depth", "I"), ("rx_depth", "I")),
    ref="Vmxnet3_CoalesceScheme; with RBC the second word is the rate, interrupts a second",
)
COALESCE_DEPTH_MAX, COALESCE_DEPTH = 128, 64  # completions; the default
COALESCE_RATE_MIN, COALESCE_RATE_MAX = 100, 100_000

RING_BUFFER_SIZE = Layout(
    "RingBufferSize",
    8,
    (("ring1BufSizeType0", "H"), ("ring1BufSizeType1", "H"), ("ring2BufSizeType1", "H"), ("", "2s")),
    ref="Vmxnet3_RingBufferSize, version 7",
)

MEM_REGS_MAX = 256
MEM_REGS = Layout("MemRegs", 8, (("numRegs", "H"), ("", "6s")), ref="Vmxnet3_MemRegs: this many MEM_REGION follow")
MEM_REGION = Layout(
    "MemoryRegion",
    16,
    (("startPA", "Q"), ("length", "I"), ("txQueueBits", "H"), ("rxQueueBits", "H")),
    ref="Vmxnet3_MemoryRegion",
)

ENCAP_DSTPORT = Layout("EncapDstPort", 4, (("geneve", "H"), ("vxlan", "H")), ref="Vmxnet3_EncapDstPort, version 4")

# -- power management ------------------------------------------------------------------------------------------------


class Wake(IntFlag):
    """PMConf.wakeUpEvents"""

    MAGIC = 1
    FILTER = 2


PM_MAX_FILTERS, PM_MAX_PATTERN, PM_MAX_MASK = 6, 128, 16
PM_FILTER = Layout(
    "PM_PktFilter",
    152,
    (("maskSize", "B"), ("patternSize", "B"), ("mask", "16s"), ("pattern", "128s"), ("", "6s")),
    ref="Vmxnet3_PM_PktFilter: one mask bit per pattern byte, lowest first",
)
PM_CONF = Layout(
    "PMConf",
    8 + PM_MAX_FILTERS * PM_FILTER.size,
    (("wakeUpEvents", "H"), ("numFilters", "B"), ("", "5s"), ("filters", f"{PM_MAX_FILTERS * PM_FILTER.size}s")),
    ref="Vmxnet3_PMConf",
)

# -- time stamps, version 9 ------------------------------------------------------------------------------------------

TS_DESC = Layout(
    "TSDesc",
    128,
    (("word", "Q", bits(tsData=56, tsType=4, tsi=1, pad=3)), ("", "120s")),
    ref="Vmxnet3_TxTSDesc, Vmxnet3_RxTSDesc: the slot of descriptor i stands at i times the negotiated size",
)
TS_SLOT_ALIGN, TS_SLOT_MAX = 64, 255  # the command's answer has 8 bits for it
