"""The rules a guest is held to at the backdoor, as far as a host can see them broken.

Sources: "header" is open-vm-tools' lib/include; a program's or driver's name means its source code; "this model" marks
a choice made where those are silent.
"""

from pvdev.rules import Rule, RuleBook, Severity

_A, _V = Severity.ADVICE, Severity.VIOLATION

GUEST_RULES = (
    Rule("VMT-D-001", _V, "EAX is the magic that belongs to the port", "header"),
    Rule("VMT-D-004", _A, "commands are 1 to 104 and not retired ones", "header"),
    Rule("VMT-D-005", _V, "commands for kernels do not come from programs", "header"),
    Rule("VMT-D-006", _V, "a message call is of type 0 to 6", "header"),
    Rule("VMT-D-007", _V, "OPEN asks for RPCI or TCLO", "header"),
    Rule("VMT-D-008", _A, "OPEN does without a cookie only after one with a cookie was refused", "open-vm-tools"),
    Rule("VMT-D-009", _V, "id and cookie are those of an open channel", "header"),
    Rule(
        "VMT-D-010", _V, "nothing else is under way when a message begins, unless a checkpoint asked", "open-vm-tools"
    ),
    Rule("VMT-D-011", _V, "a message has 65536 bytes at most", "header"),
    Rule("VMT-D-012", _V, "a payload is as long as it was said to be", "open-vm-tools"),
    Rule("VMT-D-013", _V, "a payload goes out at once only where that was offered, and whole", "open-vm-tools"),
    Rule("VMT-D-014", _A, "what is unused of a payload's last word is 0", "open-vm-tools"),
    Rule("VMT-D-015", _V, "EBX at the high-bandwidth port is 0x00010000", "header"),
    Rule("VMT-D-016", _V, "of a status, a guest sets bit 0 only", "header"),
    Rule("VMT-D-017", _V, "payload is asked for after RECVSIZE promised it, and not more of it", "open-vm-tools"),
    Rule("VMT-D-018", _V, "a payload is fetched at once only where that was offered, and whole", "open-vm-tools"),
    Rule("VMT-D-019", _V, "RECVSTATUS says success after all of the payload", "open-vm-tools"),
    Rule("VMT-D-020", _A, "after giving a message up, the next step begins another, or closes", "open-vm-tools"),
    Rule("VMT-D-021", _A, "an answer is received or given up before the next request", "open-vm-tools"),
    Rule("VMT-D-022", _V, "a request begins with a word of printable ASCII", "open-vm-tools"),
    Rule("VMT-D-023", _V, "the first thing sent on a TCLO channel is empty", "open-vm-tools"),
    Rule("VMT-D-024", _V, "each command has one result, which begins with OK or ERROR", "open-vm-tools"),
    Rule("VMT-D-025", _V, "reset is answered with ATR and a known name, one live channel each", "open-vm-tools"),
    Rule("VMT-D-026", _A, "unified_loop follows reset, with the name reset is answered with", "open-vm-tools"),
    Rule("VMT-D-027", _A, "a program polls at least once a second", "open-vm-tools"),
    Rule("VMT-D-028", _A, "capabilities come from a program that has registered", "open-vm-tools"),
    Rule("VMT-D-029", _V, "SetGuestInfo: two spaces, a type of 1 to 11, one space", "open-vm-tools"),
    Rule("VMT-D-030", _A, "uptime does not fall while a service runs", "open-vm-tools"),
    Rule("VMT-D-031", _V, "what is said of NICs keeps its bounds, and nothing follows it", "nicinfo.x"),
    Rule("VMT-D-032", _V, "info-set names guestinfo., and a key without spaces or NUL", "open-vm-tools"),
    Rule("VMT-D-033", _V, "a state change's status is of the operation asked for", "open-vm-tools"),
    Rule("VMT-D-034", _V, "events of a snapshot come in their order: reset, commit, manifest, done", "open-vm-tools"),
    Rule("VMT-D-035", _A, "events of a snapshot come every five seconds at least", "open-vm-tools"),
    Rule("VMT-D-037", _V, "a balloon is started before it is used, and anew after RESET", "Linux"),
    Rule("VMT-D-038", _V, "pages handed over are RAM, each once and aligned; batches of 1 to 512", "Linux"),
    Rule("VMT-D-039", _V, "pages are locked once, unlocked once, with commands that were agreed on", "Linux"),
    Rule("VMT-D-042", _V, "a steal clock is 64 bytes of RAM, aligned to as much, or asked for with 0 and 1", "Linux"),
)

UNSEEN = {  # rules of the same list that the host cannot see broken, and why
    "VMT-D-002": "whoever carries calls knows one instruction at that port; any other is never a call",
    "VMT-D-003": "the same at the high-bandwidth port",
    "VMT-D-036": "the host cannot tell a process from a kernel thread; time may be asked for at any level",
    "VMT-D-040": "VMMouse's, see SVG-D-063 and SVG-D-064",
    "VMT-D-041": "VMMouse's, see SVG-D-066",
}

RULES = RuleBook(GUEST_RULES)
