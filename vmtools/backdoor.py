"""The low-bandwidth port: which command has which handler, and what everything else gets.

An unknown command, a magic that is wrong and a command of the kernel's from a program all read as an empty port does,
all ones, and leave every other register alone, upper halves included: Linux counts on it.

Ref: open-vm-tools lib/include/backdoor_def.h; QEMU hw/i386/vmport.c (unknown commands).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from vmtools.frame import Frame
from vmtools.wire import (
    BDOOR_MAGIC,
    CMD_MAX,
    DEVICE_INFO_SIZE,
    DEVICES_MAX,
    KERNEL_ONLY,
    MASK16,
    MASK32,
    POINTER_OUTSIDE,
    RETIRED,
    VERSION,
    X2APIC_OK,
    Cmd,
    Gui,
    Product,
)

Handler = Callable[[Frame, int], None]
Note = Callable[[str, str, int], None]


class Backdoor:
    """`handlers`: command -> what answers it; whoever has more to offer adds to it."""

    def __init__(self, note: Note) -> None:
        self.handlers: dict[int, Handler] = {}
        self.unknown: dict[int, int] = {}  # command -> how often it was asked for in vain
        self._note = note

    def low(self, frame: Frame, now_ns: int) -> None:
        """One call. Raises nothing, whatever the registers say."""
        command = frame.rcx & MASK16
        handler = self.handlers.get(command)
        if frame.rax & MASK32 != BDOOR_MAGIC:
            self._note("VMT-D-001", "low bandwidth", frame.rax & MASK32)
            frame.rax = MASK32
        elif frame.cpl and command in KERNEL_ONLY:
            self._note("VMT-D-005", f"command {command}", frame.cpl)
            frame.rax = MASK32
        elif handler is not None:
            handler(frame, now_ns)
        else:
            if not 0 < command <= CMD_MAX or command in RETIRED:
                self._note("VMT-D-004", "command", command)
            if command <= CMD_MAX:
                self.unknown[command] = self.unknown.get(command, 0) + 1
            frame.rax = MASK32


@dataclass
class RemovableDevice:
    """What `vmware-toolbox-cmd device` lists. `name`: 31 bytes at most."""

    name: str
    connected: bool = True
    uid: int = 0

    def image(self) -> bytes:
        """RD_Info, 40 bytes."""
        name = self.name.encode()[:31].ljust(32, b"\0")
        return name + self.uid.to_bytes(4, "little") + bytes((self.connected, 0, 0, 0))


@dataclass
class Machine:
    """What a guest may ask of the machine it runs on.

    `mhz`: of the processor, for programs; `tsc_hz`, `bus_hz`: for kernels, which then calibrate nothing; 0: not said.
    `memory`: bytes. `pointer`: where the host's is, or None outside. `absolute`: whether the mouse is (None: unknown).
    """

    product: int = Product.SCALABLE_SERVER
    hardware: int = 21
    mhz: int = 2000
    tsc_hz: int = 0
    bus_hz: int = 0
    memory: int = 1 << 30
    uuid: bytes = bytes(16)
    gui: int = 0
    screen: tuple[int, int] = (1024, 768)
    x2apic: bool = True
    absolute: bool | None = None
    pointer: tuple[int, int] | None = None
    devices: list[RemovableDevice] = field(default_factory=list)
    on_toggle: Callable[[RemovableDevice], bool] = lambda device: True

    def handlers(self) -> dict[int, Handler]:
        return {
            Cmd.GETMHZ: self._mhz,
            Cmd.GETPTRLOCATION: self._where,
            Cmd.SETPTRLOCATION: self._move,
            Cmd.GETVERSION: self._version,
            Cmd.GETDEVICELISTELEMENT: self._device,
            Cmd.TOGGLEDEVICE: self._toggle,
            Cmd.GETGUIOPTIONS: self._get_gui,
            Cmd.SETGUIOPTIONS: self._set_gui,
            Cmd.GETSCREENSIZE: self._screen,
            Cmd.GETHWVERSION: self._hardware,
            Cmd.GETUUID: self._uuid,
            Cmd.GETMEMSIZE: self._memory,
            Cmd.ISMOUSEABSOLUTE: self._absolute,
            Cmd.GETHZ: self._hz,
            Cmd.GET_VCPU_INFO: self._vcpu,
        }

    def sync_time(self, on: bool) -> None:
        """What `timesync status` reads."""
        self.gui = self.gui & ~Gui.SYNC_TIME | (Gui.SYNC_TIME if on else 0)

    def _version(self, frame: Frame, now_ns: int) -> None:
        frame.rax, frame.rbx, frame.rcx = VERSION, BDOOR_MAGIC, self.product

    def _hardware(self, frame: Frame, now_ns: int) -> None:
        frame.rax, frame.rbx = self.hardware, BDOOR_MAGIC

    def _mhz(self, frame: Frame, now_ns: int) -> None:
        frame.rax = self.mhz

    def _hz(self, frame: Frame, now_ns: int) -> None:
        if not self.tsc_hz:
            frame.rax = frame.rbx = MASK32
            return
        frame.rax, frame.rbx, frame.rcx = self.tsc_hz & MASK32, self.tsc_hz >> 32 & MASK32, self.bus_hz & MASK32

    def _vcpu(self, frame: Frame, now_ns: int) -> None:
        frame.rax = X2APIC_OK if self.x2apic else 0

    def _memory(self, frame: Frame, now_ns: int) -> None:
        frame.rax = self.memory >> 20 & MASK32

    def _uuid(self, frame: Frame, now_ns: int) -> None:
        words = [int.from_bytes(self.uuid[n : n + 4], "little") for n in (0, 4, 8, 12)]
        frame.rax, frame.rbx, frame.rcx, frame.rdx = words

    def _get_gui(self, frame: Frame, now_ns: int) -> None:
        frame.rax = self.gui & MASK32

    def _set_gui(self, frame: Frame, now_ns: int) -> None:
        """A guest says what it would like; what the host's user chose stays."""

    def _screen(self, frame: Frame, now_ns: int) -> None:
        width, height = self.screen
        frame.rax = (width & MASK16) << 16 | height & MASK16

    def _absolute(self, frame: Frame, now_ns: int) -> None:
        frame.rax = MASK32 if self.absolute is None else int(self.absolute)

    def _where(self, frame: Frame, now_ns: int) -> None:
        x, y = self.pointer if self.pointer is not None else (POINTER_OUTSIDE, POINTER_OUTSIDE)
        frame.rax = (x & MASK16) << 16 | y & MASK16

    def _move(self, frame: Frame, now_ns: int) -> None:
        self.pointer = frame.rbx >> 16 & MASK16, frame.rbx & MASK16

    def _device(self, frame: Frame, now_ns: int) -> None:
        number, offset = frame.rbx >> 16 & MASK16, frame.rbx & MASK16
        if number >= min(len(self.devices), DEVICES_MAX) or offset > DEVICE_INFO_SIZE - 4:
            frame.rax = 0
            return
        image = self.devices[number].image()
        frame.rax, frame.rbx = 1, int.from_bytes(image[offset : offset + 4], "little")

    def _toggle(self, frame: Frame, now_ns: int) -> None:
        number, wanted = frame.rbx & 0x7FFF_FFFF, bool(frame.rbx & 0x8000_0000)
        if number >= min(len(self.devices), DEVICES_MAX):
            frame.rax = 0
            return
        device = self.devices[number]
        before, device.connected = device.connected, wanted
        frame.rax = int(self.on_toggle(device))
        if not frame.rax:
            device.connected = before
