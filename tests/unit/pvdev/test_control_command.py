"""`pvdev control`: words into a request, an answer into lines."""

import json
from typing import Any

import pytest

from pvdev import cli, control
from pvdev.commands.control import show, split
from pvdev.errors import ConfigError


class Server:
    """Remembers what it was asked, and answers what it is told to."""

    def __init__(self, answer: object) -> None:
        self.answer, self.asked = answer, list[tuple[str, Any]]()

    def ask(self, path: str, request: Any) -> object:
        self.asked.append((path, request))
        return self.answer


@pytest.mark.parametrize(
    ("words", "args", "options"),
    [
        ([], [], {}),
        (["down"], ["down"], {}),
        (["up", "--speed", "1000"], ["up"], {"speed": "1000"}),
        (["--speed=1000", "up", "--long-name", "-1"], ["up"], {"speed": "1000", "long_name": "-1"}),
        (["--text", "--strange"], [], {"text": "--strange"}),
        (["--empty="], [], {"empty": ""}),
    ],
)
def test_words_are_arguments_and_options(words: list[str], args: list[str], options: dict[str, str]) -> None:
    assert split(words) == (args, options)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["up", "--speed"], "--speed has no value; write --speed VALUE"),
        (["--speed", "1", "--speed=2"], "--speed is given twice; give it once"),
    ],
)
def test_words_that_cannot_be(words: list[str], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        split(words)
    assert str(caught.value) == says


def test_an_answer_is_shown_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    show({"up": True, "mbps": 10, "fault": None, "port": {"dropped": 0}, "wakes": {}, "rules": [{"rule": "X", "n": 2}]})
    show(["a b", "c"])
    show(None)
    show("done")

    assert capsys.readouterr().out.splitlines() == [
        "up: yes",
        "mbps: 10",
        "fault: none",
        "port:",
        "  dropped: 0",
        "wakes: none",
        "rules:",
        "  rule=X  n=2",
        "a b",
        "c",
        "done",
    ]


@pytest.mark.parametrize(
    ("words", "request_"),
    [
        (["p"], {"do": "help", "args": [], "options": {}}),
        (["p", "link", "down", "--speed", "10"], {"do": "link", "args": ["down"], "options": {"speed": "10"}}),
        (["--device", "nic", "p", "status"], {"do": "status", "args": [], "options": {}, "device": "nic"}),
        (["p", "status", "--device", "nic"], {"do": "status", "args": [], "options": {}, "device": "nic"}),
    ],
)
def test_the_command_asks_what_was_typed(
    words: list[str], request_: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = Server({"fine": True})
    monkeypatch.setattr(control, "ask", server.ask)

    with pytest.raises(SystemExit) as ended:
        cli.main(["control", *words])

    assert (ended.value.code, server.asked) == (0, [("p", request_)])
    assert capsys.readouterr().out == "fine: yes\n"


@pytest.mark.parametrize("words", [["--json", "p", "status"], ["p", "status", "--json"]])
def test_json_is_the_whole_answer(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(control, "ask", Server([1, None]).ask)

    with pytest.raises(SystemExit):
        cli.main(["control", *words])

    assert json.loads(capsys.readouterr().out) == {"answer": [1, None]}
