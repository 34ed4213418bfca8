"""Every example runs and says what it promises."""

import runpy
import select
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from tests.netns import Namespace, lack, namespaces, raise_link, veth
from vmxnet3.ports.tap import TapPort

EXAMPLES = Path(__file__).parents[2] / "examples"
MAC, GUEST, GATEWAY = "02:00:00:00:00:0a", "192.0.2.9", "192.0.2.1"
OUTSIDE, UPLINK = "198.51.100.2", "198.51.100.1"
FORWARD = Path("/proc/sys/net/ipv4/ip_forward")


def test_budget_shares_memory(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "budget.py"), run_name="__main__")

    out = capsys.readouterr().out
    kept = [int(line.split()[2]) for line in out.splitlines() if line.startswith("  ")]
    given = [int(line.split()[-1]) for line in out.splitlines() if line.startswith("  ")]
    assert sum(kept[:3]) <= 96
    assert kept[2] == 8 < kept[5]
    assert all(64 <= keeps + gives <= 66 for keeps, gives in zip(kept, given, strict=True))  # whole 2 MiB are given


def test_broken_driver_names_the_rule(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "broken_driver.py"), run_name="__main__")

    out = capsys.readouterr().out
    assert "2 frames on the wire, 1 completion" in out
    assert "VMX-D-038 [advice] tx queue 0 descriptor 1" in out


def test_usb_mouse_is_found_and_read(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "usb_mouse.py"), run_name="__main__")

    assert capsys.readouterr().out.splitlines() == [
        "0e0f:0003 VMware Virtual USB Mouse",
        "buttons 0x00, moved 0x03 0xfc, wheel 0",
        "buttons 0x01, moved 0x00 0x00, wheel 1",
    ]


# -- tap.sh ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def outside() -> Iterator[Namespace]:
    """This thread on a machine with one uplink (up0), and the machine at the other end of it."""
    for program in ("ip", "nft"):
        if shutil.which(program) is None:
            lack(f"no program {program}: apt install {'nftables' if program == 'nft' else 'iproute2'}")
    with namespaces(2) as (_, far):
        veth("up0", "far0", far)
        with far.inside():
            raise_link("far0", f"{OUTSIDE}/24")
        yield far


def tap_sh(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([EXAMPLES / "tap.sh", *words], capture_output=True, text=True, check=False)


def await_frame(port: TapPort, layer: type[Packet]) -> Packet:
    while True:
        assert select.select([port.fileno()], [], [], 10)[0], f"no {layer.__name__} came"
        for data in port.receive(1, 0):
            if layer in Ether(data):
                return Ether(data)


def there_is(kind: str) -> str:
    return subprocess.run(
        ["ip", "link", "show"] if kind == "links" else ["nft", "list", "ruleset"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_tap_sh_puts_guests_behind_nat_and_takes_it_back(outside: Namespace) -> None:
    raise_link("up0", f"{UPLINK}/24")
    FORWARD.write_text("0")
    assert tap_sh("nat", "up", "tap0", f"{GATEWAY}/24").stderr == ""
    with outside.inside():
        service = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        service.bind((OUTSIDE, 7))
        service.settimeout(10)

    with TapPort("tap0") as port, service:
        port.send([[bytes(Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=MAC, psrc=GUEST, pdst=GATEWAY))]])
        gateway = await_frame(port, ARP).src
        packet = Ether(src=MAC, dst=gateway) / IP(src=GUEST, dst=OUTSIDE) / UDP(sport=999, dport=7) / Raw(b"hello")
        port.send([[bytes(packet)]])
        data, sender = service.recvfrom(99)
        assert (data, sender[0]) == (b"hello", UPLINK)
        service.sendto(b"welcome", sender)
        answer = await_frame(port, UDP)

        assert (answer[IP].src, answer[IP].dst, answer[UDP].dport) == (OUTSIDE, GUEST, 999)
        assert bytes(answer[UDP].payload)[:7] == b"welcome"

    assert tap_sh("nat", "down", "tap0").stderr == ""
    assert ("tap0" in there_is("links"), there_is("rules"), FORWARD.read_text()) == (False, "", "0\n")


def test_tap_sh_puts_guests_on_a_bridge_and_takes_it_back(outside: Namespace) -> None:
    assert tap_sh("bridge", "up", "tap0", "br0", "up0").stderr == ""

    with TapPort("tap0") as port:
        port.send(
            [[bytes(Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=MAC, psrc="198.51.100.9", pdst=OUTSIDE))]]
        )
        assert await_frame(port, ARP).psrc == OUTSIDE

    assert tap_sh("bridge", "down", "tap0", "br0", "up0").stderr == ""
    links = there_is("links")
    assert ("tap0" in links, "br0" in links, "master" in links) == (False, False, False)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((), 2, "sudo examples/tap.sh nat up tap0"),
        (("nat", "up", "tap0"), 2, "sudo examples/tap.sh nat up tap0"),
        (("nat", "up", "tap0", "192.0.2.1"), 1, "192.0.2.1: give it with its prefix, like 192.0.2.1/24"),
        (("nat", "up", "tap0", "192.0.2.1/99"), 1, "192.0.2.1/99"),
        (("bridge", "up", "tap0", "br0", "up0"), 1, "up0 has an address: on a bridge it would be lost; move it first"),
    ],
)
def test_tap_sh_leaves_nothing_when_it_fails(outside: Namespace, words: tuple[str, ...], code: int, says: str) -> None:
    raise_link("up0", f"{UPLINK}/24")

    done = tap_sh(*words)

    assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    assert ("tap0" in there_is("links"), there_is("rules")) == (False, "")
