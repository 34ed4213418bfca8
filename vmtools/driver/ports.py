"""A guest's side of the ports in process: instructions as functions, and a clock of its own.

Registers hold rubbish above bit 31, as they may: a host that loses it breaks a kernel.
"""

from vmtools.frame import PORT_BALLOON, PORT_HIGH, PORT_LOW, REGISTERS, Calls, Frame
from vmtools.wire import BALLOON_MAGIC, BDOOR_MAGIC, MASK32

RUBBISH = 0xDEAD_BEEF << 32


class Ports:
    """What one processor, or one program, calls a host by. `now_ns` moves when somebody moves it."""

    def __init__(self, calls: Calls, *, cpl: int = 3, caller: int = 1, now_ns: int = 0) -> None:
        self.calls, self.cpl, self.caller, self.now_ns = calls, cpl, caller, now_ns

    def frame(self, **registers: int) -> Frame:
        """Registers of a call: those given, rubbish above bit 31."""
        values = {name: RUBBISH | registers.get(name, 0) for name in REGISTERS}
        values["rax"] = RUBBISH | registers.get("rax", BDOOR_MAGIC)
        return Frame(**values, cpl=self.cpl, caller=self.caller)

    def low(self, command: int, ebx: int = 0, *, sub: int = 0, channel: int = 0, esi: int = 0, edi: int = 0) -> Frame:
        """IN EAX, DX at the low-bandwidth port."""
        frame = self.frame(
            rbx=ebx & MASK32, rcx=sub << 16 | command, rdx=channel << 16 | PORT_LOW, rsi=esi, rdi=edi, rbp=0x1234_5678
        )
        self.calls.low(frame, self.now_ns)
        return frame

    def out(self, data: bytes, channel: int, high: int, low: int, *, ebx: int = 0x0001_0000) -> Frame:
        """REP OUTSB: the cookie's halves are in EBP and EDI. As much is sent as the host looks at."""
        frame = self.frame(rbx=ebx, rdx=channel << 16 | PORT_HIGH, rdi=low, rbp=high)
        frame.rsi, frame.rcx = 0x7F00_0000_1000, len(data)
        self.calls.high_out(frame, data[: self.calls.accepts(frame)], self.now_ns)
        return frame

    def inward(self, size: int, channel: int, high: int, low: int, *, ebx: int = 0x0001_0000) -> tuple[Frame, bytes]:
        """REP INSB: the cookie's halves are in ESI and EBP."""
        frame = self.frame(rbx=ebx, rdx=channel << 16 | PORT_HIGH, rsi=high, rbp=low)
        frame.rdi, frame.rcx = 0x7F00_0000_2000, size
        data = self.calls.high_in(frame, self.now_ns)
        return frame, data

    def balloon(self, command: int, one: int = 0, two: int = 0) -> Frame:
        """IN EAX, DX at the balloon's port; its arguments are 64 bits wide."""
        frame = self.frame(rax=BALLOON_MAGIC, rdx=PORT_BALLOON)
        frame.rcx, frame.rbx, frame.rsi = command, one, two
        self.calls.balloon(frame, self.now_ns)
        return frame
