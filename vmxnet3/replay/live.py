"""A replay into a live guest: a device served over vfio-user whose network is the capture."""

import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pvdev.playing import never
from pvdev.qemu import device_arg, machine_args
from vmxnet3.backend import Frame
from vmxnet3.captures.pace import Pace
from vmxnet3.captures.player import Capture
from vmxnet3.captures.recorder import Recorder
from vmxnet3.device import Vmxnet3
from vmxnet3.ports.pcap import PcapPort
from vmxnet3.replay.local import Progress
from vmxnet3.replay.report import LiveReport
from vmxnet3.served import defaults, make
from vmxnet3.shape import Shaped

LOOK_S = 0.05  # between two looks at how far it is
SETTLE_S = 1.0  # so long after the last frame the driver may still work on it


@dataclass
class LiveOptions:
    """What the user asked for; see the command's help. `delay_ms`: from the driver's opening to the first frame."""

    captures: Sequence[Capture]
    socket: str
    pace: Pace = Pace("original")  # noqa: RUF009 (immutable)
    out: str | None = None
    partial: bool = False
    rounds: int = 1
    by_stamp: bool = False
    delay_ms: int = 0
    record: str | None = None
    nic: Mapping[str, Any] = field(default_factory=defaults)  # values of `served.PARAMS`
    stay: bool = False
    quiet: bool = False


class Handed:
    """A `Tap` that counts what reaches the rings, and passes it on to a recorder."""

    def __init__(self, following: Recorder | None) -> None:
        self._following = following
        self.by_queue: Counter[int] = Counter()
        self.sent_frames = 0
        self.held_ns = 0  # the longest time a mark holds anything back

    def sent(self, queue: int, frames: Sequence[Frame], now_ns: int) -> None:
        self.sent_frames += len(frames)
        if self._following is not None:
            self._following.sent(queue, frames, now_ns)

    def received(self, queue: int, frames: Sequence[bytes], now_ns: int) -> None:
        self.by_queue[queue] += len(frames)
        for frame in frames:
            if isinstance(frame, Shaped):
                self.held_ns = max(self.held_ns, frame.shape.hold_ns + frame.shape.delay_ns)
        if self._following is not None:
            self._following.received(queue, frames, now_ns)


class LiveReplay:
    """One run: a NIC on a socket until everything is played into it, the client is gone, or somebody stops it."""

    def __init__(self, options: LiveOptions) -> None:
        self.options = options
        self._given_up = Counter[str]()  # what the rings could not take, by cause

    def run(self, progress: Progress, stopping: Callable[[], bool] = never) -> LiveReport:
        """Play it all, or until `stopping`. Raises `ConfigError` for what is wrong with a capture or the options."""
        from pvdev.transport.vfio_user import Server

        options = self.options
        with ExitStack() as owns:
            port = PcapPort(
                options.captures,
                out=options.out or "",
                pace=options.pace,
                rounds=options.rounds,
                partial=options.partial,
                by_stamp=options.by_stamp,
                delay_ms=options.delay_ms,
            )
            device, built = make(options.nic, port)
            owns.enter_context(built.owns)
            assert port.player is not None
            recorder = owns.enter_context(Recorder(options.record)) if options.record is not None else None
            device.tap = handed = Handed(recorder)
            server = Server(on_event=lambda line: print(line, file=sys.stderr, flush=True))
            endpoint = server.add(device, options.socket)
            if not options.quiet:
                say_how(device.name, options.socket)
            interrupted, left, began, ended = False, False, 0.0, 0.0
            with server.background(), progress("replay", None) as bar:
                quiet_since, before = time.monotonic(), (0, 0)
                while not interrupted and not left:
                    time.sleep(LOOK_S)
                    interrupted, left = stopping(), endpoint.link is None and endpoint.connections > 0
                    self._look(device)
                    now, seen = time.monotonic(), (port.frames_in, handed.by_queue.total())
                    if seen != before:
                        quiet_since, before, ended = now, seen, now
                        began = began or now
                    bar.at(port.player.bytes_read, f"{seen[0]:,} frames" if began else "waiting for the driver")
                    settled = now - quiet_since > SETTLE_S + handed.held_ns / 1e9
                    if (port.player.finished and settled and not options.stay) or port.fault is not None:
                        break
        player = port.player
        not_handed = port.frames_in - handed.by_queue.total()
        refused = {**self._given_up, "filtered out, or never taken by the driver": not_handed}
        fault = port.fault or (recorder.fault if recorder is not None else None)
        if left and not player.finished:
            fault = fault or "the client left before everything was played"
        return LiveReport(
            port.frames_in,
            port.bytes_in,
            handed.by_queue,
            handed.sent_frames,
            {cause: count for cause, count in refused.items() if count},
            port.truncated,
            max(ended - began, 0.0),
            player.lateness,
            player.backwards,
            player.facts,
            player.marked,
            list(device.rules),
            list(endpoint.log),
            interrupted and not (player.finished or not options.rounds),
            fault,
        )

    def _look(self, device: Vmxnet3) -> None:
        """Note what the rings gave up; the driver may take them away at any moment."""
        _, received = device.counters()
        self._given_up["no buffer"] = sum(queue["pktsRxOutOfBuf"] for queue in received)
        self._given_up["receive error"] = sum(queue["pktsRxError"] for queue in received)


def say_how(name: str, socket: str) -> None:
    """QEMU's arguments, as `pvdev serve` prints them."""
    args = [*machine_args("1G"), "-device", device_arg(Path(socket).absolute())]
    print(f"{name} at {socket}; Ctrl-C ends it. QEMU's arguments (10.1 or newer; memory must be shared):")
    print(f"  {shlex.join(args)}", flush=True)
