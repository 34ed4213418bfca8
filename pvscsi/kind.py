"""PVSCSI on the command line."""

from pvdev.kinds import Kind, Replay, Suite
from pvscsi.served import PARAMS, build


def replay() -> Replay:
    """What replays block traces."""
    from pvscsi.replay import replay
    from pvscsi.traces.formats import recognises

    return Replay("block traces (blkparse's text, fio's iologs)", recognises, replay)


def suite() -> Suite:
    """The conformance suite."""
    from pvscsi.conform.suite import SUITE

    return SUITE


KIND = Kind("pvscsi", "the paravirtual storage adapter, with disks and CD drives", PARAMS, build, replay, suite)
