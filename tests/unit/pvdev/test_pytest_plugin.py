"""The fixtures a user's own tests get, run in a pytest of their own."""

import pytest

GOOD = """
from vmxnet3.driver import Driver

def test_a_driver(vmxnet3):
    driver = Driver(vmxnet3.port)
    driver.bring_up()
    driver.send(bytes(6) + bytes(54))
    assert len(vmxnet3.network.sent) == 1
"""
BAD = GOOD.replace("bytes(54))", "bytes(54), cq=False)")
KNOWN = BAD.replace("def test", "import pytest\n\n@pytest.mark.allows('VMX-D-038')\ndef test")
pytest_plugins = ["pytester"]


def run(pytester: pytest.Pytester, text: str) -> pytest.RunResult:
    pytester.makepyfile(text)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider")


def test_a_driver_that_keeps_the_rules_passes(pytester: pytest.Pytester) -> None:
    run(pytester, GOOD).assert_outcomes(passed=1)


def test_a_driver_that_breaks_a_rule_fails_with_its_number(pytester: pytest.Pytester) -> None:
    result = run(pytester, BAD)

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*VMX-D-038*"])


def test_a_rule_known_to_be_broken_is_allowed(pytester: pytest.Pytester) -> None:
    run(pytester, KNOWN).assert_outcomes(passed=1)
