"""The transmit ring loop: budgets, wraps, counters; the same end whichever way the doorbell is rung."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from scapy.contrib.geneve import GENEVE
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrHopByHop
from scapy.layers.l2 import Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from tests.rig import BROADCAST, CELL, MAC, NOWHERE, PEER, SLOT, RawNic, frame
from vmxnet3.backend import Queue
from vmxnet3.offloads.encap import parse
from vmxnet3.offloads.plain import insert_tag, ones_sum, seed
from vmxnet3.tx import Buffer, TxQueue
from vmxnet3.wire import OM_CSUM, OM_ENCAP, OM_TSO, TX_COMP, TXD_GEN, Cap, QueueError

Frames = list[Sequence[Buffer]]
Notes = list[tuple[str, str, int]]
MakeQueue = Callable[..., TxQueue]

GROUP = bytes.fromhex("01005e000001")
TSO_FRAME = bytes(Ether(dst=PEER, src=MAC) / IP(src="192.0.2.1", dst="192.0.2.2") / TCP() / Raw(bytes(1800)))
CSUM_FRAME = bytes(Ether(dst=PEER, src=MAC) / IP(src="192.0.2.1", dst="192.0.2.2") / UDP() / Raw(b"data" * 9))


@pytest.fixture
def nic() -> RawNic:
    """Active, a ring of 32."""
    made = RawNic()
    made.bring_up(size=32)
    return made


@pytest.fixture
def notes() -> Notes:
    return []


@pytest.fixture
def make_queue(nic: RawNic, notes: Notes) -> MakeQueue:
    """A queue by itself, on the rings of an inactive device; its arguments are a version and capabilities."""
    nic.device.reset()
    side = nic.tx[0]

    def make(version: int = 1, caps: int = 0) -> TxQueue:
        return TxQueue(
            3,
            nic.device.mem,
            lambda rule, place, value: notes.append((rule, place, value)),
            ring=side.ring.memory.address,
            size=32,
            comp=side.comp.memory.address,
            comp_size=32,
            mtu=1500,
            version=version,
            caps=caps,
        )

    return make


@pytest.fixture
def queue(make_queue: MakeQueue) -> TxQueue:
    return make_queue()


def sent(frames: Frames) -> list[bytes]:
    return [b"".join(frame) for frame in frames]


# -- one round -----------------------------------------------------------------------------------------------------


def test_an_empty_ring(queue: TxQueue) -> None:
    frames: Frames = []

    assert queue.service(64, frames) == (0, 0)
    assert (frames, queue.done, queue.next, queue.gen) == ([], [], 0, 1)


def test_a_round_takes_what_is_there(nic: RawNic, queue: TxQueue) -> None:
    for n in range(5):
        nic.post(frame(60 + n, seed=n))
    frames: Frames = []

    assert queue.service(64, frames) == (5, 5)

    assert sent(frames) == [frame(60 + n, seed=n) for n in range(5)]
    assert (queue.done, queue.next) == ([0, 1, 2, 3, 4], 5)
    assert nic.done() == []  # nothing is completed before it was sent
    queue.complete()
    assert nic.done() == [0, 1, 2, 3, 4]


def test_a_round_takes_no_more_than_its_budget(nic: RawNic, queue: TxQueue) -> None:
    for n in range(5):
        nic.post(frame(seed=n))
    first: Frames = []
    second: Frames = []

    assert queue.service(3, first) == (3, 3)
    assert queue.service(3, second) == (2, 2)

    assert sent(first + second) == [frame(seed=n) for n in range(5)]


def test_a_round_ends_where_the_ring_ends(nic: RawNic, queue: TxQueue) -> None:
    for n in range(31):
        nic.post(frame(seed=n))
    queue.service(64, [])
    for n in range(3):
        nic.post(frame(seed=n))
    frames: Frames = []

    assert queue.service(64, frames) == (1, 1)
    assert (queue.next, queue.gen) == (0, 0)
    assert queue.service(64, frames) == (2, 2)

    assert sent(frames) == [frame(seed=n) for n in range(3)]


def test_a_packet_goes_on_behind_the_budget_and_the_wrap(nic: RawNic, queue: TxQueue) -> None:
    for n in range(30):
        nic.post(frame(seed=n))
    queue.service(64, [])
    data = frame(80)
    for n in range(4):
        nic.post(data[20 * n : 20 * n + 20], eop=n == 3, cq=n == 3)
    frames: Frames = []

    rounds = [queue.service(1, frames) for _ in range(5)]

    assert rounds == [(1, 0), (1, 0), (1, 0), (1, 1), (0, 0)]
    assert sent(frames) == [data]
    assert queue.done == []
    assert queue.next == 2


def test_frames_are_views_of_guest_memory(nic: RawNic, queue: TxQueue) -> None:
    nic.post(frame(60))
    frames: Frames = []
    queue.service(64, frames)

    nic.tx[0].buffers.view[:60] = frame(60, seed=1)

    assert sent(frames) == [frame(60, seed=1)]


def test_a_failed_queue_takes_nothing_more(nic: RawNic, queue: TxQueue, notes: Notes) -> None:
    nic.post(frame(seed=1))
    nic.post(frame(seed=2), dtype=1)
    nic.post(frame(seed=3))
    frames: Frames = []

    rounds = [queue.service(64, frames) for _ in range(3)]

    assert rounds == [(1, 1), (0, 0), (0, 0)]
    assert sent(frames) == [frame(seed=1)]
    assert (queue.failed, queue.next) == (QueueError.DESC_NOT_SPT, 1)
    assert notes == [("VMX-D-040", "tx queue 3 descriptor 1", 1 << 16 | 1 << 14 | 60)]


def test_completions_wrap_with_their_own_owner_bit(nic: RawNic, queue: TxQueue) -> None:
    for lap in range(3):
        for n in range(32):
            nic.post(frame(seed=n))
        while queue.service(7, [])[0]:
            queue.complete()
        comps = nic.tx[0].comp.memory.view

        assert [TX_COMP.numbers(comps, CELL * n)["txdIdx"] for n in range(32)] == list(range(32))
        assert {TX_COMP.numbers(comps, CELL * n)["gen"] for n in range(32)} == {1 ^ lap & 1}


def test_start_clears_the_completion_ring(nic: RawNic, queue: TxQueue) -> None:
    nic.tx[0].comp.memory.view[:] = b"\xff" * (32 * CELL)

    queue.comp.clear()

    assert nic.tx[0].comp.memory.view == bytes(32 * CELL)


def test_released_rings_are_found_again(nic: RawNic, queue: TxQueue) -> None:
    nic.post(frame(seed=1))
    queue.service(64, [])
    queue.complete()

    queue.release()
    queue.bind()
    nic.post(frame(seed=2))
    frames: Frames = []
    queue.service(64, frames)
    queue.complete()

    assert sent(frames) == [frame(seed=2)]
    assert nic.done() == [0, 1]


# -- the same whichever way --------------------------------------------------------------------------------------------


def _traffic(nic: RawNic, after: Callable[[RawNic], None]) -> None:
    """Packets of every shape, more than two laps; `after` every descriptor."""
    for n in range(24):
        nic.post(frame(60 + n, seed=n))
        after(nic)
        data = frame(90, seed=n)
        for at, end in ((0, 0), (30, 0), (60, 1)):
            nic.post(data[at : at + 30], eop=end, cq=end)
            after(nic)
        if n % 8 == 7:
            nic.post(CSUM_FRAME, om=OM_CSUM, hlen=34, msscof=40)
            after(nic)
            nic.post(TSO_FRAME, om=OM_TSO, hlen=54, msscof=700, ti=1, tci=5)
            after(nic)
            nic.post(bytes(13))
            after(nic)
            nic.post(frame(), addr=NOWHERE)
            after(nic)
        if n % 6 == 5:
            nic.kick()
            nic.done()


WAYS: dict[str, tuple[int, Callable[[RawNic], None]]] = {
    "a kick per descriptor": (256, RawNic.kick),
    "a kick for many": (256, lambda nic: None),
    "a budget of 1": (1, lambda nic: None),
}


def _ran(budget: int, after: Callable[[RawNic], None]) -> tuple[list[bytes], bytes, bytes, dict[str, int]]:
    """What was sent, the completion ring, the queue table and the counters at the end."""
    nic = RawNic(budget=budget)
    nic.prepare(size=32)
    assert nic.activate() == 0
    _traffic(nic, after)
    nic.kick()
    stats = nic.tx_stats()
    return nic.net.sent, bytes(nic.tx[0].comp.memory.view), bytes(nic.table.view), stats


def test_the_end_is_the_same_whichever_way_the_bell_is_rung() -> None:
    one, many, single = (_ran(*way) for way in WAYS.values())

    assert one == many == single
    assert one[3] == {
        "TSOPktsTxOK": 9,  # 1800 bytes in pieces of 700, three times
        "TSOBytesTxOK": 3 * (1800 + 3 * 58),
        "ucastPktsTxOK": 48 + 3 + 9,
        "ucastBytesTxOK": sum(range(60, 84)) + 24 * 90 + 3 * len(CSUM_FRAME) + 3 * (1800 + 3 * 58),
        "mcastPktsTxOK": 0,
        "mcastBytesTxOK": 0,
        "bcastPktsTxOK": 0,
        "bcastBytesTxOK": 0,
        "pktsTxError": 6,
        "pktsTxDiscard": 0,
    }


# -- counters ------------------------------------------------------------------------------------------------------


def test_frames_are_counted_by_their_target(nic: RawNic) -> None:
    for dst, size in ((PEER, 60), (GROUP, 70), (BROADCAST, 80), (BROADCAST, 90)):
        nic.post(frame(size, dst=dst))
    nic.post(frame(100, dst=GROUP)[:3], eop=0, cq=0)  # the target across two buffers
    nic.post(frame(100, dst=GROUP)[3:])

    nic.kick()

    stats = nic.tx_stats()
    assert [stats[f"{kind}PktsTxOK"] for kind in ("ucast", "mcast", "bcast")] == [1, 2, 2]
    assert [stats[f"{kind}BytesTxOK"] for kind in ("ucast", "mcast", "bcast")] == [60, 170, 170]


def test_without_a_link_frames_are_completed_and_discarded(nic: RawNic) -> None:
    nic.device.set_link(False)
    for n in range(3):
        nic.post(frame(seed=n))
    nic.post(bytes(5))

    nic.kick()

    stats = nic.tx_stats()
    assert (nic.net.sent, nic.done()) == ([], [0, 1, 2, 3])
    assert (stats["pktsTxDiscard"], stats["pktsTxError"], stats["ucastPktsTxOK"]) == (3, 1, 0)


def test_what_a_full_port_does_not_take_waits_in_order() -> None:
    nic = RawNic(Queue(room=2))
    nic.bring_up(size=32)
    for n in range(5):
        nic.post(frame(seed=n))
    nic.kick()
    taken, completed = list(nic.net.sent), nic.done()
    nic.send(frame(seed=5))
    nic.net.room = None

    nic.port.advance(1_000_000)

    assert taken == [frame(seed=0), frame(seed=1)]
    assert completed == [0, 1, 2, 3, 4]  # the device keeps a copy
    assert nic.net.sent == [frame(seed=n) for n in range(6)]
    assert nic.done() == [5]


# -- checksums and segmentation --------------------------------------------------------------------------------------

V4: dict[str, Any] = {"src": "192.0.2.1", "dst": "192.0.2.2"}
V6: dict[str, Any] = {"src": "2001:db8::1", "dst": "2001:db8::2"}
BODY = bytes(n * 7 & 0xFF for n in range(1500))


def build(*layers: Any) -> bytes:
    packet = Ether(dst=PEER, src=MAC)
    for layer in layers:
        packet = packet / layer
    return bytes(packet)


def seeded(data: bytes, l3: int = 14, *, whole: bool = True) -> tuple[bytes, int]:
    """The frame as a driver leaves it, the pseudo-header sum of the packet at `l3` in place; where that is."""
    found = seed(data, l3, whole=whole)
    assert found is not None
    at, value = found
    return data[:at] + value.to_bytes(2, "big") + data[at + 2 :], at


def post_all(nic: RawNic, data: bytes, **fields: int) -> None:
    """One packet over as many descriptors as its bytes need; `fields` go into the first."""
    for at in range(0, len(data), SLOT):
        last = int(at + SLOT >= len(data))
        nic.post(data[at : at + SLOT], eop=last, cq=last, **(fields if at == 0 else {}))


def run(queue: TxQueue) -> list[bytes]:
    """What the queue sends of all there is, completed."""
    out: list[bytes] = []
    frames: Frames = []
    while queue.service(64, frames)[0]:
        out += sent(frames)
        queue.complete()
        frames.clear()
    return out


CSUMS: dict[str, tuple[bytes, int]] = {  # frame, offset of its L4 header
    "TCP": (build(IP(**V4), TCP(), Raw(b"odd")), 34),
    "UDP": (build(IP(**V4), UDP(), Raw(b"even")), 34),
    "TCP6": (build(IPv6(**V6), TCP(), Raw(b"x")), 54),
    "UDP6 behind a header": (build(IPv6(**V6), IPv6ExtHdrHopByHop(), UDP(), Raw(b"x")), 62),
    "tagged TCP": (build(Dot1Q(vlan=5), IP(**V4), TCP(), Raw(b"x")), 38),
}


@pytest.mark.parametrize(("data", "l4"), CSUMS.values(), ids=CSUMS.keys())
def test_VMX_D_047_a_seeded_checksum(nic: RawNic, queue: TxQueue, notes: Notes, data: bytes, l4: int) -> None:
    left, field = seeded(data, 18 if l4 == 38 else 14)
    nic.post(left, om=OM_CSUM, hlen=l4, msscof=field)

    assert run(queue) == [data]
    assert notes == []


@pytest.mark.parametrize(("data", "l4"), CSUMS.values(), ids=CSUMS.keys())
@pytest.mark.parametrize("wrong", [0, 0xABCD])
def test_VMX_D_047_a_checksum_field_without_its_seed(
    nic: RawNic, queue: TxQueue, notes: Notes, data: bytes, l4: int, wrong: int
) -> None:
    left, field = seeded(data, 18 if l4 == 38 else 14)
    nic.post(left[:field] + wrong.to_bytes(2, "big") + left[field + 2 :], om=OM_CSUM, hlen=l4, msscof=field)

    assert len(run(queue)) == 1  # what was asked for is done
    assert notes == [("VMX-D-047", "tx queue 3 descriptor 0", wrong)]


def test_VMX_D_047_a_sum_of_all_ones_is_a_sum_of_0(nic: RawNic, queue: TxQueue, notes: Notes) -> None:
    plain = build(IP(src="0.0.0.0", dst="0.0.0.0"), UDP(), Raw(b"1234"))
    for seed_value in range(0x10000):  # the address that makes the sum 0
        data = plain[:26] + seed_value.to_bytes(2, "big") + plain[28:]
        found = seed(data, 14)
        if found and found[1] == 0:
            break
    for value in (b"\0\0", b"\xff\xff"):
        nic.post(data[:40] + value + data[42:], om=OM_CSUM, hlen=34, msscof=40)

    assert len(run(queue)) == 2
    assert notes == []


def test_VMX_D_047_says_nothing_of_other_protocols(nic: RawNic, queue: TxQueue, notes: Notes) -> None:
    nic.post(build(IP(**V4), ICMP(), Raw(b"x" * 40)), om=OM_CSUM, hlen=34, msscof=36)
    nic.post(build(IP(**V4), UDP(), Raw(b"x" * 40)), om=OM_CSUM, hlen=42, msscof=50)
    nic.post(bytes(60), om=OM_CSUM, hlen=34, msscof=50)

    assert len(run(queue)) == 3
    assert notes == []


@pytest.mark.parametrize("ip", [IP(**V4), IPv6(**V6), IPv6(**V6) / IPv6ExtHdrHopByHop()], ids=["v4", "v6", "v6+"])
def test_VMX_D_047_for_segmentation_the_seed_leaves_the_length_out(
    nic: RawNic, queue: TxQueue, notes: Notes, ip: Any
) -> None:
    data = build(ip, TCP(flags="PA"), Raw(BODY))
    hlen = len(data) - len(BODY)
    nic.post(seeded(data, whole=False)[0], om=OM_TSO, hlen=hlen, msscof=1000)
    good = run(queue)
    clean = notes[:]
    nic.post(seeded(data)[0], om=OM_TSO, hlen=hlen, msscof=1000)

    assert run(queue) == good
    assert b"".join(piece[hlen:] for piece in good) == BODY
    assert clean == []
    assert [note[:2] for note in notes] == [("VMX-D-047", "tx queue 3 descriptor 1")]


def test_VMX_D_046_udp_is_not_segmented(nic: RawNic, queue: TxQueue, notes: Notes) -> None:
    nic.post(build(IP(**V4), UDP(), Raw(BODY)), om=OM_TSO, hlen=42, msscof=1000)

    assert run(queue) == []
    assert [note[0] for note in notes] == ["VMX-D-046"]
    assert (queue.failed, nic.done()) == (0, [0])


@pytest.mark.parametrize("count", [16, 17, 24, 32])
def test_VMX_D_037_a_packet_of_many_descriptors(nic: RawNic, queue: TxQueue, notes: Notes, count: int) -> None:
    nic.post(frame())  # so that the ring keeps one free
    run(queue)
    data = frame(10 * count)
    for n in range(count):
        nic.post(data[10 * n : 10 * n + 10], eop=n == count - 1, cq=n == count - 1)

    assert run(queue) == [data]
    assert [note[0] for note in notes if note[0] != "VMX-D-049"] == ["VMX-D-037"] * (count > 16)


# -- tunnels -----------------------------------------------------------------------------------------------------------

OUTERS = {"v4": IP(src="10.9.0.1", dst="10.9.0.2", id=5), "v6": IPv6(src="2001:db8:9::1", dst="2001:db8:9::2")}
TUNNELS = {"geneve": (GENEVE(vni=1), 6081), "vxlan": (VXLAN(vni=1, flags=8), 4789)}
TUNNEL_CAPS = {
    "geneve": (Cap.GENEVE_CHECKSUM_OFFLOAD, Cap.GENEVE_TSO, Cap.GENEVE_OUTER_CHECKSUM_OFFLOAD),
    "vxlan": (Cap.VXLAN_CHECKSUM_OFFLOAD, Cap.VXLAN_TSO, Cap.VXLAN_OUTER_CHECKSUM_OFFLOAD),
}
EVERY = sum((cap for caps in TUNNEL_CAPS.values() for cap in caps), Cap(0))
INNERS: dict[str, Any] = {
    "TCP": IP(**V4) / TCP(flags="PA", seq=9),
    "UDP": IP(**V4) / UDP(),
    "TCP6": IPv6(**V6) / TCP(flags="PA", seq=9),
    "UDP6": IPv6(**V6) / UDP(),
}


def tunnel_frame(kind: str, inner: Any, body: bytes, outer: str = "v4", **udp: int) -> bytes:
    head, port = TUNNELS[kind]
    ethernet = Ether(dst="02:00:00:00:00:03", src="02:00:00:00:00:04")
    return build(OUTERS[outer], UDP(sport=5000, dport=port, **udp), head, ethernet, inner, Raw(body))


def inner_seeded(data: bytes, *, whole: bool = True) -> tuple[bytes, int, int]:
    """(the frame with the inner seed in place, the offset of the inner checksum, the end of the inner L4 header)."""
    found = parse(data)
    assert found is not None
    left, field = seeded(data, found.inner_ip, whole=whole)
    return left, field, found.inner_l4 + (20 if found.protocol == 6 else 8)


@pytest.mark.parametrize("version", [4, 5, 6, 7, 8, 9])
@pytest.mark.parametrize("kind", TUNNELS)
@pytest.mark.parametrize("outer", OUTERS)
@pytest.mark.parametrize("inner", INNERS)
@pytest.mark.parametrize("oco", [0, 1])
def test_VMX_V_036_the_inner_checksum(
    nic: RawNic, make_queue: MakeQueue, notes: Notes, version: int, kind: str, outer: str, inner: str, oco: int
) -> None:
    whole = tunnel_frame(kind, INNERS[inner], b"some data", outer)
    silent = tunnel_frame(kind, INNERS[inner], b"some data", outer, chksum=0)
    left, field, hlen = inner_seeded(silent)
    asked = {"om": OM_CSUM, "ext1": 1, "msscof": field} if version >= 7 else {"om": OM_ENCAP}
    queue = make_queue(version, EVERY)
    nic.post(left, hlen=hlen, oco=oco, **asked)
    nic.post(left, hlen=hlen, oco=oco, ti=1, tci=5, **asked)

    expected = whole if oco else silent
    assert run(queue) == [expected, insert_tag(expected, 5)]
    assert notes == []


@pytest.mark.parametrize("version", [4, 6, 7, 9])
@pytest.mark.parametrize("kind", TUNNELS)
@pytest.mark.parametrize("outer", OUTERS)
@pytest.mark.parametrize("inner", ["TCP", "TCP6"])
@pytest.mark.parametrize(("oco", "before"), [(0, 0), (1, 0), (0, 0x1234)])
def test_VMX_V_036_segments_of_the_inner_packet(
    nic: RawNic,
    make_queue: MakeQueue,
    notes: Notes,
    version: int,
    kind: str,
    outer: str,
    inner: str,
    oco: int,
    before: int,
) -> None:
    left, _, hlen = inner_seeded(tunnel_frame(kind, INNERS[inner], BODY, outer, chksum=before), whole=False)
    asked = {"om": OM_TSO, "ext1": 1} if version >= 7 else {"om": OM_ENCAP}
    nic.post(left, hlen=hlen, msscof=700, oco=oco, **asked)
    queue = make_queue(version, EVERY)

    pieces = run(queue)

    wanted = []
    for n, at in enumerate(range(0, 1500, 700)):
        one = INNERS[inner].copy()
        one[TCP].seq, one[TCP].flags = 9 + at, "PA" if n == 2 else "A"
        if IP in one:
            one[IP].id += n
        made = Ether(tunnel_frame(kind, one, BODY[at : at + 700], outer, **({} if oco or before else {"chksum": 0})))
        if outer == "v4":
            made[IP].id += n
            del made[IP].chksum
        wanted.append(bytes(made))
    assert pieces == wanted
    assert notes == []
    assert (queue.stats[0], queue.stats[1], queue.stats[2]) == (3, sum(map(len, pieces)), 3)


def test_VMX_V_036_a_tunnel_frame_without_a_request_is_sent_as_it_is(
    nic: RawNic, make_queue: MakeQueue, notes: Notes
) -> None:
    data = tunnel_frame("vxlan", INNERS["TCP"], b"data", chksum=0xBAD)
    nic.post(data)
    nic.post(data, ext1=1)

    assert run(make_queue(9, EVERY)) == [data, data]
    assert notes == []


def test_VMX_V_036_the_outer_checksum_alone(nic: RawNic, make_queue: MakeQueue, notes: Notes) -> None:
    good = tunnel_frame("vxlan", INNERS["TCP"], b"data")
    nic.post(tunnel_frame("vxlan", INNERS["TCP"], b"data", chksum=0), oco=1)
    nic.post(frame(), oco=1)

    assert run(make_queue(4)) == [good]
    assert [note[:2] for note in notes] == [
        ("VMX-D-046", "tx queue 3 descriptor 1: a tunnel's offload on something that is no tunnel")
    ]


def test_VMX_V_036_a_packet_over_several_descriptors(nic: RawNic, make_queue: MakeQueue, notes: Notes) -> None:
    body = BODY * 5
    left, _, hlen = inner_seeded(tunnel_frame("geneve", INNERS["TCP"], body, chksum=0), whole=False)
    post_all(nic, left, om=OM_TSO, ext1=1, oco=1, hlen=hlen, msscof=1300)

    pieces = run(make_queue(7, EVERY))

    assert b"".join(piece[hlen:] for piece in pieces) == body
    assert {ones_sum(piece[34:], 17 + len(piece) - 34 + ones_sum(piece[26:34])) for piece in pieces} == {0}
    assert notes == []


def test_VMX_D_047_inside_a_tunnel(nic: RawNic, make_queue: MakeQueue, notes: Notes) -> None:
    data = tunnel_frame("vxlan", INNERS["UDP"], b"data", chksum=0)
    _, field, hlen = inner_seeded(data)
    nic.post(data[:field] + b"\1\2" + data[field + 2 :], om=OM_ENCAP, hlen=hlen)

    assert len(run(make_queue(4))) == 1
    assert notes == [("VMX-D-047", "tx queue 3 descriptor 0", 0x102)]


# -- which version has what --------------------------------------------------------------------------------------------

GOOD_TUNNEL = inner_seeded(tunnel_frame("vxlan", INNERS["TCP"], b"data", chksum=0))


@pytest.mark.parametrize("version", range(1, 10))
@pytest.mark.parametrize(
    ("fields", "first", "last"),
    [({"om": OM_ENCAP}, 4, 6), ({"om": OM_CSUM, "ext1": 1}, 7, 9), ({"oco": 1}, 4, 9), ({"ext1": 1}, 7, 9)],
    ids=["om=1", "ext1", "oco", "ext1 alone"],
)
def test_VMX_D_041_offload_bits_by_version(
    nic: RawNic, make_queue: MakeQueue, notes: Notes, version: int, fields: dict[str, int], first: int, last: int
) -> None:
    left, field, hlen = GOOD_TUNNEL
    nic.post(left, hlen=hlen, msscof=field * ("ext1" in fields), **fields)
    queue = make_queue(version, EVERY)

    out = run(queue)

    legal = first <= version <= last
    assert len(out) == legal
    assert queue.failed == (0 if legal else QueueError.DESC_NOT_SPT)
    assert [note[:2] for note in notes] == [("VMX-D-041", "tx queue 3 descriptor 0")] * (not legal)
    assert nic.done() == [0] * legal


@pytest.mark.parametrize("version", [7, 8, 9])
@pytest.mark.parametrize("kind", TUNNELS)
@pytest.mark.parametrize("which", [0, 1, 2], ids=["checksum", "TSO", "outer"])
def test_VMX_D_041_tunnel_offloads_need_their_capability(
    nic: RawNic, make_queue: MakeQueue, notes: Notes, version: int, kind: str, which: int
) -> None:
    left, field, hlen = inner_seeded(tunnel_frame(kind, INNERS["TCP"], BODY[:900], chksum=0), whole=which != 1)
    asked = (
        {"om": OM_CSUM, "msscof": field},
        {"om": OM_TSO, "msscof": 500},
        {"om": OM_CSUM, "msscof": field, "oco": 1},
    )
    nic.post(frame())
    nic.post(left, hlen=hlen, ext1=1, **asked[which])
    cap = TUNNEL_CAPS[kind][which]
    without, with_it = make_queue(version, EVERY & ~cap), make_queue(version, EVERY)

    assert run(without) == [frame()]
    assert (without.failed, without.next, nic.done()) == (QueueError.DESC_NOT_SPT, 1, [0])
    assert notes == [("VMX-D-041", "tx queue 3 descriptor 1", cap)]
    assert len(run(with_it)) == (3 if which == 1 else 2)


def test_capabilities_may_change_while_active(nic: RawNic, make_queue: MakeQueue) -> None:
    left, field, hlen = GOOD_TUNNEL
    queue = make_queue(7)
    queue.caps = Cap.VXLAN_CHECKSUM_OFFLOAD
    nic.post(left, hlen=hlen, msscof=field, om=OM_CSUM, ext1=1)

    assert len(run(queue)) == 1
    assert queue.failed == 0


def test_before_version_7_no_capability_is_asked_for(nic: RawNic, make_queue: MakeQueue, notes: Notes) -> None:
    left, _, hlen = GOOD_TUNNEL
    nic.post(left, hlen=hlen, om=OM_ENCAP, oco=1)

    assert len(run(make_queue(6))) == 1
    assert notes == []


@pytest.mark.parametrize("fields", [{"ext1": 1}, {"oco": 1}])
def test_VMX_D_039_tunnel_bits_outside_the_first_descriptor(
    nic: RawNic, make_queue: MakeQueue, notes: Notes, fields: dict[str, int]
) -> None:
    data = frame(100)
    nic.post(data[:50], eop=0, cq=0)
    nic.post(data[50:], **fields)

    assert run(make_queue(7)) == [data]
    assert [note[:2] for note in notes] == [("VMX-D-039", "tx queue 3 descriptor 1")]


def icmp_inside() -> bytes:
    return tunnel_frame("vxlan", IP(**V4) / ICMP(), b"x" * 30)


BAD_TUNNELS: dict[str, tuple[str, int, bytes, dict[str, int]]] = {  # rule; version; frame; request
    "no tunnel": ("VMX-D-046", 4, frame(200), {"om": OM_ENCAP, "hlen": 54}),
    "no tunnel, ext1": ("VMX-D-046", 7, frame(200), {"om": OM_CSUM, "ext1": 1, "hlen": 54, "msscof": 50}),
    "no tunnel, TSO": ("VMX-D-046", 7, frame(200), {"om": OM_TSO, "ext1": 1, "hlen": 54, "msscof": 50}),
    "a fragment inside": (
        "VMX-D-046",
        4,
        tunnel_frame("vxlan", IP(flags="MF", **V4) / TCP(), b"x" * 30),
        {"om": OM_ENCAP, "hlen": 104},
    ),
    "TSO on UDP inside": (
        "VMX-D-046",
        4,
        tunnel_frame("vxlan", INNERS["UDP"], BODY[:900]),
        {"om": OM_ENCAP, "hlen": 92, "msscof": 500},
    ),
    "hlen stops inside the TCP header": (
        "VMX-D-046",
        4,
        tunnel_frame("vxlan", INNERS["TCP"], BODY[:900]),
        {"om": OM_ENCAP, "hlen": 100, "msscof": 500},
    ),
    "a protocol without a known field": ("VMX-D-044", 4, icmp_inside(), {"om": OM_ENCAP, "hlen": 92}),
    "hlen before the inner L4 header": ("VMX-D-044", 4, GOOD_TUNNEL[0], {"om": OM_ENCAP, "hlen": 83}),
    "hlen beyond the end": ("VMX-D-044", 4, GOOD_TUNNEL[0], {"om": OM_ENCAP, "hlen": 200}),
    "the field before the inner L4 header": (
        "VMX-D-044",
        7,
        GOOD_TUNNEL[0],
        {"om": OM_CSUM, "ext1": 1, "hlen": 104, "msscof": 40},
    ),
    "the field beyond the end": (
        "VMX-D-044",
        7,
        GOOD_TUNNEL[0],
        {"om": OM_CSUM, "ext1": 1, "hlen": 104, "msscof": len(GOOD_TUNNEL[0]) - 1},
    ),
    "no field": ("VMX-D-044", 7, GOOD_TUNNEL[0], {"om": OM_CSUM, "ext1": 1, "hlen": 104, "msscof": 0}),
    "TSO without an MSS": ("VMX-D-045", 7, GOOD_TUNNEL[0], {"om": OM_TSO, "ext1": 1, "hlen": 104, "msscof": 0}),
    "TSO without headers": ("VMX-D-045", 4, GOOD_TUNNEL[0], {"om": OM_ENCAP, "hlen": 0, "msscof": 500}),
}


@pytest.mark.parametrize(("rule", "version", "data", "asked"), BAD_TUNNELS.values(), ids=BAD_TUNNELS.keys())
def test_VMX_V_036_impossible_requests_are_errors(
    nic: RawNic, make_queue: MakeQueue, notes: Notes, rule: str, version: int, data: bytes, asked: dict[str, int]
) -> None:
    queue = make_queue(version, EVERY)
    nic.post(data, **asked)
    nic.post(frame())

    assert run(queue) == [frame()]
    assert [note[0] for note in notes] == [rule]
    assert (queue.failed, queue.stats[8], nic.done()) == (0, 1, [0, 1])


def test_any_inner_protocol_with_the_offset_given(nic: RawNic, make_queue: MakeQueue, notes: Notes) -> None:
    good = icmp_inside()
    field = 14 + 20 + 16 + 14 + 20 + 2
    nic.post(good[:field] + b"\0\0" + good[field + 2 :], om=OM_CSUM, ext1=1, hlen=field - 2, msscof=field)

    (out,) = run(make_queue(7, EVERY))

    assert out == good
    assert notes == []


# -- a ring that is overrun --------------------------------------------------------------------------------------------


def rewrite(nic: RawNic, at: int, byte: int, mask: int) -> None:
    nic.tx[0].ring.memory.view[CELL * at + byte] ^= mask


@pytest.mark.parametrize(("posted", "index"), [(1, 0), (5, 0)])
def test_VMX_D_048_the_oldest_descriptor_posted_again_before_its_completion(
    nic: RawNic, queue: TxQueue, notes: Notes, posted: int, index: int
) -> None:
    for n in range(posted):
        nic.post(frame(seed=n))
    queue.service(64, [])
    rewrite(nic, index, 9, TXD_GEN >> 8)  # as a driver does that went around the ring

    queue.complete()
    after = queue.service(64, [])

    assert nic.done() == list(range(posted))  # they were sent
    assert after == (0, 0)
    assert queue.failed == QueueError.TXD_REUSE
    assert notes == [("VMX-D-048", "tx queue 3 descriptor 0", 60)]


@pytest.mark.parametrize(("index", "byte"), [(0, 0), (1, 8), (2, 14)])
def test_VMX_D_048_a_descriptor_changed_while_its_packet_waits(
    nic: RawNic, queue: TxQueue, notes: Notes, index: int, byte: int
) -> None:
    data = frame(90)
    for n in range(3):
        nic.post(data[30 * n : 30 * n + 30], eop=n == 2, cq=n == 2)
    queue.service(2, [])
    queue.service(2, [])
    rewrite(nic, index, byte, 1)

    queue.complete()
    queue.service(64, [])

    assert queue.failed == QueueError.TXD_REUSE
    assert [note[:2] for note in notes] == [("VMX-D-048", f"tx queue 3 descriptor {index}")]


def test_VMX_D_048_stops_the_queue_of_a_device() -> None:
    class Overrun(Queue):
        """A port that is so slow that the driver overruns its ring."""

        def send(self, frames: Sequence[Sequence[Buffer]]) -> int:
            rewrite(overrun, 0, 9, TXD_GEN >> 8)
            return super().send(frames)

    overrun = RawNic(Overrun())
    overrun.bring_up(size=32)
    overrun.send(frame())

    assert overrun.status() == (1, QueueError.TXD_REUSE)
    assert [(place, count) for place, _, count in overrun.seen("VMX-D-048")] == [("tx queue 0 descriptor 0", 1)]
    assert overrun.done() == [0]


def test_VMX_D_048_not_when_posted_again_after_its_completion(nic: RawNic, queue: TxQueue, notes: Notes) -> None:
    for n in range(100):
        data = frame(90, seed=n)
        nic.post(data[:40], eop=0, cq=0)
        nic.post(data[40:])

        assert run(queue) == [data]

    assert notes == []


@pytest.mark.parametrize("before", [0, 1, 31])
def test_VMX_D_049_a_ring_without_a_free_descriptor(nic: RawNic, queue: TxQueue, notes: Notes, before: int) -> None:
    for n in range(before):
        nic.post(frame(seed=n))
    run(queue)
    for n in range(31):
        nic.post(frame(seed=n))
    first = len(run(queue)), notes[:]
    for n in range(32):
        nic.post(frame(seed=n))

    assert first == (31, [])
    assert len(run(queue)) == 32
    last = (before + 31 - 1) % 32
    assert notes == [("VMX-D-049", f"tx queue 3 descriptor {last}", 32)]


@pytest.mark.parametrize("budget", [1, 7])
def test_VMX_D_049_is_seen_with_a_small_budget(nic: RawNic, queue: TxQueue, notes: Notes, budget: int) -> None:
    for n in range(32):
        nic.post(frame(seed=n))
    while queue.service(budget, [])[0]:
        queue.complete()

    assert notes == [("VMX-D-049", "tx queue 3 descriptor 31", 32)]
