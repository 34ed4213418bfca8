"""The register file, by number: who may do what to which, what needs a capability, what nobody ever defined.

A register finds its owner's `_read_NAME` and `_write_NAME`; one that has neither is storage. Its two fronts (`ports`,
a flat BAR) know nothing of what is behind a number.
"""

from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from svga.profiles import Profile
from svga.wire import (
    ID_0,
    ID_1,
    MASK32,
    PALETTE_BASE,
    PALETTE_SIZE,
    SCRATCH_BASE,
    SCRATCH_SIZE,
    SCRATCH_VBE,
    Cap,
    Cap2,
    Register,
)

Note = Callable[[str, str, int], None]
R = Register

READ_ONLY = frozenset(
    (
        *(R.MAX_WIDTH, R.MAX_HEIGHT, R.DEPTH, R.PSEUDOCOLOR, R.RED_MASK, R.GREEN_MASK, R.BLUE_MASK, R.BYTES_PER_LINE),
        *(R.FB_START, R.FB_OFFSET, R.VRAM_SIZE, R.FB_SIZE, R.CAPABILITIES, R.MEM_START, R.MEM_SIZE, R.BUSY),
        *(R.HOST_BITS_PER_PIXEL, R.SCRATCH_SIZE, R.MEM_REGS, R.NUM_DISPLAYS, R.GMR_MAX_IDS),
        *(R.GMR_MAX_DESCRIPTOR_LENGTH, R.GMRS_MAX_PAGES, R.MEMORY_SIZE, R.MAX_PRIMARY_MEM),
        *(R.SUGGESTED_GBOBJECT_MEM_SIZE_KB, R.SCREENTARGET_MAX_WIDTH, R.SCREENTARGET_MAX_HEIGHT, R.MOB_MAX_SIZE),
        *(R.CAP2, R.DEVEL_CAP, R.CURSOR_MAX_BYTE_SIZE, R.CURSOR_MAX_DIMENSION, R.FIFO_CAPS, R.GBOBJECT_MEM_SIZE_KB),
        *(R.REGS_START_HIGH32, R.REGS_START_LOW32, R.FB_START_HIGH32, R.FB_START_LOW32),
    )
)
WRITE_ONLY = frozenset((R.GMR_DESCRIPTOR, R.CURSOR4_SUBMIT))
NEEDS: dict[Cap, Sequence[Register]] = {
    Cap.CURSOR_BYPASS: (R.CURSOR_X, R.CURSOR_Y, R.CURSOR_ON),
    Cap.PITCHLOCK: (R.PITCHLOCK,),
    Cap.IRQMASK: (R.IRQMASK,),
    Cap.DISPLAY_TOPOLOGY: (
        *(R.NUM_GUEST_DISPLAYS, R.DISPLAY_ID, R.DISPLAY_IS_PRIMARY, R.DISPLAY_POSITION_X, R.DISPLAY_POSITION_Y),
        *(R.DISPLAY_WIDTH, R.DISPLAY_HEIGHT),
    ),
    Cap.GMR: (R.GMR_ID, R.GMR_DESCRIPTOR, R.GMR_MAX_IDS, R.GMR_MAX_DESCRIPTOR_LENGTH),
    Cap.TRACES: (R.TRACES,),
    Cap.GMR2: (R.GMRS_MAX_PAGES, R.MEMORY_SIZE),
    Cap.COMMAND_BUFFERS: (R.COMMAND_LOW, R.COMMAND_HIGH),
    Cap.GBOBJECTS: (
        *(R.MAX_PRIMARY_MEM, R.SUGGESTED_GBOBJECT_MEM_SIZE_KB, R.DEV_CAP, R.SCREENTARGET_MAX_WIDTH),
        *(R.SCREENTARGET_MAX_HEIGHT, R.MOB_MAX_SIZE, R.BLANK_SCREEN_TARGETS),
    ),
    Cap.CMD_BUFFERS_2: (R.CMD_PREPEND_LOW, R.CMD_PREPEND_HIGH),
    Cap.CAP2_REGISTER: (R.CAP2, R.DEVEL_CAP),
}
NEEDS_2: dict[Cap2, Sequence[Register]] = {
    Cap2.DX2: (R.GUEST_DRIVER_ID, R.GUEST_DRIVER_VERSION1, R.GUEST_DRIVER_VERSION2, R.GUEST_DRIVER_VERSION3),
    Cap2.CURSOR_MOB: (R.CURSOR_MOBID, R.CURSOR_MAX_BYTE_SIZE, R.CURSOR_MAX_DIMENSION),
    Cap2.EXTRA_REGS: (*(R.CURSOR4_ON, R.CURSOR4_X, R.CURSOR4_Y, R.CURSOR4_SCREEN_ID, R.CURSOR4_SUBMIT, R.FENCE_GOAL),),
    Cap2.SCREENDMA_REG: (R.SCREENDMA,),
    Cap2.GB_MEMSIZE_2: (R.GBOBJECT_MEM_SIZE_KB,),
    Cap2.MSHINT: (R.MSHINT,),
    Cap2.DX3: (R.DIRTY_TRACKING,),
}
NEEDS_SVGA3 = (
    *(R.FIFO_CAPS, R.FENCE, R.REGS_START_HIGH32, R.REGS_START_LOW32, R.FB_START_HIGH32, R.FB_START_LOW32),
    R.IRQ_STATUS,
)
EARLY = frozenset((R.ID, *range(R.WIDTH, R.CAPABILITIES)))  # what has a meaning before the versions are agreed on


class Registers:
    """`constants`: registers that say one number for ever. `owners`: whose handlers the others have."""

    STATE: ClassVar[tuple[str, ...]] = ("cells", "palette", "scratch", "_id", "_negotiated")

    def __init__(
        self, profile: Profile, constants: Mapping[Register, int], owners: Sequence[object], note: Note
    ) -> None:
        self._profile, self._note = profile, note
        self._constants = {register: int(value) for register, value in constants.items()}
        absent = {r for cap, of in NEEDS.items() if not profile.caps & cap for r in of}
        absent |= {r for cap2, of in NEEDS_2.items() if not profile.caps2 & cap2 for r in of}
        absent |= set() if profile.svga3 else set(NEEDS_SVGA3)
        self._absent = frozenset(absent)
        self._reads: dict[int, Callable[[], int]] = {}
        self._writes: dict[int, Callable[[int], None]] = {}
        for register in Register:
            on_read, on_write = (_handler((self, *owners), f"_{way}_{register.name}") for way in ("read", "write"))
            if on_read is not None:
                self._reads[register] = on_read
            if on_write is not None:
                self._writes[register] = on_write
        self._palette_changed = _handler(owners, "palette_changed")
        self.reset()

    def reset(self) -> None:
        """As after power-on."""
        self.cells = dict.fromkeys(Register, 0) | self._constants
        self.palette = array("B", bytes(PALETTE_SIZE))
        self.scratch = array("I", bytes(4 * SCRATCH_SIZE))
        self._id = self._profile.id if self._profile.skip_unknown else ID_0
        self._negotiated = False

    # -- both fronts ---------------------------------------------------------------------------------------------------

    def read(self, number: int) -> int:
        handler = self._reads.get(number)
        if number in self.cells and number not in self._absent and number not in WRITE_ONLY:
            self._early(number)
            return (handler() if handler is not None else self.cells[Register(number)]) & MASK32
        if PALETTE_BASE <= number < PALETTE_BASE + PALETTE_SIZE:
            return self.palette[number - PALETTE_BASE]
        if SCRATCH_BASE <= number < SCRATCH_BASE + SCRATCH_SIZE:
            return self.scratch[number - SCRATCH_BASE]
        self._unknown("read", number)
        return 0

    def write(self, number: int, value: int) -> None:
        if number in self.cells and number not in self._absent:
            self._early(number)
            handler = self._writes.get(number)
            if number in READ_ONLY:
                self._note("SVG-D-006", Register(number).name, value)
            elif handler is not None:
                handler(value)
            else:
                self.cells[Register(number)] = value
        elif PALETTE_BASE <= number < PALETTE_BASE + PALETTE_SIZE:
            self.palette[number - PALETTE_BASE] = value & 0xFF
            if self._palette_changed is not None:
                self._palette_changed()
        elif SCRATCH_BASE <= number < SCRATCH_BASE + SCRATCH_SIZE:
            if number < SCRATCH_BASE + SCRATCH_VBE:
                self._note("SVG-D-007", "scratch", number)
            self.scratch[number - SCRATCH_BASE] = value
        else:
            self._unknown("write", number)

    def _early(self, number: int) -> None:
        if not self._negotiated and number not in EARLY:
            self._note("SVG-D-001", Register(number).name, number)
            self._negotiated = True  # once is enough

    def _unknown(self, way: str, number: int) -> None:
        if number in self._absent:
            rule = "SVG-D-035" if number == Register.IRQMASK else "SVG-D-005"
            self._note(rule, Register(number).name, number)
        else:
            self._note("SVG-D-008", way, number)

    # -- the version ---------------------------------------------------------------------------------------------------

    def _read_ID(self) -> int:
        return self._id

    def _write_ID(self, value: int) -> None:
        known = (self._profile.id,) if self._profile.svga3 else range(ID_0, self._profile.id + 1)
        if self._negotiated and ID_1 <= value < self._id:
            self._note("SVG-D-002", "ID", value)
        if value in known:
            self._id, self._negotiated = value, True


def _handler(owners: Sequence[object], name: str) -> Callable[..., Any] | None:
    """The method of that name of the first owner that has one."""
    return next((getattr(owner, name) for owner in owners if hasattr(owner, name)), None)
