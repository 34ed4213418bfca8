"""Power cuts under a real guest: what ext4 on our disks was told is durable is there for the next guest.

A served adapter whose disks have a volatile cache is killed at a drawn point of the load; some of what was written and
not flushed is then on the medium, some in part, the rest is gone.
"""

from pathlib import Path
from random import Random

import pytest
from guest.kit import Kit

from tests.guest.disks import Served

pytestmark = [pytest.mark.guest, pytest.mark.slow, pytest.mark.usefixtures("storage")]

GUESTS, DISKS = 5, 2  # a cut for every disk of each
PLACES = (0, 1, 2, 3, 4, 5, 6, 8, 9, 10)  # targets an adapter gives one disk after another
NOISE = Random(0).randbytes(1 << 20)


class PowerCut(Exception):
    """Ends a guest."""


def cut(kit: Kit, folder: Path, seed: int) -> list[tuple[Path, str]]:
    """A guest at work and its end: each disk's image, and its files that have to be there, as power_check.sh wants."""
    rng = Random(seed)
    images = [folder / f"{seed}-{number}.img" for number in range(DISKS)]
    kept: list[set[int]] = [set() for _ in images]
    reports = rng.randint(10, 90)
    words: list[str] = []
    for number, image in enumerate(images):
        room, slow = rng.choice(("128K", "64M")), rng.choice(("", "slow,write=200us,flush=2ms,of="))
        disk = f"volatile:{room},seed={seed * DISKS + number},of={slow}file:{image},create=yes,size=48M"
        words += ["--disk", disk]

    with Served(folder / str(seed), *words) as served:

        def on_event(name: str) -> None:
            what, disk, number = name.split("-")
            if what == "kept":
                kept[int(disk)].add(int(number))
            else:
                kept[int(disk)].discard(int(number))
            if sum(map(len, kept)) >= reports:
                served.process.kill()
                served.process.communicate()
                raise PowerCut

        params = {"targets": ",".join(map(str, range(DISKS)))}
        with pytest.raises(PowerCut):
            served.boot(kit, "power_load", params=params, files={"noise": NOISE}, deadline_s=90.0, on_event=on_event)
    return [
        (image, "".join(f"{disk} {number}\n" for number in sorted(numbers)))
        for disk, (image, numbers) in enumerate(zip(images, kept, strict=True))
    ]


def test_what_ext4_was_promised_is_there_after_a_power_cut(guest_kit: Kit, tmp_path: Path) -> None:
    left = [each for seed in range(GUESTS) for each in cut(guest_kit, tmp_path, seed)]
    words = [word for image, _ in left for word in ("--disk", f"file:{image}")]
    files = {f"kept/{place}": numbers.encode() for place, (_, numbers) in zip(PLACES, left, strict=True)}

    with Served(tmp_path / "check", *words) as served:
        report = served.boot(
            guest_kit,
            "power_check",
            params={"targets": ",".join(map(str, PLACES))},
            files={"noise": NOISE, **files},
            deadline_s=150.0,
        ).check()

    assert all(numbers for _, numbers in left)
    assert len([each for each in report.results if "whole" in each.name or "clean" in each.name]) == 2 * len(left)
