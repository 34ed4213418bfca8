"""What QEMU's picture is read from."""

import pytest

from svga.conform.qemu import parse_ppm
from svga.conform.target import Frame


def test_a_picture() -> None:
    assert parse_ppm(b"P6\n2 1\n255\n\1\2\3\n\n\n") == Frame(2, 1, b"\1\2\3\n\n\n")


def test_another_format() -> None:
    with pytest.raises(AssertionError):
        parse_ppm(b"P5\n2 1\n255\n\1\2")
