"""The host's own TCP in the network namespace of the calling thread: the far end of a guest behind a TAP interface."""

import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType

import pytest
from guest.programs import compile_program
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet

TIMEOUT_S = 90.0
VXLAN_PORT = 4789
IFA_F_NODAD = 2  # Linux include/uapi/linux/if_addr.h: no search for duplicates first


class Streams:
    """`stream` (programs/stream.c) on this machine: servers for one connection each, and senders."""

    def __init__(self, size: int) -> None:
        self._program, self._size, self._owns = str(compile_program("stream")), str(size), ExitStack()
        self._servers: list[subprocess.Popen[str]] = []
        self.failures: list[str] = []

    def serve(self, port: int) -> None:
        self._servers.append(self._start("serve", str(port)))

    def send(self, address: str, port: int) -> None:
        self._end(self._start("send", address, str(port)))

    def on_event(self, event: str) -> None:
        """Do what the guest asks with stream-PORT-ADDRESS (rootfs/streams.sh)."""
        _, port, address = event.split("-")
        self.send(address, int(port))

    def finish(self) -> list[str]:
        """Wait for all servers; what went wrong with any stream, empty when none did."""
        for server in self._servers:
            self._end(server)
        return self.failures

    def _start(self, *words: str) -> "subprocess.Popen[str]":
        seed = words[-1]
        command = [self._program, *words, self._size, seed, str(int(TIMEOUT_S))]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._owns.callback(process.kill)
        return process

    def _end(self, process: "subprocess.Popen[str]") -> None:
        said, _ = process.communicate(timeout=TIMEOUT_S + 5)
        if process.returncode:
            self.failures.append(f"{process.args!r}: {process.returncode}: {said}")

    def __enter__(self) -> "Streams":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._owns.close()


def wrong_checksums(frames: Sequence[bytes]) -> list[str]:
    """The frames scapy would have given another checksum, in any of their IP, TCP or UDP headers."""
    return [packet.summary() for frame in frames if rebuilt(packet := Ether(frame)) != bytes(packet)]


def rebuilt(packet: Packet) -> bytes:
    """The packet with every checksum computed anew; a UDP checksum of 0 stays, it says there is none.

    What an ICMP message quotes is cut off somewhere and stays as it is.
    """
    copy = packet.copy()
    layer: Packet | None = copy
    while layer and not isinstance(layer, ICMP):
        if isinstance(layer, IP | TCP) or (isinstance(layer, UDP) and layer.chksum):
            del layer.chksum
        layer = layer.payload
    return bytes(copy)


def add_address(interface: str, address: str, prefix: int) -> None:
    """An address of either family for an interface of this thread's namespace, usable at once."""
    with IPRoute() as links:
        index = links.link_lookup(ifname=interface)[0]
        links.addr("add", index=index, address=address, prefixlen=prefix, flags=IFA_F_NODAD)


def add_vxlan(interface: str, vni: int, remote: str, mtu: int) -> None:
    """A VXLAN tunnel to one other end, up. Skips the test where the kernel knows none."""
    with IPRoute() as links:
        try:
            links.link("add", ifname=interface, kind="vxlan", vxlan_id=vni, vxlan_group=remote, vxlan_port=VXLAN_PORT)
        except NetlinkError as error:
            pytest.skip(f"this machine's kernel has no VXLAN: {error}")
        links.link("set", index=links.link_lookup(ifname=interface)[0], mtu=mtu, state="up")
