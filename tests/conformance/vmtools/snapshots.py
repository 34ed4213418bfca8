"""A guest's side of a quiesced snapshot, second by second.

Ref: open-vm-tools services/plugins/vmbackup/stateMachine.c (its states, and what each says).
"""

from collections.abc import Sequence

from tests.conformance.vmtools.rig import SECOND, Rig
from vmtools.snapshot import Options, Outcome, Take


class QuiescedGuest:
    """Its state moves once a second. `frozen`: whether its file systems are.

    `fails`: why they will not be; `stalls`: they never are.
    """

    def __init__(self, rig: Rig) -> None:
        self.rig, self.service = rig, rig.service()
        self.stalls = False
        self.frozen, self.fails, self.manifest = False, "", "/etc/vmware-tools/quiesce_manifest.xml"
        self.said: list[tuple[str, int, str]] = []
        self.outcome: Outcome | None = None
        self._next: list[tuple[str, int, str]] = []
        self._active = False
        for word, handler in (
            (b"vmbackup.start", self._start),
            (b"vmbackup.startWithOpts", self._start),
            (b"vmbackup.snapshotDone", self._done),
            (b"vmbackup.abort", self._abort),
        ):
            self.service.on[word] = handler

    def start(self, take: Take | None = None, options: Options | None = None, uuids: Sequence[str] = ()) -> None:
        self.outcome = None

        def ended(outcome: Outcome, now_ns: int) -> None:
            self.outcome = outcome

        assert self.rig.host.snapshot.start(self.rig.ports.now_ns, take, ended, options=options, uuids=uuids)

    def run(
        self, take: Take | None = None, options: Options | None = None, uuids: Sequence[str] = ()
    ) -> Outcome | None:
        self.start(take, options, uuids)
        return self.run_out()

    def run_out(self) -> Outcome | None:
        for _ in range(30):
            self.turn(1)
            if self.outcome is not None:
                break
        return self.outcome

    def turn(self, seconds: int) -> None:
        for _ in range(seconds):
            self.service.poll(10, SECOND // 10)
            self.rig.host.tick(self.rig.ports.now_ns)
            if self._next:
                self._say(*self._next.pop(0))
            elif self._active:
                self._say("req.keepAlive", 0, "")

    def _say(self, name: str, code: int, text: str) -> None:
        self.said.append((name, code, text))
        if name == "prov.snapshotCommit":
            self.frozen = True
        if name == "req.done":
            self._active = False
        self.service.rpc.call(f"vmbackup.eventSet {name} {code} {text}\0")

    def _start(self, rest: bytes) -> bytes:
        if self._active:
            return b"ERROR Quiesce operation already in progress."
        self._active = True
        self._say("reset", 0, "")
        if self.fails:
            self._next = [("req.error", 3, self.fails), ("req.done", 0, "")]
        elif not self.stalls:
            self._next = [("req.keepAlive", 0, ""), ("prov.snapshotCommit", 0, "")]
        return b"OK "

    def _done(self, rest: bytes) -> bytes:
        if not self._active:
            return b"ERROR Error: no quiesce operation in progress"
        self.frozen = False
        self._next = [("req.genericManifest", 0, self.manifest), ("req.done", 0, "")]
        return b"OK "

    def _abort(self, rest: bytes) -> bytes:
        if not self._active:
            return b"ERROR Error: no quiesce operation in progress"
        self.frozen = False
        self._next = [("req.aborted", 4, "Quiesce canceled."), ("req.done", 0, "")]
        return b"OK "
