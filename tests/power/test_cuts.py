"""Power cuts under load, on memory and on a file: nothing that was promised is lost, nothing is invented."""

from pathlib import Path

import pytest

from pvscsi.block.file import FileDisk
from tests.power.rig import IMAGE, MOMENTS, Awaited, Powered, everything, memory

SEEDS = 200


@pytest.mark.parametrize("seed", range(SEEDS))
def test_cut_on_memory(seed: int) -> None:
    medium = memory()
    powered = Powered(medium, seed)

    assert powered.cut(MOMENTS[seed % len(MOMENTS)])

    assert powered.ledger.judge(everything(medium)) == []


@pytest.mark.parametrize("seed", range(SEEDS, 2 * SEEDS))
def test_cut_on_a_file(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(IMAGE)
    with Awaited("awaited", FileDisk(str(path))) as medium:
        powered = Powered(medium, seed)

        assert powered.cut(MOMENTS[seed % len(MOMENTS)])

    with Awaited("awaited", FileDisk(str(path))) as left:
        assert powered.ledger.judge(everything(left)) == []
