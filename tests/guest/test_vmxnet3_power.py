"""Suspend to RAM and wake-on-LAN, link flaps and speed changes from outside while traffic runs."""

import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from guest.frames import DgramPeer, digest, mac, make_frames
from guest.kit import Kit
from scapy.layers.l2 import ARP, Ether

from pvdev.control import ControlSocket, ask
from tests.guest.qmp import Monitor
from tests.guest.served import GUEST_MAC, HOST_MAC, Host
from vmxnet3.controls import controls
from vmxnet3.ports.port import Port

pytestmark = [pytest.mark.guest, pytest.mark.slow]

ADDRESS, COUNT, SEED, SIZES = "192.0.2.1", 500, 1, (60, 1514)
PATIENCE_S = 20.0
WAKING = {  # the letter of `ethtool -s IFACE wol`: what wakes, and the reason the device gives
    "g": (b"\xff" * 6 + mac(HOST_MAC) + b"\x08\x42" + b"\xff" * 6 + mac(GUEST_MAC) * 16, "magic"),
    "a": (bytes(Ether(src=HOST_MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(pdst=ADDRESS, psrc="192.0.2.9")), "filter 0"),
    "u": (mac(GUEST_MAC) + mac(HOST_MAC) + b"\x08\x00" + bytes(46), "filter 0"),
}
IDLE = b"\xff" * 6 + mac(HOST_MAC) + b"\x08\x06" + bytes(46)  # wakes nobody


@pytest.mark.parametrize("version", [1, 9])
def test_sleeping_guest_is_woken_by_its_frames(guest_kit: Kit, host: Host, tmp_path: Path, version: int) -> None:
    """Magic packet, ARP, unicast: each wakes, another frame does not, and the driver goes on with its version."""
    nic = host.add(f"dgram:{tmp_path / 'nic'},peer={tmp_path / 'host'}", version=version)
    wakes: list[str] = []
    woken, armed = threading.Event(), []

    def hear(point: str, **facts: object) -> None:
        if point == "vmxnet3.wake":
            wakes.append(str(facts["reason"]))
            woken.set()

    nic.trace = hear
    received: list[bytes] = []
    inward = list(make_frames(COUNT, SIZES, SEED + 1, mac(GUEST_MAC), mac(HOST_MAC)))
    with DgramPeer(tmp_path / "host", tmp_path / "nic") as peer, ExitStack() as owns:
        monitors: list[Monitor] = []

        def serve(event: str) -> None:
            what, _, way = event.partition("-")
            if what == "sleep":
                if not monitors:
                    monitors.append(Monitor(tmp_path / "qmp", PATIENCE_S))
                    owns.callback(monitors[0].close)
                monitors[0].await_event("SUSPEND")
                armed.append(nic.wake_config)
                woken.clear()
                peer.send([IDLE, WAKING[way][0]])
                assert woken.wait(PATIENCE_S)
                monitors[0].do("system_wakeup")
            elif what == "awake":
                received.extend(peer.collect(COUNT, PATIENCE_S))
            else:
                peer.send(inward)

        host.boot(
            guest_kit,
            "nic_sleep",
            params={"ways": "".join(WAKING), "address": ADDRESS, "count": COUNT, "seed": SEED},
            sleeps=True,
            extra=Monitor.words(tmp_path / "qmp"),
            deadline_s=60.0,
            on_event=serve,
        ).check()

    assert wakes == [reason for _, reason in WAKING.values()]
    assert [(config.magic, len(config.patterns)) for config in armed if config] == [(True, 0), (False, 1), (False, 1)]
    sent = list(make_frames(COUNT, SIZES, SEED, b"\xff" * 6, mac(GUEST_MAC)))
    assert digest(received) == digest(sent * len(WAKING))
    assert host.broken_rules() == []


def test_link_changes_from_outside_while_traffic_runs(guest_kit: Kit, host: Host, tmp_path: Path) -> None:
    """The cable out and in three times, and another speed, by way of the control socket; the streams stay whole."""
    host.wire(9, 9)
    near, socket = host.nics[0], tmp_path / "control"
    assert isinstance(near.backend, Port)

    def change(event: str) -> None:
        words: dict[str, object] = (
            {"args": ["up"], "options": {"speed": 25_000}} if event == "speed" else {"args": [event]}
        )
        assert ask(str(socket), {"do": "link", **words})["up"] == (event != "down")

    with ControlSocket(host.server, socket, {"near": controls(near, near.backend)}):
        report = host.boot(guest_kit, "nic_link", params={"speed": 25_000}, deadline_s=90.0, on_event=change).check()

    assert int(report.facts["streams"]) > 0
    assert (report.dmesg, host.broken_rules()) == ([], [])
