"""Report descriptors of other mice, whole and broken."""

from random import Random

import pytest

from svga.usb.fields import BITS_MOST, BUTTON, DESKTOP, WHEEL, Field, X, Y, fields, size
from svga.usb.personas import PERSONAS

NUMBERED = bytes.fromhex(  # a mouse of twelve-bit axes, report 2, beside a keyboard of report 1
    "0501 0906 A101 8501 0507 19E0 29E7 1500 2501 7501 9508 8102 C0"
    "0501 0902 A101 8502 0901 A100 0509 1901 2910 1500 2501 9510 7501 8102"
    "0501 1601F8 26FF07 750C 9502 0930 0931 8106 1581 257F 7508 9501 0938 8106 C0 C0"
)


def test_fields_that_cross_bytes() -> None:
    found = {(field.page, field.usage): field for field in fields(NUMBERED) if field.report == 2}
    report = bytes((2, 0x01, 0x80)) + (0x7FF | (0x1000 - 0x7FF) << 12).to_bytes(3, "little") + b"\xff"

    assert size(NUMBERED, 2) == len(report)
    assert [found[DESKTOP, axis].read(report) for axis in (X, Y, WHEEL)] == [2047, -2047, -1]
    assert [n for n in range(1, 17) if found[BUTTON, n].read(report)] == [1, 16]


def test_a_report_that_is_too_short_says_nothing() -> None:
    assert Field(0, 8, 8, DESKTOP, X, True, -127, 127).read(b"\x01") == 0


def test_pushed_and_popped() -> None:
    descriptor = bytes.fromhex("0501 1581 257F 7508 9501 A4 0509 1500 2501 7501 9508 1901 2908 8102 B4 0930 8106")

    assert [(field.page, field.usage, field.at, field.low) for field in fields(descriptor)[-2:]] == [
        (BUTTON, 8, 7, 0),
        (DESKTOP, X, 8, -127),
    ]


@pytest.mark.parametrize("seed", range(300))
def test_garbage_ends_and_stays_small(seed: int) -> None:
    rng = Random(seed)
    data = bytearray(PERSONAS["tablet"].report if seed % 2 else rng.randbytes(200))
    for _ in range(5):
        data[rng.randrange(len(data))] = rng.randrange(256)
    found = fields(bytes(data[: rng.randrange(len(data) + 1)]))

    assert all(field.at >= 0 and field.at + field.bits <= BITS_MOST for field in found)
    assert size(bytes(data)) <= BITS_MOST // 8
