"""The Python end of the plugin, with a fake plugin at the socket."""

import mmap
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pvdev.mem import GuestMemory
from tests.unit.vmtools.ways.plugin.test_paging import VIRTUAL, Guest
from vmtools.frame import Frame
from vmtools.ways.plugin.carrier import Carrier, Claim, Hello
from vmtools.ways.plugin.wire import ANSWER, CALL, CLAIMS_MAX, NAMES, Kind, claims

MAGIC, BALLOON = 0x564D5868, 0x456C6D6F
TABLES = {"cr0": 1 << 31 | 1, "cr3": 0x1000, "cr4": 1 << 5, "efer": 1 << 10}


class Model:
    """Answers everything in a way that shows."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def low(self, frame: Frame, now_ns: int) -> None:
        self.heard.append(("low", frame.cpl, frame.caller))
        frame.rbx += 1

    def balloon(self, frame: Frame, now_ns: int) -> None:
        self.heard.append("balloon")

    def accepts(self, frame: Frame) -> int:
        return frame.rcx

    def high_out(self, frame: Frame, data: bytes, now_ns: int) -> None:
        self.heard.append(data)

    def high_in(self, frame: Frame, now_ns: int) -> bytes:
        self.heard.append("in")
        return b"x" * min(frame.rcx, 0x20)


class Loop:
    """Calls what is readable when it is told to."""

    def __init__(self) -> None:
        self.handlers: dict[int, Callable[[], None]] = {}

    def watch(self, fd: int, readable: Callable[[], None] | None) -> None:
        if readable is None:
            self.handlers.pop(fd, None)
        else:
            self.handlers[fd] = readable

    def later(self, delay_s: float, do: Callable[[], None]) -> None:
        raise AssertionError("a carrier has nothing to do later")

    def run(self) -> None:
        for handler in list(self.handlers.values())[-1:]:
            handler()


class Plugin:
    """A connected plugin."""

    def __init__(self, folder: Path) -> None:
        self.model, self.loop, self.guest = Model(), Loop(), Guest()
        self.hellos: list[Hello] = []
        self.missed = 0
        self.carrier = Carrier(
            self.loop,
            str(folder / "socket"),
            self.model,
            self.guest.memory,
            lambda: 0,
            on_hello=self.hellos.append,
            on_missing=self._miss,
        )
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(folder / "socket"))
        self.loop.run()

    def _miss(self) -> None:
        self.missed += 1

    def ask(self, kind: int, vcpu: int = 0, **registers: int) -> tuple[int, list[int]]:
        self.socket.sendall(CALL.pack(kind, vcpu, *(registers.get(name, 0) for name in NAMES)))
        self.loop.run()
        handled, _, *values = ANSWER.unpack(self.socket.recv(ANSWER.size))
        return handled, values


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Plugin]:
    made = Plugin(tmp_path)
    yield made
    made.carrier.close()
    made.socket.close()


def test_hello_is_heard(plugin: Plugin) -> None:
    plugin.ask(Kind.HELLO, rax=7, rbx=2, rcx=3_000_000, rdx=1_000_000)
    assert plugin.hellos == [(7, 2, 3_000_000, 1_000_000)]


def test_calls_reach_the_host_with_their_level_and_processor(plugin: Plugin) -> None:
    assert plugin.ask(Kind.IN, 3, rax=MAGIC, rbx=5, rdx=0x5658, cs=0x33) == (1, [MAGIC, 6, 0, 0x5658, 0, 0, 0])
    assert plugin.ask(Kind.OUT, rax=MAGIC, rdx=0x5658, cs=0x10)[0] == 1
    assert plugin.ask(Kind.IN, rax=BALLOON, rdx=0x5670)[0] == 1
    assert plugin.model.heard == [("low", 3, 3), ("low", 0, 0), "balloon"]


@pytest.mark.parametrize(
    "registers",
    [
        {"kind": Kind.IN, "rax": 1, "rdx": 0x5658},
        {"kind": Kind.IN, "rax": MAGIC, "rdx": 0x5659},
        {"kind": Kind.IN, "rax": MAGIC, "rdx": 0x70},
        {"kind": Kind.OUT, "rax": BALLOON, "rdx": 0x5670},
        {"kind": Kind.REP_OUTSB, "rax": MAGIC, "rdx": 0x5658},
        {"kind": Kind.REP_INSB, "rax": MAGIC, "rdx": 0x5659, "eflags": 1 << 10},
        {"kind": 9, "rax": MAGIC, "rdx": 0x5658},
    ],
)
def test_everything_else_is_the_processor_s(plugin: Plugin, registers: dict[str, int]) -> None:
    assert plugin.ask(**registers)[0] == 0
    assert plugin.model.heard == []


def test_payloads_go_through_the_guest_s_page_tables(plugin: Plugin) -> None:
    image = plugin.guest.image
    image[0x8010:0x8014] = b"said"
    out = plugin.ask(Kind.REP_OUTSB, rax=MAGIC, rdx=0x5659, rsi=VIRTUAL + 0x10, rcx=4, cs=0x33, **TABLES)
    inside = plugin.ask(Kind.REP_INSB, rax=MAGIC, rdx=0x5659, rdi=VIRTUAL + 0x100, rcx=0x20, cs=0x33, **TABLES)

    assert (out[0], inside[0]) == (1, 1)
    assert plugin.model.heard == [b"said", "in"]
    assert image[0x8100:0x8121] == b"x" * 0x20 + b"\0"
    assert plugin.missed == 0


@pytest.mark.parametrize("kind", [Kind.REP_OUTSB, Kind.REP_INSB])
@pytest.mark.parametrize("count", [0x20, 1 << 63])
def test_a_missing_page_is_a_checkpoint_and_reaches_no_host(plugin: Plugin, kind: Kind, count: int) -> None:
    at = {"rsi": VIRTUAL + 0xFF0, "rdi": VIRTUAL + 0xFF0}
    plugin.model.accepts = lambda frame: min(count, 65536)  # type: ignore[method-assign]
    handled, values = plugin.ask(kind, rax=MAGIC, rbx=0x10000, rdx=0x5659, rcx=count, cs=0x33, **at, **TABLES)

    assert (handled, values[1]) == (1, 0x10_0000)
    assert plugin.model.heard == []
    assert plugin.missed == 1


def test_claimed_ports_go_to_their_device(plugin: Plugin) -> None:
    written: list[tuple[int, int]] = []
    plugin.carrier.claim(Claim(0xC040, 16, lambda port: port * 2, lambda port, value: written.append((port, value))))

    assert plugin.ask(Kind.IN, rdx=0xC041, rax=0xFFFF_FFFF_FFFF)[1][0] == 0xC041 * 2
    assert plugin.ask(Kind.OUT, rdx=0xC048, rax=0xABCD_1234_5678) == (1, [0xABCD_1234_5678, 0, 0, 0xC048, 0, 0, 0])
    assert plugin.ask(Kind.IN, rdx=0xC04C)[0] == 1
    assert plugin.ask(Kind.IN, rdx=0xC04D)[0] == 0  # a part of it would lie beyond
    assert plugin.ask(Kind.IN, rdx=0xC050)[0] == 0
    assert written == [(0xC048, 0x1234_5678)]


def test_the_plugin_finds_the_claims_in_a_page(plugin: Plugin) -> None:
    fd = os.open(plugin.carrier.claims_path, os.O_RDONLY)
    with mmap.mmap(fd, 4096, prot=mmap.PROT_READ) as page:
        plugin.carrier.claim(Claim(0xC040, 16, lambda port: 0, lambda port, value: None))
        assert page[:8].hex() == "0100000040c01000"
        plugin.carrier.claim()
        assert page[:4] == bytes(4)
    os.close(fd)


@pytest.mark.parametrize("ranges", [[(0, 1)] * (CLAIMS_MAX + 1), [(0x10000, 1)], [(0xFFFF, 2)], [(1, 0)]])
def test_claims_that_are_no_ports_are_refused(ranges: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="ports"):
        claims(ranges)


def test_a_plugin_that_leaves_makes_room_for_another(plugin: Plugin) -> None:
    second = socket.socket(socket.AF_UNIX)
    second.connect(plugin.carrier.path)
    accept = next(iter(plugin.loop.handlers.values()))
    accept()
    assert second.recv(1) == b""  # one plugin at a time
    plugin.socket.sendall(b"half a call")
    plugin.socket.close()
    plugin.loop.run()
    third = socket.socket(socket.AF_UNIX)
    third.connect(plugin.carrier.path)
    accept()
    plugin.socket = third
    assert plugin.ask(Kind.IN, rax=MAGIC, rdx=0x5658)[0] == 1
    second.close()


def test_memory_is_only_looked_at_for_payloads(plugin: Plugin) -> None:
    plugin.carrier.memory = GuestMemory()
    assert plugin.ask(Kind.IN, rax=MAGIC, rdx=0x5658)[0] == 1
