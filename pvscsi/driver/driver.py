"""The PVSCSI reference driver: brings any adapter up over a `Port`, runs SCSI commands, and checks the device's duties.

A second witness, independent of the model: it shares names and numbers (`wire`) with it and nothing else.
Ref: Linux drivers/scsi/vmw_pvscsi.c; register sequences and habits of other drivers in `profiles`.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pvdev.device import Port
from pvscsi import wire
from pvscsi.driver.commands import Commands
from pvscsi.driver.common import MASK, Buffer, DeviceBroke, RingFull
from pvscsi.driver.config import Config
from pvscsi.driver.data import PLAIN, Data, Shape
from pvscsi.driver.memory import Piece
from pvscsi.driver.profiles import PROFILES
from pvscsi.driver.request import SENSE_MAX, SENSE_SLOT, Request, descriptor
from pvscsi.driver.rings import REQ_CONS, THRESHOLD, Completion
from pvscsi.wire import TAG_SIMPLE, Cmd, Flag, Intr

READS_WRITES = frozenset((0x08, 0x0A, 0x28, 0x2A, 0xA8, 0xAA, 0x88, 0x8A))  # what KICK_RW_IO is for
_DIRECTIONS = {"none": Flag.DIR_NONE, "todevice": Flag.DIR_TODEVICE}


@dataclass(frozen=True)
class Message:
    """What the message ring said: a device came (`added`) or went."""

    added: bool
    target: int
    lun: int


class Driver(Commands):
    """One adapter seen from its driver.

    Order: `bring_up`, requests, `close`. `submit` publishes, `reap` takes what is done, `wait` does so until a request
    is; `run` is both. Memory of a request is given back when it is reaped.
    """

    def __init__(self, port: Port, *, strict: bool = True) -> None:
        super().__init__(port, strict)
        self.out: dict[int, deque[Request]] = {}  # requests the device has, by context, oldest first
        self._slots: list[int] = []  # free ones
        self._sense: Piece | None = None
        self.count = 0  # requests completed
        self.kicks = 0  # of KICK_RW_IO

    # -- bring-up ------------------------------------------------------------------------------------------------------

    def bring_up(self, config: Config | None = None, *, profile: str = "plain", **overrides: Any) -> "Driver":
        """Probe and set up, with a named driver's order of accesses and its numbers.

        `overrides` are fields of `Config`; they win over the profile's, as does a whole `config`. Raises `ConfigError`.
        """
        self.profile = PROFILES[profile]
        base = config if config is not None else Config(**self.profile.config)
        self.config = replace(base, **overrides)
        self.facts()
        self.run_steps(self.profile.bring_up)
        assert self.rings is not None
        self._slots = list(reversed(range(self.rings.requests.entries)))
        self._sense = self.memory.take(SENSE_SLOT * len(self._slots))
        return self

    def close(self) -> None:
        """Stop the device as the profile does, and give all memory back."""
        if self.active:
            self.run_steps(self.profile.close)
            self.active = False
        self.forsake()
        self.memory.release()
        self.rings = self._sense = None

    def forsake(self) -> list[Request]:
        """The device will not finish what it has: it was reset. The requests it had."""
        dropped = [request for waiting in self.out.values() for request in waiting]
        self.out.clear()
        for request in dropped:
            request.dropped = True
            self._free(request)
        return dropped

    def audit(self) -> None:
        """Look at everything the device may not write."""
        if self.rings is not None:
            self.rings.audit()
        self.memory.audit()

    # -- requests ------------------------------------------------------------------------------------------------------

    @property
    def outstanding(self) -> int:
        return sum(map(len, self.out.values()))

    def submit(
        self,
        cdb: Buffer,
        *,
        target: int = 0,
        lun: int | bytes = 0,
        read: int = 0,
        write: Buffer = b"",
        shape: Shape = PLAIN,
        sense: int | None = None,
        tag: int = TAG_SIMPLE,
        context: int | None = None,
        flags: int | None = None,
        kick: bool = True,
        publish: bool = True,
        **fields: int | bytes,
    ) -> Request:
        """Publish one request and kick as the profile does. Raises `RingFull`.

        `read`: bytes of room for what the device sends; `write`: what it is sent; `shape`: how either lies in memory.
        `flags`: instead of the directions that follow from those. `fields`: of `wire.REQUEST`, as they are to stand
        there. Without `publish` it stays unseen until the next that is published.
        """
        rings = self.rings
        assert rings is not None
        if not rings.room or not self._slots:
            self.reap()
            if not rings.room or not self._slots:
                raise RingFull(f"{self.outstanding} requests are out")
        request = self._make(bytes(cdb), target, read, write, shape, sense, context, flags)
        if isinstance(size := fields.get("dataLen"), int):
            request.size = size
        assert self._sense is not None
        cdb_length = {"cdbLen": 16} if self.profile.cdb_16 else {}
        rings.put(
            descriptor(
                request,
                lun=lun,
                tag=tag,
                sense_address=self._sense.address + SENSE_SLOT * request.slot,
                **{**cdb_length, **fields},
            )
        )
        self.out.setdefault(request.context, deque()).append(request)
        if publish:
            rings.publish()
            if kick:
                self.kick(request.cdb[:1])
        return request

    def _make(
        self,
        cdb: bytes,
        target: int,
        read: int,
        write: Buffer,
        shape: Shape,
        sense: int | None,
        context: int | None,
        flags: int | None,
    ) -> Request:
        size = read or len(write)
        memory = Data(self.memory, size, shape) if size else None
        if memory is not None and write:
            memory.fill(write)
        if flags is None:
            flags = Flag.DIR_TOHOST if read else Flag.DIR_TODEVICE if write else _DIRECTIONS[self.profile.none_flag]
        if memory is not None:
            flags |= memory.flag
        slot = self._slots.pop()
        assert self._sense is not None
        at = SENSE_SLOT * slot
        return Request(
            cdb=cdb,
            target=target,
            context=self.profile.context(slot) if context is None else context,
            slot=slot,
            flags=Flag(flags),
            size=size,
            memory=memory,
            sense_room=min(self.config.sense if sense is None else sense, SENSE_MAX),
            sense_view=self._sense.view[at : at + SENSE_SLOT],
        )

    def kick(self, opcode: Buffer = b"") -> None:
        """Tell the device of new requests, the last of which has this opcode, unless it asked for silence."""
        rings = self.rings
        assert rings is not None
        plain = bool(opcode) and opcode[0] in READS_WRITES
        if self.profile.kick != "rw" and not plain:
            self.kick_others()
            return
        state = rings.state
        if plain and self.calls and rings.req_prod - state[REQ_CONS] & MASK < state[THRESHOLD]:
            return
        self.kick_io()

    def kick_io(self, value: int = 0) -> None:
        """KICK_RW_IO."""
        self.kicks += 1
        self.set_reg(wire.REG_KICK_RW_IO, value)

    def kick_others(self, value: int = 0) -> None:
        """KICK_NON_RW_IO: the device has fetched every request when this returns."""
        self.set_reg(wire.REG_KICK_NON_RW_IO, value)

    # -- completions ---------------------------------------------------------------------------------------------------

    def reap(self, limit: int | None = None) -> list[Request]:
        """Take completions that are there, check each, give memory back; the requests, in order of completion."""
        rings = self.rings
        if rings is None:
            return []
        return [found for fields in rings.take(limit) if (found := self._finish(fields)) is not None]

    def _finish(self, fields: Completion) -> Request | None:
        context = fields[0]
        waiting = self.out.get(context)
        if waiting is None:
            self.complain("PVS-V-050", f"a completion nobody waits for: context {context:#x}")
            return None
        request = waiting.popleft()
        if not waiting:
            del self.out[context]
        broken = request.finish(fields)
        self.count += 1
        self._free(request)
        for rule, what in broken:
            self.complain(rule, what)
        return request

    def _free(self, request: Request) -> None:
        request.release()
        self._slots.append(request.slot)

    def look(self) -> list[Request]:
        """Look for completions when this profile's driver would; what was done."""
        listens = self.profile.listens
        if listens == "status":
            if not self.pending() & (Intr.CMPL_0 | Intr.CMPL_1):
                return []
            self.set_reg(wire.REG_INTR_STATUS, int(Intr.CMPL_0 | Intr.CMPL_1))
            return self.reap(1)
        if listens == "interrupt":
            if not self.port.interrupts():
                return []
            if (self.intr == "intx" or self.profile.acks) and not self.acknowledge():
                return []
        elif self.intr == "intx":
            self.acknowledge()
        return self.reap()

    def wait(self, *requests: Request, timeout_s: float = 5.0) -> None:
        """Until these are done (none: all that are out). Raises `DeviceBroke` when that does not come true."""

        def done() -> bool:
            self.look()
            return all(request.done for request in requests) if requests else not self.out

        if not self.port.until(done, timeout_s):
            left = [request for request in requests if not request.done]
            what = f"{left[0].cdb.hex()} to target {left[0].target}" if left else f"{self.outstanding} requests"
            raise DeviceBroke("PVS-V-050", f"never completed: {what}")

    def run(self, cdb: Buffer, **how: Any) -> Request:
        """`submit`, and wait until it is done."""
        request = self.submit(cdb, **how)
        self.wait(request)
        return request

    def until(self, done: Callable[[], bool], timeout_s: float = 5.0) -> bool:
        """Let the device work, and take completions, until `done()`."""

        def look() -> bool:
            self.look()
            return done()

        return self.port.until(look, timeout_s)

    # -- hot plug ------------------------------------------------------------------------------------------------------

    def messages(self) -> list[Message]:
        """What the message ring has to say, each checked."""
        out = []
        for raw in self.rings.take_messages() if self.rings is not None else ():
            fields = wire.MSG_DEV.decode(raw)
            kind, bus, target, lun, pad = (fields[name] for name in ("type", "bus", "target", "lun", "pad"))
            assert isinstance(kind, int)
            assert isinstance(target, int)
            assert isinstance(lun, bytes)
            assert isinstance(pad, bytes)
            if kind not in (wire.MSG_DEV_ADDED, wire.MSG_DEV_REMOVED):
                self.complain("PVS-V-097", f"a message of type {kind}")
                continue
            if bus or target >= max(self.targets, 256) or lun[0] or any(lun[2:]) or any(pad):
                self.complain("PVS-V-097", f"a message about bus {bus!r}, target {target}, LUN {lun.hex()}")
                continue
            out.append(Message(kind == wire.MSG_DEV_ADDED, target, lun[1]))
        return out

    # -- recovery ------------------------------------------------------------------------------------------------------

    def abort(self, request: Request) -> int:
        """ABORT_CMD as Linux does it: what is queued is made known first. COMMAND_STATUS."""
        self.kick_others()
        return self.abort_context(request.context, request.target)

    def abort_context(self, context: int, target: int) -> int:
        """ABORT_CMD alone."""
        return self.command(Cmd.ABORT_CMD, wire.ABORT_CMD.encode(context=context, target=target))

    def reset_device(self, target: int) -> int:
        """RESET_DEVICE; COMMAND_STATUS. What it ended is to be reaped."""
        self.kick_others()
        return self.command(Cmd.RESET_DEVICE, wire.RESET_DEVICE.encode(target=target))

    def reset_bus(self) -> int:
        """RESET_BUS; COMMAND_STATUS."""
        self.kick_others()
        return self.command(Cmd.RESET_BUS)

    def reset_host(self) -> list[Request]:
        """ADAPTER_RESET, completions taken after it, rings set up again if this driver does that.

        The requests that were not completed. The call threshold is forgotten by the device; Linux goes on using it.
        """
        self.kick_others()
        calls = self.calls
        self.adapter_reset()
        self.reap()
        dropped = self.forsake()
        self.run_steps(self.profile.again)
        self.calls = self.calls or (calls and bool(self.profile.again))
        return dropped
