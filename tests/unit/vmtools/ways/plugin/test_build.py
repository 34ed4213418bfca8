"""Which plugin a QEMU gets, what is said when it cannot have one, and the memory both sides have."""

import os
import stat
from pathlib import Path

import pytest

from pvdev.errors import ConfigError
from pvdev.qemu import Qemu, Version
from vmtools.ways.plugin.build import api_for, plugin_for
from vmtools.ways.plugin.ram import GIB4, Ram, parse_size


@pytest.mark.parametrize(("version", "api"), [((11, 0, 0), 6), ((11, 0, 4), 6), ((11, 1, 3), 7), ((12, 0, 0), 7)])
def test_the_interface_of_a_qemu(version: Version, api: int) -> None:
    assert api_for(Qemu(("qemu",), version)) == api


def test_an_old_qemu_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"^this is QEMU 10\.2\.1; .* from 11\.0 on: install one$"):
        plugin_for(Qemu(("qemu",), (10, 2, 1)))


def test_no_compiler_or_one_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PVDEV_CACHE", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"^no C compiler for the QEMU plugin: apt install gcc libc6-dev$"):
        plugin_for(Qemu(("qemu",), (11, 1, 0)))
    monkeypatch.setenv("CC", "/bin/false")
    with pytest.raises(ConfigError, match=r"^/bin/false cannot build the QEMU plugin \(no reason given\): apt install"):
        plugin_for(Qemu(("qemu",), (11, 1, 0)))


def test_it_is_built_once_for_each_interface(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PVDEV_CACHE", str(tmp_path))
    first = plugin_for(Qemu(("qemu",), (11, 1, 0)))
    made = first.stat().st_mtime_ns
    assert plugin_for(Qemu(("qemu",), (11, 1, 3))) == first
    assert first.stat().st_mtime_ns == made
    assert plugin_for(Qemu(("qemu",), (11, 0, 0))) != first
    assert first.read_bytes()[:4] == b"\x7fELF"


@pytest.mark.parametrize(("text", "size"), [("512M", 512 << 20), ("1g", 1 << 30), ("256", 256 << 20), ("8K", 8192)])
def test_sizes_as_qemu_writes_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "1X", "1K", "-1G", "1.5G"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ConfigError, match="no size of memory"):
        parse_size(text)


def test_memory_lies_as_the_guest_sees_it_and_is_given_back() -> None:
    small, large = Ram(1 << 20), Ram(3 << 30)
    assert [(region.lo, region.hi) for region in small.memory.regions()] == [(0, 1 << 20)]
    assert [(region.lo, region.hi) for region in large.memory.regions()] == [(0, 2 << 30), (GIB4, GIB4 + (1 << 30))]

    large.memory.write(GIB4 + 4096, b"high")
    large.memory.write(8192, b"low")
    with Path(large.path).open("rb") as file:
        assert stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        file.seek((2 << 30) + 4096)
        assert file.read(4) == b"high"
    assert large.resident() == 8192
    large.release([(GIB4 + 4096, 4096), (8192, 4096)])
    assert large.resident() == 0
    assert large.memory.read(8192, 3) == bytes(3)
    small.close()
    large.close()
