"""Where a device does not do what the suite asks of it, and why: our own as it is served, and QEMU's.

QEMU's were all seen on QEMU 11.1; the causes are what its source shows, or the likeliest.

Ref: QEMU hw/display/vmware_vga.c.
"""

from pvdev.differences import Difference, Kind


def _of(number: str, kind: Kind, reason: str, *cases: str) -> Difference:
    return Difference(f"SVG-V-{number}", cases, kind, reason)


_WIDTHS = "only whole dwords reach the ports: pieces are dropped and read 0; a VMM of its own sends none"

SERVED: tuple[Difference, ...] = ()

QEMU = (
    _of("002", "harmless", _WIDTHS, "*"),
    _of("003", "harmless", _WIDTHS, "*"),
    _of("004", "harmless", "accesses of other sizes read 0, not all ones", "*other_widths*"),
    _of("007", "harmless", "GUEST_ID and the scratch registers survive a reset", "*switches_everything_off"),
    _of("014", "gap", "NEXT_CMD and STOP below MIN are used: FIFO memory there is executed as commands", "*"),
    _of("021", "gap", "a rectangle that is not all inside is not drawn at all", "*are_clipped*"),
    _of("025", "gap", "a width or height of 0 is taken, and read back; the picture stays", "*[[]0-*"),
    _of("026", "harmless", "bit 1 of ENABLE, HIDE, is dropped and has no effect", "*"),
    _of("028", "gap", "NUM_DISPLAYS is 0: Linux's driver, if it came so far, would find no monitor", "*"),
    _of(
        "032",
        "gap",
        "UPDATE_VERBOSE is taken to have four words: its fifth is executed as a command, and what is behind is lost",
        "*VERBOSE*",
        "*streams*",
    ),
)


TABLES: dict[str, tuple[Difference, ...]] = {"local": (), "vfio-user": SERVED, "qemu": QEMU}
