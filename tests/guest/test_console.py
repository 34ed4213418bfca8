"""An unmodified Linux guest on our display, watched and used by programs nobody here wrote: vncdotool, a browser.

Its keyboard and tablet are QEMU's, reached by QMP, as `pvdev boot --display` has it.
"""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from guest.kit import Kit
from guest.ktap import GuestReport
from guest.vm import Vm, vfio_user
from PIL import Image

from pvdev.commands.boot import with_screen
from pvdev.kinds import Built
from pvdev.transport.vfio_user import Server
from svga.aim import to_pixel
from svga.console.keysyms import PLAIN  # of these keys Linux's numbers are the same
from svga.served import build, defaults
from tests.clients import browser, captured, needs, needs_novnc, vncdo
from tests.guest.test_svga import picture

pytestmark = [pytest.mark.guest, pytest.mark.slow]

SIZE, SEED = (1280, 800), 5
A, B, C, SHIFT, RETURN, ESCAPE, LEFT_BUTTON = 30, 48, 46, 42, 28, 1, 0x110  # Linux input-event-codes.h
LINE = "the keyboard of a slow guest holds sixteen keys and no more"
PLACES = ((5, 3), (640, 400), (1279, 799), (17, 701))


@dataclass
class Seen:
    """What clients saw, and what the guest felt, by who did it."""

    same: dict[str, bool] = field(default_factory=dict)
    felt: list[str] = field(default_factory=list)
    report: GuestReport | None = None

    @property
    def keys(self) -> list[tuple[int, int]]:
        """(code, 1 down or 0 up)."""
        words = (event.split("-") for event in self.felt if event.startswith("key"))
        return [(int(code), int(down)) for _, code, down in words]

    @property
    def places(self) -> list[tuple[int, int]]:
        """In pixels, each once where it stayed."""
        words = (event.split("-") for event in self.felt if event.startswith("at"))
        return [(to_pixel(int(x), SIZE[0], 0xFFFF), to_pixel(int(y), SIZE[1], 0xFFFF)) for _, x, y in words]


def use(built: Built, folder: Path, seen: Seen, event: str) -> bool:
    """What is done about an event of the guest's; whether it waits for a word."""
    where = built.controls["displays"]()["displays"]  # type: ignore[index]
    rfb, web = where["rfb:127.0.0.1:0"], where["web:127.0.0.1:0"]
    if event == "fb-1280x800":
        expected = Image.frombytes("RGBA", SIZE, bytes(picture(*SIZE, SEED))).convert("RGB")
        expected = Image.merge("RGB", expected.split()[::-1])  # BGR in memory
        seen.same["vncdotool"] = captured(rfb, folder).tobytes() == expected.tobytes()
        seen.same["vncdotool, ZRLE"] = captured(rfb, folder, "ZRLE").tobytes() == expected.tobytes()
        built.controls["screenshot"](str(folder / "shot.png"))
        with Image.open(folder / "shot.png") as shot:
            seen.same["screenshot"] = shot.tobytes() == expected.tobytes()
        with browser() as chromium:
            chromium.visit(web)
            seen.same["browser"] = chromium.until(expected)
        return True
    if event == "ready":
        words = [word for x, y in PLACES for word in ("move", str(x), str(y), "click", "1")]
        vncdo(rfb, "type", LINE, "type", "aB", "key", "enter", *words)
        seen.felt.append("browser")
        with browser() as chromium:
            chromium.visit(web)
            chromium.wait(lambda: chromium.canvas())
            chromium.point(640, 400, click=True)
            chromium.type("c\ue00c")
        return False
    seen.felt.append(event)
    return False


@pytest.fixture(scope="module")
def seen(guest_kit: Kit, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    needs("chromium", "chromedriver")
    needs_novnc()
    folder, seen = tmp_path_factory.mktemp("console"), Seen()
    _, words = with_screen(["svga"], ["rfb:127.0.0.1:0"], folder / "qmp")
    built = build({**defaults(), "display": ("rfb:127.0.0.1:0", "web:127.0.0.1:0"), "hands": f"qmp:{folder / 'qmp'}"})
    with built.owns:
        server = Server()
        server.add(built.device, folder / "display")

        def happened(event: str) -> None:
            if use(built, folder, seen, event):
                vm.send("seen")

        vm = Vm(
            guest_kit,
            ["console"],
            devices=[vfio_user(folder / "display")],
            extra=words,
            params={"seed": SEED},
            on_event=happened,
            deadline_s=240.0,
        )
        with server.background():
            seen.report = vm.run().check()
    assert [str(broken) for broken in built.device.rules if not broken.rule.known] == []
    return seen


def test_every_client_sees_the_guests_picture(seen: Seen) -> None:
    assert seen.same == dict.fromkeys(("vncdotool", "vncdotool, ZRLE", "screenshot", "browser"), True)


def test_keys_reach_the_guests_input_layer(seen: Seen) -> None:
    keys = [each for each in seen.keys if each[0] != LEFT_BUTTON]

    assert keys == [
        *((PLAIN[ord(letter)], down) for letter in LINE for down in (1, 0)),
        *((A, 1), (A, 0)),
        *((SHIFT, 1), (B, 1), (SHIFT, 0), (B, 0)),
        *((RETURN, 1), (RETURN, 0), (C, 1), (C, 0), (ESCAPE, 1), (ESCAPE, 0)),
    ]


def test_the_pointer_is_where_the_hand_is(seen: Seen) -> None:
    """The browser's is the last; where the page shows a pixel is a matter of rounding."""
    assert [place for place in PLACES if place not in seen.places] == []
    x, y = seen.places[-1]
    assert abs(x - 640) <= 1
    assert abs(y - 400) <= 1
    assert [down for code, down in seen.keys if code == LEFT_BUTTON] == [1, 0] * (len(PLACES) + 1)
