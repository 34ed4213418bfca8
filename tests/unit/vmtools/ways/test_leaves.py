"""CPUID as a machine of VMware's shows it."""

from vmtools.ways import leaves
from vmtools.ways.leaves import Quad


def native(leaf: int, subleaf: int) -> Quad:
    return leaf, subleaf, 0, 0xD


def test_the_signature_is_vmware_s_and_the_last_leaf_the_timing_one() -> None:
    found = leaves.answer(leaves.SIGNATURE, 0, native)
    assert found[0] == leaves.TIMING
    assert leaves.vendor(found) == b"VMwareVMware"


def test_a_hypervisor_is_there_and_all_else_of_leaf_1_is_the_processor_s() -> None:
    assert leaves.answer(1, 3, native) == (1, 3, leaves.HYPERVISOR, 0xD)


def test_timing_offers_no_hypercalls() -> None:
    assert leaves.answer(leaves.TIMING, 0, native, tsc_khz=3, bus_khz=4) == (3, 4, 0, 0)


def test_other_hypervisor_leaves_are_empty_and_all_others_the_processor_s() -> None:
    assert leaves.answer(0x4000_0001, 0, native) == (0, 0, 0, 0)
    assert leaves.answer(7, 1, native) == (7, 1, 0, 0xD)
    assert not leaves.ours(7)
    assert leaves.ours(0x4000_00FF)
