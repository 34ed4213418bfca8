"""`pvdev serve pvscsi` as a user starts it, in a process of its own: what every guest test of a disk stands on."""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from guest.kit import Kit
from guest.ktap import GuestReport
from guest.vm import Vm, vfio_user

from pvdev.control import ask

END_S = 20.0
DRIVERS = ("--profile", "seabios", "--profile", "linux")
WATCH = "--watch"
POWER_ON = "Power-on or device reset occurred"
"""What Linux says of every disk it is the first to speak to, as a warning; of most, firmware is that."""


class Served:
    """A served adapter; `words` are the command's options. In a `with` block; `end` gives its rule report."""

    def __init__(self, folder: Path, *words: str) -> None:
        folder.mkdir(exist_ok=True)
        self.socket, self.control, self._log = folder / "scsi", folder / "control", (folder / "said").open("w+")
        command = [sys.executable, "-m", "pvdev.cli", "serve", "pvscsi", "--json", *DRIVERS, *words]
        command += ["--socket", str(self.socket), "--control", str(self.control)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log, text=True
        )

    def __enter__(self) -> "Served":
        while not self.control.exists():
            try:
                self.process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"the server did not start: {self.said()}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate()
        self._log.close()

    def do(self, name: str, *args: object, **options: object) -> Any:
        """The answer of a control, as `pvdev control` would show it. Raises `ConfigError`."""
        return ask(str(self.control), {"do": name, "args": list(args), "options": options})

    def boot(self, kit: Kit, *tests: str, beside: "Sequence[Served]" = (), **options: Any) -> GuestReport:
        """Run test scripts in a guest that has the adapter, and those `beside` it."""
        return self.vm(kit, *tests, beside=beside, **options).run()

    def vm(self, kit: Kit, *tests: str, beside: "Sequence[Served]" = (), **options: Any) -> Vm:
        """The guest `boot` would run, for a test that talks to it meanwhile."""
        return Vm(kit, tests, devices=[vfio_user(each.socket) for each in (self, *beside)], **options)

    def end(self) -> dict[str, Any]:
        """Ctrl-C, and the report that is printed then."""
        self.process.send_signal(signal.SIGINT)
        out, _ = self.process.communicate(timeout=END_S)
        assert self.process.returncode == 0, self.said()
        report = json.loads(out)
        assert isinstance(report, dict)
        return report

    def said(self) -> str:
        """What it has said so far, besides the report."""
        return Path(self._log.name).read_text()

    # -- what the process holds ---------------------------------------------------------------------------------------

    def descriptors(self) -> int:
        return len(list(self._proc("fd").iterdir()))

    def threads(self) -> int:
        return len(list(self._proc("task").iterdir()))

    def resident(self) -> int:
        """Bytes of memory of its own; what it shares with the guest is not counted."""
        line = next(each for each in self._proc("status").read_text().splitlines() if each.startswith("RssAnon:"))
        return int(line.split()[1]) * 1024

    def _proc(self, name: str) -> Path:
        return Path(f"/proc/{self.process.pid}/{name}")


def broken(report: dict[str, Any], *but: str) -> list[str]:
    """The rules Linux or QEMU broke, but for what their profiles excuse and the rules a test has had them break."""
    noted = [*report["violations"], *report["client_violations"]]
    return [
        f"{each['rule']} {each['place']}: {each['text']}, got {each['value']:#x}"
        for each in noted
        if not each["known"] and each["rule"] not in but
    ]
