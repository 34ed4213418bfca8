"""Completion facts of a replay as Linux's own driver sees them: its counters, and what it tells the stack of frames."""

import os
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from guest.frames import mac
from guest.kit import Kit

from tests.guest.flows import TCP, UDP, Flow, frame
from tests.guest.served import GUEST_MAC, HOST_MAC, Host
from vmxnet3.captures.pcapng import PcapngWriter
from vmxnet3.ports.host import open_port

pytestmark = [pytest.mark.guest, pytest.mark.slow]

QUEUES = 2
HOLD_MS = DELAY_MS = 300


@dataclass(frozen=True)
class Case:
    """A frame, the facts it is marked with, what `seen` must say of it (None: the stack never gets it)."""

    data: bytes
    words: str = ""
    said: dict[str, str] | None = field(default_factory=dict)
    cut: int | None = None
    """How many of its bytes the stack gets."""

    @property
    def crc(self) -> str:
        return f"{zlib.crc32(self.data[: self.cut]):08x}"


@dataclass(frozen=True)
class Phase:
    """Frames that come together, and what counters they move: all of ethtool's, summed over the queues."""

    cases: tuple[Case, ...]
    counters: dict[str, int] = field(default_factory=dict)

    @property
    def seen(self) -> int:
        return sum(case.said is not None for case in self.cases)


class Numbered:
    """Makes frames, no two alike."""

    def __init__(self) -> None:
        self._number = 0

    def _flow(self, protocol: int, version: int) -> Flow:
        self._number += 1
        if version == 4:
            return Flow(protocol, bytes((198, 51, 100, self._number)), bytes((203, 0, 113, 9)), (4000, 5000))
        prefix = bytes.fromhex("20010db8") + bytes(11)
        return Flow(protocol, prefix + bytes((self._number,)), prefix + b"\xfe", (4000, 5000))

    def udp(self, version: int = 4) -> bytes:
        return frame(self._flow(UDP, version), mac(GUEST_MAC), mac(HOST_MAC))

    def tcp(self, version: int = 4, payload: int = 0) -> bytes:
        return frame(self._flow(TCP, version), mac(GUEST_MAC), mac(HOST_MAC), payload_size=payload)


def corrupt(data: bytes) -> bytes:
    return data[:-1] + bytes((data[-1] ^ 1,))


def phases() -> dict[str, Phase]:
    new = Numbered()
    return {
        "checksum": Phase(
            (
                Case(new.udp(), "", {"csum": "valid"}),
                Case(corrupt(new.udp()), "", {"csum": "none"}),
                Case(new.udp(), "csum=bad", {"csum": "none"}),
                Case(new.tcp(6), "csum=bad", {"csum": "none"}),
                Case(new.tcp(), "csum=unknown", {"csum": "none"}),
                Case(new.tcp(), "ipcsum=bad", {"csum": "none"}),
                Case(corrupt(new.udp()), "csum=good", {"csum": "valid"}),
                Case(new.udp(), "frag", {"csum": "none"}),
            )
        ),
        "tag": Phase(
            (Case(new.udp(), "vlan=100.3", {"vlan": "6064"}), Case(new.udp(), "", {"vlan": "-"})), {"vlan100": 1}
        ),
        "hash": Phase(
            (
                Case(new.tcp(), "rss=tcp4:0x1234abcd", {"hash": "1234abcd"}),
                Case(new.udp(6), "rss=udp6:0xfeedf00d", {"hash": "feedf00d"}),
                Case(new.tcp(), "queue=0", {"queue": "0"}),
                Case(new.tcp(6), "queue=1", {"queue": "1"}),
            )
        ),
        "merged": Phase(
            (
                Case(new.tcp(4, 5000), "lro=5:1000", {"gso": "tcp4:1000", "len": str(54 + 5000)}),
                Case(new.tcp(6, 4800), "lro=4:1200", {"gso": "tcp6:1200"}),
                Case(new.tcp(4, 600), "lro=3:200", {"gso": "tcp4:200"}),
                Case(new.tcp(4, 5000), "lro=5", {"gso": "tcp4:1000"}),  # the driver finds out by itself ...
                Case(new.tcp(4, 5000), "lro=5 inner", {"gso": "-"}),  # ... not for what is inside a tunnel
                Case(new.tcp(4, 600), "", {"gso": "-"}),
            ),
            {"LRO_pkts_rx": 5, "LRO_byte_rx": 54 * 4 + 74 + 5000 * 3 + 4800 + 600},
        ),
        "cut": Phase((Case(new.udp(), "trunc=61", {"len": "61"}, 61), Case(new.udp()))),
        "error": Phase(
            (
                Case(new.udp(), "err", None),
                Case(new.udp(), "fcs=bad", None),
                Case(new.tcp(4, 5000), "lro=5:1000 err", None),  # several buffers of one packet
                Case(new.udp()),
            ),
            {"drv_dropped_rx_total": 3, "err": 3, "fcs": 1},
        ),
        "held": Phase(
            (Case(new.udp(), "queue=0"), Case(new.udp(), f"queue=0 gen=hold:{HOLD_MS}ms"), Case(new.udp(), "queue=0"))
        ),
        "delayed": Phase((Case(new.udp(), f"queue=1 irq=delay:{DELAY_MS}ms"),), {"interrupts": 1}),
        "lost": Phase((Case(new.udp(), "queue=1 irq=lost"), Case(new.udp(), "queue=1")), {"interrupts": 1}),
        "spurious": Phase((Case(new.udp(), "queue=1 irq=spurious"),), {"interrupts": 2}),
    }


class Gate:
    """A port whose frames for the guest come when they are let through."""

    def __init__(self, port: str) -> None:
        self._port, self.waits = open_port(port), True
        self.send, self.link = self._port.send, self._port.link
        self._bell, self._allowed = os.eventfd(0, os.EFD_NONBLOCK), 0

    def let(self, count: int) -> None:
        """From any thread."""
        self._allowed += count
        os.eventfd_write(self._bell, 1)

    def receive(self, limit: int, now_ns: int) -> Sequence[bytes]:
        with suppress(BlockingIOError):
            os.eventfd_read(self._bell)
        frames = self._port.receive(min(limit, self._allowed), now_ns) if self._allowed else ()
        self._allowed -= len(frames)
        return frames

    def deadline(self) -> int | None:
        return self._port.deadline() if self._allowed else None

    def fileno(self) -> int:
        return self._bell

    def close(self) -> None:
        self._port.close()
        os.close(self._bell)


def write_capture(folder: Path, cases: Sequence[Case]) -> str:
    """The cases as a capture with a file of marks; the port that plays it."""
    with (folder / "in.pcapng").open("wb") as file:
        writer = PcapngWriter(file)
        writer.add_interface("lan")
        writer.write_batch(0, [(1000 * n, case.data) for n, case in enumerate(cases)])
    marks = [f"frame {n}: {case.words}" for n, case in enumerate(cases, 1) if case.words]
    (folder / "marks").write_text("\n".join(marks) + "\n")
    return f"pcap:{folder / 'in.pcapng'},marks={folder / 'marks'},pace=max"


def test_the_driver_sees_each_fact(guest_kit: Kit, host: Host, tmp_path: Path) -> None:
    plan = phases()
    gate = Gate(write_capture(tmp_path, [case for phase in plan.values() for case in phase.cases]))
    host.add(gate)
    released: dict[str, float] = {}
    seen: dict[str, float] = {}

    def serve(event: str) -> None:
        name, _, what = event.partition(".")
        if what == "seen":
            seen[name] = time.monotonic()
        else:
            released[name] = time.monotonic()
            gate.let(1 if name == "lost" else len(plan[name].cases))

    try:
        report = host.boot(
            guest_kit,
            "nic_facts",
            params={"queues": QUEUES, "phases": ",".join(f"{name}:{phase.seen}" for name, phase in plan.items())},
            smp=QUEUES,
            deadline_s=60.0,
            on_event=serve,
        ).check()
    finally:
        gate.close()

    for name, phase in plan.items():
        lines = [dict(word.split("=") for word in report.facts[f"{name}.{n}"].split()) for n in range(phase.seen)]
        said = {line["crc"]: line for line in lines}
        for case in phase.cases:
            if case.said is None:
                assert case.crc not in said
            else:
                line = said[case.crc]
                assert (case.words, line) == (case.words, line | case.said)
        grown = {counter: report.facts.get(f"{name}.{counter}", "0") for counter in phase.counters}
        assert (name, grown) == (name, {counter: str(by) for counter, by in phase.counters.items()})
        if name == "held":
            first, held, last = (int(said[case.crc]["ms"]) for case in phase.cases)
            assert held - first >= HOLD_MS - 1
            assert last >= held
    assert seen["delayed"] - released["delayed"] >= DELAY_MS / 1000
    assert (report.dmesg, host.broken_rules()) == ([], [])
