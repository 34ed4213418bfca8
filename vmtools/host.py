"""A host of one guest: the ports, the messages and the services put together.

A pure state machine. Calls and the time come in (`frame.Calls`), answers go out in the registers; whatever has a
deadline is looked after by `tick`.

Ref: open-vm-tools (what its programs ask and answer); Linux (what its drivers do).
"""

import secrets
from collections import deque
from collections.abc import Callable, Mapping

from pvdev.faults import FaultPlan
from pvdev.mem import GuestMemory
from pvdev.rules import RuleLog
from pvdev.trace import Sink
from vmtools.backdoor import Backdoor, Machine
from vmtools.balloon import Balloon
from vmtools.channel import Channel
from vmtools.clock import Clock
from vmtools.frame import Frame
from vmtools.guestinfo import GuestInfo
from vmtools.heartbeat import GREEN_NS, RED_NS, Heartbeat
from vmtools.hub import MAIN, Hub
from vmtools.message import Channels
from vmtools.power import Power
from vmtools.resolution import Resolution
from vmtools.resources import Resources
from vmtools.rpci import Rpci, RpciEnd, done
from vmtools.rules import RULES
from vmtools.snapshot import Snapshot
from vmtools.tclo import Tclo
from vmtools.timesync import TimeSync
from vmtools.variables import Variables
from vmtools.wire import CHANNELS_MAX, MASK32, PROTO_RPCI, PROTO_TCLO, Cmd

LOG_MAX, LOG_LINE_MAX = 1000, 500  # of what a guest logs: the last lines, and bytes of each
CAPABILITIES_MAX = 256
OPTIONS = {  # what a program is told when it comes, unless the user says otherwise
    "synctime": "0",
    "copypaste": "0",
    "enableDnD": "0",
    "toolScripts.afterPowerOn": "1",
    "toolScripts.afterResume": "1",
    "toolScripts.beforeSuspend": "1",
    "toolScripts.beforePowerOff": "1",
    "broadcastIP": "1",
}


class Host:
    """`machine`: what it says of itself. `clock`: its wall time. `variables`: guestinfo.

    `options`: what `Set_Option` tells the service; the rest as in `OPTIONS`. `power_on`: whether the guest is told
    OS_PowerOn when its service first comes. `mem`: guest physical memory, which the balloon's batches lie in; it may
    be filled in later.

    Other devices add their commands to `backdoor.handlers`.
    """

    def __init__(
        self,
        *,
        machine: Machine | None = None,
        clock: Clock | None = None,
        variables: Variables | None = None,
        mem: GuestMemory | None = None,
        green_ns: int = GREEN_NS,
        red_ns: int = RED_NS,
        options: Mapping[str, str] | None = None,
        high_bandwidth: bool = True,
        channels: int = CHANNELS_MAX,
        requeue: bool = True,
        power_on: bool = True,
        cookies: Callable[[], int] = lambda: secrets.randbits(64),
        name: str = "vmtools",
    ) -> None:
        self.name = name
        self.rules = RuleLog(RULES)
        self._trace: Sink | None = None
        note = self.rules.note
        self.machine = machine if machine is not None else Machine()
        self.clock = clock if clock is not None else Clock()
        self.backdoor = Backdoor(note)
        self.rpci = Rpci(note)
        self.channels = Channels(
            {PROTO_RPCI: self._open_rpci, PROTO_TCLO: self._open_tclo},
            note,
            most=channels,
            high_bandwidth=high_bandwidth,
            cookies=cookies,
        )
        self.hub = Hub(note, self._shut, requeue=requeue)
        self.variables = variables if variables is not None else Variables()
        self.info = GuestInfo(note)
        self.timesync = TimeSync(self.hub, self.clock, self.machine, self.set_option)
        self.snapshot = Snapshot(self.hub, note)
        self.heartbeat = Heartbeat(self.hub, lambda: self.snapshot.frozen, green_ns=green_ns, red_ns=red_ns)
        self.power = Power(self.hub, note)
        self.balloon_device = Balloon(note, mem, lambda: self.machine.memory)
        self.resources = Resources(self.machine, self.balloon_device)
        self.mem = mem
        self.watches: list[Callable[[int], int | None]] = []  # what else `tick` looks after: schedules, scenarios
        self.options = {**OPTIONS, **(options or {})}
        self.capabilities: dict[str, str] = {}  # tools.capability.NAME -> what the guest said
        self.resolution = Resolution(self.hub, self.capabilities)
        self.tools_version = ""  # tools.set.versiontype: "NUMBER TYPE"
        self.log: deque[str] = deque(maxlen=LOG_MAX)
        self._greeting: str | None = "power-on" if power_on else None
        self._traced = (
            self.rpci,
            self.hub,
            self.variables,
            self.info,
            self.snapshot,
            self.heartbeat,
            self.power,
            self.balloon_device,
            self.resolution,
        )
        self._plug_in()

    def _plug_in(self) -> None:
        handlers = self.backdoor.handlers
        handlers.update(self.machine.handlers())
        for command in (
            Cmd.GETTIME,
            Cmd.GETTIMEFULL,
            Cmd.GETTIMEFULL_WITH_LAG,
            Cmd.PRECISIONCLOCK,
            Cmd.STOPCATCHUP,
        ):
            handlers[command] = self.clock.handle
        handlers[Cmd.MESSAGE] = self.channels.low
        handlers[Cmd.STEALCLOCK] = self._steal_clock
        self.variables.offer(self.rpci, self.rules.note)
        for service in (self.info, self.timesync, self.heartbeat, self.power, self.snapshot, self.resources):
            service.offer(self.rpci)
        self.rpci.on("log", self._log)
        self.rpci.on("tools.capability.", self._capability)
        self.rpci.on("tools.set.version", self._version)
        self.rpci.on("tools.set.versiontype", self._version)
        self.rpci.on("vmx.capability.unified_loop", self._loop)
        self.hub.welcome.append(self._greet)

    # -- calls (frame.Calls) -------------------------------------------------------------------------------------------

    def low(self, frame: Frame, now_ns: int) -> None:
        self.backdoor.low(frame, now_ns)

    def high_out(self, frame: Frame, data: bytes, now_ns: int) -> None:
        self.channels.high_out(frame, data, now_ns)

    def high_in(self, frame: Frame, now_ns: int) -> bytes:
        return self.channels.high_in(frame, now_ns)

    def accepts(self, frame: Frame) -> int:
        return self.channels.accepts(frame)

    def balloon(self, frame: Frame, now_ns: int) -> None:
        self.balloon_device.call(frame, now_ns)

    # -- the root's ----------------------------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> int | None:
        """Look after what has a deadline. When to come again (ns) at the latest, or None; any call may change it."""
        parts = (self.hub, self.power, self.snapshot, self.heartbeat)
        times = [part.tick(now_ns) for part in parts] + [watch(now_ns) for watch in self.watches]
        return min((time for time in times if time is not None), default=None)

    def gone(self, caller: int, now_ns: int) -> None:
        """A caller is dead: what it left open is closed."""
        self.channels.gone(caller, now_ns)

    def reset(self, now_ns: int) -> None:
        """The machine was reset: no channel is open, no program has registered, no page is the host's."""
        self.power.forget(now_ns)
        self.snapshot.forget(now_ns)
        self.channels.reset(now_ns)
        self.balloon_device.forget()
        self.info.forget()
        self.capabilities.clear()
        self.resolution.server = None
        self.tools_version = ""
        self._greeting = "power-on"
        self.resources.session += 1

    def resume(self, now_ns: int) -> None:
        """The machine goes on after a suspend, or elsewhere: its programs register anew and hear of it."""
        self._greeting = "resume"
        self.resources.session += 1
        self.hub.reset(now_ns)

    @property
    def trace(self) -> Sink | None:
        return self._trace

    @trace.setter
    def trace(self, sink: Sink | None) -> None:
        self._trace = sink
        for part in self._traced:
            part.trace = sink
        for end in self.hub.ends.values():
            end.trace = sink

    @property
    def faults(self) -> FaultPlan | None:
        return self.channels.faults

    @faults.setter
    def faults(self, plan: FaultPlan | None) -> None:
        self.channels.faults = plan

    def set_option(self, name: str, value: str, now_ns: int) -> None:
        """Tell the service an option, now and whenever it comes anew. `value` must not be empty."""
        if not value or " " in name:
            raise ValueError(f"option {name!r}, value {value!r}: a name without spaces and a value")
        self.options[name] = value
        if MAIN in self.hub.names:
            self.hub.ask(f"Set_Option {name} {value}", now_ns)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _open_rpci(self, channel: Channel) -> RpciEnd:
        return RpciEnd(self.rpci, self.rules.note, channel.id)

    def _open_tclo(self, channel: Channel) -> Tclo:
        return self.hub.open(channel.id, channel.opened_ns)

    def _shut(self, end: Tclo, now_ns: int) -> None:
        for channel in self.channels:
            if channel.end is end:
                self.channels.shut(channel, now_ns)

    def _greet(self, name: str, now_ns: int) -> None:
        """A program has said who it is: it registers, and is told what it needs to know."""
        self.hub.ask("Capabilities_Register", now_ns, to=name)
        if name != MAIN:
            return
        for option, value in self.options.items():
            self.hub.ask(f"Set_Option {option} {value}", now_ns)
        self.info.renew()
        if self._greeting is not None:
            operation, self._greeting = self._greeting, None
            self.power.request(operation, now_ns)

    def _loop(self, rest: bytes, now_ns: int) -> bytes:
        """`vmx.capability.unified_loop PROGRAM`: said between `reset` and its answer, or soon after."""
        self.hub.announced(rest[:40].decode("ascii", "replace"))
        return done()

    def _steal_clock(self, frame: Frame, now_ns: int) -> None:
        """Not offered: no memory is written. A guest asks with an address, or with the pair that only asks."""
        address = (frame.rsi & MASK32) << 32 | frame.rdi & MASK32
        mem = self.mem
        if address != 1 and (address % 64 or (mem is not None and not mem.reachable(address, 64))):
            self.rules.note("VMT-D-042", "STEALCLOCK", address)
        frame.rax = MASK32

    def _log(self, rest: bytes, now_ns: int) -> bytes:
        line = rest[:LOG_LINE_MAX].decode("utf-8", "replace").rstrip("\r\n")
        text = "".join(mark if mark.isprintable() else "?" for mark in line)
        self.log.append(text)
        if self.trace is not None:
            self.trace("guest.log", text=text)
        return done()

    def _capability(self, rest: bytes, now_ns: int) -> bytes:
        name, _, value = rest.decode("utf-8", "replace").partition(" ")
        if not self.hub.names:
            self.rules.note("VMT-D-028", "tools.capability", len(rest))
        if name == "resolution_server":
            self.resolution.registered(value[:100])
        if name in self.capabilities or len(self.capabilities) < CAPABILITIES_MAX:
            self.capabilities[name[:100]] = value[:1000]
        return done()

    def _version(self, rest: bytes, now_ns: int) -> bytes:
        self.tools_version = rest[:40].decode("ascii", "replace")
        return done()
