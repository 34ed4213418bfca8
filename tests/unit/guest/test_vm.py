import json
from pathlib import Path

import pytest
from guest.cache import KitError
from guest.kit import Kit
from guest.vm import Vm, vfio_user

KIT = Kit(("qemu",), (11, 1, 3), Path("/k/vmlinuz"), "6.12.0", Path("/k/modules"), Path("/u"))
OLD = Kit(("qemu",), (10, 1, 0), Path("/k/vmlinuz"), "6.12.0", Path("/k/modules"), Path("/u"))


def words(vm: Vm) -> list[str]:
    return vm.argv(Path("/b/vmlinux"), Path("/b/initramfs"))


def after(vm: Vm, option: str) -> str:
    line = words(vm)
    return line[line.index(option) + 1]


def test_shared_memory_is_the_default() -> None:
    vm = Vm(KIT, ["boot"], accel="tcg", memory="256M")

    assert after(vm, "-machine") == "q35,memory-backend=ram"
    assert after(vm, "-object") == "memory-backend-memfd,id=ram,size=256M,share=on"
    assert (after(vm, "-accel"), after(vm, "-cpu"), after(vm, "-m")) == ("tcg,thread=single", "max", "256M")


def test_a_guest_that_sleeps_boots_what_a_reset_leaves_alone() -> None:
    assert Vm(KIT, ["boot"], accel="tcg", sleeps=True).kernel() == KIT.kernel


@pytest.mark.parametrize("backend", ["memfd", "ram"])
def test_private_memory_on_purpose(backend: str) -> None:
    vm = Vm(KIT, ["boot"], accel="tcg", shared_memory=False, memory_backend=backend)

    assert after(vm, "-object") == f"memory-backend-{backend},id=ram,size=512M,share=off"


def test_kernel_command_line() -> None:
    vm = Vm(KIT, ["a", "b"], accel="tcg", params={"count": 20000}, append="debug", deadline_s=30.0)

    assert after(vm, "-append").split()[-4:] == ["debug", "pvdev.test=a,b", "pvdev.count=20000", "pvdev.timeout=27"]


@pytest.mark.parametrize(("key", "value"), [("Key", "1"), ("a-b", "1"), ("x", "a b"), ("x", 'a"b')])
def test_params_that_cannot_be_passed(key: str, value: str) -> None:
    with pytest.raises(KitError, match=key):
        Vm(KIT, ["a"], accel="tcg", params={key: value})


def test_devices_as_text_and_as_json() -> None:
    line = words(Vm(KIT, ["a"], accel="tcg", devices=["edu", vfio_user(Path("/s"), id="vu0")], extra=["-S"]))
    devices = [line[n + 1] for n, word in enumerate(line) if word == "-device"]

    assert devices[0] == "edu"
    assert json.loads(devices[1]) == {
        "driver": "vfio-user-pci",
        "socket": {"type": "unix", "path": "/s"},
        "id": "vu0",
    }
    assert "-S" in line


def test_accelerator_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PVDEV_ACCEL", "kvm")
    assert (after(Vm(KIT, ["a"]), "-accel"), after(Vm(KIT, ["a"]), "-cpu")) == ("kvm", "host")

    monkeypatch.setenv("PVDEV_ACCEL", "xen")
    with pytest.raises(KitError, match="xen"):
        Vm(KIT, ["a"])


def test_older_qemu_is_not_asked_what_it_cannot() -> None:
    assert "-run-with" in words(Vm(KIT, ["a"], accel="tcg"))
    assert "-run-with" not in words(Vm(OLD, ["a"], accel="tcg"))
