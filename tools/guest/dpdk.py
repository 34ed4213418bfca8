"""DPDK's testpmd with its own vmxnet3 driver, for a guest: taken from the distribution's packages, as the kit is.

testpmd is linked with drivers it is not run with here, so their libraries come along: 23 MB to fetch, 19 MB of files.
"""

from pathlib import Path

from guest.apt import Apt, Package
from guest.cache import Say, quiet
from guest.initramfs import libraries
from guest.kit import forget_lists, part

ABI = "25"  # of Debian 13's DPDK 24.11; a part of its package and file names
PROGRAM_PACKAGE = "dpdk-dev"  # taken alone: it asks for all of DPDK
DRIVERS = ("net-vmxnet3", "mempool-ring")
LINKED = (
    *("net-bond", "net-bnxt", "net-i40e", "net-ixgbe", "net-dpaa", "net-iavf", "net-ice", "net-mlx5", "cmdline"),
    *("crypto-scheduler", "bitratestats", "gro", "gso", "latencystats", "pdump", "bpf"),
)


def find_dpdk(fetch: bool = False, say: Say = quiet) -> Path:
    """The folder DPDK is unpacked in. Raises KitError, one line with the mend."""
    root = part("dpdk", fetch, say, _unpack, "no DPDK")
    if fetch:
        forget_lists()
    return root


def dpdk_files(root: Path) -> dict[str, bytes]:
    """What goes into the guest: bin/testpmd, and lib/ with all it loads; drivers as lib/pmd/NAME.so."""
    program = root / "usr/bin/dpdk-testpmd"
    files = {"bin/testpmd": program.read_bytes()}
    for name in DRIVERS:
        library = next(root.rglob(f"librte_{name.replace('-', '_')}.so.{ABI}"))
        files[f"lib/pmd/{name}.so"] = library.read_bytes()
    loaded = [*libraries(root, program), next(root.rglob("libgcc_s.so.1"))]  # the last when threads end
    return files | {f"lib/{library.name}": library.read_bytes() for library in loaded}


def package_name(name: str) -> str:
    """What Debian calls the package of DPDK's part `net-vmxnet3`."""
    return f"librte-{name}-{ABI}" if name[-1].isdigit() else f"librte-{name}{ABI}"


def _unpack(apt: Apt, root: Path) -> list[Package]:
    packages = [
        apt.download(PROGRAM_PACKAGE),
        *apt.closure([package_name(name) for name in (*DRIVERS, *LINKED)], False),
    ]
    apt.unpack(packages, root)
    return packages
