"""SVGA on the command line."""

from pvdev.kinds import Kind
from svga.served import PARAMS, build

KIND = Kind("svga", "the display adapter", PARAMS, build)
