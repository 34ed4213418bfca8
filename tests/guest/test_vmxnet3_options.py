"""What a device may offer otherwise, and interrupts of the old kind: Linux makes do with all of it."""

from contextlib import ExitStack
from pathlib import Path

import pytest
from guest.initramfs import ROOTFS
from guest.kit import Kit

from pvdev.mem import SharedBlock
from tests.guest.served import Host
from tests.guest.test_vmxnet3_versions import Shown
from vmxnet3.wire import PAGE

pytestmark = [pytest.mark.guest, pytest.mark.slow]

Variants = tuple[dict[str, object], ...]

TSO, LRO = 1, 2  # bits of GET_DISABLED_OFFLOADS
# Not among them: timestamp_rate (to stamp a packet Linux reads a performance counter only VMware's processors have, and
# panics elsewhere); tx_data_slot (with slots above 128 bytes Linux complains of a write past its own structure).
VARIANTS: Variants = (
    {"rx_data_slot": 512},
    {"disabled_offloads": TSO | LRO},
    {"queues": (1, 2)},  # interrupts are not shared then: a vector for each queue
    {"queues": (2, 1)},
)


def test_variants(guest_kit: Kit, host: Host, tmp_path: Path) -> None:
    """Larger data slots, offloads withheld, uneven queues, masks in a page the guest writes itself."""
    with ExitStack() as owns:
        page = SharedBlock(PAGE)
        owns.callback(page.close)
        variants: Variants = (*VARIANTS, {"mask_page": page}, {"version": 6, "queues": (1, 1)})
        for n, variant in enumerate(variants):
            host.add(f"dgram:{tmp_path}/{n},peer={tmp_path}/{n ^ 1}", **variant)

        report = host.boot(
            guest_kit, "nic_matrix", params={"nics": len(variants)}, smp=2, memory="1G", deadline_s=90.0
        ).check()

        slots, withheld, more_rx, more_tx, _, single = (Shown(report.facts, f"eth{n}") for n in range(len(variants)))
        assert "Buffer Size 512;" in words(slots["d"])
        assert {withheld.features()[name] for name in ("tcp-segmentation-offload", "large-receive-offload")} == {
            "off",
            "off [fixed]",
        }
        assert (more_rx["S"].count("Tx Queue#"), more_rx["S"].count("Rx Queue#")) == (1, 2)
        assert (more_tx["S"].count("Tx Queue#"), more_tx["S"].count("Rx Queue#")) == (2, 1)
        assert single.features()["receive-hashing"] == "off [fixed]"
        assert (report.dmesg, host.broken_rules()) == ([], [])


def test_interrupt_line(guest_kit: Kit, host: Host) -> None:
    """Without MSI and MSI-X: INTx, one queue."""
    host.wire(1, 9)

    expected = (ROOTFS / "etc/harmless").read_bytes() + b"Failed to enable MSI-X, error: -22\n"

    report = host.boot(
        guest_kit,
        "nic_matrix",
        params={"nics": 2},
        append="pci=nomsi",
        files={"etc/harmless": expected},
        deadline_s=90.0,
    ).check()

    for nic in ("eth0", "eth1"):
        assert f"{nic}=" in report.facts[f"{nic}_interrupts"]
        assert "IO-APIC" in report.facts[f"{nic}_interrupts"]
    assert (report.dmesg, host.broken_rules()) == ([], [])


def words(text: str) -> str:
    return " ".join(text.split())
