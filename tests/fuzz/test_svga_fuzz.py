"""Whatever a driver writes where, the display raises nothing, ends what it does, and works again after a reset."""

from random import Random
from struct import pack

import pytest

from svga.driver import commands
from svga.driver.driver import Driver
from svga.wire import Fifo, Register
from svga.wire_commands import BODY, WORDS, Cmd, Cmd3d
from tests.unit.svga.rig import Rig

pytestmark = pytest.mark.slow

NASTY = (0, 1, 2, 3, 4, 7, 63, 64, 65, 4095, 4096, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFC, 0xFFFF_FFFE, 0xFFFF_FFFF)
SETUPS = [
    (profile, front)
    for profile in ("legacy", "screen-objects", "screen-targets", "qemu")
    for front in ("svga2", "svga3")
    if (profile, front) != ("qemu", "svga3")
]


def number(rng: Random) -> int:
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice(NASTY)
    return rng.randrange(12) if kind == 1 else rng.randrange(256) if kind == 2 else rng.getrandbits(32)


def a_command(rng: Random) -> bytes:
    """Of a shape that is decoded, whatever its numbers say; now and then of none."""
    kind = rng.randrange(10)
    if kind < 4:
        which: int = rng.choice(list(Cmd3d))
        size = (BODY[Cmd3d(which)].size + 3 & ~3) + rng.choice((0, 0, 0, 36, -4))
        size = max(size, 0)
        return pack(f"<{2 + size // 4}I", which, size, *(number(rng) for _ in range(size // 4)))
    if kind < 8:
        which = rng.choice(list(WORDS))
        return commands.command(which, *(number(rng) for _ in range(WORDS[Cmd(which)])))
    if kind == 8:
        which = rng.choice((Cmd.DEFINE_CURSOR, Cmd.DEFINE_ALPHA_CURSOR, Cmd.ESCAPE, Cmd.DEFINE_SCREEN, Cmd.REMAP_GMR2))
        return commands.command(which, *(rng.choice((number(rng), rng.randrange(48))) for _ in range(24)))
    return commands.screen(rng.randrange(3), rng.randrange(100), rng.randrange(100), size=rng.choice((28, 40, 44)))


def a_register(rig: Rig, rng: Random) -> None:
    register = rng.choice((rng.choice(list(Register)), rng.randrange(2000), number(rng) & 0xF_FFFF))
    if rng.randrange(2):
        rig.driver.get(register)
    else:
        rig.driver.set(register, number(rng))


@pytest.mark.parametrize(("profile", "front"), SETUPS)
@pytest.mark.parametrize("seed", range(4))
def test_nothing_a_driver_writes_gets_out(profile: str, front: str, seed: int) -> None:
    rng = Random(f"{profile} {front} {seed}")
    rig = Rig(profile, front).up()
    for n in range(300):
        if n % 50 == 49:
            rig.port.reset()
            rig.driver = Driver(rig.port)
            rig.up()
        if rng.randrange(4) == 0:
            a_register(rig, rng)
        elif rig.driver.buffers:
            rig.driver.submit(b"".join(a_command(rng) for _ in range(rng.randrange(1, 6)))[:4096])
            if rng.randrange(3):
                rig.driver.port.until(lambda: True)
                rig.driver.post(rig.driver.header(commands.words(1, 1, 0)), 0x3F)
        else:
            rig.driver.write(b"".join(a_command(rng) for _ in range(rng.randrange(1, 6))))
            rig.driver.ring()
        rig.port.advance(rng.choice((0, 0, 30_000_000)))
    for monitor in rig.device.picture.monitors:
        rows = rig.device.picture.rows(monitor.id)
        length = sum(map(len, rows.pieces)) if rows is not None else 0
        assert rows is None or (rows.height - 1) * rows.pitch < length <= rows.height * rows.pitch

    rig.assert_alive()


@pytest.mark.parametrize("seed", range(6))
def test_nothing_in_the_fifo_gets_out(seed: int) -> None:
    """All of FIFO memory, registers included, is the driver's to write."""
    rng = Random(seed)
    rig = Rig("screen-objects").up()
    fifo = rig.device.fifo_memory
    assert fifo is not None
    words = fifo.view.cast("I")
    for _ in range(200):
        for _ in range(rng.randrange(1, 40)):
            words[rng.choice((rng.randrange(300), 1024 + rng.randrange(200)))] = number(rng)
        if rng.randrange(3):
            words[Fifo.MIN], words[Fifo.MAX] = rng.choice(((4096, len(fifo.view)), (16, 16 << 10)))
            words[Fifo.NEXT_CMD] = 4 * rng.randrange(4000)
        rig.driver.set(Register.CONFIG_DONE, rng.randrange(2))
        rig.driver.ring()
        rig.port.advance(rng.choice((0, 25_000_000)))

    rig.assert_alive()
