"""Displays in the states tests begin with."""

import pytest

from tests.unit.svga.rig import Rig


@pytest.fixture
def powered() -> Rig:
    """SVGA II, nothing written yet."""
    return Rig()


@pytest.fixture
def legacy() -> Rig:
    """SVGA II with a mode set by registers, 64 by 48, commands by the FIFO."""
    return Rig().up()


@pytest.fixture
def screens() -> Rig:
    """SVGA II with a screen object, 64 by 48."""
    return Rig("screen-objects").up()


@pytest.fixture
def targets() -> Rig:
    """SVGA3 with a screen target, 64 by 48, commands by buffers."""
    return Rig("screen-targets", "svga3").up()
