"""Keys and pointers of viewers as the guest's hands feel them."""

import pytest

from svga.aim import TABLET_TOP, rescale, to_pixel, to_unit
from svga.console import keysyms
from svga.console.hands import Keyboard, Mouse
from tests.unit.svga.console.rfb import FakeHands

SHIFT = keysyms.SHIFT


def typed(*events: tuple[int, bool]) -> list[tuple[object, ...]]:
    hands = FakeHands()
    keyboard = Keyboard(hands)
    for keysym, down in events:
        keyboard.keysym(keysym, down)
    return hands.did


@pytest.mark.parametrize(
    ("keysym", "code"),
    [(ord("a"), 0x1E), (ord("/"), 0x35), (0xFF0D, 0x1C), (0xFF54, 0xD0), (0xFFC9, 0x58), (0xFFB7, 0x47), (0x20, 0x39)],
)
def test_a_key_goes_down_and_up(keysym: int, code: int) -> None:
    assert typed((keysym, True), (keysym, False)) == [("key", code, True), ("key", code, False)]


def test_every_printable_character_has_a_key() -> None:
    assert [chr(n) for n in range(0x20, 0x7F) if keysyms.find(n) is None] == []
    codes = {keysyms.find(n) for n in range(0x20, 0x7F)}
    assert len(codes) == 95, "no two share a key and its shift"


def test_shift_is_held_where_nobody_does() -> None:
    assert typed((ord("A"), True), (ord("A"), False)) == [
        ("key", SHIFT, True),
        ("key", 0x1E, True),
        ("key", SHIFT, False),
        ("key", 0x1E, False),
    ]


def test_shift_that_is_held_is_left_alone() -> None:
    assert typed((0xFFE2, True), (ord("!"), True), (0xFFE2, False), (ord("1"), False)) == [
        ("key", 0x36, True),
        ("key", 0x02, True),
        ("key", 0x36, False),
        ("key", 0x02, False),
    ]


def test_caps_lock_makes_capitals_by_itself() -> None:
    did = typed((0xFFE5, True), (0xFFE5, False), (ord("A"), True), (ord("A"), False), (ord("!"), True))

    assert did[2:] == [
        ("key", 0x1E, True),
        ("key", 0x1E, False),
        ("key", SHIFT, True),
        ("key", 0x02, True),
        ("key", SHIFT, False),
    ]


def test_keys_nobody_has_and_keys_that_were_not_down() -> None:
    assert typed((0x01000416, True), (0xFFFFFFFF, True), (ord("a"), False)) == []


@pytest.mark.parametrize(("code", "did"), [(0xB8, [("key", 0xB8, True)]), (0, [("key", 0x1E, True)]), (0x100, [])])
def test_scan_codes_of_a_viewer_that_knows_them(code: int, did: list[object]) -> None:
    hands = FakeHands()
    Keyboard(hands).scancode(code, ord("a"), True)

    assert hands.did == did


def test_every_button_and_both_wheels() -> None:
    hands = FakeHands()
    mouse = Mouse(hands)
    for mask in (0, 1, 2, 4, 7, 8, 0, 16, 32, 64, 0):
        mouse.event(mask, 0, 0, (100, 50))

    assert [each[3] for each in hands.did if each[0] == "point"] == [0, 1, 4, 2, 7, 0, 0, 0, 0, 0, 0]
    assert [each[1:] for each in hands.did if each[0] == "wheel"] == [(1, 0), (-1, 0), (0, -1), (0, 1)]


@pytest.mark.parametrize("length", [1, 2, 640, 1023, 1920, 8192])
def test_every_pixel_is_found_again(length: int) -> None:
    """By a guest that divides by the number of units, also from a tablet's half of them."""
    hands = FakeHands()
    mouse = Mouse(hands)
    for at in range(length):
        mouse.event(0, at, 0, (length, 1))
    units = [int(str(did[1])) for did in hands.did]

    assert [to_pixel(unit, length, 0xFFFF) for unit in units] == list(range(length))
    assert [to_pixel(rescale(unit, 0xFFFF, TABLET_TOP), length, TABLET_TOP) for unit in units] == list(range(length))


def test_places_outside_are_the_edge() -> None:
    hands = FakeHands()
    Mouse(hands).event(0, 65535, 65535, (100, 50))

    assert hands.did == [("point", to_unit(99, 100, 0xFFFF), to_unit(49, 50, 0xFFFF), 0)]
