"""`pvdev replay` of block traces: through the request ring into the adapter and its disk, compared at both ends."""

from pvscsi.replay.command import replay
from pvscsi.replay.local import Options, Replay
from pvscsi.replay.player import Pace
from pvscsi.replay.report import Report

__all__ = ["Options", "Pace", "Replay", "Report", "replay"]
