"""Which kind plays a recording: by its content, with options of its own. Two invented kinds."""

from pathlib import Path
from typing import Any

import click
import pytest

from pvdev.commands.replay import Dispatch, command
from pvdev.errors import ConfigError
from pvdev.kinds import Replay


def player(name: str, *options: click.Option) -> Replay:
    """A kind whose recordings begin with its name."""

    @click.command("replay", params=[click.Argument(["files"], nargs=-1), *options], help=f"Sing of {name}.\n\nLoud.")
    def replay(**values: Any) -> tuple[str, dict[str, Any]]:
        return name, values

    return Replay(f"{name}s", lambda head: head.startswith(name.encode()), replay)


@pytest.fixture
def dispatch() -> Dispatch:
    return Dispatch(
        [
            player("cat", click.Option(["--pace"], type=int), click.Option(["--purr"], is_flag=True)),
            player(
                "dog", click.Option(["--pace"]), click.Option(["--bark/--no-bark"]), click.Option(["--json", "as_json"])
            ),
        ]
    )


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    contents = {"cat": b"cat!", "dog": b"dog!", "dog2": b"dogs", "cow": b"moo", "empty": b"", "zip": b"\x1f\x8b\x08"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: str(tmp_path / name) for name in contents}


def play(dispatch: Dispatch, *words: str) -> Any:
    return dispatch.main(list(words), prog_name="pvdev", standalone_mode=False)


def test_the_content_tells_who_plays_it_with_options_of_its_own(dispatch: Dispatch, files: dict[str, str]) -> None:
    assert play(dispatch, files["cat"], "--purr", "--pace", "7") == (
        "cat",
        {"files": (files["cat"],), "pace": 7, "purr": True},
    )
    assert play(dispatch, "--no-bark", files["dog"], f"{files['dog2']},at=5", "--pace", "slow") == (
        "dog",
        {"files": (files["dog"], f"{files['dog2']},at=5"), "pace": "slow", "bark": False, "as_json": None},
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["cat", "--bark"], "--bark is for dogs, and {cat} is none of these; leave it out"),
        (["cat", "--no-bark"], "--bark is for dogs, and {cat} is none of these; leave it out"),
        (["dog", "--purr"], "--purr is for cats, and {dog} is none of these; leave it out"),
        (["dog", "--purr", "--json", "x"], "--purr is for cats, and {dog} is none of these; leave it out"),
        (["dog", "cat"], "{dog} and {cat} do not go together, being dogs and cats; play one after the other"),
        (["cow"], "{cow}: not a recording (starts with 6d 6f 6f); what can be played are cats and dogs"),
        (["empty"], "{empty}: empty file; what can be played are cats and dogs"),
        (["zip"], "{zip}: packed with gzip: gunzip it first"),
        (["/nowhere"], "/nowhere: cannot be opened: No such file or directory; give a recording"),
    ],
)
def test_what_cannot_be_is_one_line(dispatch: Dispatch, files: dict[str, str], words: list[str], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        play(dispatch, *(files.get(word, word) for word in words))

    assert str(caught.value) == says.format(**files)


@pytest.mark.parametrize(("words", "error"), [([], click.UsageError), (["{cat}", "--pace", "quick"], click.UsageError)])
def test_a_wrong_command_line_is_clicks(
    dispatch: Dispatch, files: dict[str, str], words: list[str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        play(dispatch, *(word.format(**files) for word in words))


def test_help_has_a_section_for_each_kind(dispatch: Dispatch, capsys: pytest.CaptureFixture[str]) -> None:
    play(dispatch, "--help")
    out = capsys.readouterr().out

    assert out.startswith("Usage: pvdev [OPTIONS] FILE...")
    places = [out.index(word) for word in ("Cats:", "Sing of cat.", "Options for cats:", "--purr", "Dogs:", "--bark")]
    assert places == sorted(places)
    assert out.count("--pace") == 2


def test_options_of_one_name_take_as_many_words_with_every_kind() -> None:
    """Else a command line could not be read before it is known whose it is."""
    forms: dict[str, set[tuple[bool, int]]] = {}
    for replay in command.replays:
        for param in replay.command.params:
            if isinstance(param, click.Option):
                for name in param.opts:
                    forms.setdefault(name, set()).add((param.is_flag, param.nargs))

    assert {"--pace", "--mark", "--depth"} <= forms.keys()
    assert {name: found for name, found in forms.items() if len(found) > 1} == {}
