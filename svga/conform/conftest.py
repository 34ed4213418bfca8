"""The suite's fixtures, for pytest."""

import pytest

pytest.register_assert_rewrite("svga.conform.rig", "svga.conform.inside")

from svga.conform.fixtures import make_rig, pytest_generate_tests, rig  # noqa: E402

__all__ = ["make_rig", "pytest_generate_tests", "rig"]
