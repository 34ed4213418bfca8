from pathlib import Path

import pytest
from guest.bootimage import payload
from guest.cache import KitError, new_folder
from guest.kit import find_kit, kernel_release

from pvdev.qemu import cache_dir, parse_version, unpacked


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("QEMU emulator version 11.1.3 (Debian 1:11.1.3+ds-1~bpo13+1)\nCopyright", (11, 1, 3)),
        ("QEMU emulator version 10.1 (v10.1)", (10, 1, 0)),
        ("QEMU emulator version 10.2.50", (10, 2, 50)),
        ("bash: no such program", None),
    ],
)
def test_parse_version(text: str, version: tuple[int, int, int] | None) -> None:
    assert parse_version(text) == version


def bzimage(release: bytes, packed: bytes) -> bytes:
    """The header fields the kit reads: one setup sector, the version text at 0x300, the payload 16 bytes after it."""
    image = bytearray(0x410)
    image[0x1F1] = 1
    image[0x202:0x206] = b"HdrS"
    image[0x20E:0x210] = (0x300 - 0x200).to_bytes(2, "little")
    image[0x248:0x24C] = (16).to_bytes(4, "little")
    image[0x24C:0x250] = len(packed).to_bytes(4, "little")
    image[0x300 : 0x300 + len(release)] = release
    return bytes(image) + packed


def test_kernel_release() -> None:
    assert kernel_release(bzimage(b"6.12.1-amd64 (maker) #1 SMP\0", b"")) == "6.12.1-amd64"
    assert kernel_release(b"\x7fELF".ljust(0x300, b"\0")) is None


def test_payload_leaves_out_the_size() -> None:
    assert payload(bzimage(b"6\0", b"\x28\xb5\x2f\xfdDATAsize")) == b"\x28\xb5\x2f\xfdDATA"
    assert payload(bzimage(b"6\0", b"\x1f\x8bDATAsize")) == b"\x1f\x8bDATAsize"


def test_unpacked_qemu_runs_with_its_own_loader() -> None:
    command = unpacked(Path("/c/qemu"))

    assert command[:3] == (
        "/c/qemu/usr/lib64/ld-linux-x86-64.so.2",
        "--library-path",
        "/c/qemu/usr/lib/x86_64-linux-gnu",
    )
    assert "/c/qemu/usr/bin/qemu-system-x86_64" in command
    assert command[-2:] == ("-L", "/c/qemu/usr/lib/ipxe/qemu")


def test_named_qemu_that_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PVDEV_QEMU", "/nowhere/qemu")

    with pytest.raises(KitError, match="PVDEV_QEMU is no qemu-system-x86_64 that runs here"):
        find_kit()


@pytest.mark.parametrize(
    ("version", "devices", "complaint"),
    [("9.2.0", "", "too old: 10.1 or newer"), ("11.0.0", 'name "e1000"', "built without vfio-user-pci")],
)
def test_named_qemu_that_does_not_fit(
    version: str, devices: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "qemu"
    fake.write_text(f"#!/bin/sh\n[ $1 = --version ] && echo QEMU emulator version {version} || echo '{devices}'\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PVDEV_QEMU", str(fake))

    with pytest.raises(KitError, match=complaint):
        find_kit()


def test_nothing_to_be_had_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PVDEV_QEMU", raising=False)
    monkeypatch.setenv("PVDEV_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(KitError, match="make guest"):
        find_kit()
    with pytest.raises(KitError, match="no apt-get"):
        find_kit(fetch=True)


def test_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PVDEV_CACHE", "/a")
    assert cache_dir() == Path("/a/guest")

    monkeypatch.delenv("PVDEV_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert cache_dir() == Path("/b/pvdev/guest")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/h")
    assert cache_dir() == Path("/h/.cache/pvdev/guest")


def test_new_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "part"
    with pytest.raises(FileNotFoundError), new_folder(target) as work:
        (work / "missing" / "half").touch()
    left = list(tmp_path.iterdir())

    with new_folder(target) as work:
        (work / "whole").touch()

    assert left == []
    assert [path.name for path in target.iterdir()] == ["whole"]
