"""Programs nobody here wrote that look at a screen: vncdotool, TigerVNC's viewer, a browser. If they are there."""

import base64
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pvdev.errors import ConfigError
from svga.console.web import find_novnc

PATIENCE_S = 60
FLAGS = (
    *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"),
    *("disable-component-update", "disable-sync", "force-device-scale-factor=1", "window-size=1400,1000"),
)
CANVAS = """
const canvas = document.querySelector("#noVNC_container canvas");
if (!canvas || !canvas.width) return null;
const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
let text = "";
for (let n = 0; n < data.length; n += 8192) text += String.fromCharCode.apply(null, data.subarray(n, n + 8192));
return [canvas.width, canvas.height, btoa(text)];
"""
PLACE = """
const canvas = document.querySelector("#noVNC_container canvas"), box = canvas.getBoundingClientRect();
return [box.left, box.top, box.width, box.height];
"""


def needs(*programs: str) -> None:
    """Fail where a machine must have them (PVDEV_REQUIRE=all), skip where it need not."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing and os.environ.get("PVDEV_REQUIRE") == "all":
        pytest.fail(f"PVDEV_REQUIRE=all, but there is no {', '.join(missing)}")
    if missing:
        pytest.skip(f"no {', '.join(missing)} on this machine")


def needs_novnc() -> None:
    """As `needs`, for the files browsers are served."""
    try:
        find_novnc()
    except ConfigError as error:
        if os.environ.get("PVDEV_REQUIRE") == "all":
            pytest.fail(f"PVDEV_REQUIRE=all, but: {error}")
        pytest.skip(str(error))


def vncdo(address: str, *words: str, encoding: str = "RAW", password: str | None = None) -> None:
    """vncdotool's commands against the server at `address`."""
    host, _, port = address.rpartition(":")
    program = (
        "from vncdotool import client, command, rfb\n"
        f"client.VNCDoToolClient.encoding = rfb.Encoding.{encoding}\n"
        "command.vncdo()"
    )
    options = ["-s", f"{host}::{port}", "-t", str(PATIENCE_S), "--nocursor"]
    options += ["-p", password] if password else []
    done = subprocess.run(
        [sys.executable, "-c", program, *options, *words], capture_output=True, text=True, timeout=2 * PATIENCE_S
    )
    assert done.returncode == 0, done.stdout + done.stderr


def captured(address: str, folder: Path, encoding: str = "RAW", password: str | None = None) -> Image.Image:
    """What vncdotool sees."""
    file = folder / f"{encoding}.png"
    vncdo(address, "capture", str(file), encoding=encoding, password=password)
    with Image.open(file) as shot:
        return shot.convert("RGB")


class Browser:
    """A headless Chromium with noVNC in it."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def visit(self, address: str) -> None:
        self.driver.get(address)

    def wait(self, ready: Callable[[], Any]) -> Any:
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, PATIENCE_S, poll_frequency=0.1).until(lambda driver: ready())

    def canvas(self) -> Image.Image | None:
        """What is drawn; None: nothing yet."""
        found = self.driver.execute_script(CANVAS)
        if found is None:
            return None
        width, height, data = found
        return Image.frombytes("RGBA", (width, height), base64.b64decode(data)).convert("RGB")

    def until(self, picture: Image.Image) -> bool:
        """Until it shows that picture, pixel by pixel."""

        def same() -> bool:
            shown = self.canvas()
            return shown is not None and shown.size == picture.size and shown.tobytes() == picture.tobytes()

        return bool(self.wait(same))

    def point(self, x: int, y: int, *, click: bool = False) -> None:
        """Move to a pixel of the screen; where the page shows it smaller, to the middle of what is there of it."""
        from selenium.webdriver.common.actions.action_builder import ActionBuilder

        left, top, width, height = self.driver.execute_script(PLACE)
        across, down = self.driver.execute_script(
            'const c = document.querySelector("#noVNC_container canvas"); return [c.width, c.height]'
        )
        actions = ActionBuilder(self.driver, duration=0)
        actions.pointer_action.move_to_location(
            round(left + (x + 0.5) * width / across - 0.5), round(top + (y + 0.5) * height / down - 0.5)
        )
        if click:
            actions.pointer_action.pointer_down()
            actions.pointer_action.pointer_up()
        actions.perform()

    def type(self, text: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(text).perform()


@contextmanager
def browser() -> Iterator[Browser]:
    needs("chromium", "chromedriver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory(prefix="pvdev-browser-", ignore_cleanup_errors=True) as folder:
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for flag in (*FLAGS, f"user-data-dir={folder}"):
            options.add_argument(f"--{flag}")
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            driver.set_script_timeout(PATIENCE_S)
            yield Browser(driver)
        finally:
            driver.quit()
