"""Against the kernel's own packet sockets, on veth pairs in network namespaces of the test's own."""

import errno
import hashlib
import os
import random
import select
import socket
import struct
from collections.abc import Iterator

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw

from pvdev.errors import ConfigError
from tests.netns import Namespace, Stream, namespaces, raise_link, veth
from vmxnet3.offloads.plain import BadPacket, receive_facts
from vmxnet3.ports import packet
from vmxnet3.ports.host import open_port
from vmxnet3.ports.packet import IFNAMSIZ, PACKET_VNET_HDR, SOL_PACKET, PacketPort
from vmxnet3.ports.tap import TapPort
from vmxnet3.ports.vnet import VNET_HDR
from vmxnet3.wire import RCD_IPC, RCD_TUC

GUEST, HERE, THERE = "02:00:00:00:00:0a", "192.0.2.1", "192.0.2.2"
SOL_UDP_SEGMENT = (17, 103)  # level and name of UDP_SEGMENT: one send, many datagrams


@pytest.fixture
def wire() -> Iterator[Namespace]:
    """Interface pk0 here, its other end pk1 (THERE, fd00::2) in the namespace given."""
    with namespaces(2) as (_, far):
        veth("pk0", "pk1", far, peer_address=f"{THERE}/24")
        with far.inside():
            raise_link("pk1", "fd00::2/64")
        yield far


def raw(namespace: Namespace, name: str = "pk1") -> socket.socket:
    """A packet socket of our own on the far end."""
    with namespace.inside():
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        made.bind((name, 3))
        made.settimeout(10)
        return made


def await_frames(port: PacketPort, count: int, kind: type[Packet] | int) -> list[bytes]:
    """The next frames of an EtherType, or with a layer; the kernel sends frames of its own between."""
    found: list[bytes] = []
    while len(found) < count:
        assert port.deadline() == 0 or select.select([port.fileno()], [], [], 10)[0], f"{len(found)} of {count} came"
        for data in port.receive(64, 0):
            if data[12:14] == kind.to_bytes(2, "big") if isinstance(kind, int) else kind in Ether(data):
                found.append(data)
    return found


def plain(to: str = GUEST, source: str = "02:00:00:00:00:0b", size: int = 46) -> bytes:
    return bytes(Ether(dst=to, src=source, type=0x88B5) / Raw(bytes(range(size))))


# -- frames ----------------------------------------------------------------------------------------------------------


def test_frames_pass_both_ways_and_are_counted(wire: Namespace) -> None:
    with PacketPort("pk0") as port, raw(wire) as far:
        far.send(plain())
        assert await_frames(port, 1, 0x88B5) == [plain()]

        sent = plain("ff:ff:ff:ff:ff:ff", GUEST)
        assert port.send([[sent[:6], memoryview(bytearray(sent))[6:]]]) == 1
        while (data := far.recv(9999))[12:14] != b"\x88\xb5":
            pass
        assert data == sent
        assert (port.frames_out, port.bytes_out, port.dropped) == (1, len(sent), 0)
        assert port.frames_in >= 1


@pytest.mark.parametrize(("text", "count"), [("packet:pk0", 1), ("packet:pk0,promisc=no", 0)])
def test_the_interface_is_promiscuous_while_the_port_is_open(wire: Namespace, text: str, count: int) -> None:
    from pyroute2 import IPRoute

    with IPRoute() as links:
        index = links.link_lookup(ifname="pk0")[0]
        with open_port(text):
            assert links.get_links(index)[0].get("promiscuity") == count
        assert links.get_links(index)[0].get("promiscuity") == 0


def test_what_this_machine_sends_there_itself_is_not_seen(wire: Namespace) -> None:
    with PacketPort("pk0") as port, socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as host, raw(wire) as far:
        host.bind(("pk0", 0))
        host.send(plain(size=40))
        port.send([[plain(size=41)]])
        far.send(plain(size=42))

        assert await_frames(port, 1, 0x88B5) == [plain(size=42)]


@pytest.mark.parametrize("tpid", [0x8100, 0x88A8])
def test_tags_the_kernel_took_out_are_put_back(wire: Namespace, tpid: int) -> None:
    tagged = bytes(Ether(dst=GUEST, type=tpid) / Dot1Q(vlan=5, prio=7, type=0x88B5) / Raw(bytes(46)))
    twice = tagged[:12] + struct.pack(">HH", tpid, 9) + b"\x81\x00" + tagged[14:]
    with PacketPort("pk0") as port, raw(wire) as far:
        far.send(tagged)
        far.send(twice)

        assert await_frames(port, 2, tpid) == [tagged, twice]


def test_a_tagged_frame_of_the_guest_leaves_with_its_tag(wire: Namespace) -> None:
    tagged = bytes(Ether(dst=GUEST) / Dot1Q(vlan=5, type=0x88B5) / Raw(bytes(1500)))
    with PacketPort("pk0") as port, PacketPort("pk0") as other, wire.inside(), PacketPort("pk1") as far:
        assert port.send([[tagged]]) == 1

        assert (port.dropped, await_frames(far, 1, 0x8100)) == (0, [tagged])
        assert other.receive(9, 0) == []


def test_receive_gives_no_more_than_asked(wire: Namespace) -> None:
    with PacketPort("pk0") as port, wire.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as program:
        neighbour("pk1")
        program.setsockopt(*SOL_UDP_SEGMENT, 100)
        await_quiet(port)
        program.sendto(bytes(1000), (HERE, 9))

        assert select.select([port.fileno()], [], [], 10)[0]
        assert [len(port.receive(4, 0)) for _ in range(3)] == [4, 4, 2]
        assert port.deadline() is None


def neighbour(name: str, address: str = HERE) -> None:
    """The guest's address, known without asking."""
    from pyroute2 import IPRoute

    with IPRoute() as links:
        links.neigh("replace", dst=address, lladdr=GUEST, ifindex=links.link_lookup(ifname=name)[0], state=128)


def await_quiet(port: PacketPort) -> None:
    """Take what the kernel has sent by itself so far."""
    while port.receive(64, 0):
        pass


def test_partial_checksums_are_made_whole(wire: Namespace) -> None:
    with PacketPort("pk0") as port, wire.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as program:
        neighbour("pk1")
        program.sendto(b"checksum me", (HERE, 9))

        (data,) = await_frames(port, 1, UDP)

        assert bytes(Ether(data)[UDP].payload).startswith(b"checksum me")
        assert Ether(data)[UDP].chksum
        assert receive_facts(data)[1] & (RCD_TUC | RCD_IPC) == RCD_TUC | RCD_IPC


@pytest.mark.parametrize(("family", "here"), [(socket.AF_INET, HERE), (socket.AF_INET6, "fd00::1")])
def test_datagrams_sent_as_one_are_cut(wire: Namespace, family: int, here: str) -> None:
    payload = random.Random(3).randbytes(4321)
    with PacketPort("pk0") as port, wire.inside(), socket.socket(family, socket.SOCK_DGRAM) as program:
        neighbour("pk1", here)
        program.setsockopt(*SOL_UDP_SEGMENT, 1000)
        program.sendto(payload, (here, 9))

        found = await_frames(port, 5, UDP)

        assert b"".join(bytes(Ether(data)[UDP].payload) for data in found) == payload
        assert all(receive_facts(data)[1] & RCD_TUC for data in found)
        assert [Ether(data)[UDP].len for data in found] == [1008] * 4 + [329]


# -- a real TCP stack on either side ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("near", "far"), [(HERE, THERE), ("fd00::1", "fd00::2")], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("upload", [False, True], ids=["to the guest", "from the guest"])
def test_tcp_passes_with_every_offload_of_the_sender_on(near: str, far: str, upload: bool) -> None:
    payload = random.Random(4).randbytes(3_000_000)
    with namespaces(3) as (_, outside, guest):
        veth("pk0", "pk1", outside, peer_address=f"{far}/24" if "." in far else f"{far}/64")
        with guest.inside():
            tap = TapPort("tap0")
            raise_link("tap0", f"{near}/24" if "." in near else f"{near}/64")
        ends = (outside, guest, far) if upload else (guest, outside, near)
        with PacketPort("pk0") as port, tap:
            longest = 0

            def pump() -> bool:
                nonlocal longest
                incoming, outgoing = port.receive(256, 0), tap.receive(256, 0)
                longest = max([longest, *map(len, incoming)])
                tap.send([[data] for data in incoming])
                port.send([[data] for data in outgoing])
                return bool(incoming or outgoing)

            stream = Stream(*ends)
            got = stream.until_done(payload, pump, (port.fileno(), tap.fileno()))
            stream.close()

            assert hashlib.sha256(got).digest() == hashlib.sha256(payload).digest()
            assert (port.unfit, port.dropped, tap.dropped) == (0, 0, 0)
            assert 1000 < longest <= 1514 or upload


# -- interfaces that are down, gone, or none -------------------------------------------------------------------------


def test_an_interface_that_is_down_drops_and_works_again(wire: Namespace) -> None:
    from pyroute2 import IPRoute

    with PacketPort("pk0") as port, raw(wire) as far, IPRoute() as links:
        index = links.link_lookup(ifname="pk0")[0]
        links.link("set", index=index, state="down")
        assert port.send([[plain()]]) == 1
        assert port.receive(9, 0) == []
        assert (port.dropped, port.fault) == (1, None)

        links.link("set", index=index, state="up")
        far.settimeout(10)
        assert port.send([[plain()]]) == 1
        far.send(plain(size=30))
        assert await_frames(port, 1, 0x88B5)[-1] == plain(size=30)


def test_an_interface_deleted_under_us_is_a_fault(wire: Namespace) -> None:
    from pyroute2 import IPRoute

    with PacketPort("pk0") as port, IPRoute() as links:
        links.link("del", index=links.link_lookup(ifname="pk0")[0])

        assert [port.receive(9, 0) for _ in range(3)] == [[]] * 3
        assert port.fault == "packet pk0: the interface was deleted; start again"
        assert (port.fileno(), port.send([[plain()]]), port.dropped) == (-1, 1, 1)


def test_frames_longer_than_the_mtu_are_dropped(wire: Namespace) -> None:
    with PacketPort("pk0") as port:
        assert port.send([[bytes(12) + b"\x88\xb5" + bytes(1501)], [bytes(12) + b"\x88\xb5" + bytes(1500)]]) == 2
        assert (port.dropped, port.frames_out) == (1, 1)


def test_link_up_throws_away_what_came_while_down(wire: Namespace) -> None:
    with PacketPort("pk0") as port, raw(wire) as far:
        port.link(up=False)
        far.send(plain(size=20))

        port.link(up=True)

        assert port.stale >= 1
        far.send(plain(size=21))
        assert await_frames(port, 1, 0x88B5) == [plain(size=21)]


def test_only_ethernet(wire: Namespace) -> None:
    with pytest.raises(ConfigError) as caught:
        PacketPort("lo")
    assert str(caught.value) == "packet lo: not an Ethernet interface (its type is 772); give one that is"


@pytest.mark.parametrize("name", ["", "nosuch0", "x" * IFNAMSIZ, "a\0b"])
def test_an_interface_that_is_none_is_named_beside_those_there_are(wire: Namespace, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PacketPort(name)
    assert str(caught.value).startswith(f"packet {name!r}: no such interface; there is lo")


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EPERM, "packet lo: no permission for raw sockets; run as root, or with the capability CAP_NET_RAW"),
        (errno.EAFNOSUPPORT, "packet lo: Address family not supported by protocol; give another interface"),
    ],
)
def test_no_right_to_it(monkeypatch: pytest.MonkeyPatch, number: int, says: str) -> None:
    def refuse(*arguments: object) -> socket.socket:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "socket", refuse)

    with pytest.raises(ConfigError) as caught:
        PacketPort("lo")
    assert str(caught.value) == says


def test_a_kernel_without_the_options(monkeypatch: pytest.MonkeyPatch, wire: Namespace) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOPROTOOPT, "Protocol not available")

    monkeypatch.setattr(PacketPort, "_set_up", refuse)

    with pytest.raises(ConfigError, match=r"packet sockets are too old; Linux 4\.20 or newer is needed"):
        PacketPort("pk0")


def test_a_packet_to_be_cut_arrives_in_pieces(wire: Namespace) -> None:
    with PacketPort("pk0") as port, wire.inside(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as vnet:
        vnet.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        vnet.bind(("pk1", 0))
        whole = bytes(Ether(dst=GUEST) / IP(src=THERE, dst=HERE) / TCP(flags="A") / Raw(bytes(3000)))
        header = VNET_HDR.encode(flags=1, gso_type=1, hdr_len=54, gso_size=1000, csum_start=34, csum_offset=16)
        vnet.send(header + whole)

        assert [len(data) for data in await_frames(port, 3, TCP)] == [1054] * 3
        assert port.unfit == 0


def test_a_frame_that_cannot_be_finished_is_counted(wire: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise BadPacket("no", 0)

    monkeypatch.setattr(packet, "finish", refuse)
    with PacketPort("pk0") as port, raw(wire) as far, wire.inside(), socket.socket(type=socket.SOCK_DGRAM) as program:
        neighbour("pk1")
        await_quiet(port)
        program.sendto(b"unfinished", (HERE, 9))
        far.send(plain())

        assert await_frames(port, 1, 0x88B5) == [plain()]
        assert port.unfit >= 1


def test_what_the_kernel_could_not_describe_is_counted(wire: Namespace) -> None:
    class Refusing:
        """Its first read fails as when the header has no words for a packet."""

        def __init__(self, made: socket.socket) -> None:
            self._made, self._reads = made, 0

        def recvmsg_into(self, *arguments: object) -> object:
            self._reads += 1
            if self._reads == 1:
                raise OSError(errno.EINVAL, "Invalid argument")
            return self._made.recvmsg_into(*arguments)  # type: ignore[arg-type]

    with PacketPort("pk0") as port, raw(wire) as far:
        await_quiet(port)
        made = port._socket
        port._socket = Refusing(made)  # type: ignore[assignment]
        far.send(plain())
        found = port.receive(9, 0)
        port._socket = made

        assert (found[-1:], port.unfit) == ([plain()], 1)
