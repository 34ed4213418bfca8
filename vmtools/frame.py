"""The register frame of a backdoor call, and what whoever carries calls may ask of a host.

A call is one trapped port instruction. Whoever traps it fills a frame, calls one of the four entries, and writes back
the registers that differ: a host leaves everything that is not an output of the command as it was, bits 63 to 32
included.

Ref: open-vm-tools lib/include/backdoor_types.h; Linux arch/x86/include/asm/vmware.h.
"""

from typing import Protocol

PORT_LOW = 0x5658  # IN EAX,DX: every command
PORT_HIGH = 0x5659  # REP OUTSB, REP INSB: payloads of messages
PORT_BALLOON = 0x5670

REGISTERS = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp")


class Frame:
    """Registers of one call: 64-bit unsigned. `cpl`: the privilege level it came from; `caller`: whose call it is, for
    fairness and for traces (a thread, a virtual processor).
    """

    __slots__ = (*REGISTERS, "caller", "cpl")

    def __init__(
        self,
        rax: int = 0,
        rbx: int = 0,
        rcx: int = 0,
        rdx: int = 0,
        rsi: int = 0,
        rdi: int = 0,
        rbp: int = 0,
        *,
        cpl: int = 3,
        caller: int = 0,
    ) -> None:
        self.rax, self.rbx, self.rcx, self.rdx = rax, rbx, rcx, rdx
        self.rsi, self.rdi, self.rbp = rsi, rdi, rbp
        self.cpl, self.caller = cpl, caller

    def values(self) -> tuple[int, ...]:
        """The registers in the order of `REGISTERS`."""
        return tuple(getattr(self, name) for name in REGISTERS)

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value:#x}" for name, value in zip(REGISTERS, self.values(), strict=True))
        return f"Frame({inside}, cpl={self.cpl})"


class Calls(Protocol):
    """A host's side of the ports. `now_ns`: the model's clock, which never goes back.

    None of these raises for what a guest did. `high_out` gets the bytes at RSI, `high_in` returns what is to be stored
    at RDI, RCX bytes at most; both set the pointer and the count as the string instruction would have left them.
    """

    def low(self, frame: Frame, now_ns: int) -> None:
        """IN (or OUT) at `PORT_LOW`, or the hypercall in its place."""

    def high_out(self, frame: Frame, data: bytes, now_ns: int) -> None:
        """REP OUTSB at `PORT_HIGH`: guest to host. The host says with `accepts` how much it would take."""

    def high_in(self, frame: Frame, now_ns: int) -> bytes:
        """REP INSB at `PORT_HIGH`: host to guest."""

    def accepts(self, frame: Frame) -> int:
        """How many bytes at RSI a `high_out` with this frame would look at: 0 where it fails, so nothing is read."""
        ...

    def balloon(self, frame: Frame, now_ns: int) -> None:
        """IN at `PORT_BALLOON`."""
