"""What `pvdev doctor` says of the ways in."""

import platform

import pytest

from vmtools import findings
from vmtools.ways import processor


@pytest.mark.parametrize(
    ("fault", "mistaken", "objdump", "fine", "says"),
    [
        (True, True, None, True, "the processor makes CPUID fault"),
        (False, False, None, True, "no other hypervisor misleads the tools"),
        (False, True, "/usr/bin/objdump", True, "CPUID is replaced in the tools, by objdump"),
        (False, True, None, False, "the processor cannot make CPUID fault, and there is no objdump"),
    ],
)
def test_programs_by_what_the_processor_can(
    monkeypatch: pytest.MonkeyPatch, fault: bool, mistaken: bool, objdump: str | None, fine: bool, says: str
) -> None:
    monkeypatch.setattr(processor, "require_x86_64", lambda: None)
    monkeypatch.setattr(processor, "can_fault", lambda: fault)
    monkeypatch.setattr(processor, "mistaken", lambda: mistaken)
    monkeypatch.setattr("shutil.which", lambda name: objdump)
    monkeypatch.setattr(findings, "_traceable", lambda: True)
    assert findings.programs() == (fine, says, "" if fine else "apt install binutils")


def test_other_machines_and_those_that_forbid_tracing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "_traceable", lambda: False)
    if platform.machine() == "x86_64":
        assert findings.programs()[:2] == (False, "no program may be traced")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    fine, says, mend = findings.programs()
    assert (fine, mend) == (False, "none: boot a guest")
    assert says.endswith("this is Linux on aarch64: boot a guest instead")


def test_an_old_qemu_carries_no_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    from pvdev.qemu import Qemu

    monkeypatch.setattr(findings, "find_qemu", lambda: Qemu(("qemu",), (10, 1, 0)))
    assert findings.plugin()[0] is False
    monkeypatch.setattr(findings, "find_qemu", lambda: Qemu(("qemu",), (11, 1, 0)))
    monkeypatch.setenv("CC", "cc")
    assert findings.plugin() == (True, "interface 7 of QEMU's, and a C compiler", "")
