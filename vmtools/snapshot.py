"""Quiesced snapshots: the guest freezes its file systems, the host copies the disks, the guest thaws them.

The host may copy between `prov.snapshotCommit` and the answer to `vmbackup.snapshotDone`, and only while the guest
keeps saying that it is alive: events come every 2.5 s.

Ref: open-vm-tools services/plugins/vmbackup/stateMachine.c, lib/include/vmware/guestrpc/vmbackup.h.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from pvdev.trace import Sink
from vmtools import xdr
from vmtools.hub import Hub
from vmtools.rpci import Rpci, done, refused
from vmtools.tclo import Result

KEEP_ALIVE_NS = 5_000_000_000  # between two events (VMBACKUP_KEEP_ALIVE_PERIOD)
LIMIT_NS = 900_000_000_000  # for all of it
ABORT_NS = 15_000_000_000  # for a guest to end what it was told to give up
EVENTS_MAX, TEXT_MAX = 1000, 1000
KNOWN = frozenset(
    {
        "reset",
        "req.keepAlive",
        "req.manifest",
        "req.genericManifest",
        "req.error",
        "req.writerError",
        "req.aborted",
        "req.done",
        "prov.snapshotPrepare",
        "prov.snapshotCommit",
        "prov.snapshotAbort",
    }
)


class State(Enum):
    IDLE = "idle"
    ASKED = "asked"  # the guest has not yet said that it begins
    FREEZING = "freezing"
    FROZEN = "frozen"  # the host copies
    THAWING = "thawing"
    ABORTING = "aborting"


@dataclass(frozen=True)
class Options:
    """Of `vmbackup.startWithOpts`, version 1. `timeout_s`: the guest's own; 0: its default."""

    manifest: bool = True
    quiesce_apps: bool = False
    quiesce_fs: bool = True
    writable: bool = False
    scripts: bool = True
    argument: str = ""
    timeout_s: int = 0

    def encode(self, uuids: Sequence[str] = ()) -> bytes:
        flags = (self.manifest, self.quiesce_apps, self.quiesce_fs, self.writable, self.scripts)
        words = xdr.u32(1, 1, *map(int, flags)) + xdr.opaque(self.argument.encode()[:256])
        return words + xdr.u32(self.timeout_s) + xdr.opaque(" ".join(uuids).encode()[:3200])


@dataclass
class Outcome:
    """How it went. `copied`: the host's copy was made while the guest was frozen, and is good.

    `events`: (name, code, text) as they came; `manifest`: the path the guest named.
    """

    ok: bool = False
    why: str = ""
    copied: bool = False
    manifest: str = ""
    events: list[tuple[str, int, str]] = field(default_factory=list)


Then = Callable[[Outcome, int], None]
Take = Callable[[int], bool | None]


class Snapshot:
    """One operation at a time. `limit_ns`: for all of it; `keep_alive_ns`: without an event, until it is given up."""

    def __init__(
        self,
        hub: Hub,
        note: Callable[[str, str, int], None],
        *,
        keep_alive_ns: int = KEEP_ALIVE_NS,
        limit_ns: int = LIMIT_NS,
    ) -> None:
        self.keep_alive_ns, self.limit_ns = keep_alive_ns, limit_ns
        self.state = State.IDLE
        self.last: Outcome | None = None
        self.copy: Take | None = None  # what copies the disks unless `start` says otherwise
        self.strays = 0  # events nobody asked for
        self.trace: Sink | None = None
        self._hub, self._note = hub, note
        self._outcome = Outcome()
        self._take: Take | None = None
        self._then: Then | None = None
        self._heard_ns = self._until_ns = 0

    def offer(self, rpci: Rpci) -> None:
        rpci.on("vmbackup.eventSet", self._event)

    @property
    def busy(self) -> bool:
        """Whether one is under way."""
        return self.state is not State.IDLE

    @property
    def frozen(self) -> bool:
        """Whether the guest's file systems are frozen, as far as it said."""
        return self.state is State.FROZEN

    def start(
        self,
        now_ns: int,
        take: Take | None = None,
        then: Then | None = None,
        *,
        manifest: bool = True,
        uuids: Sequence[str] = (),
        options: Options | None = None,
    ) -> bool:
        """Begin. `take(now_ns)` copies the disks when the guest is frozen: True it is done, False it failed, None it
        goes on and `taken` will tell. `then(outcome, now_ns)` hears how it all went.

        False, and nothing begins: one is under way, or no service is there. `options` need a guest that knows them.
        """
        if self.state is not State.IDLE:
            return False
        if options is not None:
            text = b"vmbackup.startWithOpts " + options.encode(uuids)
        else:
            text = " ".join(("vmbackup.start", str(int(manifest)), *uuids)).encode()
        self._outcome, self._take, self._then = Outcome(), take if take is not None else self.copy, then
        self._heard_ns, self._until_ns = now_ns, now_ns + self.limit_ns
        self._enter(State.ASKED)
        outcome = self._outcome

        def answered(result: Result, when_ns: int) -> None:
            if self._outcome is outcome and self.state is not State.IDLE and not result.ok:
                self._end(False, result.text.decode("utf-8", "replace") or "refused", when_ns)

        return self._hub.ask(text, now_ns, answered)

    def taken(self, ok: bool, now_ns: int) -> bool:
        """The copy is made, or failed. False: too late, the guest is not frozen any more."""
        if self.state is not State.FROZEN:
            return False
        self._outcome.copied = ok
        if not ok:
            self.abort(now_ns, "the copy failed")
            return True
        self._enter(State.THAWING)
        self._hub.ask("vmbackup.snapshotDone", now_ns, self._thawed)
        return True

    def abort(self, now_ns: int, why: str = "aborted") -> bool:
        """Give it up. False: nothing is under way, or it is being given up already."""
        if self.state in (State.IDLE, State.ABORTING):
            return False
        self._outcome.why = self._outcome.why or why
        self._outcome.copied = False
        self._enter(State.ABORTING)
        self._until_ns = now_ns + ABORT_NS
        outcome = self._outcome

        def answered(result: Result, when_ns: int) -> None:
            if self._outcome is outcome and self.state is State.ABORTING and not result.ok:
                self._end(False, outcome.why, when_ns)

        self._hub.ask("vmbackup.abort", now_ns, answered)
        return True

    def tick(self, now_ns: int) -> int | None:
        """Give up what takes too long; when to come again (ns), or None."""
        if self.state is State.IDLE:
            return None
        if self._until_ns <= now_ns:
            if self.state is State.ABORTING:
                self._end(False, self._outcome.why, now_ns)
                return None
            self.abort(now_ns, "it took too long")
            return self._until_ns
        if self.state is State.ABORTING:
            return self._until_ns
        silent_at = self._heard_ns + self.keep_alive_ns
        if silent_at < now_ns:
            self.abort(now_ns, "the guest fell silent")
            return self._until_ns
        return min(self._until_ns, silent_at + 1)

    def forget(self, now_ns: int) -> None:
        """The machine was reset."""
        if self.state is not State.IDLE:
            self._end(False, "the machine was reset", now_ns)

    # -- the guest's ---------------------------------------------------------------------------------------------------

    def _event(self, rest: bytes, now_ns: int) -> bytes:
        """`vmbackup.eventSet NAME CODE TEXT`."""
        name, code, text = [part.decode("utf-8", "replace") for part in (*rest.split(b" ", 2), b"", b"")[:3]]
        if name not in KNOWN or not code.isdecimal() or len(code) > 9:
            self._note("VMT-D-034", "event", len(rest))
            return refused("Invalid arguments")
        if self.trace is not None:
            self.trace("snapshot.event", name=name, code=int(code), text=text[:TEXT_MAX])
        if self.state is State.IDLE:
            self.strays += 1
            self._note("VMT-D-034", "event without an operation", 0)
            return done()
        if self.state is not State.ASKED and now_ns - self._heard_ns > KEEP_ALIVE_NS:
            self._note("VMT-D-035", name, (now_ns - self._heard_ns) // 1_000_000)
        self._heard_ns = now_ns
        if len(self._outcome.events) < EVENTS_MAX:
            self._outcome.events.append((name, int(code), text[:TEXT_MAX]))
        self._step(name, text[:TEXT_MAX], now_ns)
        return done()

    def _step(self, name: str, text: str, now_ns: int) -> None:
        state = self.state
        if name == "reset":
            if state is State.ASKED:
                self._enter(State.FREEZING)
            elif state is not State.ABORTING:
                self._note("VMT-D-034", name, 0)
        elif name == "req.keepAlive":
            pass
        elif state is State.ASKED:
            self._note("VMT-D-034", name, 0)
            if name == "req.done":
                self._end(False, self._outcome.why or "it ended before it began", now_ns)
        elif name == "prov.snapshotCommit":
            if state is State.FREEZING:
                self._commit(now_ns)
            elif state is not State.ABORTING:
                self._note("VMT-D-034", name, 0)
        elif name in ("req.manifest", "req.genericManifest"):
            if state not in (State.THAWING, State.ABORTING):
                self._note("VMT-D-034", name, 0)
            self._outcome.manifest = text
        elif name in ("req.error", "req.writerError", "req.aborted"):
            self._outcome.why = self._outcome.why or text or name
            if state is State.FROZEN:  # it has thawed: whatever is copied now is not of one moment
                self._enter(State.FREEZING)
        elif name == "req.done":
            good = state is State.THAWING and self._outcome.copied and not self._outcome.why
            self._end(good, self._outcome.why or ("" if good else "the guest ended it"), now_ns)

    def _commit(self, now_ns: int) -> None:
        if self._outcome.why:
            self.abort(now_ns)
            return
        self._enter(State.FROZEN)
        made = self._take(now_ns) if self._take is not None else True
        if made is not None and self.state is State.FROZEN:
            self.taken(made, now_ns)

    def _thawed(self, result: Result, now_ns: int) -> None:
        if self.state is State.THAWING and not result.ok:
            self._outcome.copied = False  # it had thawed before
            self._outcome.why = self._outcome.why or result.text.decode("utf-8", "replace") or "it did not thaw"

    def _enter(self, state: State) -> None:
        self.state = state
        if self.trace is not None:
            self.trace("snapshot.state", state=state.value)

    def _end(self, ok: bool, why: str, now_ns: int) -> None:
        outcome, then = self._outcome, self._then
        outcome.ok, outcome.why = ok, "" if ok else why or "failed"
        outcome.copied = outcome.copied and ok
        self.last, self._take, self._then = outcome, None, None
        self._enter(State.IDLE)
        if self.trace is not None:
            self.trace("snapshot.outcome", ok=int(ok), why=outcome.why)
        if then is not None:
            then(outcome, now_ns)
