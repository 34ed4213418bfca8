"""What a device says of itself, by name: which display unit of a driver it calls for, on which front.

A profile promises only what is built. "legacy": one framebuffer in VRAM, modes set by registers. "screen-objects":
screens that blits from guest memory fill. "screen-targets": guest-backed surfaces shown by screen targets. "qemu": what
QEMU's vmware-svga says, for old drivers (Linux's refuses it for want of PITCHLOCK).
"""

from dataclasses import dataclass, replace

from svga.wire import ID_2, ID_3, Cap, Cap2, FifoCap

FRONTS = ("svga3", "svga2")
NO_CAPS_2, NO_FIFO_CAPS = Cap2(0), FifoCap(0)

_LEGACY = (
    Cap.RECT_COPY
    | Cap.CURSOR
    | Cap.CURSOR_BYPASS
    | Cap.CURSOR_BYPASS_2
    | Cap.EMULATION_8BIT
    | Cap.ALPHA_CURSOR
    | Cap.EXTENDED_FIFO
    | Cap.MULTIMON
    | Cap.PITCHLOCK
    | Cap.IRQMASK
    | Cap.DISPLAY_TOPOLOGY
    | Cap.TRACES
)
_SCREENS = _LEGACY | Cap.GMR | Cap.GMR2 | Cap.SCREEN_OBJECT_2
_TARGETS = (
    _SCREENS
    | Cap.COMMAND_BUFFERS
    | Cap.CMD_BUFFERS_2
    | Cap.GBOBJECTS
    | Cap.HP_CMD_QUEUE
    | Cap.NO_BB_RESTRICTION
    | Cap.CAP2_REGISTER
)
_TARGETS_2 = (
    Cap2.GROW_OTABLE
    | Cap2.INTRA_SURFACE_COPY
    | Cap2.GB_MEMSIZE_2
    | Cap2.OTABLE_PTDEPTH_2
    | Cap2.CURSOR_MOB
    | Cap2.CB_MAX_SIZE_4MB
    | Cap2.FRAME_TYPE
    | Cap2.EXTRA_REGS
)
_FIFO = FifoCap.FENCE | FifoCap.PITCHLOCK | FifoCap.VIDEO | FifoCap.CURSOR_BYPASS_3 | FifoCap.ESCAPE | FifoCap.RESERVE
_FIFO_SCREENS = _FIFO | FifoCap.GMR2 | FifoCap.SCREEN_OBJECT_2


@dataclass(frozen=True)
class Profile:
    """`skip_unknown`: a command nobody knows is one word long, as QEMU has it; else the FIFO stops there."""

    name: str
    caps: Cap
    caps2: Cap2 = NO_CAPS_2
    fifo_caps: FifoCap = NO_FIFO_CAPS
    id: int = ID_2
    skip_unknown: bool = False

    @property
    def svga3(self) -> bool:
        return self.id == ID_3


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("legacy", _LEGACY, fifo_caps=_FIFO),
        Profile("screen-objects", _SCREENS, fifo_caps=_FIFO_SCREENS),
        Profile("screen-targets", _TARGETS, _TARGETS_2, _FIFO_SCREENS),
        Profile(
            "qemu",
            Cap.RECT_FILL | Cap.RECT_COPY | Cap.CURSOR | Cap.CURSOR_BYPASS | Cap.CURSOR_BYPASS_2,
            skip_unknown=True,
        ),
    )
}


def profile(name: str, front: str) -> Profile:
    """The profile `name` on that front: SVGA3 has no FIFO, so what needs one goes, and command buffers come.

    Raises `ValueError`.
    """
    if name not in PROFILES or front not in FRONTS:
        raise ValueError(f"profile {name!r} on {front!r}: there is {', '.join(PROFILES)} on {' or '.join(FRONTS)}")
    found = PROFILES[name]
    if front == "svga2":
        return found
    if found.skip_unknown:
        raise ValueError(f"profile {name!r} is of SVGA II only")
    return replace(
        found,
        id=ID_3,
        caps=found.caps & ~Cap.EXTENDED_FIFO | Cap.COMMAND_BUFFERS | Cap.CMD_BUFFERS_2,
        fifo_caps=found.fifo_caps & ~(FifoCap.CURSOR_BYPASS_3 | FifoCap.PITCHLOCK | FifoCap.RESERVE),
    )
