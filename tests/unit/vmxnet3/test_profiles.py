"""Profiles: each names rules there are, and what is known of a driver fails nothing."""

import pytest

from tests.rig import MAC, RawNic, frame
from vmxnet3.profiles import LETTER, PROFILES, Profile
from vmxnet3.rules import RULES

EVERY = pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)


@EVERY
def test_known_rules_are_rules_with_a_reason(profile: Profile) -> None:
    assert [number for number, why in profile.known.items() if number not in RULES or not why] == []


@pytest.mark.parametrize(
    ("driver", "name"),
    [
        ("FreeBSD", "freebsd"),
        ("DPDK", "dpdk"),
        ("VPP", "vpp"),
        ("iPXE", "ipxe"),
        ("OpenBSD", "openbsd"),
        ("Solaris", "solaris"),
        ("Linux", "linux"),
    ],
)
def test_every_known_offender_of_the_rule_book_is_in_its_profile(driver: str, name: str) -> None:
    named = {rule.number for rule in RULES if driver in rule.known}

    assert named == set(PROFILES[name].known)


def test_the_letter_knows_no_excuse() -> None:
    assert (LETTER.known, LETTER.empty_vlan_table_passes) == ({}, False)


@pytest.mark.parametrize(("name", "unknown"), [("letter", 1), ("freebsd", 0), ("linux", 1)])
def test_a_known_offence_is_recorded_and_not_held_against_the_driver(name: str, unknown: int) -> None:
    nic = RawNic(profile=PROFILES[name])
    nic.bring_up()

    nic.send(frame(), cq=0)

    assert [violation.rule.number for violation in nic.rules] == ["VMX-D-038"]
    assert len(nic.rules.unknown()) == unknown
    assert ("; known: " in str(next(iter(nic.rules)))) is (unknown == 0)


@EVERY
def test_a_tagged_frame_while_the_vlan_table_is_empty(profile: Profile) -> None:
    nic = RawNic(profile=profile)
    nic.bring_up()
    tagged = MAC + frame()[6:12] + bytes.fromhex("81000064 88b5") + bytes(60)

    nic.feed(tagged)

    assert len(nic.received()) == (profile.name in ("freebsd", "openbsd"))
