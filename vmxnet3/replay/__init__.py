"""`pvdev replay`: captures through the NIC's receive ring into a driver, with whatever facts in its completions.

In process into the reference driver (`local`), or over a socket into whatever driver comes (`live`).
"""

from vmxnet3.replay.command import replay
from vmxnet3.replay.live import LiveOptions, LiveReplay
from vmxnet3.replay.local import Options, Replay
from vmxnet3.replay.report import LiveReport, Report

__all__ = ["LiveOptions", "LiveReplay", "LiveReport", "Options", "Replay", "Report", "replay"]
