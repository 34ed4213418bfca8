"""The USB/IP server on a real socket."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from queue import Queue

import pytest

from pvdev.errors import ConfigError
from svga.usb.bus import Bus
from svga.usb.usbip import CLIENTS_MOST, UsbipServer, parse_address
from svga.usb.usbip_wire import DEVICE, IN, RET_SUBMIT, Command
from tests.netns import lack
from tests.unit.svga.usb.rig import LISTED, REQ_DEVLIST, Reply, bus_of, control, replies, req_import, submit, unlink

DEADLINE_S = 20.0


@pytest.fixture
def lines() -> "Queue[str]":
    return Queue()


@pytest.fixture
def bus() -> Bus:
    return bus_of("mouse", "tablet")


@pytest.fixture
def server(bus: Bus, lines: "Queue[str]") -> Iterator[UsbipServer]:
    with UsbipServer(bus, ("127.0.0.1", 0), lines.put) as serving:
        yield serving


def connect(server: UsbipServer) -> socket.socket:
    return socket.create_connection(server.address, DEADLINE_S)


def take(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        assert more, f"closed after {len(data)} of {size} bytes"
        data += more
    return data


def host(server: UsbipServer, busid: str = "1-1") -> socket.socket:
    """A client that has imported and configured it."""
    sock = connect(server)
    sock.sendall(req_import(busid))
    assert take(sock, 8 + DEVICE.size)[:8] == bytes.fromhex("0111 0003 00000000")
    return sock


def configure(sock: socket.socket, devid: int = 0x10002) -> None:
    sock.sendall(control(1, 0, 9, 1).replace((0x10002).to_bytes(4, "big"), devid.to_bytes(4, "big"), 1))
    assert replies(take(sock, RET_SUBMIT.size)) == [Reply(Command.RET_SUBMIT, 1, 0)]


def test_listing(server: UsbipServer) -> None:
    with connect(server) as sock:
        sock.sendall(REQ_DEVLIST)
        assert take(sock, 12 + 2 * LISTED)[:12] == bytes.fromhex("0111 0005 00000000 00000002")


def test_the_usbip_tool_of_linux_lists_them(server: UsbipServer) -> None:
    if shutil.which("usbip") is None:
        lack("no program usbip: apt install usbip")
    host, port = server.address
    command = ["usbip", "--tcp-port", str(port), "list", "-r", host]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE_S).stdout

    found = [line.split(":")[0].strip() + " " + line[-11:] for line in said.splitlines() if line.endswith(")")]
    assert [line for line in found if line.startswith("1-")] == ["1-1 (0e0f:0003)", "1-2 (0627:0001)"]
    assert "(03/01/02)" in said


def test_a_hand_is_seen_at_once(server: UsbipServer, bus: Bus) -> None:
    with host(server) as sock:
        configure(sock)
        for n in range(20):
            sock.sendall(submit(10 + n, IN, 1, 8))
            bus.plugs[0].move(n + 1, 0)
            (reply,) = replies(take(sock, RET_SUBMIT.size + 4))
            assert (reply.seqnum, reply.data) == (10 + n, bytes((0, n + 1, 0, 0)))


def test_two_clients_two_pointers(server: UsbipServer, bus: Bus) -> None:
    with host(server) as one, host(server, "1-2") as other, connect(server) as late:
        configure(one)
        configure(other, 0x10003)
        late.sendall(req_import("1-2"))
        assert take(late, 8) == bytes.fromhex("0111 0003 00000002")
        one.sendall(submit(5, IN, 1, 8))
        other.sendall(submit(6, IN, 1, 8, devid=0x10003))
        bus.plugs[0].move(9, 0)
        bus.plugs[1].point(3, 4)

        assert replies(take(one, RET_SUBMIT.size + 4))[0].data == b"\0\x09\0\0"
        assert replies(take(other, RET_SUBMIT.size + 6))[0].data == b"\0\x03\0\x04\0\0"


def test_who_goes_leaves_it_to_the_next(server: UsbipServer, lines: "Queue[str]") -> None:
    host(server).close()
    said = [lines.get(timeout=DEADLINE_S) for _ in range(2)]
    with host(server):
        pass

    assert [line.split(" ", 3)[3] for line in said] == ["has 1-1 (mouse)", "let 1-1 go: closed"]


def test_idle_reports_come_by_themselves(server: UsbipServer) -> None:
    with host(server) as sock:
        configure(sock)
        sock.sendall(control(2, 0x21, 10, 0x100) + submit(3, IN, 1, 8) + submit(4, IN, 1, 8))

        assert [reply.seqnum for reply in replies(take(sock, 3 * RET_SUBMIT.size + 8))] == [2, 3, 4]


def test_pulling_it_ends_the_connection(server: UsbipServer, bus: Bus) -> None:
    with host(server) as sock:
        bus.unplug(bus.plugs[0])
        assert sock.recv(1) == b""


def test_nonsense_ends_the_connection_and_nobody_else_s(server: UsbipServer, bus: Bus) -> None:
    with host(server) as good, connect(server) as bad:
        bad.sendall(b"\xff" * 4096)
        assert bad.recv(1) == b""
        configure(good)


@pytest.mark.slow
def test_who_never_reads_is_not_read_any_more(server: UsbipServer) -> None:
    """A million requests for descriptors without reading an answer: they stay where they are."""
    with host(server) as sock:
        sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            sock.sendall(control(1, 0x80, 6, 0x200, 0, 34) * 1_000_000)
        with connect(server) as other:
            other.sendall(REQ_DEVLIST)
            assert take(other, 12)[11] == 1


def test_more_clients_than_there_is_room_for(server: UsbipServer, lines: "Queue[str]") -> None:
    with ExitStack() as many:
        held = host(server)
        for _ in range(CLIENTS_MOST):
            many.enter_context(connect(server))
        said = [lines.get(timeout=DEADLINE_S) for _ in range(2)]
        held.close()
        said.append(lines.get(timeout=DEADLINE_S))
        with host(server):
            pass

    assert ["turned away" in line for line in said] == [False, True, False]


def test_who_imports_nothing_is_let_go() -> None:
    now = [0]
    bus = Bus(clock=lambda: now[0])
    with UsbipServer(bus, ("127.0.0.1", 0)) as server, connect(server) as sock:
        sock.sendall(REQ_DEVLIST)
        assert take(sock, 12)[11] == 0
        now[0] = 20_000_000_000
        server.wake()
        assert sock.recv(1) == b""


def test_taking_a_read_back(server: UsbipServer) -> None:
    with host(server) as sock:
        configure(sock)
        sock.sendall(submit(5, IN, 1, 8) + unlink(6, 5))
        assert replies(take(sock, RET_SUBMIT.size)) == [Reply(Command.RET_UNLINK, 6, -104)]


def test_closing_lets_everybody_go(bus: Bus) -> None:
    server = UsbipServer(bus, ("127.0.0.1", 0)).start()
    with host(server) as sock:
        server.close()
        server.close()
        assert sock.recv(1) == b""
    assert bus.plugs[0].holder is None


def test_a_port_that_is_taken_is_one_line(server: UsbipServer, bus: Bus) -> None:
    with pytest.raises(ConfigError, match="give a free port"):
        UsbipServer(bus, server.address)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:3241", ("127.0.0.1", 3241)),
        ("localhost", ("localhost", 3240)),
        ("[::1]:5", ("::1", 5)),
        ("[::1]", ("::1", 3240)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "a b", "1.2.3.4:99999", ":3240", "::1", "[::1"])
def test_no_addresses(text: str) -> None:
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:3240"):
        parse_address(text)
