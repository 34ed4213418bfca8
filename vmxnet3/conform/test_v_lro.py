"""VMXNET3 device rule 056: TCP segments merged on receive."""

import random
from dataclasses import dataclass
from typing import Any

import pytest

from vmxnet3.backend import Queue
from vmxnet3.conform.packets import IP, TCP, UDP, Dot1Q, IPv6, Raw, ether, lay, payload
from vmxnet3.conform.rig import MakeRig, Rig, frame
from vmxnet3.conform.test_v_filters import MS_KEY
from vmxnet3.conform.tunnels import INNER
from vmxnet3.driver import Driver, Received, Rss
from vmxnet3.wire import Feature, RssType

SMALL: dict[str, Any] = {"tx_ring": 32, "rx_ring0": 32, "rx_ring1": 32}
WITH_LRO = Feature.RXCSUM | Feature.RXVLAN | Feature.LRO
V4, V6 = INNER[4], INNER[6]


def stream(ip: IP | IPv6, count: int, size: int = 1000) -> tuple[list[bytes], bytes]:
    """The segments of one TCP stream, and their payload."""
    data = payload(count * size)
    out = []
    for n in range(count):
        flags = "PA" if n == count - 1 else "A"
        tcp = TCP(sport=80, dport=9, seq=1000 + n * size, ack=5, flags=flags, window=100)
        out.append(ether(ip, tcp, Raw(data[n * size : (n + 1) * size])))
    return out, data


@pytest.mark.parametrize("ip", [V4, V6], ids=["v4", "v6"])
@pytest.mark.parametrize("version", [2, 4, 7, 9])
def test_VMX_V_056_segments_come_as_one(rig: Rig, version: int, ip: IP | IPv6) -> None:
    driver = rig.driver(version=version, features=WITH_LRO)
    segments, data = stream(ip, 8)

    rig.feed(*segments)
    packets = arrived(rig, driver, data)

    merged = of_many(packets)
    assert sum(packet.lro.segments if packet.lro else 1 for packet in packets) == 8
    assert {packet.lro.mss for packet in merged if packet.lro} <= {0, 1000}
    assert {(packet.tcp, packet.v4 or packet.v6, packet.err) for packet in packets} == {(True, True, False)}


def arrived(rig: Rig, driver: Driver, data: bytes) -> list[Received]:
    """Receive until all of `data` came in TCP packets, in order, whatever was merged."""
    packets: list[Received] = []

    def loads() -> bytes:
        return b"".join(bytes(lay_tcp(packet.data)) for packet in packets)

    def look() -> bool:
        packets.extend(driver.receive())
        return len(loads()) >= len(data)

    assert rig.until(look), f"{len(loads())} of {len(data)} bytes came"
    assert loads() == data
    return packets


def of_many(packets: list[Received]) -> list[Received]:
    """The merged ones. No device must merge, and one that takes frames singly cannot."""
    merged = [packet for packet in packets if packet.lro is not None]
    if not merged:
        pytest.skip("the device merged nothing")
    return merged


def lay_tcp(data: bytes) -> bytes:
    """A TCP packet's payload; the length is the IP header's."""
    ip = 14
    if data[ip] >> 4 == 4:
        l4, end = ip + 20, ip + int.from_bytes(data[ip + 2 : ip + 4], "big")
    else:
        l4, end = ip + 40, ip + 40 + int.from_bytes(data[ip + 4 : ip + 6], "big")
    return data[l4 + (data[l4 + 12] >> 4) * 4 : end]


def test_VMX_V_056_one_buffer_has_no_hash(rig: Rig) -> None:
    driver = rig.driver(
        **SMALL, version=4, features=WITH_LRO, rx_queues=2, head_size=16000, rss=Rss(table=b"\1" * 128, key=MS_KEY)
    )
    segments, data = stream(V4, 6)

    rig.feed(*segments)
    packets = arrived(rig, driver, data)

    merged = of_many(packets)
    assert {(len(packet.parts), packet.rss_type, packet.queue) for packet in merged} == {(1, 0, 1)}


def test_VMX_V_056_several_buffers_have_it_at_the_end(rig: Rig) -> None:
    driver = rig.driver(
        **SMALL, version=4, features=WITH_LRO, rx_queues=2, head_size=512, rss=Rss(table=b"\1" * 128, key=MS_KEY)
    )
    segments, data = stream(V4, 6)

    rig.feed(*segments)
    packets = arrived(rig, driver, data)

    merged = of_many(packets)
    assert {(packet.rss_type, packet.queue, packet.verified) for packet in merged} == {(RssType.TCPIPV4, 1, True)}
    assert len({packet.rss_hash for packet in packets}) == 1
    assert min(len(packet.parts) for packet in merged) > 1


@pytest.mark.parametrize(("version", "features"), [(1, WITH_LRO), (2, WITH_LRO & ~Feature.LRO), (9, Feature.RXCSUM)])
def test_VMX_V_056_never_unasked(rig: Rig, version: int, features: Feature) -> None:
    driver = rig.driver(version=version, features=features)
    segments, _ = stream(V4, 8)

    rig.feed(*segments)

    assert [packet.data for packet in rig.got(driver, 8)] == segments


def test_VMX_V_056_other_frames_in_between_stay_whole(rig: Rig) -> None:
    driver = rig.driver(version=2, features=WITH_LRO)
    segments, data = stream(V4, 4)
    others = [frame(100, seed=n) for n in range(3)] + [ether(V4, UDP(sport=1, dport=2), Raw(payload(50)))]
    mixed = [part for pair in zip(segments, others, strict=True) for part in pair]

    rig.feed(*mixed)
    packets: list[Received] = []

    def look() -> bool:
        packets.extend(driver.receive())
        return others[-1] in [packet.data for packet in packets]

    assert rig.until(look)
    assert [packet.data for packet in packets if packet.data in others] == others
    rest = [packet for packet in packets if packet.data not in others]
    assert b"".join(lay_tcp(packet.data) for packet in rest) == data


def test_VMX_V_056_counters(rig: Rig) -> None:
    driver = rig.driver(version=2, features=WITH_LRO)
    segments, data = stream(V4, 8)

    rig.feed(*segments)
    packets = arrived(rig, driver, data)
    stats = driver.stats()[1][0]

    merged = [packet for packet in packets if packet.lro is not None]
    assert stats["LROPktsRxOK"] == len(merged)
    assert stats["LROBytesRxOK"] == sum(len(packet.data) for packet in merged)
    assert (stats["ucastPktsRxOK"], stats["ucastBytesRxOK"]) == (8, sum(map(len, segments)))


# -- what the driver has room for --------------------------------------------------------------------------------------

ROOM: dict[str, dict[str, Any]] = {
    "four buffers a packet": {"max_rx_sg": 4},
    "one buffer a packet": {"max_rx_sg": 1},
    "rings of 8 KiB": {"head_size": 512, "body_size": 256},
}


@pytest.mark.parametrize("name", ROOM)
def test_VMX_V_056_nothing_is_merged_that_the_driver_could_not_take(rig: Rig, name: str) -> None:
    driver = rig.driver(**SMALL, version=4, features=WITH_LRO, **ROOM[name])
    segments, data = stream(V4, 64)

    rig.feed(*segments)
    packets = arrived(rig, driver, data)

    assert not any(packet.err for packet in packets)


def test_VMX_V_056_nothing_merged_is_dropped_for_want_of_buffers(make_rig: MakeRig) -> None:
    rig = make_rig(Queue(waits=False))
    driver = rig.driver(tx_ring=32, rx_ring0=64, rx_ring1=64, version=4, features=WITH_LRO, body_size=1024)
    segments, data = stream(V4, 60)

    rig.feed(*segments)
    arrived(rig, driver, data)
    stats = driver.stats()[1][0]

    assert (stats["pktsRxError"], stats["pktsRxOutOfBuf"]) == (0, 0)


# -- many flows ------------------------------------------------------------------------------------------------------


@dataclass
class Flow:
    """One TCP stream on its way: what of it went over the wire."""

    port: int
    ip: Any
    tag: int | None
    stamped: bool
    seq: int
    wire: list[tuple[int, bytes]]

    def segment(self, rnd: random.Random, stamp: int) -> bytes:
        """The next segment, now and then one that does not fit to the others."""
        size = rnd.choice((0, 1, 500, 1000, 1000, 1000, 1000, 1400))
        seq = self.seq
        if rnd.random() < 0.05:
            seq = (seq + rnd.randrange(-3000, 3000)) & 0xFFFF_FFFF
        else:
            self.seq = (seq + size) & 0xFFFF_FFFF
        data = rnd.randbytes(size)
        tcp = TCP(
            sport=self.port,
            dport=9,
            seq=seq,
            ack=rnd.choice((5, 5, 5, 5, 5, 5, 5, 6)),
            flags=rnd.choice(("A",) * 10 + ("PA", "FA", "SA", "UA", "EA", "CA")),
            window=100,
            options=[("NOP", None), ("NOP", None), ("Timestamp", (stamp, 5))] if self.stamped else [],
        )
        out = ether(*([] if self.tag is None else [Dot1Q(vlan=self.tag)]), self.ip, tcp, Raw(data))
        if size and rnd.random() < 0.05:  # a wrong checksum
            out, data = out[:-1] + bytes([out[-1] ^ 0x55]), data[:-1] + bytes([data[-1] ^ 0x55])
        self.wire.append((seq, data))
        return out


@pytest.mark.parametrize("seed", range(6))
def test_VMX_V_056_every_flow_keeps_its_bytes_and_its_order(rig: Rig, seed: int) -> None:
    rnd = random.Random(seed)
    driver = rig.driver(version=2, features=WITH_LRO, head_size=rnd.choice((512, 1536, 9000)))
    driver.set_vlans([0, 7])
    flows = {
        port: Flow(
            port,
            rnd.choice((IP(src="10.0.0.1", dst="10.1.0.1"), IPv6(src="2001:db8::1", dst="2001:db8::9"))),
            rnd.choice((None, 7)),
            rnd.choice((True, False)),
            rnd.randrange(1 << 32),
            [],
        )
        for port in range(1000, 1004)
    }
    packets: list[Received] = []

    rig.feed(*[flows[rnd.randrange(1000, 1004)].segment(rnd, n) for n in range(200)])

    def look() -> bool:
        packets.extend(driver.receive())
        return sum(packet.lro.segments if packet.lro else 1 for packet in packets) >= 200

    assert rig.until(look)
    for packet in packets:
        tcp = lay(packet.data)["TCP"]
        flow = flows[tcp.sport]
        count = packet.lro.segments if packet.lro else 1
        parts, flow.wire[:] = flow.wire[:count], flow.wire[count:]
        assert (tcp.seq, lay_tcp(packet.data)) == (parts[0][0], b"".join(data for _, data in parts))
        assert packet.vlan == flow.tag
        assert count == 1 or packet.verified
    assert not any(flow.wire for flow in flows.values())
