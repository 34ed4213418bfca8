"""TCP inside UDP tunnels, offloaded: between two NICs, and to the host's own stack; by version 6's rules and by 7's."""

from contextlib import ExitStack

import pytest
from guest.kit import Kit
from scapy.layers.inet import UDP
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN

from tests.guest.served import Host, Tap
from tests.guest.stack import Streams, add_address, add_vxlan, wrong_checksums
from vmxnet3.ports.tap import TapPort

pytestmark = [pytest.mark.guest, pytest.mark.slow]

PORT, STREAMS = 6000, 4


def test_between_two_nics(guest_kit: Kit, host: Host) -> None:
    """Geneve and VXLAN over IPv4 and IPv6, with and without outer checksums."""
    host.wire(4, 6)
    host.wire(7, 9)

    report = host.boot(guest_kit, "nic_tunnel", params={"nics": 4}, deadline_s=120.0).check()

    assert (report.dmesg, host.broken_rules()) == ([], [])


def test_to_a_namespace(guest_kit: Kit, host: Host, namespace: None) -> None:
    """VXLAN, without and with an outer checksum; scapy finds every checksum right, inside and outside."""
    size, versions = 100_000, (6, 9)
    with ExitStack() as owns:
        streams = owns.enter_context(Streams(size))
        taps = [
            Tap(owns.enter_context(TapPort(f"pvt{n}", address=f"192.0.{2 + n}.1/24"))) for n in range(len(versions))
        ]
        for n, (tap, version) in enumerate(zip(taps, versions, strict=True)):
            add_vxlan(f"pvx{n}", 42 + n, f"192.0.{2 + n}.2", 1430)
            add_address(f"pvx{n}", f"198.51.{100 + n}.1", 24)
            add_address(f"pvx{n}", f"fd00:{77 + n}::1", 64)
            host.add(tap, version=version)
        for number in range(STREAMS * len(versions)):
            streams.serve(PORT + number)

        report = host.boot(
            guest_kit,
            "nic_tunnel_out",
            params={"nics": len(versions), "bytes": size, "port": PORT},
            deadline_s=120.0,
            on_event=streams.on_event,
        ).check()

        assert streams.finish() == []
        for tap in taps:
            tunnelled = [packet for frame in tap.sent if VXLAN in (packet := Ether(frame)) and UDP in packet]
            assert {packet[UDP].chksum != 0 for packet in tunnelled} == {False, True}
            assert sum(map(len, tunnelled)) > STREAMS * size
            assert wrong_checksums(tap.sent) == []
        assert (report.dmesg, host.broken_rules()) == ([], [])
