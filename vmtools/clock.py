"""The host's clock as guests may read it, and the commands that do.

The host's wall time is where it was set, moved on by the model's clock and by an injected skew. A guest that reads
while somebody sets the clock back sees it go back; otherwise never.

Ref: open-vm-tools services/plugins/timeSync/timeSync.c, timeSyncPosix.c; Linux drivers/ptp/ptp_vmw.c,
arch/x86/kernel/cpu/vmware.c.
"""

from vmtools.frame import Frame
from vmtools.wire import MASK32, MASK64, Cmd

NS, US = 1_000_000_000, 1_000
DEFAULT_EPOCH_NS = 1_800_000_000 * NS  # 15 January 2027: a date, for those who give none


class Clock:
    """`epoch_ns`: wall time, ns since 1970, when the model's clock is 0.

    `max_lag_us`: beyond which error a guest is told to step; `lag_us`: how late interrupts are said to be.
    `answers`: the commands that work; a guest tries 55, 46, 23 in this order.
    """

    def __init__(self, epoch_ns: int = DEFAULT_EPOCH_NS, *, max_lag_us: int = 1_000_000) -> None:
        self.epoch_ns, self.max_lag_us, self.lag_us = epoch_ns, max_lag_us, 0
        self.drift_ppb = 0  # ns a second by which the host's clock is fast
        self.answers: set[int] = {Cmd.GETTIME, Cmd.GETTIMEFULL, Cmd.GETTIMEFULL_WITH_LAG, Cmd.PRECISIONCLOCK}
        self.reads: dict[int, int] = {}  # command -> how often a guest asked
        self.catch_ups_stopped = 0  # STOPCATCHUP: a guest has stepped its clock
        self._since = 0
        self._last: int | None = None

    def wall_ns(self, now_ns: int) -> int:
        """Wall time, ns since 1970."""
        elapsed = now_ns - self._since
        wall = self.epoch_ns + now_ns + elapsed * self.drift_ppb // NS
        return wall if self._last is None else max(wall, self._last)

    def set(self, wall_ns: int, now_ns: int) -> None:
        """The host's clock is set, perhaps back."""
        self.epoch_ns, self._since, self._last = wall_ns - now_ns, now_ns, None

    def skew(self, ns: int) -> None:
        """The host's clock jumps by `ns`."""
        self.epoch_ns += ns
        self._last = None

    def drift(self, ppb: int, now_ns: int) -> None:
        """From now on the host's clock gains `ppb` ns a second."""
        self.set(self.wall_ns(now_ns), now_ns)
        self.drift_ppb = ppb

    def handle(self, frame: Frame, now_ns: int) -> None:
        """GETTIME, GETTIMEFULL, GETTIMEFULL_WITH_LAG, PRECISIONCLOCK and STOPCATCHUP."""
        command = frame.rcx & 0xFFFF
        self.reads[command] = self.reads.get(command, 0) + 1
        if command == Cmd.STOPCATCHUP:
            self.catch_ups_stopped += 1
            return
        if command not in self.answers:
            frame.rax = MASK32
            return
        wall = self._last = self.wall_ns(now_ns)
        if command == Cmd.PRECISIONCLOCK:
            if frame.rcx >> 16 & 0xFFFF:  # set, adjust: not for guests
                frame.rax = MASK32
                return
            wall &= MASK64
            frame.rax, frame.rbx, frame.rcx = 0, wall >> 32, wall & MASK32
            return
        seconds, ns = divmod(wall, NS)
        seconds &= MASK64
        frame.rbx = ns // US
        frame.rcx = self.max_lag_us & MASK32
        if command == Cmd.GETTIME:
            frame.rax = seconds & MASK32
            return
        frame.rsi, frame.rdx = seconds >> 32, seconds & MASK32  # RAX keeps the magic: so is success told
        if command == Cmd.GETTIMEFULL_WITH_LAG:
            frame.rdi = self.lag_us & MASK32
        else:
            frame.rcx = self.max_lag_us + self.lag_us & MASK32
