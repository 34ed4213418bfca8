"""An unmodified Linux 6.12 with its own vmwgfx driver on our display, over vfio-user, in each of its display units.

SVGA3, and SVGA II where the plugin carries its ports: without it, QEMU drops the one at an odd address. The vmwgfx of
6.12.117 can be removed only when each of its eight display units has waited for a frame: it cancels a timer of every
one (hrtimer_cancel in vmw_du_cleanup), which is set up no sooner, and for VMware's guestinfo.vmwgfx.vkms_enable only.
"""

import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from guest.kit import Kit
from guest.ktap import GuestReport
from guest.vm import Vm, vfio_user

from pvdev.attended import Attended
from pvdev.mem import SharedBlock
from pvdev.qemu import Qemu
from pvdev.transport.vfio_user import Server
from svga.device import Svga
from svga.display import Area, Watch
from svga.function import Video
from svga.rect import union
from svga.saved import restore, save
from svga.served import defaults, make
from tests.guest.tooled import Tooled
from vmtools.host import Host
from vmtools.ways.plugin.guest import GuestLink
from vmtools.ways.plugin.ram import Ram

pytestmark = [pytest.mark.guest, pytest.mark.slow]

SIZES, SEED = ((640, 480), (1024, 768), (1280, 800), (1920, 1080)), 5
PATIENCE_S = 20.0
COMPLAINTS = (  # what vmwgfx says on any machine whose processor does not call itself VMware's
    "vmwgfx seems to be running on an unsupported hypervisor.",
    "This configuration is likely broken.",
    "Please switch to a supported graphics device to avoid problems.",
)
OWN_COMPLAINT = "drm_plane_enable_fb_damage_clips() not called"  # of vmwgfx' legacy unit about itself


def picture(width: int, height: int, seed: int) -> bytearray:
    """What the guest's program `picture` draws."""
    out = bytearray()
    for y in range(height):
        green = (5 * y + seed & 255) << 8
        out += array("I", [(7 * x + seed & 255) << 16 | green | ((x ^ y) & 255) for x in range(width)])
    return out


class Viewer:
    """Looks at a display while a guest draws; `seen` are the pictures that came to be as they should."""

    def __init__(self, device: Svga) -> None:
        self.device = device
        self.seen: list[str] = []
        self._news = Event()
        self._watch = Watch(self._news.set)
        device.picture.watch(self._watch)
        self.before = bytearray()

    def frame(self) -> tuple[int, int, bytes]:
        """Width, height and pixels of the first monitor."""
        rows = self.device.picture.rows(0)
        if rows is None:
            return 0, 0, b""
        data, length = b"".join(rows.pieces), 4 * rows.width
        lines = (data[y * rows.pitch : y * rows.pitch + length] for y in range(rows.height))
        return rows.width, rows.height, b"".join(lines)

    def until(self, fine: Callable[[], bool]) -> bool:
        """Whether that comes true; looked at whenever something is marked."""
        for _ in range(200):
            self._news.clear()
            self._watch.take()
            if fine():
                return True
            if not self._news.wait(PATIENCE_S):
                break
        return fine()

    def event(self, name: str) -> None:
        """An event of the guest: a picture was drawn."""
        kind, _, size = name.partition("-")
        width, height = map(int, size.split("x")) if size else self.frame()[:2]
        if kind in ("fb", "drm"):
            self.before = picture(width, height, SEED)
        elif kind == "dirty":
            left, top, right, bottom = width // 4, height // 4, width // 2 + 1, height // 2 + 1
            other = picture(width, height, SEED + 1)
            for y in range(top, bottom):
                at = 4 * width * y
                self.before[at + 4 * left : at + 4 * right] = other[at + 4 * left : at + 4 * right]
        checks: dict[str, Callable[[], bool]] = {
            "text": lambda: any(self.frame()[2]),
            "cursor": lambda: self.pointed(width // 2, height // 3),
            "hidden": lambda: not self.device.picture.cursor.visible,
        }
        if self.until(checks.get(kind, lambda: self.frame() == (width, height, bytes(self.before)))):
            self.seen.append(name)

    def pointed(self, x: int, y: int) -> bool:
        """Whether the guest's pointer is there, as the guest's program makes it."""
        cursor = self.device.picture.cursor
        shape = array("I", [0xFF00_0000 | n * 16 if n % 64 < 32 else 0x8040_2010 for n in range(64 * 64)])
        return (cursor.x, cursor.y, cursor.visible) == (x, y, True) and cursor.image.pixels == shape.tobytes()


def boot(
    kit: Kit,
    folder: Path,
    profile: str,
    *,
    front: str = "svga3",
    append: str = "",
    processors: int = 1,
    times: int = 1,
) -> tuple[Viewer, GuestReport]:
    """One guest after the other on the same display; the last one's report. SVGA II's ports go by the plugin."""
    device, owns = make({**defaults(), "profile": profile, "front": front})
    with owns:
        server = Server()
        endpoint = server.add(device, folder / "display")
        viewer = Viewer(device)
        plugin: dict[str, Any] = {}
        if front == "svga2":
            ram = Ram(512 << 20)
            owns.callback(ram.close)
            qemu = Qemu(kit.qemu, kit.qemu_version)
            link = GuestLink(qemu, server, folder, Host(mem=ram.memory), ram, time.monotonic_ns)
            owns.callback(link.close)
            link.carry([(device, endpoint.touch)])
            plugin = {"extra": link.args(), "accel": "tcg", "memory_path": ram.path}

        def drawn(name: str) -> None:
            viewer.event(name)
            vm.send("seen")

        sizes = ",".join(f"{width}x{height}" for width, height in SIZES)
        with server.background():
            for _ in range(times):
                viewer.seen.clear()
                vm = Vm(
                    kit,
                    ["display"],
                    devices=[vfio_user(folder / "display")],
                    params={"sizes": sizes, "seed": SEED},
                    append=append,
                    smp=processors,
                    on_event=drawn,
                    deadline_s=180.0,
                    **plugin,
                )
                report = vm.run().check()
            return viewer, report


def drawn(*kinds: str) -> Iterator[str]:
    yield from ("text", "fb-1280x800")
    yield from (f"{kind}-{width}x{height}" for width, height in SIZES for kind in kinds)


@pytest.mark.parametrize(
    ("profile", "unit", "kinds"),
    [
        ("legacy", "Legacy", ("drm", "dirty")),  # without guest-backed objects vmwgfx sends an SVGA3 no commands
        ("screen-objects", "Screen Object", ("drm", "dirty", "cursor", "hidden")),
        ("screen-targets", "Screen Target", ("drm", "dirty", "cursor", "hidden")),
    ],
)
def test_SVG_V_062_pictures_of_every_display_unit(
    guest_kit: Kit, tmp_path: Path, profile: str, unit: str, kinds: tuple[str, ...]
) -> None:
    viewer, report = boot(guest_kit, tmp_path, profile)

    assert viewer.seen == list(drawn(*kinds))
    assert (report.facts["unit"], report.facts["version"], report.facts["buffers"]) == (unit, "3", "DMA")
    assert [line for line in report.dmesg if not line.endswith(COMPLAINTS)] == []
    assert [str(broken) for broken in viewer.device.rules if not broken.rule.known] == []


def test_one_guest_after_the_other_by_interrupt_line(guest_kit: Kit, tmp_path: Path) -> None:
    """INTx instead of messages, two processors; the second guest finds a new device."""
    viewer, report = boot(guest_kit, tmp_path, "screen-targets", append="pci=nomsi", processors=2, times=2)

    assert viewer.seen == list(drawn("drm", "dirty", "cursor", "hidden"))
    assert [line for line in report.dmesg if not line.endswith(COMPLAINTS)] == []
    assert [str(broken) for broken in viewer.device.rules if not broken.rule.known] == []


class Restored(Viewer):
    """After each picture the display is saved, reset, and restored, where it is served: the guest is not to notice."""

    def __init__(self, device: Attended) -> None:
        assert isinstance(device, Svga)
        super().__init__(device)
        self._ask = device.ask
        self.times = 0

    def event(self, name: str) -> None:
        super().event(name)
        self._ask(self.again)

    def again(self) -> None:
        data = save(self.device)
        self.device.reset()
        restore(self.device, data)
        self.times += 1


class Kept(Attended, Svga):
    """A display that can be asked for something in its server's thread."""


@pytest.mark.parametrize("profile", ["legacy", "screen-objects", "screen-targets"])
def test_SVG_V_070_a_guest_goes_on_with_a_restored_display(guest_kit: Kit, tmp_path: Path, profile: str) -> None:
    with ExitStack() as owns:
        block = SharedBlock(64 << 20, "svga vram")
        owns.callback(block.close)
        device = Kept(profile, vram=Video(block.size, block))
        owns.callback(device.close)
        server, viewer = Server(), Restored(device)
        server.add(device, tmp_path / "display", watch=[device])

        def drawn(name: str) -> None:
            viewer.event(name)
            vm.send("seen")

        params: dict[str, str | int] = {"sizes": "640x480,1024x768", "seed": SEED}
        vm = Vm(guest_kit, ["display"], devices=[vfio_user(tmp_path / "display")], params=params, on_event=drawn)
        with server.background():
            report = vm.run().check()

    assert viewer.seen[:2] == ["text", "fb-1280x800"]
    assert [name for name in viewer.seen if name.startswith("dirty")] == ["dirty-640x480", "dirty-1024x768"]
    assert viewer.times == len(viewer.seen)
    assert [line for line in report.dmesg if not line.endswith(COMPLAINTS)] == []
    assert [str(broken) for broken in device.rules if not broken.rule.known] == []


LAYOUTS = (
    [Area(0, 0, 800, 600), Area(800, 0, 640, 480)],
    [Area(0, 0, 640, 480), Area(640, 100, 1024, 768), Area(0, 480, 640, 480)],
    [Area(0, 0, 1152, 864)],
)


class Wisher(Viewer):
    """Somebody in front of several monitors: asks for one layout after the other, and looks whether it came to be.

    A program in the guest is told of each as VMware's tools are; `arranged` are those that did.
    """

    def __init__(self, device: Svga) -> None:
        super().__init__(device)
        self.arranged: list[list[Area]] = []
        self._left = list(LAYOUTS)
        self._asked: list[Area] = []
        self.send: Callable[[str], None] = lambda line: None
        device.wishes.tell = self._tell

    def _tell(self, areas: Sequence[Area]) -> bool:
        words = [f"{area.x} {area.y} {area.width} {area.height}" for area in areas]
        self.send(" ".join(["layout", str(len(areas)), *words]))
        return True

    def event(self, name: str) -> None:
        """The guest waits for a layout, or says that one is there."""
        if self._asked and self.until(self._as_asked):
            self.arranged.append(self._asked)
        if self._left:
            self._asked = self._left.pop(0)
            assert self.device.picture.ask(self._asked)
        else:
            self.send("done")

    def _as_asked(self) -> bool:
        around = union(self._asked)
        pixels = picture(around.width, around.height, SEED)
        if [monitor.area for monitor in self.device.picture.monitors] != self._asked:
            return False
        return all(self._shows(number, area, pixels, around.width) for number, area in enumerate(self._asked))

    def _shows(self, number: int, area: Area, pixels: bytearray, across: int) -> bool:
        rows = self.device.picture.rows(number)
        if rows is None or (rows.width, rows.height) != (area.width, area.height):
            return False
        data = b"".join(rows.pieces)
        for y in range(area.height):
            at = 4 * (across * (area.y + y) + area.x)
            if data[y * rows.pitch :][: 4 * area.width] != pixels[at : at + 4 * area.width]:
                return False
        return True


@pytest.mark.parametrize(
    ("profile", "unit"),
    [("legacy", "Legacy"), ("screen-objects", "Screen Object"), ("screen-targets", "Screen Target")],
)
def test_monitors_are_arranged_from_outside(guest_kit: Kit, tmp_path: Path, profile: str, unit: str) -> None:
    """Two, then three, then one of another size: plugged in, asked for, and each shows its part of the desktop."""
    device, owns = make({**defaults(), "profile": profile})
    with owns:
        server = Server()
        server.add(device, tmp_path / "display")
        viewer = Wisher(device)
        vm = Vm(
            guest_kit,
            ["display_monitors"],
            devices=[vfio_user(tmp_path / "display")],
            params={"seed": SEED},
            on_event=viewer.event,
            deadline_s=180.0,
        )
        viewer.send = vm.send
        with server.background():
            report = vm.run().check()

    assert viewer.arranged == list(LAYOUTS)
    assert device.wishes.plugged == 3
    assert report.facts["unit"] == unit
    assert [str(broken) for broken in device.rules if not broken.rule.known] == []


class Reloaded(Wisher):
    """Asks for eight monitors; looks at what is left when the driver has gone, and at the pictures when it is back."""

    def __init__(self, device: Svga) -> None:
        super().__init__(device)
        self._left = [[Area(640 * (n % 4), 480 * (n // 4), 640, 480) for n in range(8)]]
        self.left_behind: list[int] = []

    def event(self, name: str) -> None:
        if name.startswith("monitors"):
            super().event(name)
        elif name == "unloaded":
            objects = self.device.screens, self.device.gmrs, self.device.mobs, self.device.surfaces, self.device.targets
            self.left_behind = [len(each) for each in objects]
            self.device.wishes.plug(1)
            self.send("unloaded")
        else:
            Viewer.event(self, name)
            self.send("seen")


@pytest.mark.parametrize(
    ("profile", "front", "unit"),
    [
        ("legacy", "svga3", "Legacy"),
        ("screen-objects", "svga3", "Screen Object"),
        ("screen-targets", "svga3", "Screen Target"),
        ("screen-objects", "svga2", "Screen Object"),
    ],
)
def test_the_driver_goes_and_comes_again(guest_kit: Kit, tmp_path: Path, profile: str, front: str, unit: str) -> None:
    """What vmwgfx says about itself (a surface it keeps, blanks it forgets to switch off) is its own affair."""
    device, owns = make({**defaults(), "profile": profile, "front": front})
    with owns:
        server, viewer = Server(), Reloaded(device)
        endpoint = server.add(device, tmp_path / "display")
        tooled = Tooled(guest_kit, server, tmp_path, 512 << 20, **{"vmwgfx.vkms_enable": "TRUE"})
        owns.callback(tooled.close)
        if front == "svga2":
            tooled.link.carry([(device, endpoint.touch)])
        vm = tooled.vm(
            guest_kit,
            "display_reload",
            devices=[vfio_user(tmp_path / "display")],
            params={"seed": SEED, "sizes": "640x480,1024x768"},
            on_event=viewer.event,
            deadline_s=180.0,
        )
        viewer.send = vm.send
        with server.background():
            report = vm.run().check()

    assert viewer.arranged == [[Area(640 * (n % 4), 480 * (n // 4), 640, 480) for n in range(8)]]
    assert viewer.left_behind == [0] * 5
    again = [f"{kind}-{size}" for size in ("640x480", "1024x768") for kind in ("drm", "dirty")]
    assert [name for name in viewer.seen if name.startswith("d")] == again
    assert (report.facts["unit"], report.facts["times"]) == (unit, "2")


@pytest.mark.parametrize(("profile", "unit"), [("legacy", "Legacy"), ("screen-objects", "Screen Object")])
def test_pictures_of_SVGA_II_whose_ports_a_plugin_carries(
    guest_kit: Kit, tmp_path: Path, profile: str, unit: str
) -> None:
    """Through the FIFO; the port at an odd address would not pass QEMU's own vfio-user client."""
    viewer, report = boot(guest_kit, tmp_path, profile, front="svga2")

    assert viewer.seen == list(drawn("drm", "dirty", "cursor", "hidden"))
    assert (report.facts["unit"], report.facts["version"]) == (unit, "2")
    assert [line for line in report.dmesg if not (profile == "legacy" and line.endswith(OWN_COMPLAINT))] == []
    assert [str(broken) for broken in viewer.device.rules if not broken.rule.known] == []
