"""How a driver reaches the device: registers by port or by memory, video memory, FIFO words; on any `Port`."""

from pvdev.device import Port
from pvdev.pci import CMD_IO, CMD_MASTER, CMD_MEMORY, COMMAND, CONFIG_REGION
from svga.wire import (
    BAR_FB,
    BAR_FB3,
    BAR_FIFO,
    BAR_PORTS,
    BAR_REGS,
    DEVICE_SVGA2,
    DEVICE_SVGA3,
    ID_2,
    ID_3,
    PORT_INDEX,
    PORT_IRQSTATUS,
    PORT_VALUE,
    VENDOR_ID,
    Register,
)


class DeviceBroke(Exception):
    """The device did not do what it must."""


class Front:
    """One device of either kind, seen from its driver."""

    def __init__(self, port: Port) -> None:
        """Looks at the ids, switches decoding and bus mastering on. Raises `DeviceBroke` for another device."""
        self.port = port
        ids = port.read(CONFIG_REGION, 0)
        if ids & 0xFFFF != VENDOR_ID or ids >> 16 not in (DEVICE_SVGA2, DEVICE_SVGA3):
            raise DeviceBroke(f"no display: {ids:#010x}")
        self.svga3 = ids >> 16 == DEVICE_SVGA3
        self.power()

    def power(self) -> None:
        self.port.write(CONFIG_REGION, COMMAND, CMD_IO | CMD_MEMORY | CMD_MASTER, 2)

    # -- registers -----------------------------------------------------------------------------------------------------

    def get(self, number: int) -> int:
        if self.svga3:
            return self.port.read(BAR_REGS, 4 * number)
        self.port.write(BAR_PORTS, PORT_INDEX, number)
        return self.port.read(BAR_PORTS, PORT_VALUE)

    def set(self, number: int, value: int) -> None:
        if self.svga3:
            self.port.write(BAR_REGS, 4 * number, value & 0xFFFF_FFFF)
        else:
            self.port.write(BAR_PORTS, PORT_INDEX, number)
            self.port.write(BAR_PORTS, PORT_VALUE, value & 0xFFFF_FFFF)

    def negotiate(self) -> None:
        """Agree on the version. Raises `DeviceBroke`."""
        wanted = ID_3 if self.svga3 else ID_2
        self.set(Register.ID, wanted)
        if self.get(Register.ID) != wanted:
            raise DeviceBroke(f"ID {self.get(Register.ID):#x}, not {wanted:#x}")

    def status(self) -> int:
        """Why it interrupts."""
        return self.get(Register.IRQ_STATUS) if self.svga3 else self.port.read(BAR_PORTS, PORT_IRQSTATUS)

    def acknowledge(self, flags: int) -> None:
        if self.svga3:
            self.set(Register.IRQ_STATUS, flags)
        else:
            self.port.write(BAR_PORTS, PORT_IRQSTATUS, flags)

    # -- memory --------------------------------------------------------------------------------------------------------

    @property
    def _fb(self) -> int:
        return BAR_FB3 if self.svga3 else BAR_FB

    def poke(self, offset: int, data: bytes) -> None:
        """Bytes into video memory; whole dwords."""
        for at in range(0, len(data), 4):
            self.port.write(self._fb, offset + at, int.from_bytes(data[at : at + 4], "little"))

    def peek(self, offset: int, length: int) -> bytes:
        """Bytes of video memory; whole dwords."""
        return b"".join(self.port.read(self._fb, offset + at).to_bytes(4, "little") for at in range(0, length, 4))

    def word(self, index: int) -> int:
        """A word of FIFO memory."""
        return self.port.read(BAR_FIFO, 4 * index)

    def set_word(self, index: int, value: int) -> None:
        self.port.write(BAR_FIFO, 4 * index, value & 0xFFFF_FFFF)
