"""The receive ring loop: buffers, wraps, waiting, counters; the same end whichever way frames come."""

import pytest

from tests.rig import BROADCAST, CELL, MAC, RawNic, frame
from vmxnet3 import wire
from vmxnet3.backend import Queue
from vmxnet3.wire import RX_COMP, Feature

GROUP = bytes.fromhex("01005e000001")


def active(*, waits: bool = True, budget: int = 256, ring1: int = 32, rx_comp: int = 0, **area: int) -> RawNic:
    """An active device with a ring 0 of 32 and nothing posted."""
    nic = RawNic(Queue(waits=waits), budget=budget)
    nic.prepare(size=32, ring1=ring1, rx_comp=rx_comp)
    nic.tell(**{"mtu": 9000, "rxMode": wire.RxMode.PROMISC, **area})
    assert nic.activate() == 0
    return nic


def parts(nic: RawNic) -> list[list[tuple[int, int, int]]]:
    """(ring, index, bytes) of every buffer of every packet received."""
    return [[(comp["rqID"], comp["rxdIdx"], comp["len"]) for comp in packet.comps] for packet in nic.received()]


# -- buffers -------------------------------------------------------------------------------------------------------


def test_one_buffer_one_completion() -> None:
    nic = active()
    nic.arm()

    nic.feed(frame(77))

    golden = (1 << 30 | 1 << 15 | 1 << 14).to_bytes(4, "little") + bytes(4) + bytes((77, 0, 0, 0))  # cnc, sop, eop
    golden += (1 << 31 | 3 << 24 | 1 << 23).to_bytes(4, "little")  # gen, type, fcs
    assert nic.rx[0].comp.memory.view[:CELL] == golden
    assert nic.rx[0].comp.memory.view[CELL:] == bytes(len(nic.rx[0].comp.memory.view) - CELL)
    assert nic.rx[0].buffers[0].view[:78] == frame(77) + b"\0"


def test_a_frame_exactly_as_long_as_its_buffer() -> None:
    nic = active()
    nic.arm(len=200)
    nic.arm(len=200)

    nic.feed(frame(200))

    assert parts(nic) == [[(0, 0, 200)]]


def test_head_then_bodies_behind_it_then_ring_1() -> None:
    nic = active()
    nic.arm(len=1000)
    nic.arm(len=1000, btype=1)
    nic.arm(len=1000)  # a HEAD: not for going on
    nic.arm(1, len=500)
    nic.arm(1, len=500)

    nic.feed(frame(2800), frame(100))

    assert parts(nic) == [[(0, 0, 1000), (0, 1, 1000), (1, 0, 500), (1, 1, 300)], [(0, 2, 100)]]


def test_sop_and_eop_stand_at_the_ends() -> None:
    nic = active()
    nic.arm(len=128)
    for _ in range(3):
        nic.arm(1, len=128)

    nic.feed(frame(500))

    (packet,) = nic.received()
    assert packet.data == frame(500)
    assert [(comp["sop"], comp["eop"], comp["type"], comp["err"]) for comp in packet.comps] == [
        (1, 0, 3, 0),
        (0, 0, 3, 0),
        (0, 0, 3, 0),
        (0, 1, 3, 0),
    ]


def test_nothing_is_written_past_a_buffer() -> None:
    nic = active()
    guards = [nic.port.alloc(256) for _ in range(3)]
    for guard in guards:
        guard.view[:] = b"\xee" * 256
    nic.arm(addr=guards[0].address, len=128)
    nic.arm(1, addr=guards[1].address, len=100)
    nic.arm(1, addr=guards[2].address, len=100)

    nic.feed(frame(300))

    assert [bytes(guard.view).index(b"\xee" * 20) for guard in guards] == [128, 100, 72]
    assert all(bytes(guard.view[128:]) == b"\xee" * 128 for guard in guards)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_no_more_fragments_than_the_driver_takes(most: int) -> None:
    nic = active(maxNumRxSG=most)
    nic.arm(len=128)
    for _ in range(5):
        nic.arm(1, len=128)
    nic.arm(len=128)

    nic.feed(frame(500), frame(100))

    cut, whole = nic.received()
    assert len(cut.comps) == most
    assert (cut.comps[-1]["err"], cut.comps[-1]["eop"]) == (1, 1)
    assert cut.data == frame(500)[: 128 * most]
    assert whole.data == frame(100)
    assert nic.rx_stats()["pktsRxError"] == 1


def test_three_laps_of_every_ring() -> None:
    nic = active()
    nic.arm_all()
    got = []
    for n in range(40):
        nic.feed(frame(60 + n, seed=n), frame(3000, seed=n))
        for packet in nic.received():
            got.append(packet.data)
            for comp in packet.comps:
                nic.arm(comp["rqID"])

    assert got == [data for n in range(40) for data in (frame(60 + n, seed=n), frame(3000, seed=n))]
    assert not nic.rules


# -- waiting -------------------------------------------------------------------------------------------------------


def test_a_port_that_waits_keeps_what_does_not_fit() -> None:
    nic = active(waits=True)
    nic.arm()
    nic.feed(*(frame(seed=n) for n in range(3)))
    first = [packet.data for packet in nic.received()]
    for _ in range(3):
        nic.arm()

    nic.port.advance(2_000_000)

    assert first == [frame(seed=0)]
    assert [packet.data for packet in nic.received()] == [frame(seed=1), frame(seed=2)]
    assert nic.rx_stats()["pktsRxOutOfBuf"] == 0


def test_a_port_that_does_not_wait_loses_and_counts() -> None:
    nic = active(waits=False)
    nic.arm()
    nic.feed(*(frame(seed=n) for n in range(3)))
    nic.arm()

    nic.feed(frame(seed=3))

    assert [packet.data for packet in nic.received()] == [frame(seed=0), frame(seed=3)]
    assert nic.rx_stats()["pktsRxOutOfBuf"] == 2


def test_a_frame_waits_for_the_rest_of_its_buffers() -> None:
    nic = active(waits=True)
    nic.arm(len=128)
    nic.arm(1, len=128)
    nic.feed(frame(300))
    early = nic.received()
    nic.arm(1, len=128)

    nic.port.advance(2_000_000)

    assert early == []
    assert [packet.data for packet in nic.received()] == [frame(300)]


def test_a_frame_no_buffer_can_ever_complete_does_not_block_the_others() -> None:
    nic = active(waits=True, ring1=0)
    for _ in range(4):
        nic.arm(len=128)

    nic.feed(frame(300, seed=1), frame(100, seed=2))
    nic.port.advance(10_000_000)

    cut, whole = nic.received()
    assert (cut.comps[-1]["err"], whole.comps[-1]["err"]) == (1, 0)
    assert whole.data == frame(100, seed=2)
    assert nic.rx_stats()["pktsRxOutOfBuf"] == 1


def test_out_of_buffers_in_the_middle_closes_the_packet() -> None:
    nic = active(waits=False)
    nic.arm(len=128)
    nic.arm(1, len=128)
    nic.feed(frame(500, seed=1))
    nic.arm(len=128)

    nic.feed(frame(100, seed=2))

    cut, whole = nic.received()
    assert [(comp["sop"], comp["eop"], comp["err"]) for comp in cut.comps] == [(1, 0, 0), (0, 1, 1)]
    assert whole.data == frame(100, seed=2)
    assert nic.rx_stats()["pktsRxOutOfBuf"] == 1


def test_a_small_completion_ring_is_never_overrun_and_never_stalls() -> None:
    nic = active(rx_comp=32, ring1=64)
    nic.arm_all()
    nic.feed(*(frame(seed=n) for n in range(120)))
    got = []
    for _ in range(20):
        for packet in nic.received():
            got.append(packet.data)
            nic.arm()
        nic.port.advance(2_000_000)

    assert got == [frame(seed=n) for n in range(120)]


# -- lengths and tags ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "kind", "passes"),
    [(1518, 0x88B5, True), (1519, 0x88B5, False), (1522, 0x8100, True), (1523, 0x8100, False)],
)
def test_frames_beyond_the_mtu_are_errors(size: int, kind: int, passes: bool) -> None:
    nic = active(mtu=1500)
    nic.arm()

    nic.feed(frame(size, kind=kind))

    assert [packet.data for packet in nic.received()] == [frame(size, kind=kind)] * passes
    assert nic.rx_stats()["pktsRxError"] == (not passes)


@pytest.mark.parametrize("strip", [False, True])
@pytest.mark.parametrize("size", [60, 3000])
def test_a_tag_is_taken_out_when_asked(strip: bool, size: int) -> None:
    nic = active(uptFeatures=Feature.RXVLAN * strip)
    nic.arm()
    nic.arm(1)
    data = frame(size)
    tagged = data[:12] + b"\x81\x00\xa0\x05" + data[12:]

    nic.feed(tagged)

    (packet,) = nic.received()
    assert packet.data == (data if strip else tagged)
    assert (packet.comps[-1]["ts"], packet.comps[-1]["tci"]) == ((1, 0xA005) if strip else (0, 0))


# -- counters ------------------------------------------------------------------------------------------------------


def test_frames_are_counted_by_their_target() -> None:
    nic = active()
    nic.arm_all()

    nic.feed(frame(60), frame(70, dst=GROUP), frame(80, dst=BROADCAST), frame(3000), frame(2500, dst=GROUP))

    stats = nic.rx_stats()
    assert [stats[f"{kind}PktsRxOK"] for kind in ("ucast", "mcast", "bcast")] == [2, 2, 1]
    assert [stats[f"{kind}BytesRxOK"] for kind in ("ucast", "mcast", "bcast")] == [3060, 2570, 80]
    assert [stats[name] for name in ("LROPktsRxOK", "LROBytesRxOK", "pktsRxOutOfBuf", "pktsRxError")] == [0, 0, 0, 0]


# -- the same whichever way --------------------------------------------------------------------------------------------


def _ran(budget: int, at_once: bool) -> tuple[list[bytes], bytes, bytes, list[bytes]]:
    """What was received, the completion ring, the queue table and the buffers at the end."""
    nic = active(budget=budget, uptFeatures=Feature.RXCSUM | Feature.RXVLAN)
    frames = [frame(60 + 150 * n, seed=n, dst=(MAC, BROADCAST, GROUP)[n % 3]) for n in range(24)]
    got = []
    nic.arm_all()
    for _ in range(4):
        for group in [frames] if at_once else [[data] for data in frames]:
            nic.feed(*group)
        for packet in nic.received():
            got.append(packet.data)
            for comp in packet.comps:
                nic.arm(comp["rqID"])
    nic.command(wire.Cmd.GET_STATS)
    side = nic.rx[0]
    return got, bytes(side.comp.memory.view), bytes(nic.table.view), [bytes(part.view) for part in side.buffers]


def test_the_end_is_the_same_whichever_way_frames_come() -> None:
    singly, at_once, budget_1 = _ran(256, False), _ran(256, True), _ran(1, True)

    assert singly == at_once == budget_1
    assert len(singly[0]) == 4 * 24


def test_completions_have_the_fields_where_the_header_has_them() -> None:
    assert RX_COMP.encode(rxdIdx=0xABC, rqID=0x3, sop=1).hex() == "bc8a0300".ljust(32, "0")
