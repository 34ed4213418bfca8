"""What QEMU's picture is read from, and how long a test may take there."""

import pytest

from pvdev.errors import PeerError
from svga.conform.qemu import Limited, parse_ppm
from svga.conform.target import Frame
from tests.unit.pvdev.test_qtest_port import FakeMachine


def test_a_picture() -> None:
    assert parse_ppm(b"P6\n2 1\n255\n\1\2\3\n\n\n") == Frame(2, 1, b"\1\2\3\n\n\n")


def test_another_format() -> None:
    with pytest.raises(AssertionError):
        parse_ppm(b"P5\n2 1\n255\n\1\2")


def test_a_test_within_its_time() -> None:
    machine = FakeMachine()
    machine.store(0x1000, 7, 4)
    limited = Limited(machine, 60.0)

    assert limited.ask("readl 0x1000") == 7
    limited.monitor("stop")
    limited.event("RESET")
    limited.close()
    assert machine.log == ["stop", "RESET", "close"]


@pytest.mark.parametrize("what", ["ask", "monitor"])
def test_a_test_that_takes_too_long(what: str) -> None:
    limited = Limited(FakeMachine(), -1.0)

    with pytest.raises(PeerError, match="the test takes longer than -1 s on this target"):
        getattr(limited, what)("readl 0x1000")
