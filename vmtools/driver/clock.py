"""A program that reads its host's clock.

Ref: open-vm-tools services/plugins/timeSync/timeSync.c (three commands, the newest first).
"""

from dataclasses import dataclass

from vmtools.driver.ports import Ports
from vmtools.wire import BDOOR_MAGIC, MASK32, Cmd


@dataclass(frozen=True)
class Reading:
    """`command`: the one that worked. Microseconds, but `seconds`."""

    command: int
    seconds: int
    us: int
    max_lag_us: int
    lag_us: int = 0


def read(ports: Ports) -> Reading | None:
    """The host's wall time, or None when no command works."""
    for command in (Cmd.GETTIMEFULL_WITH_LAG, Cmd.GETTIMEFULL):
        frame = ports.low(command)
        if frame.rax & MASK32 == BDOOR_MAGIC:
            seconds = (frame.rsi & MASK32) << 32 | frame.rdx & MASK32
            lag = frame.rdi & MASK32 if command == Cmd.GETTIMEFULL_WITH_LAG else 0
            return Reading(command, seconds, frame.rbx & MASK32, frame.rcx & MASK32, lag)
    frame = ports.low(Cmd.GETTIME)
    if frame.rax & MASK32 == MASK32:
        return None
    return Reading(Cmd.GETTIME, frame.rax & MASK32, frame.rbx & MASK32, frame.rcx & MASK32)


def stepped(ports: Ports) -> None:
    """Say that the clock was set."""
    ports.low(Cmd.STOPCATCHUP)
