"""A trace replayed in process: an adapter with one disk, the reference driver on it, a digest at both ends."""

import select
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

from pvdev.device import Port
from pvdev.errors import ConfigError
from pvdev.playing import never
from pvdev.transport.inproc import LocalPort
from pvscsi.block.host import open_disk
from pvscsi.block.medium import Medium
from pvscsi.block.record import RecordDisk
from pvscsi.device import Pvscsi
from pvscsi.driver import Driver
from pvscsi.replay.player import Pace, Player, Way
from pvscsi.replay.report import Report
from pvscsi.replay.requests import MOVE_MOST
from pvscsi.replay.source import Trace
from pvscsi.replay.tally import Witness
from pvscsi.scsi import disk as unit
from pvscsi.scsi.identity import Identity
from pvscsi.scsi.target import Target
from pvscsi.traces.formats import Chosen
from pvscsi.traces.trace import SECTOR

DEPTH, DEPTH_MOST = 32, 1000  # requests out at a time; the largest ring has 1024 entries
MEMORY = 8 << 20  # bytes of the driver beside its buffers
MIB = 1 << 20
NAP_S = 0.05  # the longest sleep: so soon is an interruption heard

Progress = Callable[[str, int | None], Any]


@dataclass
class Options:
    """What the user asked for; see the command's help. No `disk`: one of memory, as large as the trace needs."""

    trace: str
    disk: str | None = None
    via: str = "local"
    pace: Pace = Pace("max")  # noqa: RUF009 (immutable)
    depth: int = DEPTH
    device: str | None = None
    action: str | None = None
    rounds: int = 1
    verify: bool = False
    out: str | None = None
    partial: bool = False


class InProcess:
    """The adapter works when it is called, on the clock of the wall."""

    def __init__(self, port: LocalPort, medium: Medium) -> None:
        self._port, self._medium = port, medium
        port.now_ns = time.monotonic_ns()  # else it leaps while completions wait to be taken

    def work(self) -> None:
        self._port.now_ns = time.monotonic_ns()
        self._port.run()

    def rest(self, due: int | None, done: Callable[[], bool]) -> None:
        nap = _nap(due, self._port.device.deadline())
        if self._medium.fileno() >= 0:
            select.select([self._medium], [], [], nap)
        else:
            time.sleep(nap)


class Served:
    """The adapter works in a thread, behind a socket."""

    def __init__(self, port: Port) -> None:
        self._port = port

    def work(self) -> None:
        pass

    def rest(self, due: int | None, done: Callable[[], bool]) -> None:
        self._port.until(done, _nap(due))


def _nap(*dues: int | None) -> float:
    """Seconds to the first of these times, at most NAP_S."""
    now = time.monotonic_ns()
    return min([NAP_S, *(max(due - now, 0) / 1e9 for due in dues if due is not None)])


def _empty(medium: Medium) -> bool:
    """Whether all of it reads as zeros, as far as can be told without reading."""
    return medium.zeroes and not any(there for _, there in medium.allocated(0, medium.size))


class Replay:
    """One run."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def run(self, progress: Progress, stopping: Callable[[], bool] = never) -> Report:
        """Replay it all, or until `stopping`. Raises `ConfigError` for what is wrong with the trace or the options."""
        options = self.options
        with ExitStack() as owns:
            trace = Trace(options.trace, device=options.device, action=options.action, partial=options.partial)
            owns.callback(trace.close)
            with progress("look through", trace.size) as bar:
                chosen = trace.survey(bar.at)
            witness = Witness(self._open_disk(chosen))
            owns.callback(witness.close)
            medium: Medium = witness
            if options.out is not None:
                medium = RecordDisk(witness, options.out)
                owns.callback(medium.close)
            device = Pvscsi({0: Target({0: unit.Disk(medium, Identity.of(f"0 {witness.name}"))})})
            size = max(min(chosen.content.longest, MOVE_MOST), SECTOR)
            port, way = owns.enter_context(self._port(device, medium, MEMORY + options.depth * size))
            player = Player(
                trace,
                Driver(port, strict=False),
                way,
                options.pace,
                depth=options.depth,
                size=size,
                rounds=options.rounds,
                verify=options.verify,
                fresh=_empty(witness),
            )
            interrupted = False
            with progress("replay", trace.size * options.rounds or None) as bar:
                for _ in player.play():
                    bar.at(trace.bytes_read, f"{player.done:,} requests")
                    if not interrupted and stopping():
                        interrupted = True
                        player.stop()
                bar.at(trace.bytes_read, f"{player.done:,} requests")
            player.close()
            return Report(
                trace.path,
                trace.format.name,
                chosen,
                trace.cut,
                witness.name,
                witness.size,
                player.results,
                witness.tally,
                list(device.rules),
                interrupted,
                player.fault or medium.fault,
            )

    def _open_disk(self, chosen: Chosen) -> Medium:
        end = chosen.content.end
        if self.options.disk is None:
            return open_disk(f"mem:{max(-(-end // MIB), 1)}M")
        medium = open_disk(self.options.disk)
        if medium.size // SECTOR * SECTOR < end:
            medium.close()
            raise ConfigError(
                f"--disk {self.options.disk}: {medium.size:,} bytes, and the trace reaches {end:,}; give a larger one"
            )
        return medium

    @contextmanager
    def _port(self, device: Pvscsi, medium: Medium, memory: int) -> Iterator[tuple[Port, Way]]:
        """The driver's side of `device`, over the transport asked for, and how it is waited for there."""
        with ExitStack() as owns:
            if self.options.via == "local":
                local = LocalPort(device, memory=memory)
                owns.callback(local.close)
                yield local, InProcess(local, medium)
                return
            from pvdev.transport.vfio_user import Server, VfioUserPort

            folder = owns.enter_context(TemporaryDirectory(prefix="pvdev-"))
            server = Server()
            server.add(device, f"{folder}/hba", watch=[medium] if medium.fileno() >= 0 else [])
            owns.enter_context(server.background())
            port = VfioUserPort(f"{folder}/hba", memory=memory)
            owns.callback(port.close)
            yield port, Served(port)
