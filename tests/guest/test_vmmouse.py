"""Linux 6.12's own vmmouse driver in a guest, our VMMouse behind the port: one boot.

QEMU's PS/2 mouse rings the bell; the packets are ours, carried by the plugin.
"""

import time
from contextlib import closing
from dataclasses import dataclass, field

import pytest
from guest.kit import Kit
from guest.ktap import GuestReport
from guest.vm import Vm

from pvdev.qemu import Qemu
from pvdev.transport.vfio_user import Server
from svga.vmmouse import COMMANDS, Restrict, VmMouse
from tests.guest.qmp import Monitor
from vmtools.frame import Frame
from vmtools.host import Host
from vmtools.ways.plugin.guest import GuestLink
from vmtools.ways.plugin.ram import Ram

pytestmark = [pytest.mark.guest, pytest.mark.slow]

SIZE = 512 << 20
KEY, REL, ABS = 1, 2, 3
LEFT, RIGHT, MIDDLE = 272, 273, 274
X, Y, WHEEL = 0, 1, 8
SEEN = {
    "abs": [
        f"{ABS}:{X}:4660 {ABS}:{Y}:65244",
        f"{ABS}:{X}:65535 {ABS}:{Y}:0 {KEY}:{LEFT}:1",
        f"{KEY}:{LEFT}:0 {KEY}:{RIGHT}:1 {KEY}:{MIDDLE}:1",
        f"{ABS}:{X}:32768 {ABS}:{Y}:1 {KEY}:{RIGHT}:0 {KEY}:{MIDDLE}:0",
    ],
    "rel": [
        f"{REL}:{X}:3 {REL}:{Y}:-4",
        f"{REL}:{WHEEL}:2",
        f"{REL}:{WHEEL}:-1",
        f"{REL}:{X}:-300 {REL}:{Y}:200 {KEY}:{LEFT}:1",
    ],
}


@dataclass
class Seen:
    """A boot, and what the mouse was during it."""

    report: GuestReport
    mouse: VmMouse
    during: dict[str, tuple[bool, bool, Restrict]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def seen(guest_kit: Kit, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    ram, server, folder, mouse = Ram(SIZE), Server(), tmp_path_factory.mktemp("vmmouse"), VmMouse()
    host = Host(mem=ram.memory)
    link = GuestLink(Qemu(guest_kit.qemu, guest_kit.qemu_version), server, folder, host, ram, time.monotonic_ns)
    during: dict[str, tuple[bool, bool, Restrict]] = {}

    def call(frame: Frame, now_ns: int) -> None:
        mouse.call(frame)

    host.backdoor.handlers.update(dict.fromkeys(COMMANDS, call))

    def event(name: str) -> None:
        with link.turn:
            during[name] = mouse.on, mouse.absolute, mouse.restrict
            if name == "abs":
                mouse.point(0x1234, 0xFEDC)
                mouse.point(0xFFFF, 0, 1)
                mouse.point(0xFFFF, 0, 6)
                mouse.point(0x8000, 1, 0)
            elif name == "rel":
                mouse.move(3, -4)
                mouse.wheel(2)
                mouse.wheel(-1)
                mouse.move(-300, 200, 1)
            bells = mouse.take_bells()
        with closing(Monitor(folder / "qmp", 30.0)) as monitor:
            for n in range(bells):
                step = {"type": "rel", "data": {"axis": "x", "value": 1 if n % 2 else -1}}
                monitor.do("input-send-event", events=[step])

    with server.background():
        vm = Vm(
            guest_kit,
            ["vmmouse"],
            params={name: len(packets) for name, packets in SEEN.items()},
            extra=[*link.args(), *Monitor.words(folder / "qmp")],
            accel="tcg",
            memory=f"{SIZE >> 20}M",
            memory_path=ram.path,
            on_event=event,
            deadline_s=120.0,
        )
        report = vm.run()
    link.close()
    return Seen(report, mouse, during)


def told(seen: Seen, name: str) -> list[str]:
    return [seen.report.facts.get(f"{name}.{n}", "nothing") for n in range(len(SEEN[name]))]


def test_the_guest_is_content(seen: Seen) -> None:
    seen.report.check()
    assert seen.report.dmesg == []


def test_SVG_V_067_places_are_exactly_there(seen: Seen) -> None:
    assert told(seen, "abs") == SEEN["abs"]
    assert seen.report.facts["range"] == "0:0:65535 1:0:65535"


def test_SVG_V_067_movements_and_the_wheel(seen: Seen) -> None:
    assert told(seen, "rel") == SEEN["rel"]


def test_SVG_V_067_linux_switches_it_on_and_off(seen: Seen) -> None:
    assert seen.during["abs"] == (True, True, Restrict.CPL0)
    assert not seen.during["off"][0]


def test_linux_breaks_no_rule(seen: Seen) -> None:
    assert seen.report.facts
    assert [str(violation) for violation in seen.mouse.rules] == []
