"""Against the kernel's own TAP driver, in a network namespace of the test's own: the machine's network is untouched."""

import errno
import fcntl
import os
import select
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from pvdev.errors import ConfigError
from tests.netns import lack, namespaces
from vmxnet3.offloads.plain import receive_facts
from vmxnet3.ports import tap
from vmxnet3.ports.host import open_port
from vmxnet3.ports.tap import TapPort
from vmxnet3.wire import RCD_TUC

MAC, HERE, GUEST = "00:00:5e:00:53:99", "192.0.2.1", "192.0.2.9"


@pytest.fixture
def namespace() -> Iterator[None]:
    """This thread in an empty network namespace; skipped where that or TAP is not to be had."""
    if not os.access(tap.CLONE_DEVICE, os.R_OK | os.W_OK):
        lack(f"no {tap.CLONE_DEVICE}, or no permission for it")
    with namespaces(1):
        yield


def await_frame(port: TapPort, layer: type[Packet]) -> Packet:
    """The next frame with that layer; the kernel sends frames of its own between."""
    while True:
        assert select.select([port.fileno()], [], [], 10)[0], f"no {layer.__name__} came"
        for frame in port.receive(1, 0):
            if layer in Ether(frame):
                return Ether(frame)


def arp_request(target: str) -> bytes:
    return bytes(Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=MAC, psrc=GUEST, pdst=target))


def test_frames_pass_both_ways_and_are_counted(namespace: None) -> None:
    with TapPort("pvt0", address=f"{HERE}/24") as port, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as program:
        request = arp_request(HERE)
        assert port.send([[request[:14], memoryview(request)[14:]]]) == 1
        answer = await_frame(port, ARP)
        assert (answer[ARP].psrc, answer[Ether].dst) == (HERE, MAC)
        assert (port.frames_out, port.bytes_out, port.dropped) == (1, len(request), 0)

        program.bind((HERE, 7))
        program.settimeout(10)
        datagram = Ether(src=MAC, dst=answer.src) / IP(src=GUEST, dst=HERE) / UDP(sport=9, dport=7) / Raw(b"hi")
        assert port.send([[bytes(datagram)]]) == 1
        assert program.recvfrom(99) == (b"hi", (GUEST, 9))
        program.sendto(b"back", (GUEST, 9))
        assert bytes(await_frame(port, UDP)[UDP].payload).startswith(b"back")
        assert port.frames_in >= 2


def test_options_set_the_interface_up(namespace: None) -> None:
    from pyroute2 import IPRoute

    with IPRoute() as links:
        links.link("add", ifname="pvbr", kind="bridge")
        with open_port("tap:pvt0,mtu=9000,bridge=pvbr,address=2001:db8::1/64") as port:
            link = links.get_links(links.link_lookup(ifname=port.name)[0])[0]
            addresses = [each.get("address") for each in links.get_addr(index=link["index"])]
            assert (link.get("mtu"), link.get("master")) == (9000, links.link_lookup(ifname="pvbr")[0])
            assert link["flags"] & 1  # IFF_UP
            assert "2001:db8::1" in addresses
        assert links.link_lookup(ifname="pvt0") == []


def test_down_interface_drops_and_short_frames_too(namespace: None) -> None:
    with open_port("tap:pvt0,up=no") as port:
        assert port.send([[arp_request(HERE)]] * 3) == 3
        assert (port.dropped, port.frames_out) == (3, 0)
    with open_port("tap:pvt0") as port:
        assert port.send([[b"short"], [b""], [arp_request(HERE)]]) == 3
        assert (port.dropped, port.frames_out) == (2, 1)


def test_link_up_throws_away_what_came_while_down(namespace: None) -> None:
    with TapPort("pvt0", address=f"{HERE}/24") as port, socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as kernel:
        kernel.bind(("pvt0", 0))
        port.link(up=False)
        for _ in range(5):
            kernel.send(arp_request("192.0.2.77"))

        port.link(up=True)

        assert port.stale >= 5
        kernel.send(arp_request("192.0.2.88"))
        assert await_frame(port, ARP)[ARP].pdst == "192.0.2.88"


def test_an_interface_deleted_under_us_is_a_fault(namespace: None) -> None:
    from pyroute2 import IPRoute

    with TapPort("pvt0") as port, IPRoute() as links:
        links.link("del", index=links.link_lookup(ifname="pvt0")[0])

        assert port.receive(99, 0) == []
        assert "the interface was deleted" in str(port.fault)
        assert port.fileno() == -1
        assert (port.send([[arp_request(HERE)]]), port.receive(9, 0)) == (1, [])


def test_an_interface_that_is_up_needs_no_right_to_set_it_up(namespace: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyroute2
    from pyroute2 import IPRoute

    persist = 0x400454CB  # TUNSETPERSIST
    with TapPort("pvt0") as port:
        fcntl.ioctl(port.fileno(), persist, 1)

    class Looking(IPRoute):  # type: ignore[misc]
        def link(self, *arguments: object, **more: object) -> None:
            raise AssertionError("set although it was so")

    with IPRoute() as links:
        links.link("set", index=links.link_lookup(ifname="pvt0")[0], state="up")
    monkeypatch.setattr(pyroute2, "IPRoute", Looking)
    with TapPort("pvt0") as port:
        assert port.send([[arp_request(HERE)]]) == 1
        assert (port.frames_out, port.dropped) == (1, 0)


def test_kernel_finishes_what_local_senders_leave_undone(namespace: None) -> None:
    """Checksums are made and packets cut before we read: none is asked to come as it is."""
    with TapPort("pvt0", address=f"{HERE}/24") as port, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as program:
        port.send([[arp_request(HERE)]])
        program.setsockopt(17, 103, 1000)  # UDP_SEGMENT: one send, many datagrams
        program.sendto(bytes(range(250)) * 10, (GUEST, 9))

        found = [await_frame(port, UDP) for _ in range(3)]

        assert [frame[UDP].len for frame in found] == [1008, 1008, 508]
        assert all(receive_facts(bytes(frame))[1] & RCD_TUC for frame in found)


def test_kernel_chooses_the_name(namespace: None) -> None:
    with TapPort("") as first, TapPort("pv%d") as second:
        assert (first.name, second.name) == ("tap0", "pv0")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tap:lo", "tap lo: an interface of that name exists and is no single-queue TAP; take another name"),
        ("tap:pvt0", "tap pvt0: in use by another program; end that, or take another name"),
        ("tap:pvt1,bridge=none", "tap pvt1: no bridge none; make it: ip link add none type bridge"),
        ("tap:pvt1,address=192.0.2.1", "tap pvt1: address=192.0.2.1: give it with its prefix, like 192.0.2.1/24"),
        ("tap:pvt1,address=192.0.2.1/33", "tap pvt1: address=192.0.2.1/33: the kernel refused it (Invalid argument)"),
        ("tap:pvt1,address=home/24", "tap pvt1: address=home/24: not understood"),
        ("tap:pvt1,bridge=lo", "tap pvt1: bridge=lo: the kernel refused it (Operation not supported)"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(namespace: None, text: str, says: str) -> None:
    with TapPort("pvt0"), pytest.raises(ConfigError) as caught:
        open_port(text)

    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)
    TapPort("pvt1").close()  # nothing was left behind


@pytest.mark.parametrize("name", ["a b", "a/b", ".", "..", "x" * 16, "é" * 8])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(ConfigError, match=r"at most 15 bytes|not an interface name"):
        TapPort(name)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOENT, "tap t: no /dev/net/tun; load the tun module (modprobe tun) or give the container that device"),
        (errno.EPERM, "tap t: no permission; run as root, or once as root: ip tuntap add t mode tap user $USER"),
    ],
)
def test_no_driver_and_no_permission(monkeypatch: pytest.MonkeyPatch, number: int, says: str) -> None:
    def refuse(*arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)

    with pytest.raises(ConfigError) as caught:
        TapPort("t")
    assert str(caught.value) == says


def test_no_clone_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tap, "CLONE_DEVICE", str(tmp_path / "tun"))

    with pytest.raises(ConfigError, match=r"tun; load the tun module"):
        TapPort("t")


def test_the_request_is_the_kernels_structure() -> None:
    # Ref: Linux include/uapi/linux/if.h, struct ifreq: 16 bytes of name, a union of 24 bytes
    assert struct.calcsize("16sH22x") == 40
