import contextlib
import os
import select
import socket
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pvdev.errors import ConfigError
from vmxnet3.ports import switch
from vmxnet3.ports.host import open_port
from vmxnet3.ports.port import MAX_FRAME
from vmxnet3.ports.switch import AGE_NS, LOT, PATIENCE_NS, TABLE_MOST, SwitchPort

A, B, C, BROADCAST = (bytes.fromhex(each) for each in ("02000000000a", "02000000000b", "02000000000c", "f" * 12))
MULTICAST = bytes.fromhex("01005e000001")
Plug = Callable[..., SwitchPort]


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def plug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Iterator[Plug]:
    """Makes ports of a switch in the current folder: pytest's own paths may be too long for a socket."""
    monkeypatch.chdir(tmp_path)
    with contextlib.ExitStack() as owns:
        yield lambda name="./sw": owns.enter_context(SwitchPort(name, clock=clock))


def frame(to: bytes, source: bytes, body: bytes = b"hello", size: int = 60) -> bytes:
    return (to + source + b"\x88\xb5" + body).ljust(size, b"\0")


def send(port: SwitchPort, *frames: bytes) -> int:
    return port.send([[data] for data in frames])


def got(port: SwitchPort, now_ns: int = 0) -> list[bytes]:
    return list(port.receive(100_000, now_ns))


def introduce(*stations: tuple[SwitchPort, bytes]) -> None:
    """Each says something to all; what came of it is taken away."""
    for port, address in stations:
        send(port, frame(BROADCAST, address))
    for port, _ in stations:
        got(port)


# -- where frames go -------------------------------------------------------------------------------------------------


def test_what_is_for_all_and_for_nobody_known_goes_to_all_but_the_sender(plug: Plug) -> None:
    a, b, c = plug(), plug(), plug()
    frames = [frame(BROADCAST, A), frame(MULTICAST, A), frame(C, A)]

    assert send(a, *frames) == 3
    assert (got(a), got(b), got(c)) == ([], frames, frames)
    assert (a.frames_out, a.bytes_out, a.dropped) == (3, 180, 0)
    assert (b.frames_in, b.bytes_in) == (3, 180)


def test_what_is_for_a_station_heard_of_goes_to_its_member_alone(plug: Plug) -> None:
    a, b, c = plug(), plug(), plug()
    introduce((a, A), (b, B), (c, C))

    send(a, frame(B, A))
    send(b, frame(A, B), frame(C, B))

    assert (got(a), got(b), got(c)) == ([frame(A, B)], [frame(B, A)], [frame(C, B)])


def test_the_order_of_one_senders_frames_is_kept_whoever_they_are_for(plug: Plug) -> None:
    a, b, c = plug(), plug(), plug()
    introduce((a, A), (b, B), (c, C))
    targets = [B, BROADCAST, C, B, MULTICAST, bytes.fromhex("020000000099"), B] * 50
    frames = [frame(to, A, struct.pack(">I", n)) for n, to in enumerate(targets)]

    send(a, *frames)

    assert got(b) == [data for data in frames if data[:6] != C]
    assert got(c) == [data for data in frames if data[:6] != B]


def test_a_station_that_moves_is_found_at_its_new_place(plug: Plug) -> None:
    a, b, c = plug(), plug(), plug()
    introduce((a, A), (b, B))

    introduce((c, B))
    got(a)
    send(a, frame(B, A))

    assert (got(b)[1:], got(c)) == ([], [frame(B, A)])


def test_a_station_not_heard_of_for_long_is_forgotten(plug: Plug) -> None:
    a, b, c = plug(), plug(), plug()
    introduce((a, A), (b, B))

    got(a, AGE_NS // 2)
    send(a, frame(B, A))
    assert len(got(c)[1:]) == 1  # the greeting of b, and nothing for it: still known
    got(a, AGE_NS)
    send(a, frame(B, A))

    assert (len(got(b)), got(c)) == (2, [frame(B, A)])


def test_a_station_heard_of_again_and_again_is_not_forgotten(plug: Plug) -> None:
    a, b, c = plug(), plug(), plug()
    for half in range(6):
        introduce((b, B))
        got(a, half * AGE_NS // 2)
    got(c)

    send(a, frame(B, A))

    assert (len(got(b)), got(c)) == (1, [])


def test_the_table_has_a_limit_and_keeps_what_is_in_use(plug: Plug) -> None:
    a, b = plug(), plug()
    introduce((a, A), (b, B))
    for n in range(3 * TABLE_MOST):
        send(b, frame(A, b"\x06" + struct.pack(">IB", n, 0)))
        if n % 1000 == 0:
            send(b, frame(A, B))
            got(a)
    got(a)
    c = plug()

    send(a, frame(B, A))

    assert len(a._young) + len(a._old) <= 2 * TABLE_MOST
    assert (len(got(b)), got(c)) == (1, [])


def test_group_addresses_are_never_learned(plug: Plug) -> None:
    a, b, c = plug(), plug(), plug()
    introduce((b, MULTICAST), (a, A))
    got(c)

    send(a, frame(MULTICAST, A))

    assert (len(got(b)), len(got(c))) == (1, 1)


def test_tags_pass_as_they_are(plug: Plug) -> None:
    a, b = plug(), plug()
    tagged = B + A + bytes.fromhex("8100e005 0800") + bytes(46)

    send(a, tagged)

    assert got(b) == [tagged]


def test_pieces_of_guest_memory_are_put_together(plug: Plug) -> None:
    a, b = plug(), plug()
    data = frame(BROADCAST, A, size=1514)

    assert a.send([[memoryview(bytearray(data[:3])), data[3:14], memoryview(data)[14:]]]) == 1
    assert got(b) == [data]


def test_what_is_no_frame_is_dropped(plug: Plug) -> None:
    a, b = plug(), plug()

    assert send(a, b"", b"x" * 13, bytes(MAX_FRAME + 1), frame(B, A)) == 4
    assert (a.dropped, a.frames_out, got(b)) == (3, 1, [frame(B, A)])


def test_the_longest_frame_and_many_long_ones(plug: Plug) -> None:
    a, b = plug(), plug()
    frames = [frame(B, A, os.urandom(20), size) for size in (MAX_FRAME, 60, LOT, LOT - 4, LOT - 8, 9014, 9014, 14)]

    assert send(a, *frames) == len(frames)
    assert got(b) == frames


def test_receive_gives_no_more_than_asked(plug: Plug) -> None:
    a, b = plug(), plug()
    send(a, *[frame(B, A, bytes([n])) for n in range(5)])

    assert [len(b.receive(2, 0)) for _ in range(4)] == [2, 2, 1, 0]
    assert b.deadline() is None


def test_frames_read_and_not_yet_handed_on_make_it_due_at_once(plug: Plug) -> None:
    a, b = plug(), plug()
    send(a, frame(B, A), frame(B, A))
    assert b.deadline() is None

    b.receive(1, 0)

    assert b.deadline() == 0


# -- who is there ----------------------------------------------------------------------------------------------------


def test_alone_on_a_switch_everything_is_dropped(plug: Plug) -> None:
    a = plug()

    assert send(a, frame(BROADCAST, A), frame(B, A)) == 2
    assert (a.dropped, a.frames_out) == (2, 0)


def test_a_member_that_comes_later_is_reached(plug: Plug) -> None:
    a = plug()
    send(a, frame(BROADCAST, A))
    b = plug()

    send(a, frame(BROADCAST, A))

    assert len(got(b)) == 1


def test_members_that_come_and_go_in_one_tick_of_the_clock_are_seen(plug: Plug, tmp_path: Path) -> None:
    a = plug()
    for _ in range(20):
        with SwitchPort("./sw") as b:
            before = a.dropped
            send(a, frame(BROADCAST, A))
            assert (len(got(b)), a.dropped) == (1, before)
        send(a, frame(BROADCAST, A))
        assert a.dropped == before + 1


def test_a_quiet_directory_is_not_read_again(plug: Plug, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = plug(), plug()
    os.utime("sw", ns=(0, 0))  # it changed long ago
    send(a, frame(BROADCAST, A))

    def refuse(path: Path) -> Iterator[Path]:
        raise AssertionError("read again")

    monkeypatch.setattr(Path, "iterdir", refuse)
    send(a, frame(BROADCAST, A))

    assert len(got(b)) == 2


def test_a_member_that_left_is_forgotten_with_its_stations(plug: Plug) -> None:
    a, c = plug(), plug()
    with SwitchPort("./sw") as b:
        introduce((a, A), (b, B))
    got(c)

    send(a, frame(B, A))
    send(a, frame(B, A))

    assert (a.dropped, len(got(c))) == (1, 1)  # the first told that it had left


def test_a_member_that_died_is_swept_away(plug: Plug) -> None:
    a = plug()
    died = "import os; from vmxnet3.ports.switch import SwitchPort; SwitchPort('./sw'); os._exit(9)"
    subprocess.run([sys.executable, "-c", died], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert len(list(Path("sw").iterdir())) == 2

    send(a, frame(BROADCAST, A))

    assert [each.name for each in Path("sw").iterdir()] == [Path(a._path).name]
    assert (a.dropped, a.fault) == (1, None)


def test_one_that_dies_with_its_stations_known_is_swept_away(plug: Plug) -> None:
    a, b = plug(), plug()
    introduce((a, A), (b, B))
    b._socket.close()  # as the kernel does for a program that is killed: its file stays

    send(a, frame(B, A))

    assert [each.name for each in Path("sw").iterdir()] == [Path(a._path).name]
    assert a.dropped == 1


def test_strange_files_in_the_directory_are_left_alone(plug: Plug) -> None:
    Path("sw").mkdir()
    (Path("sw") / ("0" * 16)).write_text("precious")
    (Path("sw") / "notes").write_text("precious")
    with socket.socket(socket.AF_UNIX) as stream:
        stream.bind("sw/" + "1" * 16)
        a, b = plug(), plug()

        send(a, frame(BROADCAST, A))

        assert len(got(b)) == 1
        assert {"0" * 16, "1" * 16, "notes"} < {each.name for each in Path("sw").iterdir()}


def test_close_leaves_nothing_and_can_be_had_twice(plug: Plug) -> None:
    a, b = plug(), plug()
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with SwitchPort("./sw") as c:
        send(c, frame(BROADCAST, C))
    c.close()

    assert len(os.listdir("/proc/self/fd")) == descriptors  # noqa: PTH208
    assert len(list(Path("sw").iterdir())) == 2
    assert c.fileno() == -1
    assert (len(got(a)), len(got(b))) == (1, 1)


def test_no_descriptors_left_is_a_fault_and_no_exception(plug: Plug, monkeypatch: pytest.MonkeyPatch) -> None:
    a = plug()
    plug()

    def refuse(path: str) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(switch, "_Member", refuse)
    send(a, frame(BROADCAST, A))

    assert a.fault == "switch ./sw: Too many open files for its members; raise ulimit -n"
    assert a.dropped == 1


def test_a_directory_removed_under_us_is_a_fault(plug: Plug) -> None:
    a = plug()
    Path(a._path).unlink()
    Path("sw").rmdir()

    assert send(a, frame(BROADCAST, A)) == 1
    assert a.fault == "switch ./sw: sw: No such file or directory; start its members again"


# -- full, stuck, broken ---------------------------------------------------------------------------------------------


def fill(port: SwitchPort, to: bytes = B) -> int:
    """Send until the member is full; how many frames were taken."""
    taken = 0
    while count := send(port, *[frame(to, A, struct.pack(">I", taken + n), 1514) for n in range(100)]):
        taken += count
    return taken


def test_a_full_member_is_waited_for_and_nothing_is_lost(plug: Plug) -> None:
    a, b = plug(), plug()

    taken = fill(a)
    received = got(b)
    assert len(received) < taken
    assert a.deadline() == 0
    a.receive(1, 0)
    while more := got(b):
        received += more
        a.receive(1, 0)

    assert received == [frame(B, A, struct.pack(">I", n), 1514) for n in range(taken)]
    assert (a.frames_out, a.dropped, a.deadline()) == (taken, 0, None)


def test_while_it_stays_full_it_is_offered_again_a_little_later(plug: Plug) -> None:
    a, _ = plug(), plug()
    fill(a)

    a.receive(1, 7_000_000)

    assert a.deadline() == 7_000_000 + switch.RETRY_NS


def test_a_member_that_stays_full_misses_frames_and_the_others_do_not(plug: Plug, clock: Clock) -> None:
    a, b, c = plug(), plug(), plug()
    introduce((a, A), (b, B), (c, C))
    taken = fill(a)
    assert send(a, frame(C, A)) == 0  # everybody waits

    clock.now += PATIENCE_NS + 1
    assert send(a, frame(C, A), frame(BROADCAST, A), frame(B, A)) == 3

    assert got(c) == [frame(C, A), frame(BROADCAST, A)]
    kept = len(got(b))
    assert a.dropped == taken - kept + 2
    assert send(a, frame(BROADCAST, A)) == 1
    assert (len(got(b)), a.dropped) == (1, taken - kept + 2)


def test_patience_begins_anew_with_every_datagram_taken(plug: Plug, clock: Clock) -> None:
    a, b = plug(), plug()
    taken = fill(a)
    received = 0
    for _ in range(5):
        clock.now += PATIENCE_NS - 1
        received += len(b.receive(40, 0))
        b._frames.clear()
        a.receive(1, 0)

    assert (received > 0, a.dropped) == (True, 0)
    assert taken > received


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\1" * 7,
        bytes(8) + b"\0",
        bytes(8) + b"\0\0\0\x0d" + bytes(13),
        bytes(8) + b"\0\0\0\x20" + bytes(31),
        bytes(8) + b"\xff\xff\xff\xff" + bytes(60),
    ],
)
def test_a_datagram_of_another_framing_is_counted(plug: Plug, datagram: bytes) -> None:
    a, b = plug(), plug()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(datagram, a._path)
        send(b, frame(BROADCAST, B))

        assert (got(a), a.broken) == ([frame(BROADCAST, B)], 1)


def test_frames_of_a_stranger_pass_and_teach_nothing(plug: Plug) -> None:
    a, b = plug(), plug()
    data = frame(BROADCAST, C)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(bytes(8) + struct.pack(">I", len(data)) + data, a._path)

    assert got(a) == [data]
    send(a, frame(C, A))
    assert got(b) == [frame(C, A)]


def test_link_up_throws_away_what_came_while_down(plug: Plug) -> None:
    a, b = plug(), plug()
    b.link(up=False)
    send(a, *[frame(B, A)] * 3)
    b.receive(1, 0)

    b.link(up=True)

    assert (got(b), b.stale) == ([], 2)


def test_the_descriptor_is_readable_when_frames_wait(plug: Plug) -> None:
    a, b = plug(), plug()
    assert select.select([b.fileno()], [], [], 0)[0] == []

    send(a, frame(B, A))

    assert select.select([b.fileno()], [], [], 0)[0] == [b.fileno()]


def test_two_processes_reach_each_other(plug: Plug) -> None:
    echo = """
import select, sys
from vmxnet3.ports.switch import SwitchPort
with SwitchPort("./sw") as port:
    port.send([[bytes.fromhex("ffffffffffff 02000000000b 88b5") + bytes(46)]])
    count = 0
    while count < 1000:
        assert select.select([port.fileno()], [], [], 30)[0] or port.deadline() is not None
        for data in port.receive(64, 0):
            while not port.send([[data[6:12] + data[:6] + data[12:]]]):
                pass
            count += 1
    while port.deadline() is not None:
        port.receive(1, 0)
"""
    a = plug()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", echo], env=env) as other:
        assert select.select([a.fileno()], [], [], 30)[0]
        assert len(got(a)) == 1
        frames = [frame(B, A, struct.pack(">I", n), 1514) for n in range(1000)]
        sent, back = 0, list[bytes]()
        while len(back) < 1000:
            sent += send(a, *frames[sent : sent + 50])
            assert sent < 1000 or a.deadline() is not None or select.select([a.fileno()], [], [], 30)[0]
            back += got(a)
        assert other.wait(30) == 0

    assert back == [A + B + data[12:] for data in frames]
    assert a.dropped == 0


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def session() -> Iterator[Path]:
    """A folder whose name is short, as a socket's has to be."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_a_name_is_a_folder_of_the_users_own(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(session))

    with open_port("switch:lab-1") as a, SwitchPort("lab-1") as b, SwitchPort("lab-2") as c:
        assert stat.S_IMODE((session / "pvdev").stat().st_mode) == 0o700
        assert stat.S_IMODE((session / "pvdev/switch/lab-1").stat().st_mode) == 0o700
        assert [stat.S_IMODE(path.stat().st_mode) for path in (session / "pvdev/switch/lab-1").iterdir()] == [0o600] * 2
        a.send([[frame(BROADCAST, A)]])
        assert (len(got(b)), len(got(c))) == (1, 0)


def test_without_a_session_folder_it_is_one_in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nonexistent")
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    with SwitchPort("x"):
        assert (tmp_path / f"pvdev-{os.getuid()}" / "switch" / "x").is_dir()


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nonexistent")
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"pvdev-{os.getuid()}").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ConfigError, match=r"belongs to somebody else; set XDG_RUNTIME_DIR, or give switch:PATH"):
        SwitchPort("x")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "switch: no name; write switch:NAME, or switch:PATH with a / in it"),
        ("a b", "switch 'a b': not a name; give letters, digits, '.', '_' and '-', or a path with a /"),
        ("..", "switch '..': not a name; give letters, digits, '.', '_' and '-', or a path with a /"),
        ("no/such/sw", "switch no/such/sw: no/such/sw: No such file or directory; give another path"),
        ("./file", "switch ./file: file: File exists; give another path"),
        ("./a\0b", "switch './a\\x00b': embedded null byte; give another path"),
        ("./" + "x" * 90, f"switch ./{'x' * 90}: its directory's path has 90 bytes, of at most 89; give a shorter one"),
    ],
)
def test_a_switch_that_cannot_be_is_told_in_one_line(plug: Plug, name: str, says: str) -> None:
    Path("file").write_text("")

    with pytest.raises(ConfigError) as caught:
        plug(name)
    assert str(caught.value) == says
