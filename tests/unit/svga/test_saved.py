"""A display saved between two commands, and another one that goes on from there."""

import array
import pickle
import zlib
from typing import Any

import pytest

from pvdev.errors import ConfigError
from pvdev.mem import GuestMemory
from pvdev.saved import MAGIC
from svga.device import Svga
from svga.driver import commands
from svga.function import Video
from svga.profiles import FRONTS
from svga.saved import restore, save
from svga.wire import BAR_PORTS, SYNC_GENERIC, Irq, Register
from svga.wire_commands import CB_HEADER, CONTEXT_0, CONTEXT_1, CbStatus, Cmd, Dc
from tests.unit.svga.rig import H, Rig, W, noise

DISPLAYS = [("legacy", "svga2"), ("screen-objects", "svga2"), ("screen-targets", "svga2"), ("screen-targets", "svga3")]
NOT_SAVED = {  # what a reset sets, and why it stays behind
    "Svga": {"_now_ns", "_tick_ns", "_pending_ns", "kicked"},  # another clock; `resume` sees to the last
    "Traces": {"_bands", "_known", "_next", "due_ns"},  # all of it is looked at anew
    "Ring": {"_waiting_since", "_told", "_bells", "_since"},  # patience begins anew
}


def another(rig: Rig) -> None:
    """The display of a rig is replaced by one that has its state, and its driver's memory."""
    old, front = rig.device, FRONTS[0] if rig.device.profile.svga3 else FRONTS[1]
    data = save(old)
    rig.device = Svga(old.profile.name, front=front, vram=Video(1 << 20, None), size=(W, H), mem=old.mem)
    restore(rig.device, data)
    rig.port.device = rig.device
    rig.unwatch = rig.device.picture.watch(rig.watch)


def write(rig: Rig, register: Register, value: int) -> None:
    """A register is written, and the device does no more than it does at once."""
    if rig.device.profile.svga3:
        rig.device.pci.write(BAR_PORTS, 4 * register, 4, value)
    else:
        rig.device.pci.write(BAR_PORTS, 0, 4, register)
        rig.device.pci.write(BAR_PORTS, 1, 4, value)


def copies(count: int) -> bytes:
    """Copies that overlap, each of what the one before left."""
    return b"".join(commands.rect_copy(n % 7, n % 5, (3 * n) % 11, n % 13, 40, 30) for n in range(count))


@pytest.mark.parametrize("rounds", [0, 1, 2, 3])
@pytest.mark.parametrize("profile", ["legacy", "screen-objects"])
def test_SVG_V_070_commands_left_in_the_FIFO(profile: str, rounds: int) -> None:
    """Saved after some of 200 copies, and after `rounds` more pieces of work: the picture is as if nothing had been."""
    frames = []
    for saved in (False, True):
        rig = Rig(profile).up()
        rig.driver.show(noise(), 0, 0, W, H)
        rig.driver.write(copies(200) + commands.fence(77))
        write(rig, Register.SYNC, SYNC_GENERIC)
        for _ in range(rounds):
            rig.device.service(40, 0)
        assert rig.device.ring is not None
        assert rig.device.ring.waiting == (rounds < 4)
        if saved:
            another(rig)
            assert rig.device.kicked
        rig.driver.sync()
        frames.append(rig.frame())
        assert rig.device._fences.last == 77
        assert list(rig.device.rules) == []

    assert frames[0] == frames[1] != noise()


def test_SVG_V_070_a_command_there_in_part(legacy: Rig) -> None:
    legacy.driver.show(noise(), 0, 0, W, H)
    whole = commands.rect_copy(0, 0, 8, 8, 16, 16)
    legacy.driver.write(whole[:12])
    legacy.driver.ring()
    another(legacy)
    legacy.driver.write(whole[12:] + commands.fence(5))
    legacy.driver.sync()

    assert legacy.device._fences.last == 5
    assert list(legacy.device.rules) == []


def queued(rig: Rig, address: int, data: memoryview, number: int, context: int, body: bytes) -> None:
    """A buffer is submitted: its header at `address`, its commands behind that."""
    at = 64 + len(body)
    data[:64] = CB_HEADER.encode(id=number, length=len(body), ptr=address + 64)
    data[64:at] = body
    write(rig, Register.COMMAND_HIGH, address >> 32)
    write(rig, Register.COMMAND_LOW, address & 0xFFFF_FFFF | context)


@pytest.mark.parametrize("rounds", [0, 1, 9, 20])
@pytest.mark.parametrize("front", FRONTS)
def test_SVG_V_070_buffers_left_in_their_queues(front: str, rounds: int) -> None:
    """Three buffers of 300 commands in each of two contexts, the first of them begun."""
    rig = Rig("screen-targets", front).up()
    rig.driver.steer(Dc.START_STOP_CONTEXT, 1, CONTEXT_0)
    pieces = [rig.port.alloc(4096) for _ in range(6)]
    for n, piece in enumerate(pieces):
        body = commands.command(Cmd.FENCE, n + 1) * 300
        queued(rig, piece.address, piece.view, n, (CONTEXT_0, CONTEXT_1)[n % 2], body)
    for _ in range(rounds):
        rig.device.service(50, 0)
    before = [int.from_bytes(piece.view[:4], "little") for piece in pieces]
    assert CbStatus.NONE in before

    another(rig)
    rig.port.run()

    assert [int.from_bytes(piece.view[:4], "little") for piece in pieces] == [CbStatus.COMPLETED] * 6
    assert rig.device.stream.commands >= 1800
    assert rig.seen("SVG-D-047") == []  # nobody says that the driver changed a header


def test_SVG_V_070_a_queue_that_waits_for_START(targets: Rig) -> None:
    """A buffer was refused, those behind it wait."""
    good, bad = commands.command(Cmd.FENCE, 9), commands.command(0x7777)
    pieces = [targets.port.alloc(4096) for _ in range(2)]
    for n, (piece, body) in enumerate(zip(pieces, (bad * 70, good), strict=True)):
        queued(targets, piece.address, piece.view, n, CONTEXT_0, body)
    targets.port.run()
    another(targets)
    targets.port.run()
    waits = int.from_bytes(pieces[1].view[:4], "little")
    targets.driver.steer(Dc.START_STOP_CONTEXT, 1, CONTEXT_0)
    targets.port.run()

    assert int.from_bytes(pieces[0].view[:4], "little") == CbStatus.COMMAND_ERROR
    assert (waits, int.from_bytes(pieces[1].view[:4], "little")) == (CbStatus.NONE, CbStatus.COMPLETED)


@pytest.mark.parametrize(("profile", "front"), DISPLAYS)
def test_SVG_V_070_what_is_shown(profile: str, front: str) -> None:
    rig = Rig(profile, front).up()
    picture = noise()
    rig.driver.show(picture, 0, 0, W, H)
    cursor = rig.device.picture.cursor
    another(rig)

    assert rig.frame() == picture
    assert rig.device.picture.cursor == cursor
    rig.driver.show(noise(seed=2), 0, 0, W, H)
    assert rig.frame() == noise(seed=2)


def test_SVG_V_070_a_dword_in_pieces(powered: Rig) -> None:
    """Two of the three accesses VALUE comes in were made before."""
    pci = powered.device.pci
    pci.write(BAR_PORTS, 0, 4, Register.GUEST_ID)
    pci.write(BAR_PORTS, 1, 1, 0x78)
    pci.write(BAR_PORTS, 2, 2, 0x3456)
    another(powered)
    pci = powered.device.pci
    pci.write(BAR_PORTS, 4, 1, 0x12)

    assert pci.read(BAR_PORTS, 1, 4) == 0x1234_5678


def test_SVG_V_070_interrupts(legacy: Rig) -> None:
    """The line that was up is up, and said again: nobody knows what the one before it told."""
    legacy.driver.set(Register.IRQMASK, Irq.ANY_FENCE)
    legacy.driver.send(commands.fence(3))
    assert legacy.port.interrupts() == 1
    another(legacy)

    assert legacy.port.interrupts() == 1
    assert legacy.device.causes.status == Irq.ANY_FENCE
    assert legacy.device.pci.irq.line


def test_SVG_V_070_what_the_driver_got_wrong(legacy: Rig) -> None:
    legacy.driver.send(commands.update(0, 0, W + 1, H))
    before = [str(violation) for violation in legacy.device.rules]
    another(legacy)

    assert [str(violation) for violation in legacy.device.rules] == before
    assert len(before) == 1


@pytest.mark.parametrize(("profile", "front"), [*DISPLAYS, ("qemu", "svga2")])
def test_SVG_V_070_all_that_a_reset_sets(profile: str, front: str) -> None:
    """A part that is given another field has to say whether it is saved."""
    for name, part in Rig(profile, front).device.stateful.items():
        if not hasattr(part, "reset"):
            continue
        was, found = type(part), set[str]()

        def note(self: object, key: str, value: Any, found: set[str] = found) -> None:
            found.add(key)
            object.__setattr__(self, key, value)

        part.__class__ = type(was.__name__, (was,), {"__setattr__": note})
        part.reset()
        object.__setattr__(part, "__class__", was)
        found -= NOT_SAVED.get(was.__name__, set())
        assert found - set(part.STATE) == set(), name


# -- what cannot be restored -------------------------------------------------------------------------------------------


def fresh(**options: Any) -> Svga:
    return Svga(**{"front": "svga2", "vram": Video(1 << 20, None), "size": (W, H), "mem": GuestMemory(), **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name_of_profile": "screen-objects"}, "the saved svga had profile legacy, not screen-objects: build one"),
        ({"front": "svga3"}, "the saved svga had front svga2, not svga3"),
        ({"largest": (640, 480)}, r"largest mode \(8192, 8192\), not \(640, 480\)"),
        ({"vram": Video(2 << 20, None)}, "memory of other sizes"),
    ],
)
def test_a_display_that_is_built_otherwise(legacy: Rig, options: dict[str, Any], message: str) -> None:
    device = fresh(**options)
    with pytest.raises(ConfigError, match=message):
        restore(device, save(legacy.device))

    assert device.registers.read(Register.ENABLE) == 0  # as it was


@pytest.mark.parametrize("at", [0, len(MAGIC), len(MAGIC) + 5, -1])
def test_a_damaged_one(legacy: Rig, at: int) -> None:
    data = bytearray(save(legacy.device))
    data[at] ^= 1
    with pytest.raises(ConfigError, match="no saved svga, or it is damaged"):
        restore(fresh(), bytes(data))


def sealed(body: bytes) -> bytes:
    return MAGIC + zlib.crc32(body).to_bytes(4, "little") + body


class Trick:
    """Unpickled by anybody else, this would run a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, ("false",)


INSIDE = b"_array_reconstructor.__self__.__dict__.update"  # by way of something that has a place in it
UPDATE = b"\x80\x04\x8c\x05array\x8c" + bytes([len(INSIDE)]) + INSIDE + b"\x93}\x8c\x04evil\x8c\x01xs\x85R."


@pytest.mark.parametrize("body", [pickle.dumps(Trick()), pickle.dumps(Rig), UPDATE, b"\x80\x05}.", b""])
def test_a_file_from_elsewhere_starts_nothing(body: bytes) -> None:
    with pytest.raises(ConfigError, match="of another version of pvdev"):
        restore(fresh(), sealed(body))

    assert not hasattr(array, "evil")
