"""Escapes: overlays are kept, the rest is skipped."""

import pytest

from svga.driver import commands
from svga.wire_commands import VIDEO_REGS, Cmd
from tests.unit.svga.rig import Rig

SET, FLUSH = 0x20001, 0x20002


def escape(*values: int, namespace: int = 0, size: int | None = None) -> bytes:
    tail = commands.words(*values)
    return commands.command(Cmd.ESCAPE, namespace, len(tail) if size is None else size, tail=tail)


def test_registers_count_when_they_are_flushed(legacy: Rig) -> None:
    values = [word for n in range(len(VIDEO_REGS)) for word in (n, 100 + n)]
    legacy.driver.send(escape(SET, 3, *values))
    early = dict(legacy.device.escapes.overlays)
    legacy.driver.send(escape(FLUSH, 3))

    assert (early, legacy.device.escapes.overlays) == ({}, {3: tuple(range(100, 100 + len(VIDEO_REGS)))})
    assert list(legacy.device.rules) == []


@pytest.mark.parametrize("size", [0, 1, 4, 5, 7])
def test_SVG_V_032_sizes_are_padded_to_words(legacy: Rig, size: int) -> None:
    legacy.driver.send(escape(*[7] * (-(-size // 4)), namespace=0xFFFF_FFFF, size=size) + commands.fence(1))

    assert legacy.device._fences.last == 1
    assert legacy.device.escapes.skipped == 1
    assert list(legacy.device.rules) == []


def test_SVG_D_061_overlays_and_registers_there_are_not(legacy: Rig) -> None:
    legacy.driver.send(escape(SET, 32, 0, 1) + escape(SET, 0, 0xFFFF_FFFF, 1, 21, 1, 0) + escape(FLUSH, 0xFFFF_FFFF))

    assert {value for _, value in legacy.seen("SVG-D-061")} == {0xFFFF_FFFF, 21}
    assert legacy.device.escapes.overlays == {}
