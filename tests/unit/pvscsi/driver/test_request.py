"""Sense data as the driver reads it."""

import pytest

from pvscsi.driver.request import Sense, available_sense, decode_sense

FIXED = bytes.fromhex("f00003000012340a00000000110000000000")
DESCRIPTOR = bytes.fromhex("720311000000000c000a80000000000100000000")


@pytest.mark.parametrize(
    ("raw", "sense"),
    [
        (FIXED, Sense(3, 0x11, 0, 0x1234)),
        (bytes((0x70,)) + FIXED[1:], Sense(3, 0x11, 0)),
        (DESCRIPTOR, Sense(3, 0x11, 0, 0x1_0000_0000, fixed=False)),
        (FIXED[:13], None),
        (bytes(18), None),
        (b"", None),
    ],
)
def test_decode(raw: bytes, sense: Sense | None) -> None:
    assert decode_sense(raw) == sense


def test_a_descriptor_list_without_end() -> None:
    assert decode_sense(DESCRIPTOR[:8] + bytes(20)) == Sense(3, 0x11, 0, fixed=False)


@pytest.mark.parametrize(("raw", "length"), [(FIXED, 18), (FIXED[:8], 18), (DESCRIPTOR, 20), (bytes(18), 0), (b"", 0)])
def test_available(raw: bytes, length: int) -> None:
    assert available_sense(raw) == length
