"""A third driver nobody here wrote: DPDK's poll mode driver, in an unmodified testpmd, on our device."""

import threading
from collections import Counter
from pathlib import Path

import pytest
from guest.dpdk import dpdk_files
from guest.frames import DgramPeer, mac
from guest.initramfs import MODULES
from guest.kit import Kit

from tests.guest.flows import flows, frame
from tests.guest.served import HOST_MAC, Host
from vmxnet3.profiles import PROFILES
from vmxnet3.wire import Cmd

pytestmark = [pytest.mark.guest, pytest.mark.slow]

COUNT, QUEUES, PATIENCE_S = 2000, 2, 30.0
WINDOW = 100  # frames under way: testpmd drops what a full transmit ring does not take
OFFERED, CHOSEN = (3, 9), (3, 7)  # 7 is the newest DPDK 24.11 knows


def test_testpmd_sends_back_what_it_gets(guest_kit: Kit, dpdk: Path, host: Host, tmp_path: Path) -> None:
    """Both queues of each NIC: every frame comes back with its stations swapped, and with nothing else changed."""
    started = [threading.Event() for _ in OFFERED]
    used: set[tuple[int, str, object]] = set()
    chosen = [0] * len(OFFERED)

    def listen(n: int) -> None:
        def hear(point: str, **facts: object) -> None:
            if point == "vmxnet3.command" and facts["command"] == Cmd.GET_STATS and facts["state"] == "active":
                chosen[n] = host.nics[n].version
                started[n].set()  # the last thing it asks before it forwards
            elif point in ("vmxnet3.rx", "vmxnet3.tx"):
                used.add((n, point, facts["queue"]))

        host.nics[n].trace = hear

    for n, version in enumerate(OFFERED):
        host.add(f"dgram:{tmp_path}/nic{n}.port,peer={tmp_path}/nic{n}.host", version=version, profile=PROFILES["dpdk"])
        listen(n)
    sent = [[frame(flow, nic.mac, mac(HOST_MAC)) for flow in flows(COUNT)] for nic in host.nics]
    back: list[list[bytes]] = [[] for _ in OFFERED]

    def exchange(n: int) -> None:
        with DgramPeer(tmp_path / f"nic{n}.host", tmp_path / f"nic{n}.port") as peer:
            assert started[n].wait(PATIENCE_S)
            for at in range(0, COUNT, WINDOW):
                window = sent[n][at : at + WINDOW]
                peer.send(window)
                got = [peer.receive(PATIENCE_S, kind=None) for _ in window]
                back[n] += [data for data in got if data is not None]

    peers = [threading.Thread(target=exchange, args=(n,)) for n in range(len(OFFERED))]
    vm = host.vm(
        guest_kit,
        "nic_dpdk",
        params={"queues": QUEUES},
        files=dpdk_files(dpdk),
        modules=(*MODULES, "uio_pci_generic"),
        smp=2,
        memory="1G",
        deadline_s=90.0,
    )

    def stop() -> None:
        for peer in peers:
            peer.start()
        for peer in peers:
            peer.join()
        vm.send("done")

    stopper = threading.Thread(target=stop)
    stopper.start()
    with host.server.background():
        report = vm.run().check()
    stopper.join()

    assert tuple(chosen) == CHOSEN
    total = str(COUNT * len(OFFERED))
    assert (report.facts["RX-packets"], report.facts["TX-packets"]) == (total, total)
    for n in range(len(OFFERED)):
        assert Counter(back[n]) == Counter(data[6:12] + data[:6] + data[12:] for data in sent[n])
        assert {(n, point, queue) for point in ("vmxnet3.rx", "vmxnet3.tx") for queue in range(QUEUES)} <= used
    assert (report.dmesg, host.broken_rules()) == ([], [])
