"""The suite's fixtures, for pytest."""

import pytest

pytest.register_assert_rewrite("pvscsi.conform.rig", "pvscsi.conform.inside")

from pvscsi.conform.fixtures import make_rig, pytest_generate_tests, rig  # noqa: E402

__all__ = ["make_rig", "pytest_generate_tests", "rig"]
