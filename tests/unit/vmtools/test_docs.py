"""docs/SCENARIOS.md names what there is."""

import re
from pathlib import Path

from vmtools.controls import controls
from vmtools.host import Host
from vmtools.scenario import parse
from vmtools.steps import ACTIONS

PAGE = (Path(__file__).parents[3] / "docs" / "SCENARIOS.md").read_text(encoding="utf-8")


def test_every_step_and_control_is_there() -> None:
    steps, _, rest = PAGE.partition("## While it runs")
    asked = rest.partition("## In Python")[0]

    assert [step for step in ACTIONS if f"`{step} = " not in steps] == []
    assert [name for name in controls(Host(), lambda: 0) if not re.search(rf"`{name}[ `]", asked)] == []


def test_its_scenario_can_be_read() -> None:
    text = PAGE.partition("```toml")[2].partition("```")[0]

    assert [step.name for step in parse(text).steps] == ["balloon 60%", "snapshot"]


def test_what_it_says_of_a_host_is_true() -> None:
    host = Host()
    table = PAGE.partition("| of a `vmtools.host.Host` | |")[2].partition("\n\n")[0]
    names = [name for row in table.splitlines() if row for name in re.findall(r"`(\w+)`", row.split("|")[1])]

    assert len(names) > 8
    assert [name for name in names if not hasattr(host, name)] == []
