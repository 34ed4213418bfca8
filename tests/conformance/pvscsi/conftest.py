"""Fixtures: an adapter and a driver's side of it, by default in this process.

A test file that is worth more ways names them: `BENCHES = (ModelBench(), ServedBench())`.
"""

import pytest

from pvscsi.conform.fixtures import make_rig, rig
from pvscsi.conform.inside import ModelBench

__all__ = ["make_rig", "rig"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "bench" in metafunc.fixturenames:
        benches = getattr(metafunc.module, "BENCHES", (ModelBench(),))
        metafunc.parametrize("bench", benches, ids=[bench.name for bench in benches])
