"""`pvdev replay`: a capture through the NIC's rings, in process or over vfio-user, with a digest at both ends."""

import hashlib
import sys
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import click

from pvdev import ui
from pvdev.device import Port
from pvdev.errors import ConfigError
from pvdev.transport.inproc import LocalPort
from vmxnet3.backend import Frame, Null
from vmxnet3.capture import CaptureReader, PcapngWriter
from vmxnet3.device import Vmxnet3
from vmxnet3.driver import Config, Driver
from vmxnet3.host import open_capture
from vmxnet3.pace import Pace, Paced
from vmxnet3.wire import ETH_HEADER, MAX_MTU, MIN_MTU, Feature, RxMode

BATCH = 256
DRIVER_MEMORY = 48 << 20
IDLE_S = 5.0  # with nothing moving for so long, frames still missing are lost
Buffer = bytes | bytearray | memoryview


def _hash() -> Any:
    return hashlib.blake2b(digest_size=16)


@dataclass
class Tally:
    """Frames and bytes that passed a point, with a digest over all of them and their boundaries."""

    frames: int = 0
    bytes: int = 0
    _data: Any = field(default_factory=_hash)
    _lengths: Any = field(default_factory=_hash)

    def add(self, frames: Sequence[Buffer]) -> None:
        lengths = array("I", map(len, frames))
        self.frames += len(frames)
        self.bytes += sum(lengths)
        self._lengths.update(lengths)
        self._data.update(b"".join(frames))

    def digest(self) -> str:
        """32 hex digits; however the frames came in batches."""
        both = _hash()
        both.update(self._data.digest() + self._lengths.digest())
        return str(both.hexdigest())


class Counted:
    """A binary file that knows how far it was read: what the progress bar shows."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.done = file, 0

    def read(self, size: int, /) -> bytes | None:
        data = self._file.read(size)
        self.done += len(data or b"")
        return data


class Source(Null):
    """The capture as the network behind a NIC: its frames when they are due."""

    waits = True

    def __init__(self, paced: Paced, longest: int) -> None:
        self.paced, self._longest = paced, longest
        self.offered, self.short, self.long = Tally(), 0, 0
        self.cut = 0  # frames the capture holds only the start of
        self.fault: ConfigError | None = None  # the capture is broken from here on
        self.finished = False  # every frame was given; read by another thread when the device runs in one

    def take(self, limit: int, now_ns: int) -> list[bytes]:
        """Frames due now, those a NIC cannot carry left out and counted."""
        if self.finished:
            return []
        try:
            taken = self.paced.take(limit, now_ns)
        except ConfigError as error:  # a port does not raise: whoever runs the replay does, in the end
            self.fault, self.finished = error, True
            return []
        self.cut += sum(item[2] > len(item[1]) for item in taken)
        frames = [item[1] for item in taken]
        self.offered.add(frames)
        fit = [frame for frame in frames if ETH_HEADER <= len(frame) <= self._longest]
        if len(fit) < len(frames):
            self.short += sum(len(frame) < ETH_HEADER for frame in frames)
            self.long += sum(len(frame) > self._longest for frame in frames)
        self.finished = self.paced.finished
        return fit

    def receive(self, limit: int, now_ns: int) -> Sequence[bytes]:
        return self.take(limit, now_ns)

    def deadline(self) -> int | None:
        return self.paced.due()


@dataclass
class Options:
    """What the user asked for; see the command's help."""

    capture: str
    via: str = "local"
    pace: Pace = Pace("max")  # noqa: RUF009 (immutable)
    out: str | None = None
    transmit: bool = False
    mtu: int = MAX_MTU
    partial: bool = False


@dataclass
class Report:
    """What came of it. `seconds` counts from the first frame to the last."""

    offered: Tally
    received: Tally
    dropped: dict[str, int]
    seconds: float
    violations: list[Any]
    cut: int

    @property
    def intact(self) -> bool:
        return not self.dropped and self.offered.digest() == self.received.digest()

    def facts(self) -> dict[str, Any]:
        return {
            "offered": {"frames": self.offered.frames, "bytes": self.offered.bytes, "digest": self.offered.digest()},
            "received": {
                "frames": self.received.frames,
                "bytes": self.received.bytes,
                "digest": self.received.digest(),
            },
            "dropped": self.dropped,
            "cut_by_capture": self.cut,
            "intact": self.intact,
            "seconds": round(self.seconds, 6),
            "frames_per_second": round(self.received.frames / self.seconds) if self.seconds else 0,
            "violations": ui.violations_json(self.violations),
        }


class Replay:
    """One run: a device, a driver on it, the capture between them."""

    def __init__(self, options: Options) -> None:
        self.options, self.received = options, Tally()
        self._writer: PcapngWriter | None = None
        self._first_stamp = self._started_ns = 0

    def run(self, progress: Callable[[str, int | None], Any]) -> Report:
        """Play it all. Raises `ConfigError` for what is wrong with the capture or the options."""
        options = self.options
        with ExitStack() as owns:
            file = open_capture(options.capture)
            if options.capture != "-":
                owns.enter_context(file)
            counted = Counted(file)
            reader = CaptureReader(counted, name=options.capture, partial=options.partial)
            if options.out is not None:
                self._open_out(options.out, owns)
            batches = self._stamped(reader.batches(BATCH))
            source = Source(Paced(lambda: batches, options.pace), options.mtu + 18)
            device = Vmxnet3(_Wire(self._arrived) if options.transmit else source)
            driver, port = owns.enter_context(self._driver(device))
            size = Path(options.capture).stat().st_size if options.capture != "-" else None
            with progress("replay", size) as bar:
                step = self._transmit if options.transmit else self._receive
                self._started_ns = time.monotonic_ns()
                for _ in step(source, driver, port):
                    bar.at(counted.done, f"{self.received.frames:,} frames")
                seconds = (time.monotonic_ns() - self._started_ns) / 1e9
            if source.fault is not None:
                raise source.fault
            losses = self._losses(source, driver)
            driver.quiesce()
            return Report(source.offered, self.received, losses, seconds, list(device.rules), source.cut)

    def _stamped(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            if not self._first_stamp:
                self._first_stamp = batch[0][0]
            yield batch

    def _open_out(self, out: str, owns: ExitStack) -> None:
        try:
            file = Path(out).open("wb")  # noqa: SIM115 (closed by `owns`)
        except OSError as error:
            raise ConfigError(f"{out}: {error.strerror}; give --out a file that can be written") from error
        owns.enter_context(file)
        self._writer = PcapngWriter(file)
        self._writer.add_interface("tx0" if self.options.transmit else "rx0")

    @contextmanager
    def _driver(self, device: Vmxnet3) -> Iterator[tuple[Driver, Port]]:
        """The reference driver on `device`, over the transport asked for, up and promiscuous."""
        with ExitStack() as owns:
            if self.options.via == "local":
                port: Port = LocalPort(device, memory=DRIVER_MEMORY)
            else:
                from pvdev.transport.vfio_user import Server, VfioUserPort

                folder = owns.enter_context(TemporaryDirectory(prefix="pvdev-"))
                server = Server()
                server.add(device, f"{folder}/nic")
                owns.enter_context(server.background())
                port = VfioUserPort(f"{folder}/nic", memory=DRIVER_MEMORY)
            owns.callback(port.close)
            driver = Driver(port)
            driver.bring_up(
                Config(mtu=self.options.mtu, features=Feature.RXCSUM, tx_slot=2048, rx_mode=RxMode(0), rx_ring0=512)
            )
            driver.set_rx_mode(RxMode.PROMISC | RxMode.UCAST | RxMode.ALL_MULTI | RxMode.BCAST)
            yield driver, port

    def _arrived(self, frames: Sequence[Buffer]) -> None:
        self.received.add(frames)
        if self._writer is not None:
            stamp = self._first_stamp + time.monotonic_ns() - self._started_ns
            self._writer.write_batch(0, [(stamp, bytes(frame)) for frame in frames])

    def _receive(self, source: Source, driver: Driver, port: Port) -> Iterator[None]:
        """Let the device pull the capture; take what the driver finds in its rings."""

        def sink(queue: int, frames: list[Buffer]) -> None:
            self._arrived(frames)

        local = port if isinstance(port, LocalPort) else None
        quiet_since = time.monotonic_ns()
        while True:
            now = time.monotonic_ns()
            if local is not None:
                local.now_ns = now
                local.run()
            if driver.drain(sink):
                quiet_since = now
                yield
                continue
            if source.finished and self.received.frames + source.short + source.long >= source.offered.frames:
                return
            due = source.paced.due()
            if source.finished and now - quiet_since > IDLE_S * 1e9:
                return
            if due is not None and due > now:
                time.sleep(min((due - now) / 1e9, 0.05))
                quiet_since = now
            elif local is None:
                port.until(lambda: bool(driver.port.interrupts()), 0.001)
            yield

    def _transmit(self, source: Source, driver: Driver, port: Port) -> Iterator[None]:
        """Send the capture through the transmit ring."""
        while True:
            now = time.monotonic_ns()
            frames = source.take(BATCH, now)
            while frames:
                frames = frames[driver.send_batch(frames) :]
                if frames:
                    port.until(lambda: driver.reap_tx() > 0, 1.0)
            yield
            if source.finished:
                break
            due = source.paced.due()
            if due is not None and due > (now := time.monotonic_ns()):
                time.sleep(min((due - now) / 1e9, 0.05))
        wanted = source.offered.frames - source.short - source.long
        port.until(lambda: self.received.frames >= wanted, IDLE_S)

    def _losses(self, source: Source, driver: Driver) -> dict[str, int]:
        """Frames that did not arrive, by cause."""
        transmitted, received = (queues[0] for queues in driver.stats())
        causes = {
            f"longer than the MTU of {self.options.mtu} allows": source.long,
            "shorter than an Ethernet header": source.short,
            "no buffer": received["pktsRxOutOfBuf"],
            "receive error": received["pktsRxError"],
            "transmit error": transmitted["pktsTxError"],
            "discarded by the port": transmitted["pktsTxDiscard"],
        }
        causes["lost on the way"] = source.offered.frames - self.received.frames - sum(causes.values())
        return {cause: count for cause, count in causes.items() if count}


class _Wire(Null):
    """What hears the frames a transmit replay sends."""

    def __init__(self, arrived: Callable[[Sequence[Buffer]], None]) -> None:
        self._arrived = arrived

    def send(self, frames: Sequence[Frame]) -> int:
        self._arrived([frame[0] if len(frame) == 1 else b"".join(frame) for frame in frames])
        return len(frames)


@click.command("replay", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("capture", type=click.Path())
@click.option("--via", type=click.Choice(["local", "vfio-user"]), default="local", show_default=True, help="transport")
@click.option("--pace", default="max", show_default=True, help="original, xN (times as fast), pps:N or max")
@click.option("--out", type=click.Path(), help="write what the driver received as pcapng, ns stamps")
@click.option("--tx", "transmit", is_flag=True, help="send the capture through the transmit ring instead")
@click.option("--mtu", type=click.IntRange(MIN_MTU, MAX_MTU), default=MAX_MTU, show_default=True, help="of the driver")
@click.option("--partial", is_flag=True, help="play what is whole of a capture that is cut short or damaged")
@click.option("--strict", is_flag=True, help="a broken rule fails the run")
@click.option("--json", "as_json", is_flag=True, help="print the result as JSON")
def replay(
    capture: str,
    via: str,
    pace: str,
    out: str | None,
    transmit: bool,
    mtu: int,
    partial: bool,
    strict: bool,
    as_json: bool,
) -> int:
    """Play CAPTURE (pcap or pcapng; "-": standard input) through a VMXNET3's receive ring into a driver.

    Frames, bytes and a digest over all of them are compared at both ends. Exit code 1 when something got lost.
    """
    if out is not None and Path(out).exists() and capture != "-" and Path(out).samefile(capture):
        raise ConfigError(f"--out {out} is the capture itself; give another file")
    options = Options(capture, via, Pace.parse(pace), out, transmit, mtu, partial)
    report = Replay(options).run(lambda label, total: ui.progress(label, total, quiet=as_json))
    if as_json:
        ui.print_json(report.facts())
    else:
        _show(report, options)
    return 0 if report.intact and not (strict and report.violations) else 1


def _show(report: Report, options: Options) -> None:
    offered, received = report.offered, report.received
    way = "transmit" if options.transmit else "receive"
    rows = [
        ("offered", f"{offered.frames:,} frames, {offered.bytes:,} bytes"),
        ("received", f"{received.frames:,} frames, {received.bytes:,} bytes"),
        *((f"dropped: {cause}", f"{count:,} frames") for cause, count in report.dropped.items()),
        ("digest offered", offered.digest()),
        ("digest received", f"{received.digest()} ({'equal' if report.intact else 'DIFFERENT'})"),
        ("time", f"{report.seconds:.3f} s, {received.frames / max(report.seconds, 1e-9):,.0f} frames/s"),
    ]
    if report.cut:
        rows.insert(1, ("of these cut short by the capture", f"{report.cut:,} frames"))
    ui.table(f"replay of {options.capture} through the {way} ring, {options.via}", rows)
    ui.violations(report.violations)
    sys.stdout.flush()
