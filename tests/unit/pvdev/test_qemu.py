"""Finding QEMU: real little programs stand in for it."""

import json
import shlex
from pathlib import Path

import pytest

from pvdev.errors import ConfigError
from pvdev.qemu import (
    DEVICE,
    NAME,
    cache_dir,
    check,
    device_arg,
    find_qemu,
    kvm_usable,
    machine_args,
    parse_version,
    unpacked,
)

FINE = f'name "{DEVICE}", bus PCI'


def fake(path: Path, version: str, devices: str = FINE) -> Path:
    """An executable that answers --version and -device help like QEMU."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\ncase "$1" in --version) echo "{version}";; -device) echo \'{devices}\';; esac\n')
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without QEMU: empty PATH but for the shell, empty cache."""
    monkeypatch.delenv("PVDEV_QEMU", raising=False)
    monkeypatch.setenv("PVDEV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("QEMU emulator version 10.1.0 (Debian 1:10.1.0+ds-5)\nCopyright (c) 2003", (10, 1, 0)),
        ("QEMU emulator version 11.1.3", (11, 1, 3)),
        ("QEMU emulator version 9.2", (9, 2, 0)),
        ("qemu: nothing of the kind", None),
        ("", None),
    ],
)
def test_versions(text: str, version: tuple[int, int, int] | None) -> None:
    assert parse_version(text) == version


def test_the_one_named_is_taken(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(nowhere / "bin" / NAME, "QEMU emulator version 12.0.0")
    mine = fake(nowhere / "my qemu", "QEMU emulator version 10.1.2")
    monkeypatch.setenv("PVDEV_QEMU", shlex.quote(str(mine)))

    found = find_qemu()

    assert (found.command, found.version) == ((str(mine),), (10, 1, 2))
    assert str(found) == f"QEMU 10.1.2: '{mine}'"


def test_the_machine_s_own_is_found(nowhere: Path) -> None:
    path = fake(nowhere / "bin" / NAME, "QEMU emulator version 10.1.0")

    assert find_qemu().command == (str(path),)


@pytest.mark.parametrize(
    ("version", "devices", "says"),
    [
        ("QEMU emulator version 10.0.13", FINE, "is QEMU 10.0.13, too old: 10.1 or newer is needed"),
        ("QEMU emulator version 10.1.0", 'name "vfio-pci"', "was built without vfio-user-pci"),
        ("something else", FINE, f"is no {NAME} that runs here"),
    ],
    ids=["too old", "without vfio-user", "no QEMU"],
)
def test_one_that_does_not_serve_is_refused_in_one_line(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, version: str, devices: str, says: str
) -> None:
    monkeypatch.setenv("PVDEV_QEMU", str(fake(nowhere / "old", version, devices)))

    with pytest.raises(ConfigError, match=says) as caught:
        find_qemu()

    assert str(caught.value).startswith("PVDEV_QEMU ")
    assert "\n" not in str(caught.value)


def test_one_named_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PVDEV_QEMU", "/no/such/qemu")

    with pytest.raises(ConfigError, match="PVDEV_QEMU is no"):
        find_qemu()


def test_none_at_all_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"no QEMU >= 10\.1 with vfio-user-pci.*`make guest`"):
        find_qemu()


def test_an_old_one_of_the_machine_s_is_mentioned(nowhere: Path) -> None:
    fake(nowhere / "bin" / NAME, "QEMU emulator version 7.2.0")

    with pytest.raises(ConfigError, match=r"QEMU 7\.2, too old.*`make guest`"):
        find_qemu()


def test_the_guest_kit_s_comes_last(nowhere: Path) -> None:
    root = cache_dir() / "qemu"
    loader = root / "usr/lib64/ld-linux-x86-64.so.2"
    fake(loader, "QEMU emulator version 11.0.0")
    asks_last = f"""#!/bin/sh
for word; do last=$word; done
case "$last" in --version) echo QEMU emulator version 11.0.0;; help) echo '{FINE}';; esac
"""
    loader.write_text(asks_last)
    (root / "manifest.json").write_text("{}")
    fake(nowhere / "bin" / NAME, "QEMU emulator version 7.2.0")

    found = find_qemu()

    assert found.version == (11, 0, 0)
    assert found.command == unpacked(root)


def test_an_unpacked_qemu_runs_on_its_own_libraries() -> None:
    command = unpacked(Path("/kit"))

    assert command[0] == "/kit/usr/lib64/ld-linux-x86-64.so.2"
    assert command[command.index("--library-path") + 1] == "/kit/usr/lib/x86_64-linux-gnu"
    assert f"/kit/usr/bin/{NAME}" in command
    assert [command[n + 1] for n, word in enumerate(command) if word == "-L"] == [
        "/kit/usr/share/qemu",
        "/kit/usr/share/seabios",
        "/kit/usr/lib/ipxe/qemu",
    ]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"PVDEV_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a/guest"),
        ({"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/pvdev/guest"),
        ({"HOME": "/c"}, "/c/.cache/pvdev/guest"),
    ],
)
def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str) -> None:
    for name in ("PVDEV_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert str(cache_dir()) == expected


def test_check_names_what_it_was_asked_about(nowhere: Path) -> None:
    with pytest.raises(ConfigError, match="the one in the shed is no"):
        check(("/no/such/qemu",), "the one in the shed")


def test_guest_memory_is_shared() -> None:
    args = machine_args("512M")

    backend = args[args.index("-object") + 1]
    assert backend == "memory-backend-memfd,id=m,size=512M,share=on"
    assert "memory-backend=m" in args[args.index("-machine") + 1]
    assert args[args.index("-m") + 1] == "512M"


def test_a_device_is_written_as_json() -> None:
    value = device_arg("/run/a,b c.sock", {"id": "nic0", "addr": 5})

    assert json.loads(value) == {
        "driver": "vfio-user-pci",
        "socket": {"type": "unix", "path": "/run/a,b c.sock"},
        "id": "nic0",
        "addr": 5,
    }


@pytest.mark.parametrize("flags", ["flags : fpu sse2", "flags : fpu svmx", ""])
def test_kvm_is_not_tried_without_the_processors_extension(flags: str) -> None:
    assert not kvm_usable(flags)
