"""SVGA on the command line."""

from pvdev.kinds import Kind, Suite
from svga.served import PARAMS, build


def suite() -> Suite:
    """The conformance suite."""
    from svga.conform.suite import SUITE

    return SUITE


KIND = Kind("svga", "the display adapter", PARAMS, build, suite=suite, screen=True)
