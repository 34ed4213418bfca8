"""The suite's fixtures: the reference driver against the model, on every transport."""

from vmxnet3.conform.fixtures import make_rig, port, pytest_generate_tests, rig

__all__ = ["make_rig", "port", "pytest_generate_tests", "rig"]
