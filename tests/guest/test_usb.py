"""An unmodified Linux 6.12 attaches our USB devices over the network, and its input layer tells what hands did."""

from queue import Queue

import pytest
from guest.kit import Kit
from guest.ktap import GuestReport
from guest.vm import Vm

from svga.usb.bus import Bus
from svga.usb.models import model
from svga.usb.usbip import UsbipServer

pytestmark = [pytest.mark.guest, pytest.mark.slow]

KEY, REL, ABS = 1, 2, 3
LEFT, RIGHT, MIDDLE, SIDE, TASK = 272, 273, 274, 275, 279
X, Y, WHEEL, WHEEL_HI_RES = 0, 1, 8, 11
CAPS_LOCK = 0x3A  # as a scan code


SEEN = {  # what came up to one SYN_REPORT each: type, code, value
    "mouse": [
        f"{REL}:{X}:3 {REL}:{Y}:-4",
        f"{KEY}:{LEFT}:1 {REL}:{X}:127 {REL}:{Y}:-127",
        f"{REL}:{X}:127 {REL}:{Y}:-73",
        f"{REL}:{X}:46",
        f"{KEY}:{LEFT}:0 {KEY}:{RIGHT}:1 {KEY}:{MIDDLE}:1 {KEY}:{TASK}:1",
        f"{KEY}:{RIGHT}:0 {KEY}:{MIDDLE}:0 {KEY}:{TASK}:0 {REL}:{WHEEL}:2 {REL}:{WHEEL_HI_RES}:240",
        f"{KEY}:{TASK}:1 {REL}:{WHEEL}:-1 {REL}:{WHEEL_HI_RES}:-120",
    ],
    "tablet": [
        f"{ABS}:{X}:4660 {ABS}:{Y}:32767",
        f"{KEY}:{LEFT}:1 {ABS}:{X}:32767 {ABS}:{Y}:1",
        f"{KEY}:{LEFT}:0 {REL}:{WHEEL}:-1 {REL}:{WHEEL_HI_RES}:-120",
        f"{KEY}:{MIDDLE}:1 {ABS}:{X}:0 {ABS}:{Y}:16384",
    ],
    "other": [f"{KEY}:{SIDE}:1 {REL}:{X}:5 {REL}:{Y}:-6 {REL}:{WHEEL}:1 {REL}:{WHEEL_HI_RES}:120"],
    "keys": [
        f"{KEY}:{code}:{down}" for code, down in ((42, 1), (30, 1), (30, 0), (42, 0), (103, 1), (103, 0), (58, 1))
    ],
    "again": [f"{REL}:{X}:-1 {REL}:{Y}:1"],
}


class Hands:
    """Moves the pointers when the guest says it looks."""

    def __init__(self, bus: Bus) -> None:
        self.bus, self.plugs = bus, bus.plugs
        self.server_said: Queue[str] = Queue()
        self.after_detach: list[bool] = []
        self.lit = False

    def event(self, name: str) -> None:
        """The guest looks at a pointer, or has let it go. All is done between two reads, so reports are the same ones
        each time."""
        mouse, tablet, other, keyboard = self.plugs
        if name == "gone":
            while "let 1-1 go" not in self.server_said.get(timeout=20):
                pass
            self.after_detach += [mouse.holder is None, mouse.move(1, 1)]
        with self.bus.lock:
            if name == "mouse":
                mouse.move(3, -4)
                mouse.move(300, -200, 1)
                mouse.move(0, 0, 0x86)
                mouse.move(0, 0, 0)
                mouse.wheel(2)
                mouse.wheel(-1, buttons=0x80)
            elif name == "tablet":
                tablet.point(0x1234, 0x7FFF)
                tablet.point(0x7FFF, 1, 1)
                tablet.point(0x7FFF, 1, 0)
                tablet.wheel(-1)
                tablet.point(0, 0x4000, 4)
            elif name == "other":
                other.move(5, -6, 8)
                other.wheel(1)
            elif name == "keys":
                for code, down in ((0x2A, 1), (0x1E, 1), (0x1E, 0), (0x2A, 0), (0xC8, 1), (0xC8, 0), (CAPS_LOCK, 1)):
                    keyboard.key(code, bool(down))
                self.lit = self.bus.lock.wait_for(lambda: keyboard.model.lights == 2, 30)
            elif name == "pull":
                self.bus.unplug(tablet)
            elif name == "again":
                mouse.move(-1, 1)


@pytest.fixture(scope="module")
def bus() -> Bus:
    """One of each kind."""
    bus = Bus()
    for name in ("mouse", "tablet", "qemu-mouse", "keyboard"):
        bus.plug(model(name))
    return bus


@pytest.fixture(scope="module")
def hands(bus: Bus) -> Hands:
    return Hands(bus)


@pytest.fixture(scope="module")
def report(guest_kit: Kit, bus: Bus, hands: Hands) -> GuestReport:
    """One guest, behind QEMU's user network, whose 10.0.2.2 is our loopback."""
    with UsbipServer(bus, ("127.0.0.1", 0), hands.server_said.put) as server:
        counts = {name: len(seen) for name, seen in SEEN.items()}

        def event(name: str) -> None:
            hands.event(name)
            if name == "gone":
                vm.send("free")

        vm = Vm(
            guest_kit,
            ["usb_pointers"],
            devices=["vmxnet3,netdev=host"],
            extra=["-netdev", "user,id=host"],
            params={"host": "10.0.2.2", "port": server.address[1], **counts},
            on_event=event,
            deadline_s=120.0,
        )
        return vm.run()


def test_the_guest_is_content(report: GuestReport) -> None:
    report.check()
    assert report.dmesg == []


def told(report: GuestReport, name: str) -> list[str]:
    return [report.facts.get(f"{name}.{n}", "nothing") for n in range(len(SEEN[name]))]


def test_a_mouse_moves_by_exactly_so_much(report: GuestReport) -> None:
    assert told(report, "mouse") == SEEN["mouse"]


def test_a_tablet_is_exactly_there(report: GuestReport) -> None:
    assert told(report, "tablet") == SEEN["tablet"]
    assert report.facts["range"] == "0:0:32767 1:0:32767"


def test_the_third_kind_too(report: GuestReport) -> None:
    assert told(report, "other") == SEEN["other"]


def test_a_keyboard_types_and_its_lights_are_lit(report: GuestReport, hands: Hands) -> None:
    """Linux's console lights caps lock when the key is pressed."""
    assert told(report, "keys") == SEEN["keys"]
    assert hands.lit


def test_detached_and_attached_again(report: GuestReport, hands: Hands) -> None:
    assert told(report, "again") == SEEN["again"]
    assert hands.after_detach == [True, False]


def test_SVG_V_069_linux_finds_what_it_finds_on_vmware(report: GuestReport) -> None:
    """Eight buttons from BTN_LEFT on; X, Y and a wheel, also in its fine steps."""
    assert report.facts["buttons"].split()[0] == "ff0000"
    assert int(report.facts["axes"], 16) == 1 << X | 1 << Y | 1 << WHEEL | 1 << WHEEL_HI_RES


def test_pulled_on_our_side_it_is_gone_on_the_other(report: GuestReport, bus: Bus) -> None:
    assert [each.ok for each in report.results if each.name == "usb_pointers.tablet_gone"] == [True]
    assert [plug.busid for plug in bus.plugs] == ["1-1", "1-3", "1-4"]


def test_linux_breaks_no_rule(report: GuestReport, hands: Hands) -> None:
    assert report.facts
    assert [str(violation) for plug in hands.plugs for violation in plug.model.rules] == []
