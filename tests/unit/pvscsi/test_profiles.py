"""Profiles: each names rules there are, and what is known of a driver fails nothing."""

import pytest

from pvscsi.conform.inside import ModelBench
from pvscsi.conform.rig import build
from pvscsi.driver import cdb
from pvscsi.profiles import LETTER, PROFILES, Profile
from pvscsi.rules import RULES

EVERY = pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)


@EVERY
def test_known_rules_are_rules_with_a_reason(profile: Profile) -> None:
    assert [number for number, why in profile.known.items() if number not in RULES or not why] == []


@pytest.mark.parametrize(
    ("driver", "name"),
    [
        ("Linux", "linux"),
        ("FreeBSD", "freebsd"),
        ("NetBSD", "netbsd"),
        ("OpenBSD", "openbsd"),
        ("illumos", "illumos"),
        ("UEFI", "ovmf"),
        ("SeaBIOS", "seabios"),
    ],
)
def test_every_known_offender_of_the_rule_book_is_in_its_profile(driver: str, name: str) -> None:
    offences = {rule.number for rule in RULES for who in rule.known.split(", ") if who.split(" (")[0] == driver}

    assert offences == set(PROFILES[name].known)


def test_the_letter_knows_no_excuse() -> None:
    assert LETTER.known == {}


@pytest.mark.parametrize(("name", "unknown"), [("letter", 1), ("openbsd", 0), ("linux", 1)])
def test_a_known_offence_is_recorded_and_not_held_against_the_driver(name: str, unknown: int) -> None:
    with build(ModelBench(), profile=PROFILES[name]) as rig:
        rig.driver().run(cdb.inquiry(), read=36, context=1 << 32)
        rules = rig.device.rules

    assert [violation.rule.number for violation in rules] == ["PVS-D-029"]
    assert len(rules.unknown()) == unknown
    assert ("; known: " in str(next(iter(rules)))) is (unknown == 0)
