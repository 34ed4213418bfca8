import pytest
from guest.ktap import ConsoleParser, GuestFailed, GuestReport, Result

GOOD = """\
[    0.1] noise
KTAP version 1
1..2
  KTAP version 1
  1..2
  ok 1 load
  # speed 1000
  ok 2 carrier
ok 1 nic_bind
PVDEV-VALUE tx_pps 93000
PVDEV-FACT mac 52:54:00:12:34:56
  1..0
ok 2 empty
PVDEV-DMESG-BEGIN
[    2.0] vmxnet3: odd
PVDEV-DMESG-END
"""


def parse(text: str) -> GuestReport:
    parser = ConsoleParser()
    for line in text.splitlines():
        parser.feed(line)
    return parser.report(seconds=1.0)


def test_nested_results_are_dotted() -> None:
    report = parse(GOOD)

    assert report.check() is report
    assert report.results == [
        Result("nic_bind.load", True),
        Result("nic_bind.carrier", True, ("speed 1000",)),
        Result("nic_bind", True),
        Result("empty", True),
    ]


def test_values_facts_and_dmesg() -> None:
    report = parse(GOOD)

    assert report.values == {"tx_pps": 93000.0}
    assert report.facts == {"mac": "52:54:00:12:34:56"}
    assert report.dmesg == ["[    2.0] vmxnet3: odd"]


def test_failure_carries_its_diagnostics() -> None:
    text = GOOD.replace("  ok 2 carrier", "  not ok 2 carrier").replace("\nok 1 nic", "\nnot ok 1 nic")

    with pytest.raises(GuestFailed, match=r"not ok nic_bind\.carrier\n    speed 1000"):
        parse(text).check()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (GOOD.replace("  1..2", "  1..3"), "nic_bind: 3 checks were planned, 2 ran"),
        (GOOD.replace("\n1..2", "\n1..3"), "3 scripts were planned, 2 reported"),
        (GOOD.replace("PVDEV-DMESG-END\n", ""), "the console ended before the tests did"),
        (GOOD.replace("93000", "many"), "value tx_pps is no number: 'many'"),
        ("", "the console ended before the tests did"),
        ("Bail out! no memory", "Bail out! no memory"),
    ],
)
def test_what_makes_results_untrustworthy(text: str, problem: str) -> None:
    report = parse(text)

    assert problem in report.problems
    with pytest.raises(GuestFailed):
        report.check()


def test_early_end_keeps_the_checks_so_far() -> None:
    report = parse(GOOD[: GOOD.index("ok 1 nic_bind")])

    assert [result.name for result in report.results] == ["load", "carrier"]


def test_skip_has_not_passed() -> None:
    report = parse("KTAP version 1\n1..1\nok 1 vlan # SKIP no module\nPVDEV-DMESG-END\n")

    assert report.results == [Result("vlan", False, ("# SKIP no module",))]


def test_events_arrive_at_once_and_in_order() -> None:
    seen: list[str] = []
    parser = ConsoleParser(seen.append)

    parser.feed("PVDEV-EVENT rx-ready")
    first = list(seen)
    parser.feed("PVDEV-EVENT done")

    assert (first, seen) == (["rx-ready"], ["rx-ready", "done"])


def test_dmesg_lines_are_not_results() -> None:
    report = parse("KTAP version 1\n1..0\nPVDEV-DMESG-BEGIN\nnot ok 1 x\nPVDEV-DMESG-END\n")

    assert report.results == []
