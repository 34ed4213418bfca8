"""A display saved between two commands, and restored: with commands left in the FIFO, and buffers in their queues.

The guest's memory is not in it: it has to be as it was, at the same addresses. Viewers stay with the display they
watch.
"""

from pvdev import saved
from pvdev.irq import Mode as IrqMode
from pvdev.rules import Rule, Severity, Violation
from svga.blits import Gmrfb
from svga.buffers import CommandBuffer, Context
from svga.device import Svga
from svga.display import Area, CursorImage
from svga.mobs import Mob, Table
from svga.modes import Display, Mode
from svga.planes import Flat, Pages, Plane
from svga.profiles import FRONTS
from svga.screens import Screen
from svga.surfaces import Surface
from svga.targets import Target
from svga.wire import Fifo, Irq, Register
from svga.wire_commands import Otable

KINDS = (
    *(Area, CommandBuffer, Context, CursorImage, Display, Fifo, Flat, Gmrfb, Irq, IrqMode, Mob, Mode),
    *(Otable, Pages, Plane, Register, Rule, Screen, Severity, Surface, Table, Target, Violation),
)


def plan(device: Svga) -> saved.Plan:
    """What there is to save of a display."""
    memories = {"vram": device.vram.view}
    if device.fifo_memory is not None:
        memories["fifo"] = device.fifo_memory.view
    shape = {
        "profile": device.profile.name,
        "front": FRONTS[0] if device.profile.svga3 else FRONTS[1],
        "largest mode": device.modes.largest,
    }
    lasting = {"mem": device.mem, "vram": device.vram.memory}
    return saved.Plan("svga", shape, device.stateful, lasting, memories, KINDS)


def save(device: Svga) -> bytes:
    """The display as it is now. Whoever works on it calls this, between two pieces of work."""
    return saved.save(plan(device))


def restore(device: Svga, data: bytes) -> None:
    """Make `device` the display that was saved; it has to be built like it. Raises `ConfigError`, and changes nothing
    then.
    """
    found = saved.read(plan(device), data)
    device.reset()
    found.put()
    device.resume()
