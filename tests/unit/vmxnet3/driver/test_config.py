"""Ring layouts worked out as Linux works them out."""

import pytest

from vmxnet3.driver.config import linux_bodies, linux_ring


@pytest.mark.parametrize(
    ("mtu", "version", "bodies"), [(1500, 6, 0), (3050, 6, 0), (3051, 6, 1), (9000, 6, 2), (9190, 1, 2), (9000, 7, 0)]
)
def test_bodies_behind_each_head(mtu: int, version: int, bodies: int) -> None:
    assert linux_bodies(mtu, version) == bodies


@pytest.mark.parametrize(
    ("size", "per", "version", "found"),
    [(1000, 1, 6, 1024), (256, 3, 6, 288), (4096, 3, 6, 4032), (1000, 1, 7, 512), (256, 1, 9, 256)],
)
def test_ring_sizes(size: int, per: int, version: int, found: int) -> None:
    assert linux_ring(size, per, version) == found
