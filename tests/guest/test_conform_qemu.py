"""The suite against QEMU's own VMXNET3, over its qtest protocol: no guest boots."""

from typing import Any

import pytest
from guest.kit import Kit

from tests.guest import conformed

pytestmark = [pytest.mark.guest, pytest.mark.slow]


def conform(kit: Kit, *rules: str) -> dict[str, dict[str, Any]]:
    """Case -> what came of it."""
    return conformed.cases(conformed.run(kit, "vmxnet3", timeout_s=120, rules=rules))


def test_registers_rings_and_every_kind_of_interrupt(guest_kit: Kit) -> None:
    found = conform(guest_kit, "VMX-V-001", "VMX-V-021", "VMX-V-024", "VMX-V-045", "VMX-V-061", "VMX-V-070")

    assert len(found) > 12
    assert {case["outcome"] for case in found.values()} == {"passed"}


def test_a_qemu_that_aborts_takes_only_its_own_test_with_it(guest_kit: Kit) -> None:
    found = conform(guest_kit, "VMX-V-034", "VMX-V-035")

    aborted = found["test_VMX_V_035_unsupported_descriptor[qemu-om 1 below version 4]"]
    after = found["test_VMX_V_035_unsupported_descriptor[qemu-dtype]"]
    assert aborted["outcome"] == "failed"
    assert "QEMU ended with SIGABRT" in aborted["reason"]
    assert "QEMU ended" not in after["reason"]
    assert found["test_VMX_V_034_tag_with_checksum[qemu]"]["outcome"] == "passed"


def test_what_it_cannot_do_is_not_applicable(guest_kit: Kit) -> None:
    found = conform(guest_kit, "VMX-V-051", "VMX-V-069", "VMX-V-078")

    assert found["test_VMX_V_051_completion_ring_is_never_overrun[qemu]"]["outcome"] == "not applicable"
    assert found["test_VMX_V_069_speed_change[qemu]"]["outcome"] == "not applicable"
    assert found["test_VMX_V_069_link_change[qemu]"]["outcome"] == "passed"
    assert found["test_VMX_V_078_no_bus_mastering_no_dma[qemu]"]["outcome"] == "passed"
