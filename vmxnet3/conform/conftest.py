"""The suite's fixtures, for pytest."""

import pytest

pytest.register_assert_rewrite("vmxnet3.conform.rig", "vmxnet3.conform.inside")

from vmxnet3.conform.fixtures import make_rig, port, pytest_generate_tests, rig  # noqa: E402

__all__ = ["make_rig", "port", "pytest_generate_tests", "rig"]
