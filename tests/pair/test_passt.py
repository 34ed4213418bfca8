"""passt, the user-mode network of QEMU and podman, behind a `stream:` port: the program itself, where installed."""

import select
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from tests.netns import Namespace, lack, namespaces, raise_link, route, veth
from vmxnet3.ports.host import open_port
from vmxnet3.ports.port import Port
from vmxnet3.ports.tunnel import StreamPort

MAC = "02:00:00:00:00:0a"
UPLINK, GATEWAY = "198.51.100.1", "198.51.100.2"  # to its guest, passt itself is the gateway
OUTSIDE = "203.0.113.5"


@pytest.fixture
def outside() -> Iterator[Namespace]:
    """This thread on a machine with one uplink and a route through it, and the machine at its other end."""
    if shutil.which("passt") is None:
        lack("no program passt: apt install passt")
    with namespaces(2) as (_, far):
        veth("up0", "far0", far, address=f"{UPLINK}/24", peer_address=f"{GATEWAY}/24")
        raise_link("lo")
        route("default", GATEWAY)
        with far.inside():
            raise_link("far0", f"{OUTSIDE}/32")
        yield far


@pytest.fixture
def port(outside: Namespace) -> Iterator[Port]:
    """A port with passt behind it, as docs/PORTS.md has it."""
    with tempfile.TemporaryDirectory(prefix="pvdev-") as folder:
        Path(folder).chmod(0o777)  # started by root, passt becomes nobody before it makes its socket
        path = f"{folder}/passt"
        with subprocess.Popen(
            ["passt", "--foreground", "--ipv4-only", "--mtu", "1500", "--socket", path],
            stderr=subprocess.PIPE,
            text=True,
        ) as passt:
            try:
                assert passt.stderr is not None
                heard = ""
                while "start qemu" not in heard and (line := passt.stderr.readline()):
                    heard += line
                with open_port(f"stream:{path}") as made:
                    assert isinstance(made, StreamPort)
                    assert made.connected, heard
                    yield made
            finally:
                passt.kill()  # in a process namespace of its own it hears of no other signal


def ask(port: Port, question: Packet, layer: type[Packet]) -> Packet:
    """Send, and wait for a frame with that layer."""
    assert port.send([[bytes(question)]]) == 1
    while True:
        for data in port.receive(1, 0):
            if layer in Ether(data):
                return Ether(data)
        assert select.select([port.fileno()], [], [], 10)[0], f"no {layer.__name__} came"


def test_a_guest_gets_an_address_from_passt_and_reaches_the_world(port: Port, outside: Namespace) -> None:
    everybody = Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff")
    discover = IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67)
    discover /= BOOTP(chaddr=bytes.fromhex(MAC.replace(":", "")), xid=7)
    offer = ask(port, everybody / discover / DHCP(options=[("message-type", "discover"), "end"]), DHCP)
    given = offer[BOOTP].yiaddr
    assert (given, offer[BOOTP].xid) == (UPLINK, 7)

    gateway = ask(port, everybody / ARP(hwsrc=MAC, psrc=given, pdst=GATEWAY), ARP).src
    with outside.inside():
        service = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with service:
        service.bind((OUTSIDE, 7))
        service.settimeout(10)
        packet = Ether(src=MAC, dst=gateway) / IP(src=given, dst=OUTSIDE) / UDP(sport=9999, dport=7) / Raw(b"hello")
        assert port.send([[bytes(packet)]]) == 1
        data, sender = service.recvfrom(99)
        assert (data, sender[0]) == (b"hello", UPLINK)
        service.sendto(b"welcome", sender)
        answer = ask(port, everybody / ARP(hwsrc=MAC, psrc=given, pdst=GATEWAY), UDP)
        assert (bytes(answer[UDP].payload)[:7], answer[UDP].dport, answer[IP].src) == (b"welcome", 9999, OUTSIDE)
    assert port.dropped == 0
