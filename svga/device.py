"""The display adapter: its parts put together, what they share, and when they work.

A pure state machine. Memory and time come in; register values, interrupts (`pci.irq`) and the picture come out.

Ref: VMware's SVGA developer kit (svga_reg.h, svga_interface.txt); Linux drivers/gpu/drm/vmwgfx (what is asked of it);
VirtualBox DevVGA-SVGA and QEMU vmware_vga (where those two are silent).
"""

from collections.abc import Sized
from typing import ClassVar, Protocol

from pvdev.errors import GuestFault
from pvdev.irq import Interrupts
from pvdev.mem import GuestMemory
from pvdev.rules import RuleLog
from pvdev.saved import Part
from pvdev.trace import Sink
from svga.blits import Blits
from svga.buffers import Buffers
from svga.cursor import MOB_BYTES_MAX, MOB_DIMENSION_MAX, Pointer
from svga.escapes import Escapes
from svga.fences import Fences
from svga.fifo import Ring
from svga.function import Video, pci_function
from svga.gmr import MAX_DESCRIPTORS, MAX_IDS, MAX_PAGES, Gmrs
from svga.interrupts import Causes
from svga.mobs import MOB_SIZE_MAX, Mobs
from svga.modes import Modes
from svga.picture import BLANK, Layout, Shown
from svga.ports import FlatRegisters, Ports
from svga.profiles import FRONTS, Profile, profile
from svga.registers import Registers
from svga.rules import RULES
from svga.screens import Screens
from svga.stream import Handler, Stream
from svga.surfaces import SIDE_MAX, Surfaces
from svga.targets import Targets
from svga.traces import Traces
from svga.wire import (
    BAR_FB,
    BAR_FIFO,
    DEVCAPS,
    ENABLE_ENABLE,
    ENABLE_HIDE,
    FIFO_MEM_MAX,
    INVALID_ID,
    SCRATCH_SIZE,
    SCREEN_SIZE_MAX,
    Cap,
    Fifo,
    Irq,
    Register,
)
from svga.wire_commands import DXFMT_COLOR_RENDERTARGET, DXFMT_SUPPORTED, Cmd, Cmd3d, Devcap
from svga.wishes import Wishes

VRAM_SIZE, FIFO_SIZE = 16 << 20, 256 << 10
SLICE = 64  # commands carried out before a register write is answered
TICK_NS = 20_000_000  # between two looks at what a driver may write without a word
SETTLE_NS = 20_000_000  # after a mode's registers were written
UNRIPE_NS = 1_000_000_000  # the same, while they do not fit together: a slow driver may be at it
MEMORY_SIZE = 256 << 20  # beyond VRAM
DEVCAP_VALUES = {
    Devcap.MAX_TEXTURE_WIDTH: SIDE_MAX,
    Devcap.MAX_TEXTURE_HEIGHT: SIDE_MAX,
    Devcap.DXFMT_X8R8G8B8: DXFMT_SUPPORTED | DXFMT_COLOR_RENDERTARGET,
}


class _Reset(Part, Protocol):
    """A part that can be as it was after power-on."""

    def reset(self) -> None: ...


class Svga:
    """One adapter. `name_of_profile`: see `profiles`. `front`: "svga3" (registers in memory) or "svga2" (ports, FIFO).

    `vram`, `fifo`: memory both sides map, or private where there is none. `size`: pixels of the mode it starts with,
    which Linux prefers; `largest` a driver may ask for. `monitors`: how many are plugged in. `vga`: of class VGA.
    """

    STATE: ClassVar[tuple[str, ...]] = ("_enable", "_config_done", "_devcap")

    polled = False
    gathers = False

    def __init__(
        self,
        name_of_profile: str = "legacy",
        *,
        front: str = FRONTS[0],
        vram: Video | None = None,
        fifo: Video | None = None,
        size: tuple[int, int] = (1280, 800),
        largest: tuple[int, int] = (SCREEN_SIZE_MAX, SCREEN_SIZE_MAX),
        monitors: int = 1,
        vga: bool = False,
        mem: GuestMemory | None = None,
        name: str = "svga",
    ) -> None:
        self.profile: Profile = profile(name_of_profile, front)
        svga3 = self.profile.svga3
        self.name = name
        self.mem = mem if mem is not None else GuestMemory()
        self.rules = RuleLog(RULES)
        self.trace: Sink | None = None
        self.vram = vram if vram is not None else Video(VRAM_SIZE, None)
        self.fifo_memory = None if svga3 else fifo if fifo is not None else Video(FIFO_SIZE, None)
        if not (0 < size[0] <= largest[0] and 0 < size[1] <= largest[1] and 4 * size[0] * size[1] <= self.vram.size):
            raise ValueError(f"a mode of {size[0]}x{size[1]}: not within {largest[0]}x{largest[1]} and VRAM")
        note, caps = self.rules.note, self.profile.caps
        words = self.fifo_memory.view.cast("I") if self.fifo_memory is not None else None
        extended = bool(caps & Cap.EXTENDED_FIFO)
        irq = Interrupts(1)
        self.causes = Causes(irq, note, has_mask=bool(caps & Cap.IRQMASK))
        self.picture = Shown()
        self.picture.arrange = self._layout
        room = MOB_SIZE_MAX if caps & Cap.GBOBJECTS else self.vram.size
        self.wishes = Wishes(monitors, largest, room, prefer=lambda w, h: self.modes.prefer(w, h))
        self.picture.asked = self.wishes.ask
        self._words = words
        self._fences = Fences(self.causes, note, words if extended else None)
        self.modes = Modes(
            self.vram.memory,
            note,
            size=size,
            largest=largest,
            depths=bool(caps & Cap.EMULATION_8BIT),
            fifo=words if extended else None,
            changed=self._rearrange,
            replaced=lambda: self.screens.forget(),
        )
        self.gmrs = Gmrs(self.mem, self.vram.memory, caps, note, self._may_dma)
        self.screens = Screens(self.vram.memory, caps, note, self.picture.stale)
        self.mobs = Mobs(self.mem, note, self._spend, self._may_dma)
        self.surfaces = Surfaces(self.mobs, note, self._spend)
        self.targets = Targets(self.mobs, self.surfaces, self.picture, note)
        self.pointer = Pointer(
            self.profile, self.picture, note, self._spend, mob=self.mobs.get, root=self._root, words=words
        )
        self.escapes = Escapes(note)
        self._blits = Blits(self.modes, self.screens, self.gmrs, self.picture, note, self._spend)
        self.traces = Traces(self.modes, self.picture)
        self._parts: dict[str, _Reset] = {
            "causes": self.causes,
            "fences": self._fences,
            "modes": self.modes,
            "gmrs": self.gmrs,
            "screens": self.screens,
            "mobs": self.mobs,
            "surfaces": self.surfaces,
            "targets": self.targets,
            "pointer": self.pointer,
            "escapes": self.escapes,
            "blits": self._blits,
            "traces": self.traces,
        }
        handlers: dict[int, Handler] = {Cmd.FENCE: self._fence, Cmd.NOP_ERROR: self._nop_error}
        for part in (self._blits, self.gmrs, self.screens, self.pointer, self.escapes):
            handlers |= {int(command): do for command, do in part.commands.items()}
        if caps & Cap.GBOBJECTS:
            handlers |= {Cmd3d.NOP: lambda body: None, Cmd3d.NOP_ERROR: self._nop_error}
            for objects in (self.mobs, self.surfaces, self.targets):
                handlers |= {int(command): do for command, do in objects.commands.items()}
        self.stream = Stream(caps, handlers, note, extended=extended or svga3, skip_unknown=self.profile.skip_unknown)
        self.ring = None
        if self.fifo_memory is not None:
            registers = Fifo.NUM_REGS if extended else Fifo.STOP + 1
            self.ring = Ring(self.fifo_memory.view, self.stream, note, registers=registers)
        self.buffers = Buffers(
            self.profile,
            self.mem,
            self.stream,
            self.causes,
            note,
            mob=self.mobs.get,
            ready=lambda: bool(self._config_done and self._enable & ENABLE_ENABLE),
            may_dma=self._may_dma,
        )
        owners = (self, *self._parts.values(), self.buffers)
        self.registers = Registers(self.profile, self._constants(largest), owners, note)
        self.modes.absent = lambda: not self._enable
        self.modes.palette = lambda: bytes(self.registers.palette)
        self._ports = Ports(self.registers, lambda: self.causes.status, self.causes.acknowledge, note)
        handler = FlatRegisters(self.registers, note) if svga3 else self._ports
        self.pci = pci_function(handler, irq, self.vram, self.fifo_memory, svga3=svga3, vga=vga)
        self.reset()

    @property
    def stateful(self) -> dict[str, Part]:
        """All that has state, by name."""
        found: dict[str, Part] = {
            **self._parts,
            "device": self,
            "config": self.pci.config,
            "irq": self.pci.irq,
            "rules": self.rules,
            "wishes": self.wishes,
            "registers": self.registers,
            "ports": self._ports,
            "stream": self.stream,
            "buffers": self.buffers,
        }
        return found if self.ring is None else {**found, "ring": self.ring}

    def _constants(self, largest: tuple[int, int]) -> dict[Register, int]:
        caps, fifo = self.profile.caps, self.fifo_memory
        return {
            Register.MAX_WIDTH: largest[0],
            Register.MAX_HEIGHT: largest[1],
            Register.VRAM_SIZE: self.vram.size,
            Register.CAPABILITIES: caps,
            Register.MEM_SIZE: min(fifo.size, FIFO_MEM_MAX) if fifo is not None else 0,
            Register.HOST_BITS_PER_PIXEL: 32,
            Register.SCRATCH_SIZE: SCRATCH_SIZE,
            Register.MEM_REGS: Fifo.NUM_REGS if caps & Cap.EXTENDED_FIFO else 0,
            Register.GMR_MAX_IDS: MAX_IDS,
            Register.GMR_MAX_DESCRIPTOR_LENGTH: MAX_DESCRIPTORS,
            Register.GMRS_MAX_PAGES: MAX_PAGES,
            Register.MEMORY_SIZE: self.vram.size + MEMORY_SIZE,
            Register.MAX_PRIMARY_MEM: MOB_SIZE_MAX,
            Register.SUGGESTED_GBOBJECT_MEM_SIZE_KB: MEMORY_SIZE >> 10,
            Register.SCREENTARGET_MAX_WIDTH: SCREEN_SIZE_MAX,
            Register.SCREENTARGET_MAX_HEIGHT: SCREEN_SIZE_MAX,
            Register.MOB_MAX_SIZE: MOB_SIZE_MAX,
            Register.CAP2: self.profile.caps2,
            Register.CURSOR_MAX_BYTE_SIZE: MOB_BYTES_MAX,
            Register.CURSOR_MAX_DIMENSION: MOB_DIMENSION_MAX,
            Register.FIFO_CAPS: self.profile.fifo_caps,
            Register.GBOBJECT_MEM_SIZE_KB: MEMORY_SIZE >> 10,
        }

    def reset(self) -> None:
        """PCI reset: registers at their reset values, everything a driver defined forgotten. VRAM keeps its bytes."""
        self._enable = self._config_done = 0
        self._devcap = 0
        self._now_ns = self._tick_ns = 0
        self._pending_ns: int | None = None  # since when a mode has not been taken
        self.kicked = False
        self.pci.reset()
        for part in self._parts.values():
            part.reset()
        self.buffers.reset()
        self.registers.reset()
        self._ports.reset()
        if self.ring is not None:
            self.ring.reset()
            self._publish()
        self.picture.stale()
        self.picture.settle()

    def resume(self) -> None:
        """Go on from a state that was put in place: those who look at it and those who wait for it hear of it."""
        self.picture.stale()
        self.picture.settle()
        self.pointer.tell()
        self.pci.irq.sample_line()
        self.kicked = True

    def _publish(self) -> None:
        """What drivers read of the FIFO before they have set it up."""
        words = self._words
        assert words is not None
        words[: Fifo.NUM_REGS] = memoryview(bytes(4 * Fifo.NUM_REGS)).cast("I")
        if self.profile.caps & Cap.EXTENDED_FIFO:
            words[Fifo.CAPABILITIES] = self.profile.fifo_caps
            words[Fifo.CURSOR_SCREEN_ID] = INVALID_ID

    # -- what is shown -------------------------------------------------------------------------------------------------

    def _layout(self) -> Layout:
        """Screen targets before screens, screens before the mode of registers; nothing while the driver is away."""
        if not self._enable & ENABLE_ENABLE or self._enable & ENABLE_HIDE:
            return BLANK
        if self.targets:
            return self.targets.layout()
        return self.screens.layout() if self.screens else self.modes.layout()

    def _rearrange(self) -> None:
        self.picture.stale()
        self.picture.settle()

    def _root(self, screen: int) -> tuple[int, int]:
        area = self.screens.get(screen).area
        return area.x, area.y

    # -- registers with a meaning --------------------------------------------------------------------------------------

    def _may_dma(self, place: str) -> bool:
        if not self.pci.bus_master:
            self.rules.note("SVG-D-060", place, self.pci.config.word(4))
        return self.pci.bus_master

    def _read_ENABLE(self) -> int:
        return self._enable

    def _write_ENABLE(self, value: int) -> None:
        self.modes.settle()
        before, self._enable = self._enable, value & (ENABLE_ENABLE | ENABLE_HIDE)
        self.modes.settle()
        if before & ENABLE_ENABLE and not value & ENABLE_ENABLE:
            if self._config_done:
                self._judge_leftovers()
            if self.ring is not None:
                self.ring.stop("ENABLE")
            self.screens.forget()
        elif not before & ENABLE_ENABLE and value & ENABLE_ENABLE:
            if any(self.modes.nothing):
                self.rules.note("SVG-D-025", "ENABLE", self.modes.nothing.index(True))
            if self.ring is not None and self._config_done:
                self.ring.start()
        self.picture.stale()
        self._work()

    def _read_CONFIG_DONE(self) -> int:
        return self._config_done

    def _write_CONFIG_DONE(self, value: int) -> None:
        before, self._config_done = self._config_done, int(bool(value))
        self.modes.settle()
        ring = self.ring
        if before and not value and self._enable:
            self._judge_leftovers()
        if ring is not None and not value:
            ring.stop("CONFIG_DONE")
        elif ring is not None and not (before and ring.running):
            ring.start()
        self._work()

    def _judge_leftovers(self) -> None:
        """A driver that leaves takes with it what it defined."""
        objects: tuple[Sized, ...] = (self.screens, self.gmrs, self.mobs, self.surfaces, self.targets)
        for name, there in zip(("screens", "GMRs", "MOBs", "surfaces", "screen targets"), objects, strict=True):
            if len(there):
                self.rules.note("SVG-D-042", name, len(there))

    def _write_SYNC(self, value: int) -> None:
        if self.ring is not None:
            self.ring.bell()
            self.ring.uncommitted("SYNC")
        self._work()

    def _read_SYNC(self) -> int:
        return 0

    def _read_BUSY(self) -> int:
        """Drivers wait for this to be 0, without end: each look does a part of what is left."""
        if self.ring is not None:
            self.ring.uncommitted("BUSY")
        self._work()
        return int(self._waiting)

    def _write_COMMAND_LOW(self, value: int) -> None:
        self.buffers.submit(value)
        if self.buffers.waiting:
            if self.ring is not None and self.ring.waiting:
                self.rules.note("SVG-D-054", "COMMAND_LOW", value)
            self._work()

    def _read_NUM_DISPLAYS(self) -> int:
        return self.wishes.plugged

    def _read_FB_START(self) -> int:
        return self.pci.config.read(0x10 + 4 * BAR_FB, 4) & ~0xF

    def _read_MEM_START(self) -> int:
        return self.pci.config.read(0x10 + 4 * BAR_FIFO, 4) & ~0xF if self.ring is not None else 0

    def _read_REGS_START_LOW32(self) -> int:
        return self.pci.config.read(0x10, 4) & ~0xF

    def _read_FB_START_LOW32(self) -> int:
        return self.pci.config.read(0x10 + 4 * BAR_FIFO, 4) & ~0xF

    def _read_DEV_CAP(self) -> int:
        return DEVCAP_VALUES.get(Devcap(self._devcap), 0) if self._devcap in DEVCAP_VALUES else 0

    def _write_DEV_CAP(self, value: int) -> None:
        if value >= DEVCAPS:
            self.rules.note("SVG-D-055", "DEV_CAP", value)
        self._devcap = value

    # -- commands of nobody else ---------------------------------------------------------------------------------------

    def _spend(self, cost: int) -> None:
        self.stream.spend(cost)

    def _fence(self, payload: memoryview) -> None:
        words = self.ring.words if self.ring is not None and self.ring.running else None
        self._fences.complete(int.from_bytes(payload, "little"), words=words)

    def _nop_error(self, payload: memoryview) -> None:
        raise GuestFault("SVG-D-012", "NOP_ERROR", 0)

    # -- work ----------------------------------------------------------------------------------------------------------

    @property
    def _waiting(self) -> bool:
        """Whether there is something that could be done at once."""
        if not self._enable & ENABLE_ENABLE:
            return False
        return self._fetching or (self.ring is not None and self.ring.waiting)

    @property
    def _fetching(self) -> bool:
        return self.pci.bus_master and self.buffers.waiting

    def _work(self, budget: int = SLICE) -> int:
        """Carry out up to about `budget` commands of either kind; what is left is for `service`."""
        done = 0
        if self._enable & ENABLE_ENABLE:
            if self.ring is not None:
                done = self.ring.drain(budget)
                if done:
                    self.causes.signal(Irq.FIFO_PROGRESS)
                if self.pointer.look(self.ring.words):
                    done += 1
            if self._fetching:
                done += self.buffers.drain(budget)
            if done and self.trace is not None:
                self.trace("svga.commands", commands=done)
        self.picture.settle()
        self.kicked = self._waiting
        return done

    def service(self, budget: int, now_ns: int) -> bool:
        """Go on with commands, about `budget` of them; look at what drivers write without a word when that is due."""
        self._now_ns = now_ns
        self.kicked = False
        done = self._work(budget)
        if self.modes.pending:
            if self._pending_ns is None:
                self._pending_ns = now_ns
            elif now_ns >= self._pending_ns + self._patience:
                self._pending_ns = None
                self.modes.settle()
                self.picture.settle()
        else:
            self._pending_ns = None
        if self._tracing:
            self.traces.look(now_ns)
        if self.ring is not None and now_ns >= self._tick_ns:
            self._tick_ns = now_ns + TICK_NS
            self.ring.judge(now_ns)
        return done > 0

    @property
    def _patience(self) -> int:
        """How long a mode nobody asks about is not taken (ns)."""
        return SETTLE_NS if self.modes.ripe else UNRIPE_NS

    @property
    def _tracing(self) -> bool:
        """Whether plain stores into the framebuffer have to be found."""
        enabled = self._enable & ENABLE_ENABLE and not self._enable & ENABLE_HIDE
        legacy = not self.screens and not self.targets
        return bool(enabled and legacy and self.traces.on)

    def deadline(self) -> int | None:
        due = []
        if self.ring is not None and self.ring.running:
            due.append(self._tick_ns)
        if self._tracing:
            due.append(self.traces.due_ns)
        if self.modes.pending:
            due.append(0 if self._pending_ns is None else self._pending_ns + self._patience)
        return min(due, default=None)

    def rest(self) -> bool:
        """Drivers ring whenever BUSY is 0: nothing to arm."""
        return self._waiting
