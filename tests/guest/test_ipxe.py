"""A second driver nobody here wrote: iPXE, the boot ROM of QEMU's own vmxnet3, run by firmware on our device."""

import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from guest.kit import Kit
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether

from pvdev.qemu import device_arg, machine_args
from pvdev.transport.vfio_user import Server
from vmxnet3.backend import Frame, Queue
from vmxnet3.device import Vmxnet3
from vmxnet3.profiles import PROFILES

pytestmark = [pytest.mark.guest, pytest.mark.slow]

SERVER_MAC, SERVER_IP, OFFERED_IP = "02:00:00:00:00:fe", "192.0.2.1", "192.0.2.77"


class DhcpServer(Queue):
    """A network with one DHCP server on it; `asked` is set when the client, configured, looks for the boot server."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()

    def send(self, frames: Sequence[Frame]) -> int:
        taken = super().send(frames)
        for data in self.sent[-taken:]:
            packet = Ether(data)
            if DHCP in packet:
                self._answer(packet)
            elif ARP in packet and packet[ARP].pdst == SERVER_IP and packet[ARP].psrc == OFFERED_IP:
                self.asked.set()
        return taken

    def _answer(self, packet: Ether) -> None:
        asked = next(option[1] for option in packet[DHCP].options if option[0] == "message-type")
        kind = {1: "offer", 3: "ack"}[asked]
        reply = (
            Ether(src=SERVER_MAC, dst=packet.src)
            / IP(src=SERVER_IP, dst="255.255.255.255")
            / UDP(sport=67, dport=68)
            / BOOTP(
                op=2, xid=packet[BOOTP].xid, yiaddr=OFFERED_IP, siaddr=SERVER_IP, chaddr=packet[BOOTP].chaddr, file=b"x"
            )
            / DHCP(
                options=[
                    ("message-type", kind),
                    ("server_id", SERVER_IP),
                    ("lease_time", 600),
                    ("subnet_mask", "255.255.255.0"),
                    "end",
                ]
            )
        )
        self.inbound.append(bytes(reply))


def boot_rom(kit: Kit) -> Path:
    """QEMU's boot ROM for vmxnet3, in one of the kit's firmware folders or where a system QEMU has it."""
    folders = [Path(word) for flag, word in zip(kit.qemu, kit.qemu[1:], strict=False) if flag == "-L"]
    folders += [Path("/usr/share/qemu"), Path("/usr/lib/ipxe/qemu")]
    found = [folder / "pxe-vmxnet3.rom" for folder in folders if (folder / "pxe-vmxnet3.rom").exists()]
    assert found, f"no pxe-vmxnet3.rom in {folders}"
    return found[0]


def test_ipxe_gets_an_address_and_asks_for_its_boot_server(guest_kit: Kit, tmp_path: Path) -> None:
    rom = boot_rom(guest_kit)
    network = DhcpServer()
    nic = Vmxnet3(network, profile=PROFILES["ipxe"])
    server = Server()
    server.add(nic, tmp_path / "nic")
    device = device_arg(tmp_path / "nic", {"romfile": str(rom), "bootindex": 0})

    with server.background():
        command = [*guest_kit.qemu, *machine_args("128M"), "-accel", "tcg", "-nodefaults", "-display", "none"]
        qemu = subprocess.Popen([*command, "-device", device], stdin=subprocess.DEVNULL)
        try:
            asked = network.asked.wait(60)
        finally:
            qemu.kill()
            qemu.wait()

    assert asked
    assert [str(violation) for violation in nic.rules if not violation.known] == []
