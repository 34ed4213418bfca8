"""The suite's end of a cable: frames both ways over datagrams, and what the other end has not read."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from vmxnet3.backend import Queue
from vmxnet3.conform.outside import Cable
from vmxnet3.ports.host import open_port
from vmxnet3.ports.port import NullPort, Port


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Port]:
    """The other end."""
    with open_port(f"dgram:{tmp_path / 'b'},peer={tmp_path / 'a'}") as port:
        yield port


@pytest.fixture
def cable(peer: Port, tmp_path: Path) -> Iterator[Cable]:
    with open_port(f"dgram:{tmp_path / 'a'},peer={tmp_path / 'b'}") as port:
        yield Cable(Queue(), port)


def test_frames_go_both_ways(cable: Cable, peer: Port) -> None:
    cable.net.inbound.extend([b"one", b"two"])
    moved = cable.pump()
    peer.send([(b"thr", b"ee")])
    cable.pump()

    assert moved
    assert list(peer.receive(9, 0)) == [b"one", b"two"]
    assert (list(cable.net.inbound), cable.net.sent) == ([], [b"three"])
    assert not cable.pump()


def test_unread_is_what_the_other_end_has_not_taken(cable: Cable, peer: Port) -> None:
    before = cable.unread()
    cable.net.inbound.append(b"one")
    cable.pump()
    waiting = cable.unread()
    peer.receive(9, 0)

    assert (before, cable.unread()) == (0, 0)
    assert waiting > 0


def test_frames_the_peer_has_no_room_for_stay(cable: Cable, peer: Port) -> None:
    frames = [bytes([n % 251]) * 1500 for n in range(20_000)]
    cable.net.inbound.extend(frames)
    cable.pump()
    left = len(cable.net.inbound)
    got: list[bytes] = []
    while cable.net.inbound or cable.unread():
        got += peer.receive(256, 0)
        cable.pump()

    assert left > 0
    assert got + list(peer.receive(256, 0)) == frames


def test_a_port_without_a_descriptor_has_nothing_unread() -> None:
    assert Cable(Queue(), NullPort("null")).unread() == 0
