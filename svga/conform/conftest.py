"""The suite's fixtures, for pytest."""

import pytest

pytest.register_assert_rewrite("svga.conform.rig", "svga.conform.inside")

from svga.conform.fixtures import (  # noqa: E402
    make_rig,
    pytest_collection_modifyitems,
    pytest_generate_tests,
    rig,
)

__all__ = ["make_rig", "pytest_collection_modifyitems", "pytest_generate_tests", "rig"]
