"""A replay in process: a device, the reference driver on it, the captures between them, a digest at both ends."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pvdev.device import Port
from pvdev.errors import ConfigError
from pvdev.playing import never
from pvdev.transport.inproc import LocalPort
from vmxnet3.backend import Frame, Null
from vmxnet3.captures.pace import Pace
from vmxnet3.captures.pcapng import PcapngWriter
from vmxnet3.captures.player import Capture, Player
from vmxnet3.captures.recorder import Recorder
from vmxnet3.device import VERSIONS, Vmxnet3
from vmxnet3.driver import Config, Driver
from vmxnet3.replay.flows import Buffer, Flows, Source
from vmxnet3.replay.report import Report
from vmxnet3.replay.seen import Seen
from vmxnet3.wire import MAX_MTU, Feature, RxMode

BATCH = 256
DRIVER_MEMORY, QUEUE_MEMORY = 48 << 20, 16 << 20  # bytes, and for each receive queue beyond the first
IDLE_S = 5.0  # with nothing moving for so long, frames still missing are lost
NAP_S = 0.05  # the longest sleep: so soon is an interruption heard
UNMASK_NS = 100_000_000  # under load vectors are unmasked so often; else whenever the rings are found empty

Progress = Callable[[str, int | None], Any]


@dataclass
class Options:
    """What the user asked for; see the command's help. `captures`: a path, or captures with their marks."""

    captures: str | Sequence[Capture]
    via: str = "local"
    pace: Pace = Pace("max")  # noqa: RUF009 (immutable)
    out: str | None = None
    transmit: bool = False
    mtu: int = MAX_MTU
    partial: bool = False
    rounds: int = 1
    by_stamp: bool = False
    queues: int = 1
    version: int = VERSIONS
    record: str | None = None

    def played(self) -> Sequence[Capture]:
        return [Capture(self.captures)] if isinstance(self.captures, str) else self.captures

    def size(self) -> int | None:
        """Bytes there are to read in all, or None when nobody knows."""
        paths = [capture.path for capture in self.played()]
        if "-" in paths or not self.rounds:
            return None
        return self.rounds * sum(Path(path).stat().st_size for path in paths)


class Replay:
    """One run: a device, a driver on it, the captures between them."""

    def __init__(self, options: Options) -> None:
        self.options, self.received, self.seen = options, Flows(), Seen()
        self._writer: PcapngWriter | None = None
        self._first_stamp = self._started_ns = self._unmasked_ns = 0
        self._thrown_away = 0

    def run(self, progress: Progress, stopping: Callable[[], bool] = never) -> Report:
        """Play it all, or until `stopping`. Raises `ConfigError` for what is wrong with a capture or the options."""
        options = self.options
        with ExitStack() as owns:
            player = Player(
                options.played(),
                options.pace,
                rounds=options.rounds,
                partial=options.partial,
                by_stamp=options.by_stamp,
                batch=BATCH,
            )
            owns.callback(player.close)
            self._first_stamp = player.first_stamp
            if options.out is not None:
                self._open_out(options.out, owns)
            clock = time.monotonic_ns if options.via != "local" and not options.transmit else None
            source = Source(player, options.mtu + 18, options.queues, clock=clock)
            source.marked = any(capture.rules or capture.queue is not None for capture in options.played())
            device = Vmxnet3(_Wire(self._arrived) if options.transmit else source, version=options.version)
            recorder = owns.enter_context(Recorder(options.record)) if options.record is not None else None
            device.tap = recorder
            driver, port = owns.enter_context(self._driver(device))
            with progress("replay", options.size()) as bar:
                step = self._transmit if options.transmit else self._receive
                self._started_ns = time.monotonic_ns()
                source.opened = options.transmit or options.via != "local"  # else once the loop below keeps time
                driver.set_rx_mode(RxMode.PROMISC | RxMode.UCAST | RxMode.ALL_MULTI | RxMode.BCAST)
                source.opened = True
                interrupted = False
                for _ in step(source, driver, port):
                    bar.at(player.bytes_read, f"{self.received.frames:,} frames")
                    if not interrupted and stopping():
                        interrupted = True
                        source.stop()
                seconds = (time.monotonic_ns() - self._started_ns) / 1e9
            if source.fault is not None:
                raise source.fault
            losses = self._losses(source, driver)
            driver.quiesce()
            return Report(
                source.offered,
                self.received,
                losses,
                seconds,
                list(device.rules),
                source.cut,
                player.lateness,
                player.facts,
                dict(sorted(self.seen.counts.items())),
                Counter(complaint.rule for complaint in driver.complaints),
                self._thrown_away,
                player.backwards,
                interrupted,
                recorder.fault if recorder is not None else None,
            )

    def _open_out(self, out: str, owns: ExitStack) -> None:
        try:
            file = Path(out).open("wb")  # noqa: SIM115 (closed by `owns`)
        except OSError as error:
            raise ConfigError(f"{out}: {error.strerror}; give --out a file that can be written") from error
        owns.enter_context(file)
        self._writer = PcapngWriter(file)
        for queue in range(1 if self.options.transmit else self.options.queues):
            self._writer.add_interface(f"tx{queue}" if self.options.transmit else f"rx{queue}")

    @contextmanager
    def _driver(self, device: Vmxnet3) -> Iterator[tuple[Driver, Port]]:
        """The reference driver on `device`, over the transport asked for; it is up and accepts nothing yet."""
        options = self.options
        memory = DRIVER_MEMORY + QUEUE_MEMORY * (options.queues - 1)
        with ExitStack() as owns:
            if options.via == "local":
                port: Port = LocalPort(device, memory=memory)
            else:
                from pvdev.transport.vfio_user import Server, VfioUserPort

                folder = owns.enter_context(TemporaryDirectory(prefix="pvdev-"))
                server = Server()
                server.add(device, f"{folder}/nic")
                owns.enter_context(server.background())
                port = VfioUserPort(f"{folder}/nic", memory=memory)
            owns.callback(port.close)
            driver = Driver(port)
            driver.bring_up(
                Config(
                    rx_queues=options.queues,
                    mtu=options.mtu,
                    features=Feature.RXCSUM,
                    tx_slot=2048,
                    rx_mode=RxMode(0),
                    rx_ring0=512,
                    rx_ring1=512,
                )
            )
            yield driver, port

    def _arrived(self, queue: int, frames: Sequence[Buffer]) -> None:
        self.received.add(queue, frames)
        if self._writer is not None:
            stamp = self._first_stamp + time.monotonic_ns() - self._started_ns
            self._writer.write_batch(queue, [(stamp, bytes(frame)) for frame in frames])

    # -- the receive ring -------------------------------------------------------------------------------------------

    def _receive(self, source: Source, driver: Driver, port: Port) -> Iterator[None]:
        """Let the device pull the captures; take what the driver finds in its rings.

        In process the driver only polls, and masks its vectors; where facts are given it uses them as they are meant.
        """
        local = port if isinstance(port, LocalPort) else None
        if local is not None and not source.marked:
            driver.mask_all()
        player, quiet_since = source.player, time.monotonic_ns()
        while True:
            now = time.monotonic_ns()
            if local is not None:
                local.now_ns = now
                local.run(1 if source.marked else 100_000)
            found = self._look(driver, counted=local is not None) if source.marked else driver.drain(self._arrived)
            if found:
                if local is not None:
                    player.handed_over(time.monotonic_ns())
                elif now - self._unmasked_ns > UNMASK_NS:
                    self._interrupted(driver)
                quiet_since = now
                yield
                continue
            done = self.received.frames + self._thrown_away + source.short + source.long
            if source.finished and done >= source.offered.frames + source.erroneous:
                if local is not None and source.marked:  # interrupts that are still to come
                    local.now_ns = now + source.held_ns
                    local.run()
                    self._look(driver, counted=True)
                return
            if source.finished and now - quiet_since > IDLE_S * 1e9 + source.held_ns:
                return
            due = local.device.deadline() if local is not None and source.marked else player.due()
            if due is not None and due > now:
                time.sleep(min((due - now) / 1e9, NAP_S))
                if not source.finished:
                    quiet_since = now
            elif local is None:
                port.until(lambda: self._interrupted(driver), 0.001)
            yield

    def _look(self, driver: Driver, *, counted: bool) -> int:
        """Take packets one by one and note what is said of them. `counted`: interrupts are told as they come."""
        if driver.strict:
            driver.strict = False  # it is lied to, as asked
            driver.unmask_all()
        fired = counted and self._interrupted(driver)
        packets = driver.receive()
        for packet in packets:
            self.seen.packet(packet)
            if packet.err:
                self._thrown_away += 1
            else:
                self._arrived(packet.queue, [packet.data])
        if counted:
            self.seen.round(len(packets), fired)
        return len(packets)

    def _interrupted(self, driver: Driver) -> bool:
        """Whether an interrupt came; what was masked by its delivery is unmasked, before the rings are looked at."""
        fired, self._unmasked_ns = driver.interrupts(), time.monotonic_ns()
        for vector in range(fired.bit_length()):
            if fired >> vector & 1:
                driver.set_imr(vector, 0)
        return bool(fired)

    # -- the transmit ring ------------------------------------------------------------------------------------------

    def _transmit(self, source: Source, driver: Driver, port: Port) -> Iterator[None]:
        """Send the captures through the transmit ring."""
        player = source.player
        while True:
            now = time.monotonic_ns()
            frames = source.take(BATCH, now)
            while frames:
                frames = frames[driver.send_batch(frames) :]
                if frames:
                    port.until(lambda: driver.reap_tx() > 0, 1.0)
            player.handed_over(time.monotonic_ns())
            yield
            if source.finished:
                break
            due = player.due()
            if due is not None and due > (now := time.monotonic_ns()):
                time.sleep(min((due - now) / 1e9, NAP_S))
        wanted = source.offered.frames - source.short - source.long
        port.until(lambda: self.received.frames >= wanted, IDLE_S)

    def _losses(self, source: Source, driver: Driver) -> dict[str, int]:
        """Frames that did not arrive, by cause."""
        transmitted, received = map(_summed, driver.stats())
        causes = {
            f"longer than the MTU of {self.options.mtu} allows": source.long,
            "shorter than an Ethernet header": source.short,
            "no buffer": received["pktsRxOutOfBuf"],
            "receive error": received["pktsRxError"],
            "transmit error": transmitted["pktsTxError"],
            "discarded by the port": transmitted["pktsTxDiscard"],
        }
        wanted = source.offered.frames + source.erroneous
        causes["lost on the way"] = wanted - self.received.frames - self._thrown_away - sum(causes.values())
        return {cause: count for cause, count in causes.items() if count}


def _summed(queues: list[dict[str, int]]) -> dict[str, int]:
    return {name: sum(queue[name] for queue in queues) for name in queues[0]}


class _Wire(Null):
    """What hears the frames a transmit replay sends."""

    def __init__(self, arrived: Callable[[int, Sequence[Buffer]], None]) -> None:
        self._arrived = arrived

    def send(self, frames: Sequence[Frame]) -> int:
        self._arrived(0, [frame[0] if len(frame) == 1 else b"".join(frame) for frame in frames])
        return len(frames)
