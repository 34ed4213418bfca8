"""Time synchronisation: when the guest's service is told to set its clock, and how.

The service reads the host's clock (`clock`) and corrects its own; the host only says when and by which rules.

Ref: open-vm-tools services/plugins/timeSync/timeSync.c; toolbox/toolboxcmd-time.c.
"""

from collections.abc import Callable

from vmtools.backdoor import Machine
from vmtools.clock import Clock
from vmtools.hub import Hub
from vmtools.rpci import Rpci, done, refused
from vmtools.tclo import Then
from vmtools.wire import Cmd, Gui

Tell = Callable[[str, str, int], None]


class TimeSync:
    """`tell(option, value, now_ns)` sets an option of the service's, now and for those to come."""

    def __init__(self, hub: Hub, clock: Clock, machine: Machine, tell: Tell) -> None:
        self._hub, self._clock, self._machine, self._tell = hub, clock, machine, tell

    def offer(self, rpci: Rpci) -> None:
        rpci.on("vmx.set_option", self._asked)

    @property
    def periodic(self) -> bool:
        """Whether the guest is to keep its clock in step."""
        return bool(self._machine.gui & Gui.SYNC_TIME)

    @property
    def steps(self) -> int:
        """How often a guest said that it has set its clock."""
        return self._clock.catch_ups_stopped

    @property
    def samples(self) -> int:
        """How often a guest has read the host's clock."""
        full = (Cmd.GETTIME, Cmd.GETTIMEFULL, Cmd.GETTIMEFULL_WITH_LAG)
        return sum(self._clock.reads.get(command, 0) for command in full)

    def once(self, now_ns: int, *, backward: bool = False, then: Then | None = None) -> bool:
        """Have the guest set its clock; back too, if `backward`. False: there is no service to ask."""
        return self._hub.ask(f"Time_Synchronize {int(backward)}", now_ns, then)

    def keep(
        self, on: bool, now_ns: int, *, period_s: int = 60, slew: bool | None = None, percent: int | None = None
    ) -> None:
        """Have the guest keep its clock in step every `period_s`. `slew`: it may go faster or slower for that, by
        `percent` of the error a period. Raises `ValueError`."""
        if period_s < 1 or (percent is not None and not 1 <= percent <= 100):
            raise ValueError(f"period {period_s} s, {percent} %: at least a second, 1 to 100 %")
        self._machine.sync_time(on)
        if slew is not None:
            self._tell("time.synchronize.tools.slewCorrection", str(int(slew)), now_ns)
        if percent is not None:
            self._tell("time.synchronize.tools.percentCorrection", str(percent), now_ns)
        self._tell("synctime.period", str(period_s), now_ns)
        self._tell("synctime", str(int(on)), now_ns)

    def at_start(self, on: bool, now_ns: int, *, backward: bool = False) -> None:
        """Whether a service that starts sets the clock once."""
        self._tell("time.synchronize.tools.startup.backward", str(int(backward)), now_ns)
        self._tell("time.synchronize.tools.startup", str(int(on)), now_ns)

    def _asked(self, rest: bytes, now_ns: int) -> bytes:
        """`vmx.set_option synctime OLD NEW`, from `vmware-toolbox-cmd timesync`."""
        words = rest.split(b" ")
        if len(words) != 3 or words[0] != b"synctime" or words[2] not in (b"0", b"1"):
            return refused("Unknown option")
        on = words[2] == b"1"
        self._machine.sync_time(on)
        self._tell("synctime", str(int(on)), now_ns)
        return done()
