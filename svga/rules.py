"""The rules a driver of the display is held to, as far as this device can see them broken.

Sources: "header" is svga_reg.h or svga3d_cmd.h; "VMware's kit" its svga_interface.txt and reference driver; a driver's
or a device's name means its source code; "this model" marks a choice made where those are silent.
"""

from pvdev.rules import MEMORY_RULES, Rule, RuleBook, Severity

_A, _V, _F = Severity.ADVICE, Severity.VIOLATION, Severity.FATAL

DRIVER_RULES = (
    Rule("SVG-D-001", _V, "the version is agreed on (ID) before registers that depend on it are used", "VMware's kit"),
    Rule("SVG-D-002", _A, "ID is written from the highest version down, to the first that is echoed", "VMware's kit"),
    Rule("SVG-D-003", _V, "registers and ports are accessed as dwords", "VMware's kit"),
    Rule("SVG-D-004", _A, "INDEX and VALUE are used as a pair, by one processor at a time", "Linux"),
    Rule("SVG-D-005", _V, "only registers whose capability is there are used", "header"),
    Rule("SVG-D-006", _V, "read-only registers are not written", "header"),
    Rule("SVG-D-007", _A, "scratch registers 0 to 3 are left to the VBE BIOS", "header"),
    Rule("SVG-D-008", _A, "registers nobody defined are left alone", "header"),
    Rule("SVG-D-009", _V, "MIN and MAX of the FIFO are set while CONFIG_DONE is 0", "VMware's kit"),
    Rule(
        "SVG-D-010",
        _F,
        "at CONFIG_DONE the FIFO is described well: aligned, 16 <= MIN < MAX <= MEM_SIZE, 10 KiB at least, NEXT_CMD "
        "and STOP inside",
        "VMware's kit",
    ),
    Rule("SVG-D-011", _V, "only commands whose capability is there are issued", "header"),
    Rule("SVG-D-012", _F, "commands are known ones, and not withdrawn", "header", known="XFree86 4.1 and 4.2"),
    Rule("SVG-D-013", _V, "NEXT_CMD stays between MIN and MAX, and wraps to MIN", "VMware's kit", known="Haiku"),
    Rule("SVG-D-014", _V, "NEXT_CMD is at the end of a command when the device is told", "VMware's kit"),
    Rule("SVG-D-015", _A, "MIN leaves room for the FIFO's registers that are used", "header"),
    Rule("SVG-D-016", _V, "STOP is left to the device after CONFIG_DONE", "VMware's kit"),
    Rule("SVG-D-017", _V, "NEXT_CMD moves on, and never past STOP", "VMware's kit"),
    Rule("SVG-D-018", _A, "SYNC is left alone while BUSY of the FIFO is 1, mostly", "header"),
    Rule("SVG-D-019", _A, "commands are committed, RESERVED 0, before they are waited for", "Linux"),
    Rule("SVG-D-020", _A, "RESERVED is cleared when commands are committed", "Linux"),
    Rule("SVG-D-021", _V, "modes asked for can be: not empty, not too large, in VRAM, of a known depth", "header"),
    Rule("SVG-D-022", _A, "BYTES_PER_LINE is read after a mode is set", "VMware's kit", known="Linux"),
    Rule("SVG-D-023", _V, "BITS_PER_PIXEL is written only with 8BIT_EMULATION", "header"),
    Rule("SVG-D-024", _V, "PITCHLOCK is 0, or whole pixels and as long as a line", "header"),
    Rule("SVG-D-025", _A, "ENABLE is set when there is a size", "VMware's kit"),
    Rule("SVG-D-026", _A, "the FIFO is empty when it is switched off", "VMware's kit"),
    Rule("SVG-D-027", _V, "UPDATE lies inside the mode", "VMware's kit"),
    Rule("SVG-D-028", _V, "both rectangles of RECT_COPY lie inside the mode", "VMware's kit"),
    Rule(
        "SVG-D-029", _V, "a cursor has known depths, 1024 pixels a side and 40 KiB at most, and all its data", "header"
    ),
    Rule("SVG-D-030", _V, "a cursor's hot spot is inside its image", "header"),
    Rule("SVG-D-031", _A, "a cursor's colours are premultiplied by alpha", "header"),
    Rule("SVG-D-032", _V, "fences rise, and are not 0", "Linux"),
    Rule("SVG-D-033", _V, "a fence is used once", "Linux"),
    Rule("SVG-D-034", _A, "only interrupts there are, are acknowledged", "header"),
    Rule("SVG-D-035", _A, "IRQMASK is written only with its capability", "header", known="Linux"),
    Rule("SVG-D-036", _A, "FENCE is read again after a goal was set that had been passed (SVGA3)", "Linux"),
    Rule(
        "SVG-D-037",
        _V,
        "a GMR's id is in range, it is defined before use, and all have no more pages than there are",
        "header",
    ),
    Rule("SVG-D-038", _V, "a GMR's descriptors end, and name pages that are mapped", "VMware's kit"),
    Rule("SVG-D-039", _V, "a GMR is remapped inside its size", "header"),
    Rule("SVG-D-040", _V, "pages of a GMR or MOB are mapped before they are used", "header"),
    Rule(
        "SVG-D-041",
        _V,
        "a screen has a known size of structure, an id below 10, a size, and memory in VRAM that holds it",
        "header",
    ),
    Rule(
        "SVG-D-042",
        _A,
        "what a driver defined it destroys before it takes their table away, or CONFIG_DONE is 0",
        "Linux",
    ),
    Rule(
        "SVG-D-043", _V, "rectangles of blits are not inside out, and lie in what they read and write", "VMware's kit"
    ),
    Rule("SVG-D-044", _V, "GMRFB is defined before it is used", "VMware's kit"),
    Rule(
        "SVG-D-045",
        _V,
        "a command buffer's header is as the header file has it, status NONE, and in mapped memory",
        "header",
    ),
    Rule("SVG-D-046", _V, "command buffers go to contexts there are, started, 32 at a time", "header"),
    Rule("SVG-D-047", _V, "a command buffer's header is left alone until its status is there", "header"),
    Rule("SVG-D-048", _V, "buffers of the device context hold its commands only, on one page", "header"),
    Rule("SVG-D-049", _V, "a command ends in its buffer, and is whole dwords", "header"),
    Rule("SVG-D-050", _V, "object tables are set once, and objects have ids inside them, one each", "header"),
    Rule("SVG-D-051", _A, "a MOB is not destroyed while a surface lies in it", "header"),
    Rule("SVG-D-052", _V, "MOBs and surfaces have sizes there can be, and a surface's MOB holds it", "header"),
    Rule("SVG-D-053", _V, "a screen target has a surface it can show, for as long as it does", "Linux"),
    Rule("SVG-D-054", _A, "one device gets its commands one way: by FIFO or by buffers", "Linux"),
    Rule("SVG-D-055", _A, "DEV_CAP asks for a capability there is: 0 to 261", "header"),
    Rule("SVG-D-056", _V, "a cursor in a MOB has a known type and a size within the limit", "header"),
    Rule("SVG-D-058", _A, "VMMouse: no data are asked for before READ_ID, or after an error", "Linux"),
    Rule("SVG-D-060", _V, "bus mastering is on before guest memory is named", "PCI"),
    Rule("SVG-D-061", _V, "overlays and their registers are ones there are", "header"),
    Rule("SVG-D-062", _A, "a screen target is updated only while it has a surface", "this model", known="Linux"),
    Rule("SVG-D-063", _F, "VMMouse: DATA asks for 1 to 6 words, and for no more than STATUS told of", "QEMU"),
    Rule("SVG-D-064", _A, "VMMouse: a packet is read as a whole, four words, and the id alone", "Linux"),
    Rule("SVG-D-065", _V, "VMMouse: COMMAND and RESTRICT get arguments there are", "open-vm-tools"),
    Rule("SVG-D-066", _V, "VMMouse: calls come from where RESTRICT lets them come from", "open-vm-tools"),
    Rule("SVG-D-067", _V, "USB: requests name interfaces, endpoints and configurations there are", "USB 2.0, 9.4"),
    Rule("SVG-D-068", _V, "USB: what SET_REPORT sends is no longer than the report", "HID 1.11, 7.2"),
    Rule(
        "SVG-D-069",
        _F,
        "USB/IP: messages are version 1.1.1's, for the device that was imported, with lengths there can be",
        "Linux Documentation/usb/usbip_protocol.rst",
    ),
    Rule("SVG-D-070", _V, "boxes lie inside the images they name", "header"),
)

UNSEEN = {  # rules of the same list that no device can see broken, and why
    "SVG-D-057": "VMMouse's, see SVG-D-063",
    "SVG-D-059": "the driver's identity is set once: its registers come with DX2, which no profile has; see SVG-D-005",
}

RULES = RuleBook(DRIVER_RULES, MEMORY_RULES)
