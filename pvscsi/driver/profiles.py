"""How drivers in the field talk to the adapter: the order of their register accesses, and their habits.

Steps of bring-up and close: `MASK 0` and `MASK` INTR_MASK with nothing and with all it wants; `CONFIG` the controller
page, read in memory straight after the last register write; `TARGETS` GET_MAX_TARGETS; `RESET` ADAPTER_RESET; `STATUS`
a read of INTR_STATUS; `?MSG` and `?CALLS` the bare SETUP_MSG_RING and SETUP_REQCALLTHRESHOLD with a read of the answer;
`RINGS`, `MSG` and `CALLS` the whole commands, the last two where the probe was not refused; `IRQ` the interrupt is
switched on; `KICK` KICK_NON_RW_IO.
Ref: Linux drivers/scsi/vmw_pvscsi.c; FreeBSD sys/dev/vmware/pvscsi/pvscsi.c; NetBSD sys/dev/pci/pvscsi.c; OpenBSD
sys/dev/pci/vmwpvs.c; illumos pvscsi.c; edk2 OvmfPkg/PvScsiDxe; SeaBIOS src/hw/pvscsi.c.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Steps = tuple[str, ...]


def counted(slot: int) -> int:
    """1 to N."""
    return slot + 1


def marked(slot: int) -> int:
    """OpenBSD's: the upper half is no number."""
    return 0xDEAD_BEEF_0000_0000 + slot


def none(slot: int) -> int:
    """Firmware's: one request at a time needs no name."""
    return 0


@dataclass(frozen=True)
class Profile:
    """One driver's habits. `config` overrides fields of `driver.Config`.

    `kick`: "opcode" (KICK_RW_IO for READ and WRITE, the other for the rest) or "rw" (always KICK_RW_IO). `listens`:
    what makes it look at its rings: "ring" (all the time), "interrupt", or "status" (polls INTR_STATUS and takes one
    completion each time). `acks`: it clears INTR_STATUS after a message-signalled interrupt, too.
    """

    name: str
    bring_up: Steps
    close: Steps
    config: Mapping[str, Any] = field(default_factory=dict)
    context: Callable[[int], int] = counted
    kick: str = "opcode"
    listens: str = "interrupt"
    acks: bool = False
    again: Steps = ()  # after a host reset; none: the adapter stays dead
    none_flag: str = "none"  # the direction of a request without data: "none" or "todevice"
    cdb_16: bool = False  # cdbLen is always 16
    checks: bool = False  # reads COMMAND_STATUS after every command


_BOTH = ("?CALLS", "CALLS")
_FIRMWARE: dict[str, Any] = {"req_pages": 1, "cmp_pages": 1, "msg_pages": 0, "intr": "intx"}

PROFILES = {
    p.name: p
    for p in (
        Profile(
            "plain",
            bring_up=("CONFIG", "TARGETS", "RESET", "?MSG", "RINGS", "MSG", "IRQ", *_BOTH, "MASK"),
            close=("MASK 0", "RESET"),
            again=("RINGS", "MSG", *_BOTH, "MASK"),
            listens="ring",
            acks=True,
            checks=True,
            config={"req_pages": 8, "cmp_pages": 8},
        ),
        Profile(
            "linux",
            bring_up=("CONFIG", "RESET", "?MSG", "RINGS", "MSG", "IRQ", *_BOTH, "MASK"),
            close=("MASK 0", "KICK", "RESET"),
            again=("RINGS", "MSG", "MASK"),
        ),
        Profile(
            "freebsd",
            bring_up=("IRQ", "TARGETS", "?MSG", "RESET", "STATUS", "RINGS", "MSG", *_BOTH, "MASK"),
            close=("MASK 0", "RESET", "STATUS"),
            acks=True,
            config={"sense": 252},
        ),
        Profile(
            "netbsd",
            bring_up=("IRQ", "TARGETS", "?MSG", "RESET", "STATUS", "RINGS", "MSG", "MASK"),
            close=("MASK 0", "RESET", "STATUS"),
            acks=True,
            config={"sense": 64},
        ),
        Profile(
            "openbsd",
            bring_up=("MASK 0", "IRQ", "?MSG", "CONFIG", "RINGS", "MSG", "MASK"),
            close=("MASK 0",),
            config={"req_pages": 2, "cmp_pages": 2, "msg_pages": 2, "intr": "msi", "sense": 18},
            context=marked,
        ),
        Profile(
            "illumos",
            bring_up=("RESET", "RINGS", "MSG", "IRQ", "MASK"),
            close=("MASK 0", "RESET"),
            again=("RINGS", "MSG", "MASK"),
            config={"sense": 20},
        ),
        Profile(
            "ovmf",
            bring_up=("RESET", "RINGS"),
            close=("RESET",),
            config={**_FIRMWARE, "sense": 255},
            context=none,
            kick="rw",
            listens="status",
            none_flag="todevice",
        ),
        Profile(
            "seabios",
            bring_up=("RESET", "RINGS"),
            close=(),
            config={**_FIRMWARE, "sense": 0},
            context=none,
            kick="rw",
            listens="status",
            none_flag="todevice",
            cdb_16=True,
        ),
    )
}
