"""Print docs/RULES.md: every numbered rule, its source, and the tests that show it.

Usage: python tools/rules_page.py [--check | --stdout]

The rules come from the tables beside the code, the tests from function names that hold a rule's number
(`test_VMX_D_010_wrong_magic` shows VMX-D-010) or from `@pytest.mark.rule("VMX-D-010")`. `--check` writes nothing and
fails when the page is stale, when a rule has no test, or when a test names a rule there is not.
"""

import argparse
import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from pvdev.rules import MEMORY_RULES, Rule
from pvdev.suite import NUMBER, numbers_in
from pvdev.transport.vfio_user_rules import CLIENT_RULES, SERVER_RULES
from pvscsi.rules import DRIVER_RULES as ADAPTER_RULES
from pvscsi.rules import UNSEEN as ADAPTER_UNSEEN
from svga.rules import DRIVER_RULES as DISPLAY_RULES
from svga.rules import UNSEEN as DISPLAY_UNSEEN
from vmtools.rules import GUEST_RULES as TOOLS_RULES
from vmtools.rules import UNSEEN as TOOLS_UNSEEN
from vmxnet3.rules import DRIVER_RULES as NIC_RULES

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "RULES.md"
TESTS = (ROOT / "tests", *sorted(ROOT.glob("*/conform")))  # ours, and the suites that are installed with the devices

DUTIES = {  # number families without a table: the tests say what they are
    "VMX-V": "VMXNET3: duties of the device",
    "PVS-V": "PVSCSI: duties of the device",
    "SVG-V": "SVGA: duties of the device",
    "VMT-V": "VMware Tools: duties of the host",
}

INTRODUCTION = """\
# Rules

Printed by `tools/rules_page.py` from the tables beside the code; `make check` fails when this page is stale, when a
rule has no test, or when a test names a rule there is not.

A rule is stated once, in our own words, with its source. A device records every time a driver breaks one: its number,
the place, the value and the count. Nothing a driver does raises an error in the host.

| severity | meaning |
| --- | --- |
| advice | works on every known device, is still unwise |
| violation | recorded; the device carries on safely |
| fatal | the device refuses the command, stops the queue, or ends the connection |

"Known offenders" are shipping drivers that break the rule: a device must live with them.
"""


@dataclass(frozen=True)
class Section:
    """One part of the page: rules of one kind. `unseen`: numbers no device can judge, or none of ours does, and why."""

    title: str
    text: str
    rules: tuple[Rule, ...]
    unseen: Mapping[str, str] = field(default_factory=dict)


SECTIONS = (
    Section("Guest memory", "What any device asks of the addresses it is given.", MEMORY_RULES),
    Section("VMXNET3: the driver", "What the device checks of its driver.", NIC_RULES),
    Section(
        "PVSCSI: the driver",
        "What the adapter checks of its driver; a close look is taken with `pvdev serve pvscsi --watch`.",
        ADAPTER_RULES,
        ADAPTER_UNSEEN,
    ),
    Section("SVGA: the driver", "What the display checks of its driver.", DISPLAY_RULES, DISPLAY_UNSEEN),
    Section(
        "VMware Tools: the guest",
        "What the host checks of the programs and the kernel in its guest.",
        TOOLS_RULES,
        TOOLS_UNSEEN,
    ),
    Section("vfio-user: the client", "What a server checks, and how it answers.", SERVER_RULES),
    Section("vfio-user: our own client", "What our client keeps, and what it checks of a server.", CLIENT_RULES),
)


@dataclass(frozen=True)
class Shown:
    """A test function: where it stands, its name and the first line of its docstring."""

    file: str
    name: str
    line: str = ""


@dataclass
class Found:
    """Which tests name which rule number."""

    tests: dict[str, list[Shown]] = field(default_factory=dict)

    def add(self, number: str, test: Shown) -> None:
        known = self.tests.setdefault(number, [])
        if test not in known:
            known.append(test)


def _marked(function: ast.AST) -> Iterator[str]:
    """The numbers in `pytest.mark.rule(...)` anywhere in a test: decorators and single parameters."""
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "rule":
            for argument in node.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value


def scan(folders: Iterable[Path], families: Iterable[str]) -> Found:
    """All tests below `folders` that name a rule of one of `families` ("VMX-D", "MEM")."""
    wanted, found = set(families), Found()
    files = [(folder, path) for folder in folders for path in sorted(folder.rglob("test_*.py"))]
    for folder, path in files:
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test"):
                continue
            line = (ast.get_docstring(node) or "").partition("\n")[0]
            test = Shown(path.relative_to(folder).as_posix(), node.name, line)
            for number in [*numbers_in(node.name), *_marked(node)]:
                if family_of(number) in wanted:
                    found.add(number, test)
    return found


def family_of(number: str) -> str:
    return number.rpartition("-")[0]


def complaints(sections: Iterable[Section], found: Found, duties: Iterable[str] = DUTIES) -> list[str]:
    """What is wrong between rules and tests, a line each."""
    rules, free = {rule.number for section in sections for rule in section.rules}, set(duties)
    out = [f"{number}: no test shows this rule" for number in sorted(rules - set(found.tests))]
    unseen = {number for section in sections for number in section.unseen}
    out += [f"{number}: said not to be looked for, but there is such a rule" for number in sorted(unseen & rules)]
    for number in sorted(set(found.tests) - rules):
        if family_of(number) not in free:
            out += [f"{number}: there is no such rule, but {test.file} has {test.name}" for test in found.tests[number]]
    return out


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _words(test: Shown, number: str) -> str:
    """A test's name in words, without the number."""
    plain = NUMBER.sub("", test.name.removeprefix("test_")).strip("_").replace("_", " ")
    return plain or number


def _names(tests: Iterable[Shown]) -> str:
    return "<br>".join(f"`{test.name}`" for test in tests)


def _rule_table(section: Section, found: Found) -> Iterator[str]:
    offenders = any(rule.known for rule in section.rules)
    head = ["rule", "severity", "what", "source", *(["known offenders"] if offenders else []), "shown by"]
    yield "| " + " | ".join(head) + " |"
    yield "| " + " | ".join("---" for _ in head) + " |"
    for rule in section.rules:
        known = [_cell(rule.known)] if offenders else []
        cells = [rule.number, rule.severity.value, _cell(rule.text), _cell(rule.source), *known]
        yield "| " + " | ".join([*cells, _names(found.tests.get(rule.number, ()))]) + " |"


def _duty_table(numbers: Iterable[str], found: Found) -> Iterator[str]:
    yield "| duty | what | shown by |"
    yield "| --- | --- | --- |"
    for number in numbers:
        tests = found.tests[number]
        what = "; ".join(dict.fromkeys(_cell(test.line.rstrip(".") or _words(test, number)) for test in tests))
        yield f"| {number} | {what} | {_names(tests)} |"


def page(sections: Iterable[Section], found: Found, duties: Iterable[str] = DUTIES) -> str:
    """The whole page."""
    lines = [INTRODUCTION]
    for section in sections:
        lines += [f"## {section.title}", "", section.text, "", *_rule_table(section, found), ""]
        if section.unseen:
            lines += ["Not looked for:", "", *(f"- {number}: {why}" for number, why in section.unseen.items()), ""]
    order = list(duties)
    named = [number for number in sorted(found.tests) if family_of(number) in order]
    for family, numbers in groupby(sorted(named, key=lambda number: order.index(family_of(number))), family_of):
        lines += [
            f"## {DUTIES.get(family, family)}",
            "",
            "Shown by tests against the model, on every transport; the test says what the duty is.",
            "",
            *_duty_table(numbers, found),
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: list[str] | None = None, *, target: Path = PAGE, tests: Iterable[Path] = TESTS) -> int:
    parser = argparse.ArgumentParser(description="Print docs/RULES.md: every numbered rule and the tests that show it.")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="write nothing; fail when the page or a test is wrong")
    mode.add_argument("--stdout", action="store_true", help="print the page instead of writing it")
    options = parser.parse_args(arguments)
    families = {family_of(rule.number) for section in SECTIONS for rule in section.rules} | set(DUTIES)
    found = scan(tests, families)
    text = page(SECTIONS, found)
    if options.stdout:
        print(text, end="")
        return 0
    if not options.check:
        target.write_text(text, encoding="utf-8")
        return 0
    wrong = complaints(SECTIONS, found)
    if not target.exists() or target.read_text(encoding="utf-8") != text:
        wrong.append(f"{target.name} is stale: run `make rules`")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
