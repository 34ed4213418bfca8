"""Make the real capture in tests/data: two network namespaces, a veth pair without offloads, sockets that talk.

All frames are the kernel's own (TCP, UDP, ICMP, ARP, neighbour discovery, IGMP, MLD) and are recorded with ns stamps
on one end of the pair. Loss is made behind the recording, by a socket filter on the receiver, so that a frame and its
retransmission are both in the file. VLAN tags are put on and taken off by a user-space trunk: no kernel module is
needed. Nothing of the machine's own network is touched, and nothing is left behind.

Usage: python tools/make_capture.py [OUT]        needs root, or a kernel that allows user namespaces
Addresses: RFC 5737 and 3849 (IP), 7042 (MAC), 6676 (multicast), all kept free for documentation.
"""

import argparse
import contextlib
import ctypes
import errno
import hashlib
import os
import random
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from vmxnet3.captures.capture import CaptureReader
from vmxnet3.captures.pcapng import PcapngWriter

OUT = Path(__file__).resolve().parent.parent / "tests" / "data" / "lan.pcapng"
MOST = 1_000_000  # bytes the file may have

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
ETH_P_ALL, SOL_PACKET, PACKET_STATISTICS, PACKET_AUXDATA, PACKET_OUTGOING = 3, 263, 6, 8, 4
SO_ATTACH_FILTER, SO_TIMESTAMPNS = 26, 35
TP_STATUS_CSUMNOTREADY, TP_STATUS_VLAN_VALID = 1 << 3, 1 << 4
IPV6_HOPOPTS, IPV6_DSTOPTS = 54, 59
IP_MTU_DISCOVER, IP_PMTUDISC_DONT = 10, 0

VLAN, TAG = 5, struct.pack(">HH", 0x8100, 3 << 13 | 5)  # priority 3
NEAR, FAR = ("192.0.2.1", "2001:db8::1"), ("192.0.2.2", "2001:db8::2")
TAGGED_NEAR, TAGGED_FAR = ("198.51.100.1", "2001:db8:5::1"), ("198.51.100.2", "2001:db8:5::2")
BROADCAST, GROUP = "192.0.2.255", "233.252.0.1"

_libc = ctypes.CDLL(None, use_errno=True)
_random = random.Random(1500)


def _syscall(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


class Namespace:
    """A network namespace without a name; gone when nobody is in it and no socket of it is open."""

    def __init__(self) -> None:
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        _syscall(_libc.unshare(CLONE_NEWNET), "unshare")
        self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        _syscall(_libc.setns(home, CLONE_NEWNET), "setns")
        os.close(home)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """What this thread opens meanwhile (sockets, threads, netlink) is of this namespace, and stays so."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        _syscall(_libc.setns(self.fd, CLONE_NEWNET), "setns")
        try:
            yield
        finally:
            _syscall(_libc.setns(home, CLONE_NEWNET), "setns")
            os.close(home)

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        with self.inside():
            made = socket.socket(family, kind, protocol)
        made.settimeout(10)
        return made


def enter_user_namespace() -> None:
    """For a user who is not root: root of a user namespace, with a network namespace that `inside` may come back to."""
    uid, gid = os.getuid(), os.getgid()
    _syscall(_libc.unshare(CLONE_NEWUSER | CLONE_NEWNET), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def build(near: Namespace, far: Namespace) -> None:
    """veth lan0 (near) to lan0 (far); in each namespace veth vlan5 to trunk5, of which the trunk takes trunk5."""
    from pyroute2 import IPRoute

    with near.inside(), IPRoute() as links:
        peer = {"ifname": "lan0", "address": "00:00:5e:00:53:02", "net_ns_fd": far.fd}
        links.link("add", ifname="lan0", kind="veth", address="00:00:5e:00:53:01", peer=peer)
    for space, plain, tagged, mac in ((near, NEAR, TAGGED_NEAR, 1), (far, FAR, TAGGED_FAR, 2)):
        with space.inside(), IPRoute() as links:
            peer = {"ifname": "trunk5", "address": f"00:00:5e:00:53:f{mac}"}
            links.link("add", ifname="vlan5", kind="veth", address=f"00:00:5e:00:53:5{mac}", peer=peer)
            for name, addresses in (("lan0", plain), ("vlan5", tagged), ("trunk5", ())):
                offloads_off(name)
                index = links.link_lookup(ifname=name)[0]
                if not addresses:
                    Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
                for address, prefix in zip(addresses, (24, 64), strict=False):
                    links.addr("add", index=index, address=address, prefixlen=prefix)
                links.link("set", index=index, state="up", mtu=1500)
            links.route("add", dst="224.0.0.0/4", oif=links.link_lookup(ifname="lan0")[0])


def offloads_off(name: str) -> None:
    from pyroute2 import Ethtool

    with Ethtool() as tool:
        features = tool.get_features(name)
        for feature in features.features.values():
            if feature.available and feature.name.startswith(("tx-", "rx-")):
                feature.enable = False
        tool.set_features(name, features)


def set_mtu(space: Namespace, mtu: int) -> None:
    from pyroute2 import IPRoute

    with space.inside(), IPRoute() as links:
        links.link("set", index=links.link_lookup(ifname="lan0")[0], mtu=mtu)


def packet_socket(space: Namespace, name: str) -> socket.socket:
    """Every frame of an interface, VLAN tags in the ancillary data."""
    made = space.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    made.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    made.bind((name, ETH_P_ALL))
    made.settimeout(0.2)
    return made


def receive_frame(link: socket.socket) -> tuple[bytes, int, int, int] | None:
    """Frame with its VLAN tag back in place, stamp (ns), packet type, VLAN id or 0; None when nothing came."""
    try:
        data, extra, _, address = link.recvmsg(65536, 256)
    except TimeoutError:
        return None
    stamp = vlan = 0
    for level, kind, value in extra:
        if level == SOL_PACKET and kind == PACKET_AUXDATA:
            status, _, _, _, _, tci, tpid = struct.unpack_from("IIIHHHH", value)
            if status & TP_STATUS_CSUMNOTREADY and address[2] == PACKET_OUTGOING:
                raise SystemExit("a frame without checksum was seen: offloads are not off")
            if status & TP_STATUS_VLAN_VALID:
                vlan = tci & 0xFFF
                data = data[:12] + struct.pack(">HH", tpid or 0x8100, tci) + data[12:]
        elif level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack_from("qq", value)
            stamp = seconds * 1_000_000_000 + nanoseconds
    return data, stamp, address[2], vlan


class Background:
    """Threads that run until the end, with the first error kept."""

    def __init__(self) -> None:
        self.stop = False
        self.error: BaseException | None = None
        self._threads: list[threading.Thread] = []

    def start(self, work: Callable[..., object], *args: object) -> threading.Thread:
        def run() -> None:
            try:
                work(*args)
            except BaseException as error:
                self.error = self.error or error

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()
        return self._threads[-1]

    def end(self) -> None:
        self.stop = True
        for thread in self._threads:
            thread.join(10)
        if self.error:
            raise self.error


class Recorder:
    """What passes lan0, in order; the first frame of each scene carries the scene's name."""

    def __init__(self, space: Namespace) -> None:
        self._socket = packet_socket(space, "lan0")
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.frames: list[tuple[int, bytes, str | None]] = []
        self.label: str | None = None
        self.last = time.monotonic()

    def run(self, background: Background) -> None:
        while not background.stop:
            got = receive_frame(self._socket)
            if got:
                label, self.label = self.label, None
                self.frames.append((got[1], got[0], label))
                self.last = time.monotonic()
        _, lost = struct.unpack("II", self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        if lost:
            raise SystemExit(f"{lost} frames were missed while recording; run it again")

    def settle(self) -> None:
        """Wait until nothing has passed for a while."""
        self.last = time.monotonic()
        while time.monotonic() - self.last < 0.15:
            time.sleep(0.02)


def trunk(background: Background, inner: socket.socket, outer: socket.socket, inward: bool) -> None:
    """One direction of a VLAN device: tag what comes from trunk5, or untag what comes tagged from lan0."""
    while not background.stop:
        got = receive_frame(outer if inward else inner)
        if got is None or got[2] == PACKET_OUTGOING:
            continue
        data, _, _, vlan = got
        if inward and vlan == VLAN:
            inner.send(data[:12] + data[16:])
        elif not inward:
            outer.send(data[:12] + TAG + data[12:])


def lose_some(receiver: socket.socket) -> None:
    """Let the socket miss one segment in twelve: a classic BPF program on the kernel's random number."""
    load_random, drop_from = (0x20, 0, 0, 0xFFFFF000 + 56), 0xFFFFFFFF // 12 * 11
    program = (load_random, (0x35, 0, 1, drop_from), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    receiver.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(program), ctypes.addressof(code)))


class Scenes:
    """The conversations. Each is whole when it returns: what was sent has been checked at the other end."""

    def __init__(self, near: Namespace, far: Namespace, background: Background) -> None:
        self.near, self.far, self.background = near, far, background

    def listen(self, address: str, kind: int, port: int, space: Namespace | None = None) -> socket.socket:
        """A bound socket at the far end; waits for duplicate address detection to let it have the address."""
        made = (space or self.far).socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
        deadline = time.monotonic() + 10
        while True:
            try:
                made.bind((address, port))
                return made
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def tcp(self, address: str, port: int, amount: int, *, lossy: bool = False) -> None:
        """`amount` bytes to the far end, its digest back."""
        server = self.listen(address, socket.SOCK_STREAM, port)
        server.listen()

        def serve() -> None:
            peer, _ = server.accept()
            with peer, server:
                peer.settimeout(10)
                if lossy:
                    lose_some(peer)
                digest = hashlib.sha256()
                while data := peer.recv(65536):
                    digest.update(data)
                peer.sendall(digest.digest())

        thread = self.background.start(serve)
        payload = _random.randbytes(amount)
        with self.near.socket(server.family, socket.SOCK_STREAM) as client:
            client.connect((address, port))
            client.sendall(payload)
            client.shutdown(socket.SHUT_WR)
            answer = b""
            while data := client.recv(64):
                answer += data
        thread.join(10)
        if answer != hashlib.sha256(payload).digest():
            raise SystemExit(f"TCP to {address} did not arrive whole")

    def udp(self, address: str, sizes: tuple[int, ...], extra: list[tuple[int, int, bytes]] | None = None) -> None:
        """Datagrams of these sizes to the far end and back."""
        server = self.listen(address, socket.SOCK_DGRAM, 7)
        with server, self.near.socket(server.family, socket.SOCK_DGRAM) as client:
            if server.family == socket.AF_INET:
                for side in (client, server):
                    side.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
            for size in sizes:
                payload = _random.randbytes(size)
                client.sendmsg([payload], extra or [], 0, (address, 7))
                echoed, sender = server.recvfrom(65536)
                server.sendto(echoed, sender)
                if client.recv(65536) != payload:
                    raise SystemExit(f"UDP to {address} did not come back whole")

    def refused(self, address: str) -> None:
        """A datagram to a closed port: an ICMP error comes back."""
        with self.near.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect((address, 9))
            client.send(b"anybody there?")
            with contextlib.suppress(ConnectionRefusedError):
                client.recv(64)

    def ping(self, address: str, sizes: tuple[int, ...]) -> None:
        """Echo requests; the far kernel answers."""
        six = ":" in address
        family, protocol = (socket.AF_INET6, socket.IPPROTO_ICMPV6) if six else (socket.AF_INET, socket.IPPROTO_ICMP)
        with self.near.socket(family, socket.SOCK_RAW, protocol) as client:
            for number, size in enumerate(sizes, 1):
                payload = bytes(i & 0xFF for i in range(size))
                request = struct.pack(">BBHHH", 128 if six else 8, 0, 0, 0x5353, number) + payload
                if not six:  # for ICMPv6 the kernel fills in the checksum
                    request = request[:2] + struct.pack(">H", checksum(request)) + request[4:]
                client.sendto(request, (address, 0))
                wanted = (129 if six else 0, number)
                while True:
                    answer = client.recv(65536)
                    answer = answer if six else answer[(answer[0] & 15) * 4 :]
                    if (answer[0], struct.unpack_from(">H", answer, 6)[0]) == wanted and answer[8:] == payload:
                        break

    def many(self) -> None:
        """A broadcast, and a multicast to a group the far end has joined."""
        with self.listen("0.0.0.0", socket.SOCK_DGRAM, 50005) as server:
            member = socket.inet_aton(GROUP) + socket.inet_aton(FAR[0])
            server.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
            with self.near.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                for address in (BROADCAST, GROUP):
                    client.sendto(b"to whom it may concern", (address, 50005))
                    server.recv(64)


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f">{len(data) // 2}H", data)) if len(data) % 2 == 0 else checksum(data + b"\0") ^ 0xFFFF
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def record() -> list[tuple[int, bytes, str | None]]:
    near, far = Namespace(), Namespace()
    build(near, far)
    background, recorder = Background(), Recorder(near)
    background.start(recorder.run, background)
    for space in (near, far):
        inner, outer = packet_socket(space, "trunk5"), packet_socket(space, "lan0")
        for inward in (True, False):
            background.start(trunk, background, inner, outer, inward)
    scenes = Scenes(near, far, background)
    for address, space in ((NEAR[1], near), (FAR[1], far), (TAGGED_NEAR[1], near), (TAGGED_FAR[1], far)):
        scenes.listen(address, socket.SOCK_DGRAM, 7, space).close()
    hop = (socket.IPPROTO_IPV6, IPV6_HOPOPTS, bytes.fromhex("0000 0502 0000 0100"))  # router alert, padding
    options = (socket.IPPROTO_IPV6, IPV6_DSTOPTS, bytes.fromhex("0001 1e0c") + bytes(12))  # RFC 4727 experiment

    def jumbo() -> None:
        set_mtu(near, 9000)
        set_mtu(far, 9000)
        scenes.tcp(FAR[0], 50004, 90_000)
        scenes.udp(FAR[1], (8900,))
        scenes.ping(FAR[0], (8972,))

    ping, udp, tcp, refused = scenes.ping, scenes.udp, scenes.tcp, scenes.refused
    play: list[tuple[str, list[Callable[[], None]]]] = [
        ("ARP and ICMP echo", [lambda: ping(FAR[0], (56, 56, 1472))]),
        ("neighbour discovery and ICMPv6 echo", [lambda: ping(FAR[1], (56, 56, 1452))]),
        ("UDP", [lambda: udp(FAR[0], (0, 1, 18, 19, 512, 1471, 1472))]),
        ("UDP over IPv6", [lambda: udp(FAR[1], (0, 1, 512, 1452))]),
        ("port unreachable", [lambda: refused(FAR[0]), lambda: refused(FAR[1])]),
        ("broadcast and multicast", [scenes.many]),
        ("IPv4 fragments", [lambda: udp(FAR[0], (1473, 4000, 9000)), lambda: ping(FAR[0], (3000,))]),
        ("IPv6 fragments", [lambda: udp(FAR[1], (1453, 4000, 9000))]),
        ("IPv6 hop-by-hop options", [lambda: udp(FAR[1], (64, 1200), [hop])]),
        ("IPv6 destination options", [lambda: udp(FAR[1], (64, 4000), [options])]),
        ("IPv6 both options", [lambda: udp(FAR[1], (64,), [hop, options])]),
        ("TCP", [lambda: tcp(FAR[0], 50001, 60_000)]),
        ("TCP over IPv6", [lambda: tcp(FAR[1], 50001, 60_000)]),
        ("TCP with loss", [lambda: tcp(FAR[0], 50002, 150_000, lossy=True)]),
        ("TCP over IPv6 with loss", [lambda: tcp(FAR[1], 50002, 80_000, lossy=True)]),
        ("VLAN: UDP", [lambda: udp(TAGGED_FAR[0], (1, 1472, 4000))]),
        ("VLAN: TCP", [lambda: tcp(TAGGED_FAR[0], 50003, 20_000)]),
        ("VLAN: IPv6", [lambda: ping(TAGGED_FAR[1], (56,)), lambda: tcp(TAGGED_FAR[1], 50003, 20_000)]),
        ("jumbo frames", [jumbo]),
    ]
    for label, conversations in play:
        recorder.settle()
        recorder.label = label
        for converse in conversations:
            converse()
        print(f"  {label}", file=sys.stderr)
    recorder.settle()
    background.end()
    return recorder.frames


def summary(path: Path) -> tuple[Counter[str], int]:
    """Frames of each kind in a capture, and its length in bytes."""
    from scapy.layers.inet import IP, TCP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import Dot1Q, Ether

    kinds: Counter[str] = Counter()
    seen: set[tuple[object, ...]] = set()
    with path.open("rb") as file:
        for batch in CaptureReader(file, name=str(path)).batches():
            for _, data, wire, _, _ in batch:
                packet = Ether(data)
                kinds["frames"] += 1
                kinds["jumbo"] += wire > 1518
                kinds["VLAN tag"] += Dot1Q in packet
                layers = [layer.__name__ for layer in packet.layers()[1:]]
                kinds.update({name for name in layers if name not in ("Dot1Q", "Raw", "Padding")})
                kinds["IPv4 fragment"] += IP in packet and (packet[IP].frag > 0 or packet[IP].flags.MF)
                if TCP in packet and len(packet[TCP].payload):
                    ip = packet[IP] if IP in packet else packet[IPv6]
                    key = (ip.src, ip.dst, packet[TCP].sport, packet[TCP].dport, packet[TCP].seq)
                    kinds["TCP retransmission"] += key in seen
                    seen.add(key)
    return kinds, path.stat().st_size


def main() -> int:
    parser = argparse.ArgumentParser(description="Record the real capture the tests and the demo use.")
    parser.add_argument("out", nargs="?", type=Path, default=OUT, help=f"file to write (default {OUT.name})")
    out: Path = parser.parse_args().out
    try:
        if os.geteuid() != 0:
            enter_user_namespace()
        frames = record()
    except PermissionError as error:
        print(f"make_capture: {error}; run it as root, or allow user namespaces", file=sys.stderr)
        return 2
    try:
        file = out.open("wb")
    except OSError as error:
        print(f"make_capture: {error}; give a file that can be written", file=sys.stderr)
        return 2
    with file:
        writer = PcapngWriter(file, comment="two Linux network stacks over a veth pair; made by tools/make_capture.py")
        interface = writer.add_interface("lan0", description="near end of the pair, offloads off, MTU 1500 then 9000")
        for stamp, data, label in frames:
            writer.write(interface, stamp, data, comment=label)
    kinds, size = summary(out)
    for kind, count in sorted(kinds.items()):
        print(f"{count:6}  {kind}")
    print(f"{out}: {size} bytes")
    wanted = ("TCP retransmission", "VLAN tag", "jumbo", "IPv4 fragment", "IPv6ExtHdrFragment", "ARP")
    missing = [kind for kind in wanted if not kinds[kind]]
    if missing or size > MOST:
        print(f"make_capture: missing {missing}, {size} bytes of at most {MOST}; run it again", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
