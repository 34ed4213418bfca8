"""The rules a VMXNET3 driver is held to, as far as this device can see them broken.

Sources: "header" is Linux vmxnet3_defs.h with open-vm-tools' copy of it; a driver's or a device's name means its source
code; "this model" marks a choice made where those are silent.
"""

from pvdev.rules import MEMORY_RULES, Rule, RuleBook, Severity

_A, _V, _F = Severity.ADVICE, Severity.VIOLATION, Severity.FATAL

DRIVER_RULES = (
    Rule("VMX-D-001", _V, "registers are accessed as aligned 4 bytes, at offsets the header names", "header"),
    Rule("VMX-D-002", _A, "a device version is selected before ACTIVATE", "Linux vmxnet3_probe_device"),
    Rule("VMX-D-003", _V, "VRRS is written with the one bit of an offered version, UVRS with 1", "Linux, FreeBSD"),
    Rule(
        "VMX-D-004", _V, "version and capability registers are left alone while active, but for offloads", "this model"
    ),
    Rule("VMX-D-005", _V, "version 7 asks in DCR 0 for capabilities the device has", "Linux, DPDK"),
    Rule("VMX-D-006", _V, "a command is one the selected version knows", "header", known="DPDK (REGISTER_MEMREGS)"),
    Rule("VMX-D-007", _V, "DSAL is followed by DSAH, and neither is written while active", "header"),
    Rule("VMX-D-008", _F, "the shared area is 8-byte aligned, not at 0, and wholly in mapped memory", "header"),
    Rule(
        "VMX-D-009",
        _V,
        "commands that read the shared area come after DSAL/DSAH",
        "this model",
        known="DPDK (UPDATE_FEATURE, UPDATE_VLAN_FILTERS)",
    ),
    Rule("VMX-D-010", _F, "the shared area begins with the magic 0xBABEFEE1", "header"),
    Rule("VMX-D-011", _F, "1 to 8 transmit and 1 to 16 receive queues; 32 of each from version 6 on", "header"),
    Rule("VMX-D-012", _F, "the queue table is 128-byte aligned, mapped, and 256 bytes per queue long", "header"),
    Rule("VMX-D-013", _F, "the MTU is 60 to 9000, to 9190 from version 6 on", "header"),
    Rule(
        "VMX-D-014",
        _F,
        "1 to 25 vectors, 65 from version 6 on; moderation levels 0 to 8",
        "header",
        known="FreeBSD (2 with one)",
    ),
    Rule("VMX-D-015", _F, "the event vector is one of the vectors", "header"),
    Rule("VMX-D-016", _F, "every queue's vector is one of the vectors", "header"),
    Rule("VMX-D-017", _F, "ring bases are 512-byte aligned and not 0", "header", known="iPXE (ring 1 of size 0)"),
    Rule(
        "VMX-D-018",
        _F,
        "ring sizes are multiples of 32 within the header's limits; from version 7 on powers of two (advice)",
        "header",
    ),
    Rule(
        "VMX-D-019",
        _V,
        "a completion ring is as large as the rings it serves together (for transmit: else ACTIVATE fails)",
        "header",
        known="VPP (receive)",
    ),
    Rule("VMX-D-020", _V, "the transmit data ring is 512-byte aligned with a slot per descriptor", "header"),
    Rule(
        "VMX-D-021",
        _V,
        "a receive data ring (version 3) is 512-byte aligned and mapped, its slots multiples of 64 up to 2048",
        "header",
    ),
    Rule("VMX-D-022", _V, "rings, queue table and shared area do not overlap", "this model"),
    Rule("VMX-D-023", _A, "reserved descriptor bits are 0", "header"),
    Rule("VMX-D-024", _V, "uptFeatures holds only bits the selected version knows", "header"),
    Rule("VMX-D-025", _V, "RSS is asked for with two receive queues or more and a configuration", "Linux"),
    Rule(
        "VMX-D-026",
        _V,
        "the RSS configuration has a known hash, a key of at most 40, a table of 1 to 128 entries that name queues",
        "header",
    ),
    Rule("VMX-D-027", _A, "ACTIVATE is read back before the driver goes on, and believed", "Linux, FreeBSD, DPDK"),
    Rule("VMX-D-028", _V, "ACTIVATE is not given to an active device", "this model"),
    Rule("VMX-D-029", _A, "counts, MTU and rings stay as ACTIVATE found them until QUIESCE", "this model"),
    Rule(
        "VMX-D-030",
        _V,
        "doorbells are rung only while active",
        "this model",
        known="Linux (after QUIESCE), OpenBSD (RXPROD = 0)",
    ),
    Rule("VMX-D-031", _V, "a doorbell belongs to a configured queue", "header", known="VPP (stride)"),
    Rule("VMX-D-032", _V, "a doorbell's value is an index of its ring", "header", known="Solaris"),
    Rule("VMX-D-033", _A, "TXPROD points to no descriptor that is not published yet", "Linux"),
    Rule(
        "VMX-D-034",
        _V,
        "the doorbells rung are those of the page LARGE_BAR chose",
        "header",
        known="Linux (XDP transmit)",
    ),
    Rule("VMX-D-035", _A, "txNumDeferred starts anew when the driver rings for transmit", "Linux, DPDK"),
    Rule("VMX-D-036", _V, "a packet is published with its last descriptor: no owned run ends without eop", "Linux"),
    Rule("VMX-D-037", _V, "a packet takes at most 16 descriptors, 24 with TSO", "header", known="FreeBSD (32)"),
    Rule("VMX-D-038", _A, "a packet's last descriptor asks for a completion", "header", known="FreeBSD"),
    Rule("VMX-D-039", _V, "cq stands only with eop; om, hlen and ti only in a packet's first descriptor", "header"),
    Rule("VMX-D-040", _F, "dtype and ext2 are 0", "header"),
    Rule("VMX-D-041", _F, "offload bits are ones the selected version has", "header"),
    Rule("VMX-D-042", _V, "buffers lie in mapped memory the device may use", "header"),
    Rule("VMX-D-043", _V, "a frame without TSO is 14 bytes to MTU + 18 long", "header"),
    Rule(
        "VMX-D-044", _V, "checksum offsets lie in the frame, in order, the field within the first 1024 bytes", "header"
    ),
    Rule("VMX-D-045", _V, "TSO has an MSS and its headers in the first descriptor, and segments fit the MTU", "header"),
    Rule(
        "VMX-D-046",
        _V,
        "TSO is asked for whole TCP packets of at most 65535 bytes, a tunnel's offloads for tunnel frames",
        "header",
    ),
    Rule("VMX-D-047", _A, "a checksum field to be filled holds the pseudo-header's sum", "Linux, FreeBSD"),
    Rule("VMX-D-048", _F, "a descriptor is not written again before its packet is completed", "header"),
    Rule("VMX-D-049", _A, "the transmit ring keeps one descriptor free", "Linux, OpenBSD"),
    Rule(
        "VMX-D-050",
        _V,
        "a HEAD buffer has at least 128 bytes, a BODY at least 1",
        "header",
        known="Linux (MTU below 106, version 7)",
    ),
    Rule("VMX-D-051", _V, "ring 1 holds BODY buffers only, from version 7 on ring 0 HEAD buffers only", "header"),
    Rule("VMX-D-052", _V, "a receive descriptor is left alone while the device owns it", "header"),
    Rule(
        "VMX-D-053",
        _A,
        "RXPROD is not written for every buffer while updateRxProd is 0",
        "header",
        known="FreeBSD, OpenBSD, VPP, iPXE",
    ),
    Rule("VMX-D-054", _A, "IMR is written with 0 or 1, for vectors in use", "header"),
    Rule(
        "VMX-D-055",
        _A,
        "an interrupt masked by its delivery is unmasked again while there is more to say",
        "Linux",
        known="DPDK (polls)",
    ),
    Rule("VMX-D-056", _A, "an INTx is acknowledged by reading ICR", "header"),
    Rule("VMX-D-057", _V, "ECR acknowledges only events that are set", "header"),
    Rule("VMX-D-058", _A, "after TQERR or RQERR the driver asks which queue stopped before it rings it again", "Linux"),
    Rule("VMX-D-059", _V, "the multicast table is whole 6-byte addresses in mapped memory", "header"),
    Rule("VMX-D-060", _A, "rxMode holds only known bits", "header"),
    Rule("VMX-D-061", _V, "a station address is unicast and not 0", "IEEE 802"),
    Rule(
        "VMX-D-062",
        _V,
        "a coalescing scheme has a known mode, depths of at most 128, 100 to 100,000 interrupts a second",
        "header",
    ),
    Rule("VMX-D-063", _V, "PMConf has at most 6 filters, of at most 16 mask and 128 pattern bytes", "header"),
    Rule("VMX-D-064", _V, "the device is quiesced before its rings or tables are unmapped", "this model"),
    Rule(
        "VMX-D-065",
        _A,
        "the device is quiesced before it is put to sleep or loses bus mastering",
        "this model",
        known="Linux (suspend)",
    ),
    Rule("VMX-D-066", _V, "memory decoding and bus mastering are on before ACTIVATE", "PCI"),
    Rule("VMX-D-067", _A, "a vector's message is written while the vector is masked", "PCI"),
)

RULES = RuleBook(DRIVER_RULES, MEMORY_RULES)
