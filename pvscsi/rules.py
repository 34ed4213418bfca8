"""The rules a PVSCSI driver is held to, as far as this device can see them broken.

Sources: "header" is Linux vmw_pvscsi.h with VMware's older pvscsi_defs.h; a driver's or a device's name means its
source code; "this model" marks a choice made where those are silent.

Rules that end in "(close look)" cost too much to be checked for every request; `Pvscsi(watch=True)` does (`watch`).
What no device can see is no rule here: whether a driver tries again after a unit attention (it may at any time, and
after anything else), whether an entry of the request ring was left from the lap before or asked for again, and whether
a virtual processor named by vcpuHint exists.
"""

from pvdev.rules import MEMORY_RULES, Rule, RuleBook, Severity

_A, _V, _F = Severity.ADVICE, Severity.VIOLATION, Severity.FATAL

DRIVER_RULES = (
    Rule("PVS-D-001", _V, "bus mastering is on before rings, pages or kicks are used", "PCI"),
    Rule("PVS-D-002", _V, "registers are accessed as aligned 4 bytes", "header"),
    Rule("PVS-D-003", _A, "only registers the header gives a use are touched, and only as they can be", "header"),
    Rule("PVS-D-004", _V, "COMMAND holds a command from 1 to 11", "header"),
    Rule("PVS-D-005", _V, "COMMAND_DATA is written as often as the command wants, after it", "header"),
    Rule("PVS-D-006", _A, "a command left without its arguments is a probe (8, 9, 10) whose answer is read", "Linux"),
    Rule("PVS-D-007", _A, "message ring and call threshold are probed before they are used", "Linux", known="illumos"),
    Rule("PVS-D-008", _A, "ADAPTER_RESET comes before a driver's first SETUP_RINGS", "Linux", known="OpenBSD"),
    Rule("PVS-D-009", _F, "a ring has 1 to 32 pages (messages: 16), a power of two", "header"),
    Rule("PVS-D-010", _V, "the completion ring has room for every request", "header"),
    Rule("PVS-D-011", _F, "state page and ring pages lie in mapped memory, not at 0", "header"),
    Rule("PVS-D-012", _V, "no page serves twice", "this model"),
    Rule("PVS-D-013", _A, "page slots not used, and pads, are 0", "header"),
    Rule("PVS-D-014", _A, "the state page is all zeros when the rings are set up", "Linux"),
    Rule(
        "PVS-D-015",
        _V,
        "rings are not set up over live ones without ADAPTER_RESET",
        "this model",
        known="OpenBSD (after SeaBIOS)",
    ),
    Rule("PVS-D-016", _V, "the message ring is set up after the others", "header"),
    Rule("PVS-D-017", _V, "reqProdIdx moves forward, by no more than the ring holds", "header"),
    Rule("PVS-D-018", _V, "no more requests are out than the ring holds, counting completions not yet taken", "Linux"),
    Rule("PVS-D-019", _V, "a consumer index moves forward and not past its producer", "header"),
    Rule("PVS-D-020", _V, "the device's own fields of the state page are left alone", "header"),
    Rule("PVS-D-021", _A, "a request is written before reqProdIdx covers it: it is not all zeros", "header"),
    Rule(
        "PVS-D-022",
        _V,
        "SG list and data to be written stay as they were until the request is done (close look)",
        "this model",
    ),
    Rule(
        "PVS-D-023",
        _V,
        "a published request is followed by a kick, unless the call threshold allows silence (close look)",
        "Linux",
    ),
    Rule("PVS-D-024", _V, "the call threshold spares READ and WRITE their kick, nothing else (close look)", "Linux"),
    Rule(
        "PVS-D-025",
        _A,
        "what is no READ or WRITE is kicked by KICK_NON_RW_IO (close look)",
        "Linux",
        known="UEFI, SeaBIOS, OpenBSD",
    ),
    Rule("PVS-D-026", _A, "a kick is written as 0", "Linux"),
    Rule("PVS-D-027", _V, "nothing is kicked before the rings are set up", "this model"),
    Rule("PVS-D-028", _A, "context is not 0", "header", known="UEFI, SeaBIOS"),
    Rule("PVS-D-029", _A, "context fits 32 bits", "header", known="OpenBSD"),
    Rule("PVS-D-030", _V, "no two requests that are out have the same context (close look)", "header"),
    Rule("PVS-D-031", _A, "a request has exactly one direction", "header"),
    Rule("PVS-D-032", _V, "reserved flags are 0", "header"),
    Rule("PVS-D-033", _V, "the CDB is in the request: no out-of-band CDBs", "header"),
    Rule("PVS-D-034", _A, "DIR_NONE goes with no data, and only with that", "header", known="UEFI, SeaBIOS"),
    Rule("PVS-D-035", _V, "the direction is the CDB's", "SPC-4"),
    Rule("PVS-D-036", _A, "dataLen is what the CDB moves, or makes room for (close look)", "SPC-4"),
    Rule("PVS-D-037", _V, "data lies in mapped memory, writable where it is read into", "PCI DMA"),
    Rule("PVS-D-038", _A, "an SG list has more than one element, and goes with data", "Linux"),
    Rule("PVS-D-039", _V, "an SG segment is aligned to 16 bytes, on one page, 128 elements at most", "header"),
    Rule("PVS-D-040", _V, "SG elements have no reserved flags and are not empty", "header"),
    Rule("PVS-D-041", _V, "the SG elements cover dataLen", "header"),
    Rule("PVS-D-042", _V, "an SG chain ends, within 128 segments and 16384 elements", "header"),
    Rule("PVS-D-043", _V, "the sense buffer lies in mapped memory; 18 to 255 bytes of it (close look)", "header"),
    Rule("PVS-D-044", _V, "what the device writes for one request is no other's to write (close look)", "this model"),
    Rule(
        "PVS-D-045",
        _V,
        "what the device writes for a request is no ring, state page or SG list (close look)",
        "this model",
    ),
    Rule(
        "PVS-D-046",
        _V,
        "cdbLen is as long as the command; bytes behind the command are 0 (close look)",
        "SPC-4",
        known="SeaBIOS (16)",
    ),
    Rule("PVS-D-047", _V, "a LUN is one byte of eight, and one REPORT LUNS names", "header"),
    Rule("PVS-D-048", _V, "bus is 0", "header"),
    Rule("PVS-D-049", _A, "target is below the number of targets", "Linux"),
    Rule("PVS-D-050", _A, "tag is simple, head of queue or ordered", "header"),
    Rule("PVS-D-051", _A, "the unused bytes of a request are 0", "header"),
    Rule(
        "PVS-D-052",
        _A,
        "INTR_MASK has bits 3:0 only, none before there are rings, those of messages with a message ring",
        "header",
    ),
    Rule("PVS-D-053", _A, "INTR_STATUS acknowledges what is set", "header", known="UEFI, SeaBIOS"),
    Rule("PVS-D-054", _V, "an INTx is acknowledged", "header"),
    Rule("PVS-D-055", _A, "completions are taken in time, and before the ring is full", "this model"),
    Rule("PVS-D-056", _A, "ABORT_CMD names a request that is out, and its pad is 0", "Linux"),
    Rule("PVS-D-057", _A, "RESET_DEVICE names a target there is, and LUN 0", "header"),
    Rule(
        "PVS-D-058",
        _V,
        "an aborted request's context is not used again before its completion was taken (close look)",
        "this model",
        known="illumos",
    ),
    Rule(
        "PVS-D-059",
        _A,
        "CONFIG names a page and its address type, and a buffer on one page that begins with an error status",
        "header",
    ),
    Rule("PVS-D-060", _A, "SETUP_REQCALLTHRESHOLD is 0 or 1", "header"),
    Rule(
        "PVS-D-061",
        _V,
        "ADAPTER_RESET comes before ring memory or bus mastering goes away",
        "this model",
        known="SeaBIOS, OpenBSD",
    ),
    Rule(
        "PVS-D-062", _V, "after ADAPTER_RESET rings are set up before the next kick", "Linux", known="FreeBSD, NetBSD"
    ),
    Rule("PVS-D-063", _A, "nothing is sent to a target after its removal was read", "this model"),
    Rule(
        "PVS-D-065",
        _A,
        "media commands stay inside the medium and what the unit says it can do",
        "SBC-3",
    ),
    Rule("PVS-D-066", _A, "what is in a write cache is flushed before ADAPTER_RESET (close look)", "SBC-3"),
)

UNSEEN = {  # rules of the same list that no device can see broken, and why
    "PVS-D-064": "a command stopped by a unit attention is sent again: one that looks the same may be another, and "
    "when a driver gives up is its own affair",
}

RULES = RuleBook(DRIVER_RULES, MEMORY_RULES)
