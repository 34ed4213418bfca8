"""`pvdev control`: ask a device that is being served, or change something about it."""

import json
from collections.abc import Sequence

import click

from pvdev import ui
from pvdev.errors import ConfigError


def split(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """(arguments, options) of a control: `down --speed 1000` or `--speed=1000`. Raises `ConfigError`."""
    args: list[str] = []
    options: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if not word.startswith("--"):
            args.append(word)
            continue
        key, equals, value = word[2:].partition("=")
        if not equals:
            try:
                value = next(rest)
            except StopIteration:
                raise ConfigError(f"{word} has no value; write {word} VALUE") from None
        if key in options:
            raise ConfigError(f"--{key} is given twice; give it once")
        options[key.replace("-", "_")] = value
    return args, options


def show(answer: object, indent: str = "") -> None:
    """An answer as lines a person reads: `name: value`, deeper ones indented."""
    if isinstance(answer, dict):
        for key, value in answer.items():
            if isinstance(value, dict | list) and value:
                print(f"{indent}{key}:")
                show(value, indent + "  ")
            else:
                print(f"{indent}{key}: {_word(value)}")
    elif isinstance(answer, list):
        for each in answer:
            pairs = each.items() if isinstance(each, dict) else ()
            print(indent + ("  ".join(f"{key}={_word(value)}" for key, value in pairs) or _word(each)))
    elif answer is not None:
        print(indent + _word(answer))


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value in (None, [], {}) else value if isinstance(value, str) else json.dumps(value)


def carry_out(path: str, device: str | None, words: Sequence[str], as_json: bool) -> None:
    """Ask the server at `path` for a control and its arguments, and print the answer. Raises `ConfigError`."""
    from pvdev.control import ask

    name, *rest = words
    args, options = split(rest)
    answer = ask(path, {"do": name, "args": args, "options": options, **({"device": device} if device else {})})
    if as_json:
        ui.print_json({"answer": answer})
    else:
        show(answer)


@click.command(
    "control",
    context_settings={"help_option_names": ["-h", "--help"], "ignore_unknown_options": True},
)
@click.option("--device", metavar="NAME", help="which device, where the server has several")
@click.option("--json", "as_json", is_flag=True, help="print the answer as JSON")
@click.argument("path")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[CONTROL [ARGUMENT]...]")
def command(device: str | None, as_json: bool, path: str, words: tuple[str, ...]) -> int:
    """Control a device served with --control PATH while it runs; without a CONTROL, say which there are.

    \b
    pvdev control PATH status
    pvdev control PATH link down
    pvdev control PATH link up --speed 1000
    pvdev control PATH link flap --times 10 --interval 0.5
    pvdev control PATH resize 1280x800+0+0,800x600+1280+0
    """
    carry_out(path, device, words or ("help",), as_json)
    return 0
