import ctypes
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from guest.cache import KitError
from guest.dpdk import find_dpdk
from guest.openvmtools import find_tools
from guest.storage import find_storage

from tests.guest.served import Host
from vmxnet3.ports.tap import CLONE_DEVICE

CLONE_NEWNET = 0x40000000


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with ExitStack() as owns:
        yield Host(tmp_path, owns)


@pytest.fixture
def dpdk() -> Path:
    """DPDK's folder, fetched if need be, as `guest_kit` is."""
    try:
        return find_dpdk(fetch=os.environ.get("PVDEV_FETCH") != "0")
    except KitError as error:
        if os.environ.get("PVDEV_REQUIRE") == "all":
            pytest.fail(f"PVDEV_REQUIRE=all, but: {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def storage() -> Path:
    """The folder of the programs for disks, fetched if need be, as `guest_kit` is."""
    try:
        return find_storage(fetch=os.environ.get("PVDEV_FETCH") != "0")
    except KitError as error:
        if os.environ.get("PVDEV_REQUIRE") == "all":
            pytest.fail(f"PVDEV_REQUIRE=all, but: {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def open_vm_tools() -> Path:
    """The folder of open-vm-tools for guests, fetched if need be, as `guest_kit` is."""
    try:
        return find_tools(fetch=os.environ.get("PVDEV_FETCH") != "0")
    except KitError as error:
        if os.environ.get("PVDEV_REQUIRE") == "all":
            pytest.fail(f"PVDEV_REQUIRE=all, but: {error}")
        pytest.skip(str(error))


@pytest.fixture
def namespace() -> Iterator[None]:
    """This thread, and what it starts, in an empty network namespace; skipped where that or TAP is not to be had."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as home:  # noqa: PTH123 (a descriptor is wanted)
        missing = ""
        if not os.access(CLONE_DEVICE, os.R_OK | os.W_OK):
            missing = f"no {CLONE_DEVICE}, or no permission for it"
        elif libc.unshare(CLONE_NEWNET):
            missing = f"no network namespace: {os.strerror(ctypes.get_errno())}"
        if missing and os.environ.get("PVDEV_REQUIRE") == "all":
            pytest.fail(missing)
        if missing:
            pytest.skip(missing)
        try:
            yield
        finally:
            assert libc.setns(home.fileno(), CLONE_NEWNET) == 0
