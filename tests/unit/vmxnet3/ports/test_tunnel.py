import os
import random
import select
import socket
import stat
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pvdev.errors import ConfigError
from vmxnet3.ports.port import MAX_FRAME, Port
from vmxnet3.ports.tunnel import RETRY_NS, DgramPort, StreamPort

FRAMES = [bytes([i]) * (60 + 7 * i) for i in range(20)]


def readable(port: Port) -> bool:
    return bool(select.select([port.fileno()], [], [], 0)[0])


def framed(*frames: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(frame)) + frame for frame in frames)


def pump(sender: Port, receiver: Port, frames: Sequence[bytes], seed: int) -> list[bytes]:
    """All frames through, the receiver asked as it pleases; nothing is offered again before the rest of it."""
    choose = random.Random(seed)
    offered, got = 0, list[bytes]()
    while len(got) < len(frames):
        batch = frames[offered : offered + choose.randrange(200)]
        offered += sender.send([[frame[:13], memoryview(frame)[13:]] for frame in batch])
        got += receiver.receive(choose.randrange(1, 300), 0)
        sender.receive(1, 0)
    return got


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for sockets, as the current one: pytest's own paths may be too long for a socket."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Datagrams ------------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(where: Path) -> Iterator[tuple[DgramPort, DgramPort]]:
    with DgramPort("a", "b") as a, DgramPort("b", "a") as b:
        yield a, b


def test_dgram_carries_frames_both_ways(pair: tuple[DgramPort, DgramPort]) -> None:
    a, b = pair

    assert not readable(b)
    assert a.send([[b"12345", memoryview(b"678")], [b"9"]]) == 2
    assert readable(b)
    assert (b.receive(1, 0), b.receive(9, 0), b.receive(9, 0)) == ([b"12345678"], [b"9"], [])
    assert b.send([[FRAMES[3]]]) == 1
    assert a.receive(9, 0) == [FRAMES[3]]
    assert (a.frames_out, a.bytes_out, a.frames_in, a.bytes_in) == (2, 9, 1, len(FRAMES[3]))
    assert (b.frames_in, b.bytes_in, b.dropped) == (2, 9, 0)


@pytest.mark.slow
def test_dgram_loses_nothing_under_backpressure(pair: tuple[DgramPort, DgramPort]) -> None:
    frames = [struct.pack(">I", i) + bytes(i % 1500 + 10) for i in range(20_000)]

    assert pump(*pair, frames, seed=1) == frames
    assert (pair[0].frames_out, pair[1].frames_in, pair[0].dropped) == (20_000, 20_000, 0)


def test_dgram_says_how_many_a_full_peer_took(pair: tuple[DgramPort, DgramPort]) -> None:
    a, b = pair
    frames = [[bytes(60)]] * 100_000

    taken = a.send(frames)

    assert 0 < taken < len(frames)
    assert (a.send(frames[taken:]), a.dropped) == (0, 0)
    assert len(b.receive(len(frames), 0)) == taken


def test_dgram_largest_frame(pair: tuple[DgramPort, DgramPort]) -> None:
    largest = random.Random(2).randbytes(MAX_FRAME)

    assert pair[0].send([[largest]]) == 1
    assert pair[1].receive(9, 0) == [largest]


def test_dgram_frame_no_socket_takes_is_dropped(pair: tuple[DgramPort, DgramPort]) -> None:
    assert pair[0].send([[bytes(64 << 20)], [b"after"]]) == 2
    assert (pair[0].dropped, pair[1].receive(9, 0)) == (1, [b"after"])


def test_dgram_without_peer_drops_and_finds_it_when_it_comes_and_comes_again(where: Path) -> None:
    with DgramPort("a", "b") as a:
        assert a.send([[b"1"], [b"2"]]) == 2
        assert a.dropped == 2
        for came in (1, 2):
            with DgramPort("b", "a") as b:
                assert a.send([[b"hello"]]) == 1
                assert b.receive(9, 0) == [b"hello"]
                assert b.send([[b"there"]]) == 1
                assert a.receive(9, 0) == [b"there"]
            assert a.send([[b"lost"]]) == 1
            assert a.dropped == 2 + came


@pytest.mark.parametrize("how", [socket.SOCK_STREAM, None])
def test_dgram_peer_that_is_no_datagram_socket_only_drops(where: Path, how: socket.SocketKind | None) -> None:
    if how is None:
        Path("b").write_text("a plain file")
    with DgramPort("a", "b") as a, socket.socket(socket.AF_UNIX, how or socket.SOCK_DGRAM) as other:
        other.bind("b" if how else "c")
        assert a.send([[b"x"]]) == 1
        assert (a.dropped, a.fault) == (1, None)


def test_dgram_empty_datagrams_are_no_frames(pair: tuple[DgramPort, DgramPort]) -> None:
    pair[0].send([[b""], [b"x"], [b""]])

    assert pair[1].receive(9, 0) == [b"x"]


def test_dgram_link_up_throws_away_what_came_while_down(pair: tuple[DgramPort, DgramPort]) -> None:
    a, b = pair
    b.link(up=False)
    a.send([[b"old"], [b"older"]])

    b.link(up=True)

    assert (b.receive(9, 0), b.stale, b.frames_in) == ([], 2, 0)
    a.send([[b"new"]])
    assert b.receive(9, 0) == [b"new"]


# Streams --------------------------------------------------------------------------------------------------------


@pytest.fixture
def listening(where: Path) -> Iterator[StreamPort]:
    with StreamPort("s", listen=True) as port:
        yield port


@pytest.fixture
def peer(listening: StreamPort) -> Iterator[socket.socket]:
    """A peer written by hand; the port has accepted it."""
    with socket.socket(socket.AF_UNIX) as made:
        made.connect("s")
        made.settimeout(5)
        listening.receive(1, 0)
        yield made


def test_stream_golden_bytes(listening: StreamPort, peer: socket.socket) -> None:
    assert listening.send([[b"ab", memoryview(b"c")], [b"d"]]) == 2
    assert peer.recv(99) == b"\0\0\0\3abc\0\0\0\1d"
    peer.send(b"\0\0\0\2xy\0\0\0\1z")
    assert readable(listening)
    assert listening.receive(9, 0) == [b"xy", b"z"]
    assert (listening.frames_out, listening.bytes_out, listening.frames_in, listening.bytes_in) == (2, 4, 2, 3)


def test_stream_byte_by_byte(listening: StreamPort, peer: socket.socket) -> None:
    got: list[bytes] = []
    for byte in framed(*FRAMES):
        peer.send(bytes([byte]))
        got += listening.receive(9, 0)

    assert got == FRAMES


def test_stream_hands_on_no_more_than_asked_and_says_there_is_more(listening: StreamPort, peer: socket.socket) -> None:
    peer.send(framed(*FRAMES))

    assert listening.receive(3, 0) == FRAMES[:3]
    assert listening.deadline() == 0
    assert listening.receive(99, 0) == FRAMES[3:]
    assert listening.deadline() is None


@pytest.mark.parametrize("listener_sends", [True, False])
def test_stream_loses_nothing_under_backpressure(listening: StreamPort, listener_sends: bool) -> None:
    frames = [struct.pack(">I", i) + bytes(i * 37 % 9000 + 10) for i in range(5_000)]
    with StreamPort("s") as other:
        ends = (listening, other) if listener_sends else (other, listening)
        listening.receive(1, 0)

        assert pump(*ends, frames, seed=3) == frames
        assert (ends[0].frames_out, ends[1].frames_in, ends[0].dropped) == (5_000, 5_000, 0)


def test_stream_full_peer_wakes_the_sender_when_it_reads(listening: StreamPort, peer: socket.socket) -> None:
    frames = [[bytes(1000)]] * 50_000
    taken = listening.send(frames)

    assert 0 < taken < len(frames)
    assert listening.send(frames[taken:]) == 0
    assert not readable(listening)
    received = 0
    while received < taken * 1004:
        received += len(peer.recv(1 << 20))
        if readable(listening):
            listening.receive(1, 0)
    assert received == taken * 1004
    assert not readable(listening)
    assert listening.send([[b"again"]]) == 1
    assert peer.recv(99) == framed(b"again")


def test_stream_without_peer_drops(listening: StreamPort) -> None:
    assert listening.send([[b"x"], [b"y"]]) == 2
    assert (listening.dropped, listening.connected) == (2, False)


def test_stream_listener_takes_the_next_peer_after_one_left(listening: StreamPort) -> None:
    number = listening.fileno()
    for name in (b"first", b"second"):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect("s")
            assert readable(listening)
            listening.receive(1, 0)
            peer.send(framed(name) + b"\0\0\0\x09half")
            assert listening.receive(9, 0) == [name]
            assert listening.send([[name]]) == 1
            assert peer.recv(99) == framed(name)
        assert readable(listening)
        assert listening.receive(9, 0) == []
        assert not listening.connected
    assert (listening.fileno(), listening.broken) == (number, 0)


def test_stream_second_peer_waits_for_its_turn(listening: StreamPort, peer: socket.socket) -> None:
    with socket.socket(socket.AF_UNIX) as second:
        second.connect("s")
        second.send(framed(b"two"))
        assert not readable(listening)
        peer.close()
        assert listening.receive(9, 0) == []
        assert readable(listening)
        assert listening.receive(9, 0) == [b"two"]


def test_stream_peer_that_left_in_the_middle_of_a_batch(listening: StreamPort, peer: socket.socket) -> None:
    peer.close()

    assert listening.send([[b"x"]] * 300) == 300
    assert (listening.dropped, listening.connected) == (300, False)


def test_stream_peer_that_left_while_a_frame_was_half_written(listening: StreamPort, peer: socket.socket) -> None:
    taken = listening.send([[bytes(9000)]] * 10_000)
    peer.close()

    assert 0 < taken < 10_000
    assert listening.send([[b"x"]]) == 1
    assert listening.dropped == 1
    with StreamPort("s") as other:
        listening.receive(1, 0)
        listening.send([[b"fresh"]])
        assert other.receive(9, 0) == [b"fresh"]


def test_stream_peer_that_breaks_the_framing_is_let_go(listening: StreamPort, peer: socket.socket) -> None:
    peer.send(framed(b"good") + struct.pack(">I", MAX_FRAME + 1) + bytes(100))

    assert listening.receive(9, 0) == [b"good"]
    assert (listening.broken, listening.connected) == (1, False)


def test_stream_largest_frame_and_empty_ones(listening: StreamPort, peer: socket.socket) -> None:
    largest = random.Random(4).randbytes(MAX_FRAME)
    peer.sendall(framed(b"", largest, b""))

    assert listening.receive(9, 0) == [largest]


def test_stream_link_up_throws_away_whole_frames_only(listening: StreamPort, peer: socket.socket) -> None:
    listening.link(up=False)
    sent = framed(b"old", b"older", b"in two parts")
    peer.send(sent[:-4])

    listening.link(up=True)

    peer.send(sent[-4:])
    assert (listening.receive(9, 0), listening.stale) == ([b"in two parts"], 2)


def test_stream_connecting_side_finds_its_listener_late_and_again(where: Path) -> None:
    with StreamPort("s") as port:
        assert (port.connected, port.send([[b"x"]]), port.dropped) == (False, 1, 1)
        assert (port.deadline(), port.receive(9, 7), port.deadline()) == (0, [], 7 + RETRY_NS)
        for now in (RETRY_NS * 2, RETRY_NS * 9):
            with StreamPort("s", listen=True) as listener:
                assert port.receive(9, now) == []
                assert port.connected
                assert port.deadline() is None
                listener.send([[b"hello"]])
                assert port.receive(9, now) == [b"hello"]
            assert readable(port)
            assert port.receive(9, now) == []
            assert not port.connected


# Paths ----------------------------------------------------------------------------------------------------------


def bind(kind: str, path: str) -> Port:
    return DgramPort(path, "peer") if kind == "dgram" else StreamPort(path, listen=True)


kinds = pytest.mark.parametrize("kind", ["dgram", "stream"])


@kinds
def test_socket_is_private_and_gone_at_close(kind: str, where: Path) -> None:
    before = os.umask(0)
    os.umask(before)
    with bind(kind, "s") as port:
        assert stat.S_IMODE(Path("s").stat().st_mode) == 0o600
    assert not Path("s").exists()
    assert port.fileno() == -1
    port.close()
    assert os.umask(before) == before


@kinds
def test_socket_a_dead_owner_left_is_replaced(kind: str, where: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM if kind == "dgram" else socket.SOCK_STREAM) as dead:
        dead.bind("s")

    with bind(kind, "s") as port:
        assert port.fileno() >= 0


@kinds
@pytest.mark.parametrize("other", ["dgram", "stream"])
def test_socket_of_a_live_owner_is_left_alone(kind: str, other: str, where: Path) -> None:
    with bind(other, "s"):
        with pytest.raises(ConfigError, match=f"{kind} s: in use by a live program; end that, or give another path"):
            bind(kind, "s")
        assert Path("s").is_socket()


@kinds
def test_file_that_is_no_socket_is_left_alone(kind: str, where: Path) -> None:
    Path("s").write_text("precious")

    with pytest.raises(ConfigError, match="a file of that name exists and is no socket; give another path"):
        bind(kind, "s")
    assert Path("s").read_text() == "precious"


@kinds
def test_paths_that_cannot_be(kind: str, where: Path) -> None:
    with bind(kind, "s" * 107) as port:
        assert port.fileno() >= 0
    with pytest.raises(ConfigError, match="108 bytes, a socket path has at most 107; give a shorter one"):
        bind(kind, "s" * 108)
    with pytest.raises(ConfigError, match=f"{kind} no/s: No such file or directory; give a path that can be made"):
        bind(kind, "no/s")
    with pytest.raises(ConfigError, match="a path cannot hold a NUL"):
        bind(kind, "a\0b")


def test_dgram_peer_path_is_checked_too(where: Path) -> None:
    with pytest.raises(ConfigError, match="108 bytes"):
        DgramPort("s", "p" * 108)
    assert not Path("s").exists()
