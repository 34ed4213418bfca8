"""An unmodified Linux 6.12 with its own vmxnet3 driver on our device, over vfio-user."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from guest.frames import DgramPeer, digest, mac, make_frames
from guest.kit import Kit

from tests.guest.served import GUEST_MAC, HOST_MAC, Host
from vmxnet3.captures.capture import CaptureReader
from vmxnet3.captures.pcapng import PcapngWriter
from vmxnet3.device import State

pytestmark = [pytest.mark.guest, pytest.mark.slow]

COUNT, SIZES = 20_000, (60, 64, 65, 128, 590, 1000, 1513, 1514)


def test_linux_binds_with_posted_writes(guest_kit: Kit, tmp_path: Path) -> None:
    """No more than that: with posted writes Linux has freed its multicast table before the device has read it."""
    with ExitStack() as owns:
        host = Host(tmp_path, owns, posted=True)
        host.add("null")

        report = host.boot(guest_kit, "nic_bind").check()

        assert (report.dmesg, host.broken_rules()) == ([], [])


def test_linux_binds(guest_kit: Kit, host: Host) -> None:
    host.add("null")

    report = host.boot(guest_kit, "nic_bind").check()

    assert (report.dmesg, host.broken_rules()) == ([], [])


def test_frames_each_way_through_a_datagram_socket(guest_kit: Kit, host: Host, tmp_path: Path) -> None:
    outward = digest(make_frames(COUNT, SIZES, 7, b"\xff" * 6, mac(GUEST_MAC)))
    inward = list(make_frames(COUNT, SIZES, 8, mac(GUEST_MAC), mac(HOST_MAC)))
    host.add(f"dgram:{tmp_path / 'nic'},peer={tmp_path / 'host'}")
    received: list[bytes] = []

    with DgramPeer(tmp_path / "host", tmp_path / "nic") as peer:
        collector = threading.Thread(target=lambda: received.extend(peer.collect(COUNT, 60.0)))
        collector.start()
        report = host.boot(
            guest_kit,
            "nic_frames",
            params={"count": COUNT, "sizes": ",".join(map(str, SIZES)), "seed": 7},
            on_event=lambda name: peer.send(inward),
        ).check()
        collector.join()

    assert (len(received), digest(received), report.facts["tx_digest"]) == (COUNT, outward, outward)
    assert report.facts["rx_digest"] == digest(inward)
    assert (report.dmesg, host.broken_rules()) == ([], [])


def test_frames_each_way_through_capture_files(guest_kit: Kit, host: Host, tmp_path: Path) -> None:
    inward = list(make_frames(COUNT, SIZES, 8, mac(GUEST_MAC), mac(HOST_MAC)))
    with (tmp_path / "in.pcapng").open("wb") as file:
        writer = PcapngWriter(file)
        writer.add_interface("lan")
        writer.write_batch(0, [(1000 * n, frame) for n, frame in enumerate(inward)])
    host.add(f"pcap:{tmp_path / 'in.pcapng'},out={tmp_path / 'out.pcapng'},pace=max,delay=2000")

    report = host.boot(
        guest_kit,
        "nic_frames_in",
        params={"count": COUNT, "sizes": ",".join(map(str, SIZES)), "seed": 8},
        files=_script("nic_frames_in", RECEIVE_FIRST),
    ).check()

    assert report.facts["rx_digest"] == digest(inward)
    with (tmp_path / "out.pcapng").open("rb") as file:
        sent = [frame[1] for batch in CaptureReader(file).batches() for frame in batch]
    ours = [frame for frame in sent if frame[12:14] == b"\x88\xb5"]
    assert digest(ours) == digest(make_frames(COUNT, SIZES, 7, b"\xff" * 6, mac(GUEST_MAC)))
    assert (report.dmesg, host.broken_rules()) == ([], [])


RECEIVE_FIRST = """
plan 4
check ready nic_ready eth0
receive() {
	frames recv eth0 "$pv_count" "$pv_seed" 60 listening > /tmp/received; local status=$?
	cat /tmp/received
	fact rx_digest "$(sed 's/.*digest \\([0-9a-f]*\\).*/\\1/' /tmp/received)"
	return $status
}
check receive receive
check transmit frames send eth0 "$pv_count" "$pv_sizes" 7 ff:ff:ff:ff:ff:ff 60
check dmesg no_complaints
"""


def _script(name: str, text: str) -> dict[str, bytes]:
    return {f"tests/{name}.sh": text.encode()}


@pytest.mark.parametrize(("processors", "version"), [(1, 1), (2, 9)])
def test_two_nics_talk(guest_kit: Kit, host: Host, processors: int, version: int) -> None:
    """Ping, TCP with TSO and checksum offload, all MTUs, VLAN, down and up, ring sizes, coalescing, offloads, reload.

    Linux makes a queue pair for each processor, and every queue carries traffic.
    """
    host.wire(version, version)
    used: set[tuple[str, int]] = set()
    for nic in host.nics:
        nic.trace = lambda point, **facts: used.add((point, facts.get("queue", -1)))

    report = host.boot(guest_kit, "nic_pair", params={"bytes": 4_000_000}, smp=processors, deadline_s=240.0).check()

    queues = {(point, queue) for point in ("vmxnet3.tx", "vmxnet3.rx") for queue in range(processors)}
    assert {entry for entry in used if entry[1] >= 0} == queues

    assert (report.dmesg, host.broken_rules()) == ([], [])
    assert [nic.state for nic in host.nics] == [State.RESET, State.RESET]  # both clients have gone


@pytest.mark.parametrize("backend", ["memfd", "ram"])
def test_memory_that_is_not_shared_is_diagnosed(guest_kit: Kit, host: Host, backend: str) -> None:
    nic = host.add("null")

    report = host.boot(guest_kit, "nic_bind", shared_memory=False, memory_backend=backend)

    assert [line for line in host.lines if "share=on" in line and "memory-backend=m" in line] != []
    assert sum("share=on" in line for line in host.lines) == 1
    failed: Callable[[str], bool] = lambda name: any(r.name == name and not r.ok for r in report.results)  # noqa: E731
    assert failed("nic_bind.up")
    assert nic.state is State.RESET
