"""Controls over a real socket, in a loop that a test turns by hand."""

import json
import socket
import stat
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from pvdev.control import LINE_MOST, ControlSocket, ask, call, describe
from pvdev.errors import ConfigError


class HandLoop:
    """A server's loop that does one thing when told."""

    def __init__(self) -> None:
        self.readable: dict[int, Callable[[], None]] = {}
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def watch(self, fd: int, readable: Callable[[], None] | None) -> None:
        if readable is None:
            del self.readable[fd]
        else:
            self.readable[fd] = readable

    def later(self, delay_s: float, do: Callable[[], None]) -> None:
        self.timers.append((delay_s, do))

    def turn(self) -> None:
        """Every descriptor once: one that has nothing to say must bear it."""
        for readable in list(self.readable.values()):
            readable()

    def ring(self) -> float:
        """The next timer goes off; how long it was to wait."""
        delay, do = self.timers.pop(0)
        do()
        return delay


class Lamp:
    """A device with something to control."""

    def __init__(self) -> None:
        self.log: list[object] = []

    def shine(self, colour: Literal["red", "green"], level: int = 1, *, name: str | None = None) -> dict[str, Any]:
        self.log.append((colour, level, name))
        return {"colour": colour, "level": level}

    def blink(self, *, times: int = 2, dark: bool = False) -> Generator[float, None, int]:
        for n in range(times):
            self.log.append(n)
            yield 0.5
        if dark:
            raise ConfigError("it is dark; buy a new one")
        return times

    def wait(self, seconds: float) -> Generator[float, None, None]:
        yield seconds

    def controls(self) -> dict[str, Callable[..., object]]:
        return {"shine": self.shine, "blink": self.blink, "wait": self.wait}


class Stage:
    def __init__(self, *names: str) -> None:
        self.loop, self.lamps = HandLoop(), {name: Lamp() for name in names}
        self.socket = ControlSocket(self.loop, "c", {name: lamp.controls() for name, lamp in self.lamps.items()})

    def connect(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(5)
        made.connect("c")
        self.loop.turn()
        return made

    def say(self, client: socket.socket, request: object) -> Any:
        client.sendall(request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n")
        self.loop.turn()
        return json.loads(client.makefile().readline())


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def stage(where: Path) -> Iterator[Stage]:
    made = Stage("lamp")
    with made.socket:
        yield made


@pytest.fixture
def client(stage: Stage) -> Iterator[socket.socket]:
    with stage.connect() as made:
        yield made


# -- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "options", "seen"),
    [
        (["red"], {}, ("red", 1, None)),
        (["green", 7], {}, ("green", 7, None)),
        (["green", "7"], {"name": "porch"}, ("green", 7, "porch")),
        (["green"], {"level": "-3"}, ("green", -3, None)),
        (["green"], {"name": None}, ("green", 1, None)),
    ],
)
def test_arguments_are_read_as_the_control_has_them(
    args: list[object], options: dict[str, object], seen: object
) -> None:
    lamp = Lamp()

    call("shine", lamp.shine, args, options)

    assert lamp.log == [seen]


@pytest.mark.parametrize(
    ("args", "options", "says"),
    [
        ([], {}, "shine: missing a required argument: 'colour'; write shine red|green [N] [--name TEXT]"),
        (["red", 1, 2], {}, "shine: too many positional arguments; write shine red|green [N] [--name TEXT]"),
        (["red"], {"x": 1}, "shine: got an unexpected keyword argument 'x'; write shine red|green [N] [--name TEXT]"),
        (["blue"], {}, 'shine: colour "blue": give one of red, green'),
        ([["red"]], {}, 'shine: colour ["red"]: give one of red, green'),
        (["red", "many"], {}, 'shine: level "many": give a number'),
        (["red", 1.5], {}, "shine: level 1.5: give a number"),
        (["red", True], {}, "shine: level true: give a number"),
        (["red", None], {}, "shine: level null: give a number"),
        (["red", "9" * 19], {}, f'shine: level "{"9" * 19}": give a number'),
        (["red"], {"name": 5}, "shine: name 5: give text"),
    ],
)
def test_arguments_that_cannot_be(args: list[object], options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        call("shine", Lamp().shine, args, options)
    assert str(caught.value) == says


@pytest.mark.parametrize(("value", "read"), [("yes", True), ("on", True), (True, True), ("no", False), (False, False)])
def test_yes_and_no(value: object, read: bool) -> None:
    seen = []

    def control(flag: bool) -> None:
        seen.append(flag)

    call("x", control, [value], {})
    assert seen == [read]
    with pytest.raises(ConfigError, match='x: flag "maybe": give yes or no'):
        call("x", control, ["maybe"], {})


@pytest.mark.parametrize(("value", "read"), [("0.25", 0.25), (2, 2.0), (1.5, 1.5), ("-1", -1.0)])
def test_fractions(value: object, read: float) -> None:
    def control(seconds: float) -> float:
        return seconds

    assert call("x", control, [value], {}) == read
    bad: object
    for bad in ("nan", "inf", "1e9", "", None, "1.", []):
        with pytest.raises(ConfigError, match=r"x: seconds .*: give a number, 0\.5 say"):
            call("x", control, [bad], {})


def test_a_control_says_how_it_is_written() -> None:
    assert describe("blink", Lamp().blink) == "blink [--times N] [--dark yes|no]"


# -- over the socket -------------------------------------------------------------------------------------------------


def test_a_request_is_done_and_answered(stage: Stage, client: socket.socket) -> None:
    answer = stage.say(client, {"do": "shine", "args": ["red"], "options": {"level": 3}})

    assert answer == {"ok": True, "answer": {"colour": "red", "level": 3}}
    assert stage.lamps["lamp"].log == [("red", 3, None)]


def test_help_lists_the_controls_of_every_device(stage: Stage, client: socket.socket) -> None:
    lines = ["shine red|green [N] [--name TEXT]", "blink [--times N] [--dark yes|no]", "wait N"]

    assert stage.say(client, {"do": "help"}) == {"ok": True, "answer": {"lamp": lines}}


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (b"shine\n", "not JSON (Expecting value: line 1 column 1 (char 0)); write one object a line"),
        (b"\xff\xfe\n", "not JSON ("),
        (b"\n", "not JSON ("),
        ([], 'a request is an object with a control in "do"'),
        ({"args": []}, 'a request is an object with a control in "do"'),
        ({"do": 5}, 'a request is an object with a control in "do"'),
        ({"do": "shine", "arg": []}, "a request has no 'arg'; it has do, args, options, device"),
        ({"do": "shine", "args": "red"}, 'args "red": give a list'),
        ({"do": "shine", "options": []}, "options []: give a dict"),
        ({"do": "fly"}, "no control is called 'fly'; there is blink, shine, wait"),
        ({"do": "shine", "device": "sun"}, "no device is called 'sun'; there is lamp"),
        ({"do": "shine", "args": ["blue"]}, 'shine: colour "blue": give one of red, green'),
    ],
)
def test_a_wrong_request_is_told_and_the_next_is_heard(
    stage: Stage, client: socket.socket, request_: object, says: str
) -> None:
    answer = stage.say(client, request_)

    assert (answer["ok"], answer["error"].startswith(says)) == (False, True), answer
    assert stage.say(client, {"do": "help"})["ok"]


def test_a_request_may_come_in_pieces_and_several_at_once(stage: Stage, client: socket.socket) -> None:
    line = json.dumps({"do": "shine", "args": ["red"]}).encode() + b"\n"
    for byte in line[:-1]:
        client.sendall(bytes([byte]))
        stage.loop.turn()
    assert stage.lamps["lamp"].log == []

    client.sendall(b"\n" + line + line)
    stage.loop.turn()

    assert len(stage.lamps["lamp"].log) == 3
    assert [json.loads(client.makefile().readline())["ok"]] == [True]


def test_a_request_without_end_is_refused_and_its_sender_let_go(stage: Stage, client: socket.socket) -> None:
    client.setblocking(False)
    sent = client.send(b"x" * (LINE_MOST + 1))
    assert sent == LINE_MOST + 1
    for _ in range(3):
        stage.loop.turn()
    client.settimeout(5)

    reader = client.makefile()
    assert json.loads(reader.readline()) == {"ok": False, "error": f"a request has at most {LINE_MOST} bytes"}
    assert reader.readline() == ""


def test_several_devices_are_told_apart(where: Path) -> None:
    stage = Stage("left", "right")
    with stage.socket, stage.connect() as client:
        refused = stage.say(client, {"do": "shine", "args": ["red"]})
        done = stage.say(client, {"do": "shine", "args": ["red"], "device": "right"})

        assert refused == {"ok": False, "error": "which device? there is left, right; name one with --device"}
        assert (done["ok"], len(stage.lamps["left"].log), len(stage.lamps["right"].log)) == (True, 0, 1)


def test_a_control_that_takes_time_lets_others_in_and_answers_at_its_end(stage: Stage, client: socket.socket) -> None:
    client.sendall(b'{"do": "blink"}\n')
    stage.loop.turn()
    assert stage.lamps["lamp"].log == [0]
    with stage.connect() as other:
        assert stage.say(other, {"do": "shine", "args": ["red"]})["ok"]

    assert [stage.loop.ring(), stage.loop.ring()] == [0.5, 0.5]

    assert stage.lamps["lamp"].log == [0, ("red", 1, None), 1]
    assert json.loads(client.makefile().readline()) == {"ok": True, "answer": 2}


def test_a_control_that_takes_time_ends_although_its_client_left(stage: Stage) -> None:
    with stage.connect() as client:
        client.sendall(b'{"do": "blink"}\n')
        stage.loop.turn()
    stage.loop.turn()
    assert len(stage.loop.readable) == 1  # the listener

    while stage.loop.timers:
        stage.loop.ring()

    assert stage.lamps["lamp"].log == [0, 1]


def test_a_control_may_fail_late(stage: Stage, client: socket.socket) -> None:
    client.sendall(b'{"do": "blink", "options": {"dark": "yes", "times": 1}}\n')
    stage.loop.turn()
    stage.loop.ring()

    assert json.loads(client.makefile().readline()) == {"ok": False, "error": "it is dark; buy a new one"}


@pytest.mark.parametrize(("asked", "waits"), [(-5, 0.0), (1e9, 3600.0)])
def test_pauses_are_kept_within_reason(stage: Stage, client: socket.socket, asked: float, waits: float) -> None:
    client.sendall(json.dumps({"do": "wait", "args": [int(asked)]}).encode() + b"\n")
    stage.loop.turn()

    assert stage.loop.ring() == waits


def test_the_socket_is_private_and_removed_at_the_end(where: Path) -> None:
    stage = Stage("lamp")
    assert stat.S_IMODE(Path("c").stat().st_mode) == 0o600
    client = stage.connect()

    stage.socket.close()
    stage.socket.close()

    assert client.recv(9) == b""
    assert (Path("c").exists(), stage.loop.readable) == (False, {})
    client.close()


def test_a_socket_in_use_is_refused(stage: Stage) -> None:
    with pytest.raises(ConfigError, match="a live server has this socket"):
        ControlSocket(HandLoop(), "c", {})


# -- asking ----------------------------------------------------------------------------------------------------------


def answering(line: bytes) -> threading.Thread:
    """Somebody at socket `d` who says this to the first request, and leaves."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("d")
    listener.listen()

    def serve() -> None:
        client, _ = listener.accept()
        client.recv(9999)
        client.sendall(line)
        client.close()
        listener.close()

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_ask_returns_the_answer(where: Path) -> None:
    thread = answering(b'{"ok": true, "answer": [1]}\n')

    assert ask("d", {"do": "x"}) == [1]
    thread.join()


@pytest.mark.parametrize(
    ("line", "says"),
    [(b'{"ok": false, "error": "no"}\n', "no"), (b'{"ok"', "d: the server went away without an answer")],
)
def test_ask_raises_what_was_refused(where: Path, line: bytes, says: str) -> None:
    thread = answering(line)

    with pytest.raises(ConfigError) as caught:
        ask("d", {"do": "x"})
    thread.join()
    assert str(caught.value) == says


@pytest.mark.parametrize("path", ["nobody", "x" * 200])
def test_ask_where_nobody_is(where: Path, path: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{path}: nobody to ask there: .*; give the path of --control$"):
        ask(path, {"do": "x"})
