"""The kit proves itself on QEMU's own vmxnet3, before any device of ours comes into it."""

import threading
from pathlib import Path

import pytest
from guest.frames import DgramPeer, digest, mac, make_frames
from guest.kit import Kit
from guest.ktap import GuestFailed
from guest.vm import GuestTimeout, Vm

pytestmark = [pytest.mark.guest, pytest.mark.slow]

GUEST_MAC, HOST_MAC = "52:54:00:12:34:56", "02:00:00:00:00:01"
COUNT, SIZES = 2000, (60, 61, 64, 128, 1000, 1514)
PACE = 4  # frames per ms; QEMU's own NIC drops what its ring has no room for


def test_kit_carries_frames_both_ways(guest_kit: Kit, tmp_path: Path) -> None:
    outward = digest(make_frames(COUNT, SIZES, 7, b"\xff" * 6, mac(GUEST_MAC)))
    inward = list(make_frames(COUNT, SIZES, 8, mac(GUEST_MAC), mac(HOST_MAC)))
    with DgramPeer(tmp_path / "host", tmp_path / "qemu") as peer:
        received: list[bytes] = []
        collector = threading.Thread(target=lambda: received.extend(peer.collect(COUNT, 60.0)))
        collector.start()
        senders = {"rx-ready": lambda: peer.send(inward, pace=PACE)}
        vm = Vm(
            guest_kit,
            ["nic_bind", "nic_frames"],
            devices=[f"vmxnet3,netdev=host,mac={GUEST_MAC}"],
            extra=["-netdev", peer.netdev("host")],
            params={"count": COUNT, "sizes": ",".join(map(str, SIZES)), "seed": 7},
            on_event=lambda name: senders[name](),
        )
        report = vm.run().check()
        collector.join()

    assert report.dmesg == []
    assert report.facts["mac"] == GUEST_MAC
    assert (digest(received), report.facts["tx_digest"]) == (outward, outward)
    assert report.facts["rx_digest"] == digest(inward)


def test_kit_wires_two_nics(guest_kit: Kit) -> None:
    hub = [word for n in (0, 1) for word in ("-netdev", f"hubport,id=n{n},hubid=0")]
    vm = Vm(
        guest_kit,
        ["nic_pair"],
        devices=["vmxnet3,netdev=n0,mac=52:54:00:12:34:56", "vmxnet3,netdev=n1,mac=52:54:00:12:34:57"],
        extra=hub,
        params={"bytes": 1_000_000},
        deadline_s=150.0,
    )

    report = vm.run().check()

    assert report.dmesg == []


def test_host_answers_the_guest(guest_kit: Kit) -> None:
    script = b"plan 1\nevent question\ncheck answered await answer 20\n"
    vm = Vm(guest_kit, ["ask"], files={"tests/ask.sh": script}, on_event=lambda name: vm.send("answer"))

    report = vm.run().check()

    assert [result.name for result in report.results] == ["ask.answered", "ask"]


def test_failed_check_is_shown(guest_kit: Kit) -> None:
    script = b"plan 2\ncheck fine true\ncheck broken ls /nowhere\n"

    report = Vm(guest_kit, ["bad"], files={"tests/bad.sh": script}).run()

    with pytest.raises(GuestFailed, match=r"not ok bad\.broken(.|\n)*nowhere"):
        report.check()


def test_panic_ends_the_guest(guest_kit: Kit) -> None:
    report = Vm(guest_kit, ["panic"], files={"tests/panic.sh": b"echo c > /proc/sysrq-trigger\n"}).run()

    with pytest.raises(GuestFailed, match="Kernel panic"):
        report.check()


def test_hanging_test_is_stopped_by_the_guest(guest_kit: Kit) -> None:
    report = Vm(guest_kit, ["hang"], files={"tests/hang.sh": b"sleep 60\n"}, deadline_s=12.0).run()

    with pytest.raises(GuestFailed, match="no end after"):
        report.check()


def test_hanging_guest_is_stopped_by_the_host(guest_kit: Kit) -> None:
    script = b"echo going down; trap '' TERM; while :; do :; done\n"

    with pytest.raises(GuestTimeout, match="going down"):
        Vm(guest_kit, ["hang"], files={"tests/hang.sh": script}, deadline_s=8.0).run()


def test_callback_error_ends_the_guest(guest_kit: Kit) -> None:
    vm = Vm(guest_kit, ["ask"], files={"tests/ask.sh": b"event x\nsleep 60\n"}, on_event=lambda name: 1 // 0)

    with pytest.raises(ZeroDivisionError):
        vm.run()
