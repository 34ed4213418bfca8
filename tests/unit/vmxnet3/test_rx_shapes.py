"""Frames with a shape: what a driver finds in its ring beyond the bytes, and when."""

from collections.abc import Sequence
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

from tests.rig import BROADCAST, CELL, MAC, PEER, Packet, RawNic, frame
from vmxnet3.backend import Frame, Queue
from vmxnet3.shape import Lro, Override, Shape, Shaped, Signal
from vmxnet3.wire import RCD_CNC, RCD_ERR, RCD_FCS, RSS_CONF, RX_COMP_LRO, Cmd, Feature

MS = 1_000_000


def active(*, version: int = 9, rx: int = 1, size: int = 64, waits: bool = True, **area: Any) -> RawNic:
    """Active with MSI-X and automatic masks off; receive on vector 0, nothing else there."""
    nic = RawNic(Queue(waits=waits), version=version)
    nic.prepare(rx=rx, size=size)
    nic.tell(**{"uptFeatures": Feature.RXCSUM, "numIntrs": rx + 1, "eventIntrIdx": rx, **area})
    for queue in range(rx):
        nic.tell_rx(queue, intrIdx=queue)
    assert nic.activate() == 0
    nic.arm_all()
    nic.use_msix()
    return nic


def tcp(size: int) -> bytes:
    """A TCP packet with `size` bytes of payload behind 54 bytes of headers."""
    return bytes(Ether(dst=MAC, src=PEER) / IP(src="192.0.2.1", dst="192.0.2.2") / TCP(flags="A") / Raw(bytes(size)))


def one(nic: RawNic, shape: Shape, data: bytes | None = None) -> Packet:
    """What the driver finds of one frame of this shape."""
    nic.feed(Shaped(frame() if data is None else data, shape))
    (packet,) = nic.received()
    return packet


# -- merged packets ------------------------------------------------------------------------------------------------


def test_VMX_V_056_a_merged_packet_in_one_buffer() -> None:
    nic = active()

    packet = one(nic, Shape(lro=Lro(3, 500, 1, 7)), tcp(1460))

    (comp,) = packet.comps
    words = nic.rx[0].comp.memory.view[:CELL]
    found = RX_COMP_LRO.numbers(words)
    assert (packet.data, comp["type"], comp["sop"], comp["eop"]) == (tcp(1460), 4, 1, 1)
    assert (found["segCnt"], found["mss"], found["dupAckCnt"], found["tsDelta"]) == (3, 500, 1, 7)
    assert (comp["rssType"], comp["tcp"], comp["tuc"], comp["v4"], comp["fcs"]) == (0, 1, 1, 1, 1)


@pytest.mark.parametrize("version", [2, 7, 9])
def test_VMX_V_056_a_merged_packet_in_several_buffers(version: int) -> None:
    nic = active(version=version)

    data = tcp(3000)
    packet = one(nic, Shape(lro=Lro(6, 500)), data)

    first, last = packet.comps
    assert packet.data == data
    assert ([comp["type"] for comp in packet.comps], first["rqID"], last["rqID"]) == ([4, 3], 0, 1)
    assert (last["tuc"], last["tcp"], last["v4"], last["ipc"], last["cnc"]) == (1, 1, 1, 1, 0)
    stats = nic.rx_stats()
    assert (stats["LROPktsRxOK"], stats["LROBytesRxOK"]) == (1, len(data))
    assert (stats["ucastPktsRxOK"], stats["ucastBytesRxOK"]) == (6, len(data) + 5 * 54)


@pytest.mark.parametrize("size", [1000, 3000])
def test_VMX_V_056_a_merged_packet_and_its_hash(size: int) -> None:
    nic = active(rx=2, mtu=9000)
    conf = nic.port.alloc(RSS_CONF.size)
    conf.view[:] = RSS_CONF.encode(
        hashType=15, hashFunc=1, hashKeySize=40, indTableSize=1, hashKey=bytes(range(1, 41)), indTable=b"\1"
    )
    nic.tell(uptFeatures=Feature.RXCSUM | Feature.RSS, rssConfLen=RSS_CONF.size, rssConfPA=conf.address)
    nic.command(Cmd.UPDATE_FEATURE)
    data = tcp(size)
    nic.feed(data)
    (plain,) = nic.received(1)

    nic.feed(Shaped(data, Shape(lro=Lro(2, 500))))

    (merged,) = nic.received(1)
    assert plain.comps[-1]["rssType"] == 2
    if size == 1000:  # the hash's place holds the segment count
        assert (merged.comps[0]["rssType"], merged.comps[0]["rssHash"]) == (0, 2)
    else:
        assert (merged.comps[0]["rssHash"], merged.comps[0]["rssType"]) == (2, 0)
        assert (merged.comps[1]["rssHash"], merged.comps[1]["rssType"]) == (plain.comps[1]["rssHash"], 2)


@pytest.mark.parametrize(("size", "good"), [(1518, True), (1519, False)])
def test_only_a_merged_packet_may_be_longer_than_the_mtu(size: int, good: bool) -> None:
    nic = active()

    nic.feed(Shaped(frame(size), Shape(strip=5)), Shaped(frame(size, seed=1), Shape(lro=Lro(2, 700))))

    assert [packet.data for packet in nic.received()] == [frame(size)] * good + [frame(size, seed=1)]
    assert nic.rx_stats()["pktsRxError"] == (0 if good else 1)


# -- bits and bytes ------------------------------------------------------------------------------------------------


def test_what_is_overruled_stands_in_the_ring() -> None:
    nic = active()
    shape = Shape(first=Override((RCD_CNC, 0, 0, RCD_FCS), (9 << 26, 0xDEAD_BEEF, RCD_ERR | 0xABCD << 16, 0x1234)))

    (comp,) = one(nic, shape).comps

    assert (comp["cnc"], comp["fcs"], comp["rssType"], comp["rssHash"]) == (0, 0, 9, 0xDEAD_BEEF)
    assert (comp["err"], comp["tci"], comp["csum"]) == (1, 0xABCD, 0x1234)
    assert (comp["rxdIdx"], comp["len"], comp["sop"], comp["eop"], comp["type"]) == (0, 60, 1, 1, 3)
    nic.assert_traffic()


def test_of_several_buffers_first_and_last_are_overruled() -> None:
    nic = active(mtu=9000)
    shape = Shape(first=Override(set=(0, 0, 0, 0x11)), last=Override(set=(0, 0, 0, 0x22)))

    packet = one(nic, shape, frame(9000))

    assert [comp["csum"] for comp in packet.comps] == [0x11, 0, 0, 0, 0x22]
    assert packet.data == frame(9000)


@pytest.mark.parametrize("waits", [True, False])
def test_a_frame_between_others_keeps_its_shape_to_itself(waits: bool) -> None:
    nic = active(waits=waits)
    frames = [frame(seed=n) for n in range(40)]
    frames[::3] = [Shaped(frames[n], Shape(first=Override(set=(0, n, 0, 0)))) for n in range(0, 40, 3)]

    nic.feed(*frames)

    packets = nic.received()
    assert [packet.data for packet in packets] == [frame(seed=n) for n in range(40)]
    assert [packet.comps[0]["rssHash"] for packet in packets] == [0 if n % 3 else n for n in range(40)]


@pytest.mark.parametrize(("asked", "queue"), [(0, 0), (1, 1), (2, 2), (3, 0), (100, 1)])
def test_a_shape_names_its_queue(asked: int, queue: int) -> None:
    nic = active(rx=3)

    nic.feed(Shaped(frame(seed=1), Shape(queue=asked)), frame(seed=2))

    found = [[packet.data for packet in nic.received(n)] for n in range(3)]
    expected: list[list[bytes]] = [[], [], []]
    expected[queue].append(frame(seed=1))
    expected[0].append(frame(seed=2))
    assert found == expected
    assert nic.port.interrupts() == 1 | 1 << queue


@pytest.mark.parametrize(("length", "got"), [(0, 0), (1, 1), (59, 59), (60, 60), (61, 60), (9999, 60)])
@pytest.mark.parametrize("slot", [0, 64])
def test_only_so_many_bytes_are_delivered(length: int, got: int, slot: int) -> None:
    nic = RawNic(version=3)
    nic.prepare()
    if slot:
        nic.give_data_rings(slot)
    assert nic.activate() == 0
    nic.arm_all()

    packet = one(nic, Shape(length=length))

    (comp,) = packet.comps
    assert (packet.data, comp["len"]) == (frame()[:got], got)
    assert (comp["sop"], comp["eop"], comp["err"], comp["rqID"]) == (1, 1, 0, 2 if slot else 0)
    nic.assert_traffic()


@pytest.mark.parametrize("feature", [Feature.RXVLAN, Feature(0)])
def test_a_tag_is_reported_that_the_bytes_do_not_carry(feature: Feature) -> None:
    nic = active(uptFeatures=Feature.RXCSUM | feature)

    packet = one(nic, Shape(strip=0xE123))

    assert (packet.data, packet.comps[0]["ts"], packet.comps[0]["tci"]) == (frame(), 1, 0xE123)


def test_a_tag_beside_one_in_the_bytes() -> None:
    nic = active(uptFeatures=Feature.RXVLAN, rxMode=0x10)
    data = bytes(Ether(dst=MAC, src=PEER) / Dot1Q(vlan=5) / Raw(bytes(60)))

    packet = one(nic, Shape(strip=7), data)

    assert (packet.data, packet.comps[0]["tci"]) == (data, 7)


@pytest.mark.parametrize("feature", [Feature(0), Feature.RXCSUM, Feature.RXCSUM | Feature.RXINNEROFLD])
def test_a_frame_said_to_be_from_a_tunnel(feature: Feature) -> None:
    nic = active(uptFeatures=feature)

    packet = one(nic, Shape(inner=True), tcp(0))

    assert packet.comps[0]["ext1"] == 2  # dword 0 bit 13
    assert packet.comps[0]["cnc"] == 0


def test_a_frame_without_a_buffer_keeps_its_shape_until_there_is_one() -> None:
    nic = RawNic()
    nic.prepare()
    assert nic.activate() == 0
    nic.feed(frame(seed=1), Shaped(frame(seed=2), Shape(first=Override(set=(0, 77, 0, 0)))))
    assert nic.received() == []

    for _ in range(2):
        nic.arm()
    nic.port.advance(10 * MS)

    packets = nic.received()
    assert [packet.data for packet in packets] == [frame(seed=1), frame(seed=2)]
    assert [packet.comps[0]["rssHash"] for packet in packets] == [0, 77]


@pytest.mark.parametrize("shape", [Shape(hold_ns=MS), Shape(first=Override(set=(0, 9, 0, 0))), Shape(lro=Lro(2, 9))])
def test_a_frame_given_up_is_an_error_and_no_shape(shape: Shape) -> None:
    nic = active(waits=False, maxNumRxSG=1, mtu=9000)

    nic.feed(Shaped(frame(4000), shape), frame(seed=1))

    cut, whole = nic.received()
    assert (cut.comps[0]["err"], cut.comps[0]["type"], cut.comps[0]["rssHash"]) == (1, 3, 0)
    assert whole.data == frame(seed=1)


# -- owner bits held back ------------------------------------------------------------------------------------------


def test_a_completion_held_back_stops_those_behind_it() -> None:
    nic = active()

    nic.feed(frame(seed=0), Shaped(frame(seed=1), Shape(hold_ns=5 * MS)), frame(seed=2))
    early = [packet.data for packet in nic.received()]
    nic.port.interrupts()
    nic.port.advance(5 * MS - 1)
    still = [packet.data for packet in nic.received()]
    nic.port.advance(1)

    assert (early, still) == ([frame(seed=0)], [])
    assert [packet.data for packet in nic.received()] == [frame(seed=1), frame(seed=2)]
    assert nic.port.interrupts() == 1
    nic.port.advance(1000 * MS)
    assert nic.port.interrupts() == 0
    nic.assert_traffic()


def test_the_device_asks_to_be_called_for_the_earliest() -> None:
    nic = active()

    nic.feed(Shaped(frame(seed=1), Shape(hold_ns=9 * MS)), Shaped(frame(seed=2), Shape(hold_ns=4 * MS)))

    assert nic.device.deadline() == 4 * MS
    nic.port.advance(4 * MS)
    assert (nic.device.deadline(), nic.received()) == (9 * MS, [])
    nic.port.advance(5 * MS)
    assert (nic.device.deadline(), len(nic.received())) == (None, 2)


def test_of_several_buffers_the_last_is_held_back() -> None:
    nic = active(mtu=9000)

    nic.feed(Shaped(frame(5000), Shape(hold_ns=MS)))
    gens = [nic.rx[0].comp.memory.view[CELL * n + 15] >> 7 for n in range(4)]
    nic.port.advance(MS)

    assert gens == [1, 1, 0, 0]
    assert [packet.data for packet in nic.received()] == [frame(5000)]


def test_three_laps_with_every_fifth_held_back() -> None:
    nic = active(size=32)
    comps = nic.rx[0].comp.size
    seen: list[bytes] = []
    sent = 3 * comps + 7

    for n in range(sent):
        data = frame(seed=n)
        nic.feed(Shaped(data, Shape(hold_ns=3 * MS)) if n % 5 == 0 else data)
        nic.port.advance(MS)
        for packet in nic.received():
            seen.append(packet.data)
            nic.arm()
    nic.port.advance(3 * MS)
    seen += [packet.data for packet in nic.received()]

    assert seen == [frame(seed=n) for n in range(sent)]
    assert nic.rules.count() == 0


@pytest.mark.parametrize("start", range(94, 98))
def test_a_stretch_across_the_wrap_holds_back_the_right_one(start: int) -> None:
    nic = active()
    assert nic.rx[0].comp.size == 96
    for n in range(start):
        nic.feed(frame(seed=n))
        nic.received()
        nic.arm()

    nic.feed(*[Shaped(frame(seed=n), Shape(hold_ns=MS)) if n == 2 else frame(seed=n) for n in range(5)])

    assert [packet.data for packet in nic.received()] == [frame(seed=0), frame(seed=1)]
    nic.port.advance(MS)
    assert [packet.data for packet in nic.received()] == [frame(seed=n) for n in (2, 3, 4)]


@pytest.mark.parametrize("end", [Cmd.QUIESCE_DEV, Cmd.RESET_DEV], ids=lambda command: command.name)
def test_nothing_held_back_appears_after_the_end(end: Cmd) -> None:
    nic = active()
    nic.feed(Shaped(frame(), Shape(hold_ns=MS, delay_ns=MS)))

    nic.command(end)
    before = nic.snapshot()
    nic.port.advance(10 * MS)

    assert nic.snapshot() == before
    assert (nic.device.deadline(), nic.port.interrupts()) == (None, 0)
    nic.assert_alive()


def test_held_back_completions_appear_without_a_link_too() -> None:
    nic = active()
    nic.feed(Shaped(frame(), Shape(hold_ns=MS)))

    nic.device.set_link(False)
    nic.port.advance(MS)

    assert [packet.data for packet in nic.received()] == [frame()]
    assert nic.device.deadline() is None


def test_a_ring_unmapped_and_mapped_again_keeps_what_is_held_back() -> None:
    nic = active()
    nic.feed(Shaped(frame(), Shape(hold_ns=MS)))
    arena = nic.port.arena

    nic.device.mem.unmap(arena.base, arena.block.size)
    nic.device.mem.map(arena.base, arena.block.view)
    nic.port.advance(MS)

    assert [packet.data for packet in nic.received()] == [frame()]


# -- interrupts ----------------------------------------------------------------------------------------------------


def test_a_lost_interrupt_is_its_frames_own() -> None:
    nic = active()
    fired = []

    for n, shape in enumerate([Shape(), Shape(signal=Signal.LOST), Shape(), Shape(signal=Signal.LOST)]):
        nic.feed(Shaped(frame(seed=n), shape))
        fired.append(nic.port.interrupts())

    assert fired == [1, 0, 1, 0]
    assert len(nic.received()) == 4
    assert nic.device.deadline() is None


def test_in_one_batch_the_others_still_interrupt() -> None:
    nic = active()
    lost = Shaped(frame(seed=1), Shape(signal=Signal.LOST))

    nic.feed(lost, lost)
    assert nic.port.interrupts() == 0
    nic.feed(frame(), lost)

    assert nic.port.interrupts() == 1
    assert [packet.data for packet in nic.received()] == [frame(seed=1)] * 2 + [frame(), frame(seed=1)]


@pytest.mark.parametrize("auto_mask", [0, 1])
def test_a_spurious_interrupt_comes_after_the_first(auto_mask: int) -> None:
    nic = active(autoMask=auto_mask)

    nic.feed(Shaped(frame(), Shape(signal=Signal.SPURIOUS)))
    first, packets = nic.port.interrupts(), nic.received()
    nic.port.advance(1)
    if auto_mask:
        assert nic.port.interrupts() == 0
        nic.pt(0, 0)

    assert (first, len(packets)) == (1, 1)
    assert (nic.port.interrupts(), nic.received()) == (1, [])
    nic.pt(0, 0)
    nic.port.advance(1000 * MS)
    assert nic.port.interrupts() == 0
    nic.assert_traffic()


def test_a_delayed_interrupt_comes_when_it_is_due_and_delays_no_other() -> None:
    nic = active()

    nic.feed(Shaped(frame(seed=1), Shape(delay_ns=5 * MS)))
    at_once, visible = nic.port.interrupts(), [packet.data for packet in nic.received()]
    deadline = nic.device.deadline()
    nic.feed(frame(seed=2))
    other = nic.port.interrupts()
    nic.port.advance(5 * MS - 1)
    early = nic.port.interrupts()
    nic.port.advance(1)

    assert (at_once, visible, deadline) == (0, [frame(seed=1)], 5 * MS)
    assert (other, early, nic.port.interrupts()) == (1, 0, 1)
    assert nic.device.deadline() is None


def test_delays_of_several_queues() -> None:
    nic = active(rx=3)

    nic.feed(*[Shaped(frame(seed=n), Shape(queue=n, delay_ns=(3 - n) * MS)) for n in range(3)])
    fired = []
    for _ in range(3):
        nic.port.advance(MS)
        fired.append(nic.port.interrupts())

    assert fired == [0b100, 0b010, 0b001]


def test_marks_are_heard_where_the_driver_coalesces() -> None:
    """The moderator is not asked for a marked frame, and not confused by it."""
    nic = active(modLevels=(7, 7))
    nic.feed(frame(seed=0))
    nic.port.interrupts()

    nic.feed(Shaped(frame(seed=1), Shape(signal=Signal.LOST)), Shaped(frame(seed=2), Shape(delay_ns=MS)))
    nic.port.advance(MS - 1)
    early = nic.port.interrupts()
    nic.port.advance(1)
    nic.feed(frame(seed=3))
    nic.port.advance(MS)

    assert early == 0
    assert nic.port.interrupts() == 1
    assert len(nic.received()) == 4


# -- who watches ---------------------------------------------------------------------------------------------------


class Watcher:
    """A tap that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, list[bytes], int]] = []
        self.shapes: list[Shape | None] = []

    def sent(self, queue: int, frames: Sequence[Frame], now_ns: int) -> None:
        self.seen.append(("sent", queue, [b"".join(found) for found in frames], now_ns))

    def received(self, queue: int, frames: Sequence[bytes], now_ns: int) -> None:
        self.seen.append(("received", queue, [bytes(found) for found in frames], now_ns))
        self.shapes += [found.shape if isinstance(found, Shaped) else None for found in frames]


def test_a_tap_sees_every_frame_once_with_its_queue_and_time() -> None:
    nic = active(rx=2)
    nic.device.tap = watcher = Watcher()
    shape = Shape(queue=1, signal=Signal.LOST)
    nic.port.now_ns = 5

    nic.feed(frame(seed=1), Shaped(frame(seed=2), shape), frame(seed=3), frame(seed=4, dst=BROADCAST[:5] + b"\0"))
    nic.port.now_ns = 6
    nic.send(frame(seed=5))

    assert sorted(watcher.seen) == [
        ("received", 0, [frame(seed=1), frame(seed=3)], 5),
        ("received", 1, [frame(seed=2)], 5),
        ("sent", 0, [frame(seed=5)], 6),
    ]
    assert watcher.shapes.count(shape) == 1


def test_a_tap_sees_a_frame_that_waited_when_it_is_delivered() -> None:
    nic = RawNic()
    nic.prepare()
    assert nic.activate() == 0
    nic.device.tap = watcher = Watcher()
    nic.feed(frame())
    assert watcher.seen == []
    nic.arm()

    nic.port.advance(10 * MS)

    assert [(kind, frames) for kind, _, frames, _ in watcher.seen] == [("received", [frame()])]


def test_a_tap_does_not_see_what_the_cable_did_not_take() -> None:
    nic = active()
    nic.device.tap = watcher = Watcher()
    nic.device.set_link(False)

    nic.send(frame())

    assert watcher.seen == []
