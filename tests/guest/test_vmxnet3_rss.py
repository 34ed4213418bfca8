"""Many queues and receive side scaling: what Linux counts on each queue is what we predicted for 10,000 flows."""

import socket
import struct
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from guest.frames import DgramPeer, mac
from guest.kit import Kit

from tests.guest.flows import UDP, Flow, claim, flows, frame, predict
from tests.guest.served import HOST_MAC, Host, Told
from vmxnet3.device import Vmxnet3

pytestmark = [pytest.mark.guest, pytest.mark.slow]

PORTS_FROM = 4  # the version from which a driver may ask for the ports of UDP
PROCESSORS = 2
FLOWS, ECHOES = 10_000, 2000


class Network:
    """What is at the far end of one NIC: it sends the flows and judges the echoes."""

    def __init__(self, nic: Vmxnet3, name: str, version: int, told: Told, folder: Path) -> None:
        self.nic, self.name, self.version, self._told = nic, name, version, told
        self.peer = DgramPeer(folder / f"{name}.host", folder / f"{name}.nic")
        self.expected: list[Counter[int]] = []
        self.echoed: set[bytes] = set()
        self._collector = threading.Thread(target=self._collect)

    def send_flows(self, round_: int) -> None:
        """All flows once, each claiming what the key and the table of the guest lead to."""
        key = bytes.fromhex(self._told.facts["key"])
        table = [int(entry) for entry in self._told.facts[f"{self.name}_table{round_}"].split(",") if entry]
        with_ports = self.version >= PORTS_FROM
        queues: Counter[int] = Counter()
        frames = []
        for flow in flows(FLOWS):
            queue, value = predict(flow, key[:40], table, with_ports)
            queues[queue] += 1
            checkable = flow.protocol != UDP or with_ports  # the stack makes a hash of its own of one without ports
            frames.append(frame(flow, self.nic.mac, mac(HOST_MAC), queue, value if checkable else 0))
        self.expected.append(queues)
        self.peer.send(frames)

    def send_echoes(self) -> None:
        self._collector.start()
        self.peer.send(frame(flow, self.nic.mac, mac(HOST_MAC)) for flow in asked())

    def _collect(self) -> None:
        while len(self.echoed) < ECHOES and (got := self.peer.receive(30.0, kind=0x0800)) is not None:
            if got[23] == UDP and got[34:36] == b"\0\7":
                self.echoed.add(got[26:34] + got[34:38] + got[42:])

    def close(self) -> None:
        if self._collector.ident:
            self._collector.join()
        self.peer.close()


def asked() -> Sequence[Flow]:
    """Datagrams to the echo service, each from a host of its own."""
    return [
        Flow(UDP, (0xC612_0000 + n).to_bytes(4, "big"), socket.inet_aton("192.0.2.1"), (1024 + n, 7))
        for n in range(ECHOES)
    ]


def answered() -> set[bytes]:
    """What comes back for them: addresses, ports, payload."""
    return {flow.target + flow.source + struct.pack(">HH", *flow.ports[::-1]) + claim() for flow in asked()}


@pytest.mark.parametrize(("queues", "versions"), [(8, (1, 6)), (16, (9,))])
def test_every_queue_carries_what_was_predicted(
    guest_kit: Kit, host: Host, tmp_path: Path, queues: int, versions: Sequence[int]
) -> None:
    """With 16 the tables are the extended ones of version 6."""
    told = Told()
    networks = []
    for n, version in enumerate(versions):
        nic = host.add(f"dgram:{tmp_path}/eth{n}.nic,peer={tmp_path}/eth{n}.host", version=version)
        networks.append(Network(nic, f"eth{n}", version, told, tmp_path))

    def serve(event: str) -> None:
        name, what, *rest = event.split("-")
        network = networks[int(name.removeprefix("eth"))]
        network.send_flows(int(rest[0])) if what == "flows" else network.send_echoes()

    try:
        report = host.boot(
            guest_kit,
            "nic_queues",
            params={
                "nics": len(versions),
                "processors": PROCESSORS,
                "flows": FLOWS,
                "echoes": ECHOES,
                "fields_from": sum(version < PORTS_FROM for version in versions),
            },
            smp=queues,
            memory="1G",
            deadline_s=120.0,
            on_event=serve,
            on_line=told.line,
        ).check()
    finally:
        for network in networks:
            network.close()

    assert (report.facts["queues"], report.facts["online"]) == (str(queues), f"0-{PROCESSORS - 1}")
    for network in networks:
        first, second, third, sent = (
            [int(word) for word in report.facts[f"{network.name}_{key}"].split(",")]
            for key in ("rx1", "rx2", "rx3", "tx")
        )
        assert first == [network.expected[0][queue] for queue in range(queues)]
        assert [b - a for a, b in zip(first, second, strict=True)] == [network.expected[1][q] for q in range(queues)]
        assert sum(third) - sum(second) == ECHOES
        assert min(first) > 0  # every queue received ...
        assert second[0] == first[0]  # ... until the first was taken out of the table
        assert all(b > a for a, b in zip(second[1:], third[1:], strict=True))
        assert min(sent) > 0  # and every one sent
        assert network.echoed == answered()
    assert (report.dmesg, host.broken_rules()) == ([], [])
