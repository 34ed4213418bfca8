"""Segmentation and merging against a real TCP stack: the host's, in a network namespace behind a TAP interface."""

import pytest
from guest.kit import Kit

from tests.guest.served import Host, Tap
from tests.guest.stack import Streams, add_address, wrong_checksums
from vmxnet3.ports.tap import TapPort

pytestmark = [pytest.mark.guest, pytest.mark.slow]

SIZE, PORT, COMBINATIONS = 100_000, 6000, 8
"""Bytes of a stream; the first of the host's ports; how many ways to set TSO, LRO and receive checksums."""


@pytest.mark.parametrize("version", [2, 9])
def test_offloads_in_all_combinations(guest_kit: Kit, host: Host, namespace: None, version: int) -> None:
    """The driver's counters tell each offload is used just when it is on. Version 2 is the first that merges."""
    with TapPort("pvt0", address="192.0.2.1/24") as port, Streams(SIZE) as streams:
        add_address("pvt0", "fd00:2::1", 64)
        tap = Tap(port)
        host.add(tap, version=version)
        for number in range(2 * COMBINATIONS):  # IPv4 and IPv6 of each
            streams.serve(PORT + number)

        report = host.boot(
            guest_kit,
            "nic_offloads",
            params={"bytes": SIZE, "port": PORT},
            deadline_s=120.0,
            on_event=streams.on_event,
        ).check()

        assert streams.finish() == []
        assert wrong_checksums(tap.sent) == []
        assert wrong_checksums(tap.received) == []
        assert max(map(len, tap.sent)) == max(map(len, tap.received)) == 1514
        assert (report.dmesg, host.broken_rules()) == ([], [])
