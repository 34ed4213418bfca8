"""The fixture `vmtools` of a user's own tests."""

import pytest

from pvdev.pytest_plugin import Tools

AGENT = """
def test_an_agent(vmtools):
    agent = vmtools.service()
    scenario = vmtools.scenario('''
        [[step]]
        at = "1s"
        ping = true
        [[step]]
        at = "2s"
        variable = { "guestinfo.ready" = "yes" }
    ''')
    for _ in range(40):
        agent.poll()
        vmtools.pass_time(0.1)
    agent.rpc.call("info-set guestinfo.ready yes")
    vmtools.pass_time(0.2)
    assert scenario.ok, scenario.report()
"""
BAD = """
def test_an_agent(vmtools):
    vmtools.rpc().call("info-set ready yes")
"""
pytest_plugins = ["pytester"]


def run(pytester: pytest.Pytester, text: str) -> pytest.RunResult:
    pytester.makepyfile(text)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider")


def test_an_agent_that_does_what_it_should(pytester: pytest.Pytester) -> None:
    run(pytester, AGENT).assert_outcomes(passed=1)


def test_an_agent_that_breaks_a_rule(pytester: pytest.Pytester) -> None:
    result = run(pytester, BAD)

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*VMT-D-032*"])


def test_an_hour_without_a_guest(vmtools: Tools) -> None:
    """The fixture in this process: time passes when it is told to."""
    scenario = vmtools.scenario('start = "boot"\n[[step]]\nat = "30m"\nheartbeat = "gray"\n')

    vmtools.pass_time(1799)
    before = scenario.done
    vmtools.pass_time(2)

    assert (before, scenario.ok) == (False, True)
