"""The fixtures of the pair tests: the reference driver against the model, on every transport."""

from tests.pair.conftest import make_rig, port, rig

__all__ = ["make_rig", "port", "rig"]
