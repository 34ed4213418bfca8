from pathlib import Path

import pytest
from guest.dpdk import DRIVERS, LINKED, dpdk_files, package_name


@pytest.mark.parametrize(("part", "package"), [("net-vmxnet3", "librte-net-vmxnet3-25"), ("gro", "librte-gro25")])
def test_package_name(part: str, package: str) -> None:
    assert package_name(part) == package


def test_no_package_is_named_twice() -> None:
    names = [*DRIVERS, *LINKED]

    assert len({*names}) == len(names)


def test_files_of_an_unpacked_dpdk(tmp_path: Path) -> None:
    """Without the root's own loader there is nothing to ask for libraries; the rest is where it must be."""
    drivers = tmp_path / "usr/lib/x86_64-linux-gnu/dpdk/pmds-25.0"
    (tmp_path / "usr/bin").mkdir(parents=True)
    drivers.mkdir(parents=True)
    (tmp_path / "usr/bin/dpdk-testpmd").write_bytes(b"program")
    (drivers / "librte_net_vmxnet3.so.25").write_bytes(b"nic")
    (drivers / "librte_mempool_ring.so.25").write_bytes(b"ring")
    (drivers / "libgcc_s.so.1").write_bytes(b"gcc")

    assert dpdk_files(tmp_path) == {
        "bin/testpmd": b"program",
        "lib/pmd/net-vmxnet3.so": b"nic",
        "lib/pmd/mempool-ring.so": b"ring",
        "lib/libgcc_s.so.1": b"gcc",
    }
