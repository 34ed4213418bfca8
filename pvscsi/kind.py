"""PVSCSI on the command line."""

from pvdev.kinds import Kind
from pvscsi.served import PARAMS, build

KIND = Kind("pvscsi", "the paravirtual storage adapter, with disks and CD drives", PARAMS, build)
