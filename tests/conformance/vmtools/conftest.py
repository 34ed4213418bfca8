"""Fixtures: a host and a guest on it."""

import pytest

from tests.conformance.vmtools.rig import Rig


@pytest.fixture
def rig() -> Rig:
    return Rig()
