"""The reference driver: brings a display up on either front, by FIFO or by command buffers, and shows pictures in three
ways: the framebuffer of registers, a screen object, a screen target.

Ref: VMware's SVGA developer kit (reference driver), Linux drivers/gpu/drm/vmwgfx.
"""

from struct import pack_into

from pvdev.device import DmaBuffer, Port
from svga.driver import commands
from svga.driver.front import DeviceBroke, Front
from svga.wire import (
    ENABLE_ENABLE,
    FIFO_RING_MIN,
    GMR_FRAMEBUFFER,
    INVALID_ID,
    PAGE,
    SYNC_GENERIC,
    Cap,
    Fifo,
    FifoCap,
    Register,
)
from svga.wire_commands import (
    CB_HEADER,
    CONTEXT_0,
    CONTEXT_DEVICE,
    OTABLE_ENTRY,
    CbStatus,
    Cmd,
    Cmd3d,
    Dc,
    Format,
    MobFormat,
    Otable,
    Remap,
)

WAYS = ("legacy", "screen-objects", "screen-targets")
MINIMUM = 4096  # FIFO registers get a page, as with Linux
GMR, MOB, SURFACE, MONITOR = 1, 2, 3, 0  # the ids of what this driver defines
ENTRIES = 64  # of an object table


class Driver(Front):
    """One display. `bring_up`, then `show` and `send`, then `close`.

    `caps`, `fifo_caps`: what the device says of itself. `buffers`: commands go by buffers, not by the FIFO.
    """

    def __init__(self, port: Port) -> None:
        super().__init__(port)
        self.caps = self.fifo_caps = self._next = self._max = self._fence = 0
        self.buffers = False
        self.way, self.size, self.pitch = WAYS[0], (0, 0), 0
        self._memory: list[DmaBuffer] = []
        self._header: DmaBuffer | None = None
        self.pixels: DmaBuffer | None = None  # where pictures are drawn, but for the framebuffer of registers

    # -- up and down ---------------------------------------------------------------------------------------------------

    def bring_up(
        self, way: str = WAYS[0], *, size: tuple[int, int] = (64, 48), buffers: bool | None = None
    ) -> "Driver":
        """From reset to an empty picture. `buffers`: by command buffers (default: where there is no FIFO, or MOBs)."""
        self.start(buffers=buffers)
        self.way = way
        {WAYS[0]: self.set_mode, WAYS[1]: self.make_screen, WAYS[2]: self.make_target}[way](*size)
        return self

    def start(self, *, buffers: bool | None = None, end: int | None = None) -> None:
        """Versions, capabilities, a way for commands; ENABLE and CONFIG_DONE. `end`: MAX, if not all the FIFO's."""
        self.negotiate()
        self.caps = self.get(Register.CAPABILITIES)
        extended = bool(self.caps & Cap.EXTENDED_FIFO)
        if self.svga3:
            self.fifo_caps = self.get(Register.FIFO_CAPS)
        elif extended:
            self.fifo_caps = self.word(Fifo.CAPABILITIES)
        self.buffers = bool(self.svga3 or self.caps & Cap.GBOBJECTS) if buffers is None else buffers
        self.set(Register.ENABLE, ENABLE_ENABLE)
        if not self.svga3:
            self._max = end or self.get(Register.MEM_SIZE)
            self._next = MINIMUM
            if self._max - MINIMUM < FIFO_RING_MIN:
                raise DeviceBroke(f"a FIFO of {self._max} bytes")
            for word, value in ((Fifo.MIN, MINIMUM), (Fifo.MAX, self._max), (Fifo.NEXT_CMD, MINIMUM)):
                self.set_word(word, value)
            self.set_word(Fifo.STOP, MINIMUM)
        self.set(Register.CONFIG_DONE, 1)
        if self.buffers:
            self._header = self.alloc(2 * PAGE)
            self.steer(Dc.START_STOP_CONTEXT, 1, CONTEXT_0)

    def alloc(self, size: int) -> DmaBuffer:
        """Memory that lives until `close`."""
        buffer = self.port.alloc(size, PAGE)
        self._memory.append(buffer)
        return buffer

    def close(self) -> None:
        """Everything undone, in the order that breaks no rule."""
        if self.way == WAYS[1]:
            self.send(commands.command(Cmd.DESTROY_SCREEN, MONITOR) + commands.command(Cmd.DEFINE_GMR2, GMR, 0))
        elif self.way == WAYS[2]:
            self.send(
                commands.bind_target(MONITOR)
                + commands.body(Cmd3d.DESTROY_GB_SCREENTARGET, MONITOR)
                + commands.body(Cmd3d.BIND_GB_SURFACE, SURFACE, INVALID_ID)
                + commands.body(Cmd3d.DESTROY_GB_SURFACE, SURFACE)
                + commands.body(Cmd3d.DESTROY_GB_MOB, MOB)
                + b"".join(commands.otable(kind, 0, 0, MobFormat.INVALID) for kind in Otable)
            )
        self.sync()
        if self.buffers:
            self.steer(Dc.START_STOP_CONTEXT, 0, CONTEXT_0)
        self.set(Register.CONFIG_DONE, 0)
        self.set(Register.ENABLE, 0)
        for buffer in self._memory:
            self.port.free(buffer)
        self._memory.clear()
        self._header = self.pixels = None

    # -- commands ------------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Whole commands, by whatever way was set up; done when this returns. Raises `DeviceBroke`: one is refused."""
        if self.buffers:
            status = self.submit(data)
            if status is not CbStatus.COMPLETED:
                raise DeviceBroke(f"command buffer: {status.name} at byte {self.error_offset}")
        else:
            self.write(data)
            self.sync()

    def write(self, data: bytes, *, commit: bool = True) -> None:
        """Into the FIFO, behind what is there; `commit`: as far as the device is told. The device must have room."""
        at = self._next
        for begin in range(0, len(data), 4):
            self.port.write(2, at, int.from_bytes(data[begin : begin + 4], "little"))
            at += 4
            if at == self._max:
                at = MINIMUM
        if commit:
            self._next = at
            self.set_word(Fifo.NEXT_CMD, at)

    def ring(self) -> None:
        self.set(Register.SYNC, SYNC_GENERIC)

    def sync(self) -> None:
        """Wait until the device has nothing left to do. Raises `DeviceBroke`."""
        self.ring()
        for _ in range(100_000):
            if not self.get(Register.BUSY):
                return
        raise DeviceBroke("BUSY does not end")

    def fence(self) -> int:
        """Everything sent is done when this returns; the number of the fence that says so. Raises `DeviceBroke`."""
        if not self.fifo_caps & FifoCap.FENCE:
            self.sync()
            return self._fence
        self._fence += 1
        self.send(commands.fence(self._fence))
        seen = self.get(Register.FENCE) if self.svga3 else self.word(Fifo.FENCE)
        if seen != self._fence:
            raise DeviceBroke(f"fence {seen} after {self._fence}")
        return self._fence

    # -- command buffers -----------------------------------------------------------------------------------------------

    def header(self, data: bytes, at: int = 0, **fields: int) -> int:
        """A header at byte `at` of the driver's page for them, `data` in the next page; its address."""
        memory = self._header
        assert memory is not None
        memory.view[PAGE : PAGE + len(data)] = data
        values = {"length": len(data), "ptr": memory.address + PAGE, **fields}
        memory.view[at : at + CB_HEADER.size] = CB_HEADER.encode(**values)
        return memory.address + at

    def post(self, address: int, context: int = CONTEXT_0) -> None:
        """Submit the header at `address`."""
        self.set(Register.COMMAND_HIGH, address >> 32)
        self.set(Register.COMMAND_LOW, address & 0xFFFF_FFFF | context)

    def result(self, at: int = 0) -> CbStatus:
        memory = self._header
        assert memory is not None
        return CbStatus(int.from_bytes(memory.view[at : at + 4], "little"))

    @property
    def error_offset(self) -> int:
        memory = self._header
        assert memory is not None
        at = CB_HEADER.offset["errorOffset"]
        return int.from_bytes(memory.view[at : at + 4], "little")

    def submit(self, data: bytes, context: int = CONTEXT_0, **fields: int) -> CbStatus:
        """One buffer, from beginning to end: what became of it. At most a page; longer ones get memory of their own."""
        longer = self.port.alloc(len(data), PAGE) if len(data) > PAGE else None
        if longer is not None:
            longer.view[: len(data)] = data
            fields = {"ptr": longer.address, "length": len(data), **fields}
            data = b""
        self.post(self.header(data, **fields), context)
        self.port.until(lambda: self.result() is not CbStatus.NONE, 1.0)
        if longer is not None:
            self.port.free(longer)
        return self.result()

    def steer(self, command: Dc, *values: int) -> None:
        """One command of the device context. Raises `DeviceBroke` unless it is done when the write returns."""
        self.post(self.header(commands.words(command, *values)), CONTEXT_DEVICE)
        if self.result() is not CbStatus.COMPLETED:
            raise DeviceBroke(f"{command.name}: {self.result().name}")

    # -- pictures ------------------------------------------------------------------------------------------------------

    def set_mode(self, width: int, height: int, bpp: int = 32, *, pitch: int = 0) -> None:
        """A mode by registers. Raises `DeviceBroke` when it is not what the device says then."""
        if self.caps & Cap.PITCHLOCK:
            self.set(Register.PITCHLOCK, pitch)
        self.set(Register.WIDTH, width)
        self.set(Register.HEIGHT, height)
        if self.caps & Cap.EMULATION_8BIT:
            self.set(Register.BITS_PER_PIXEL, bpp)
        self.size = width, height
        if (self.get(Register.WIDTH), self.get(Register.HEIGHT)) != self.size:
            raise DeviceBroke(f"no mode of {width}x{height}")
        self.pitch = self.get(Register.BYTES_PER_LINE)

    def make_screen(self, width: int, height: int) -> None:
        """A screen object, its pixels in video memory, and a GMR of scattered pages to draw in."""
        self.size, self.pitch = (width, height), 4 * width
        pages = -(-self.pitch * height // PAGE)
        self.pixels = self.alloc(pages * PAGE)
        first = self.pixels.address // PAGE
        ppns = b"".join((first + n).to_bytes(8, "little") for n in range(pages))
        self.send(
            commands.screen(MONITOR, width, height, gmrId=GMR_FRAMEBUFFER, offset=0, pitch=self.pitch)
            + commands.command(Cmd.DEFINE_GMR2, GMR, pages)
            + commands.command(Cmd.REMAP_GMR2, GMR, Remap.PPN64, 0, pages, tail=ppns)
            + commands.gmrfb(GMR, 0, self.pitch)
        )

    def make_target(self, width: int, height: int) -> None:
        """Object tables, a MOB by page table, a surface in it, a screen target that shows it."""
        self.size, self.pitch = (width, height), 4 * width
        pages = -(-self.pitch * height // PAGE)
        self.set_tables()
        self.pixels, table = self.alloc(pages * PAGE), self.alloc(PAGE)
        first = self.pixels.address // PAGE
        pack_into(f"<{pages}Q", table.view, 0, *range(first, first + pages))
        self.send(
            commands.mob(MOB, MobFormat.PT64_1, table.address // PAGE, pages * PAGE)
            + commands.surface(SURFACE, Format.X8R8G8B8, width, height)
            + commands.body(Cmd3d.BIND_GB_SURFACE, SURFACE, MOB)
            + commands.target(MONITOR, 0, 0, width, height)
            + commands.bind_target(MONITOR, SURFACE)
        )

    def set_tables(self) -> None:
        for kind in Otable:
            memory = self.alloc(ENTRIES * OTABLE_ENTRY[kind])
            self.send(commands.otable(kind, memory.address // PAGE, ENTRIES * OTABLE_ENTRY[kind]))

    def draw(self, picture: bytes, x: int, y: int, width: int, height: int) -> None:
        """`picture`, four bytes a pixel, where the way in use draws; nobody is told."""
        for row in range(height):
            data = picture[4 * width * row : 4 * width * (row + 1)]
            at = (y + row) * self.pitch + 4 * x
            if self.pixels is None:
                self.poke(at, data)
            else:
                self.pixels.view[at : at + len(data)] = data

    def tell(self, x: int, y: int, width: int, height: int) -> None:
        """What was drawn is to be shown."""
        if self.way == WAYS[0]:
            self.send(commands.update(x, y, width, height))
        elif self.way == WAYS[1]:
            self.send(commands.blit_to_screen(x, y, x, y, x + width, y + height))
        else:
            self.send(
                commands.update_image(SURFACE, x, y, width, height)
                + commands.update_target(MONITOR, x, y, width, height)
            )

    def show(self, picture: bytes, x: int, y: int, width: int, height: int) -> None:
        self.draw(picture, x, y, width, height)
        self.tell(x, y, width, height)

    def expect(self, flags: int) -> None:
        """Let these interrupts through."""
        self.acknowledge(flags)
        self.set(Register.IRQMASK, flags)
