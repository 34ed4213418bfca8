"""One boot of the guest: QEMU's command line, its console, its deadline, its end."""

import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from guest.bootimage import boot_image
from guest.cache import KitError
from guest.initramfs import MODULES
from guest.kit import Kit
from guest.ktap import ConsoleParser, GuestFailed, GuestReport
from guest.scripts import build_for

Device = str | Mapping[str, object]
"""The value of one -device: QEMU's short form, or properties with at least `driver`."""

KERNEL_ARGUMENTS = (
    "console=ttyS0 panic=-1 oops=panic quiet loglevel=4 nokaslr mitigations=off no_timer_check tsc=reliable "
    "cryptomgr.notests random.trust_cpu=on rcupdate.rcu_expedited=1"
)
# One thread for all processors: with one for each, a processor now and then sees half of what another one's kernel
# patches (an int3 that is gone when it looks, "Fatal exception in interrupt"); and two cores are no faster so.
ACCELERATORS = {"tcg": ("tcg,thread=single", "max"), "kvm": ("kvm", "host")}
EXIT_WITH_PARENT: tuple[int, int, int] = (11, 0, 0)  # QEMU's -run-with exit-with-parent is known from here on
GRACE_S = 3.0  # the guest stops its tests so long before the deadline, to show what hung


class GuestTimeout(GuestFailed):
    """The deadline passed; the message carries the end of the console."""


def vfio_user(path: Path | str, **properties: object) -> Device:
    """A device served on a vfio-user socket; the server must be listening when the guest starts."""
    return {"driver": "vfio-user-pci", "socket": {"type": "unix", "path": str(path)}, **properties}


class Vm:
    """A guest that boots, runs test scripts, reports and switches off. One object, one run.

    tests: names of rootfs/tests/NAME.sh, run in order; params: their pv_KEY variables.
    devices: values of -device; extra: further QEMU words (-netdev ...); files: more for the guest, path -> content.
    memory_path: a file that becomes the guest's RAM, of its size, shared with whoever has it.
    shared_memory False gives the guest private RAM, of `memory_backend` "memfd" or "ram": a device in another
    process then cannot reach it.
    sleeps: the guest may suspend to RAM. Waking is a reset to QEMU, which then writes an ELF kernel anew into memory;
    so this one boots its bzImage, a second slower.
    on_event(name) runs in a thread of its own for each PVDEV-EVENT line, in order; what it raises ends the guest and
    comes out of `run`. on_line(line) sees each console line.
    """

    def __init__(
        self,
        kit: Kit,
        tests: Sequence[str],
        *,
        devices: Sequence[Device] = (),
        extra: Sequence[str] = (),
        params: Mapping[str, str | int | float] | None = None,
        append: str = "",
        memory: str = "512M",
        shared_memory: bool = True,
        memory_backend: str = "memfd",
        memory_path: str | None = None,
        sleeps: bool = False,
        smp: int = 1,
        accel: str | None = None,
        modules: Sequence[str] = MODULES,
        files: Mapping[str, bytes] | None = None,
        deadline_s: float = 60.0,
        on_event: Callable[[str], object] | None = None,
        on_line: Callable[[str], object] | None = None,
    ) -> None:
        """Raises KitError for a parameter that cannot stand on a kernel command line or an unknown accelerator."""
        self.kit, self.tests, self.devices, self.extra = kit, tuple(tests), tuple(devices), tuple(extra)
        self.params = {key: str(value) for key, value in (params or {}).items()}
        for key, value in self.params.items():
            if not re.fullmatch(r"[a-z_][a-z0-9_]*", key) or re.search(r"[\s\"]", value):
                raise KitError(f"guest parameter {key}={value!r} cannot stand on a kernel command line")
        self.append, self.memory, self.smp, self.modules, self.files = append, memory, smp, tuple(modules), files
        self.shared_memory, self.memory_backend = shared_memory, memory_backend
        self.memory_path, self.sleeps = memory_path, sleeps
        self.accel = accel or default_accel(kit)
        if self.accel not in ACCELERATORS:
            raise KitError(f"accelerator {self.accel!r} is unknown: tcg or kvm")
        self.deadline_s, self.on_line = deadline_s, on_line
        self._parser = ConsoleParser(on_event)
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: BaseException | None = None

    def kernel(self) -> Path:
        """The image for QEMU's -kernel."""
        return self.kit.kernel if self.sleeps else boot_image(self.kit)

    def argv(self, kernel: Path, initramfs: Path) -> list[str]:
        """QEMU's whole command line."""
        accel, cpu = ACCELERATORS[self.accel]
        share = "on" if self.shared_memory else "off"
        words = [*self.kit.qemu, "-no-user-config", "-nodefaults", "-no-reboot", "-display", "none"]
        words += ["-machine", "q35,memory-backend=ram", "-m", self.memory, "-smp", str(self.smp)]
        backend = f"memory-backend-{self.memory_backend}"
        if self.memory_path is not None:
            backend = f"memory-backend-file,mem-path={self.memory_path}"
        words += ["-object", f"{backend},id=ram,size={self.memory},share={share}"]
        words += ["-accel", accel, "-cpu", cpu]
        words += ["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]
        words += ["-kernel", str(kernel), "-initrd", str(initramfs), "-append", self._append()]
        if self.kit.qemu_version >= EXIT_WITH_PARENT:
            words += ["-run-with", "exit-with-parent=on"]
        words += self.extra
        for device in self.devices:
            words += ["-device", device if isinstance(device, str) else json.dumps(device)]
        return words

    def run(self) -> GuestReport:
        """Boot, and wait for the end. Raises GuestTimeout; QEMU is gone when this returns or raises."""
        words = self.argv(self.kernel(), build_for(self.kit, self.tests, self.modules, self.files))
        started = time.monotonic()
        with tempfile.TemporaryFile() as log:
            self._process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
            reader = threading.Thread(
                target=self._read, args=(self._process.stdout,), name="guest console", daemon=True
            )
            try:
                reader.start()
                reader.join(self.deadline_s)
                late = reader.is_alive()
            finally:
                self._end()
                reader.join(5.0)
                if not reader.is_alive() and self._process.stdout is not None:
                    self._process.stdout.close()
            seconds = time.monotonic() - started
            log.seek(0)
            report = self._parser.report(seconds, log.read().decode(errors="replace"))
        if self._failure is not None:
            raise self._failure
        if late:
            tail = "\n".join(report.console.splitlines()[-60:])
            raise GuestTimeout(
                f"the guest did not end in {self.deadline_s:g} s; its console's end:\n{tail}\n{report.qemu_log}"
            )
        return report

    def send(self, line: str) -> None:
        """Write a line to the guest's console, for its `await`; no effect once the guest has ended."""
        process = self._process
        if process is None or process.stdin is None:
            return
        with suppress(OSError, ValueError):  # the guest is gone or going; its report says why
            process.stdin.write(line.encode() + b"\n")
            process.stdin.flush()

    def _append(self) -> str:
        params = self.params | {"timeout": str(max(1, int(self.deadline_s - GRACE_S)))}
        words = [f"pvdev.{key}={value}" for key, value in params.items()]
        return " ".join(filter(None, [KERNEL_ARGUMENTS, self.append, f"pvdev.test={','.join(self.tests)}", *words]))

    def _read(self, console: IO[bytes]) -> None:
        """The reader thread: until QEMU closes the console."""
        try:
            for raw in console:
                line = raw.decode(errors="replace").rstrip("\r\n")
                self._parser.feed(line)
                if self.on_line:
                    self.on_line(line)
        except BaseException as error:  # a callback's; `run` raises it
            self._failure = error

    def _end(self) -> None:
        """QEMU closes its console a moment before it exits; one that does not exit is killed with all it started."""
        process = self._process
        assert process is not None
        try:
            process.wait(0.5 if self._parser.complete else 0.0)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()


def default_accel(kit: Kit) -> str:
    """PVDEV_ACCEL (tcg or kvm), else KVM where it has proven to work, else TCG."""
    return os.environ.get("PVDEV_ACCEL") or ("kvm" if kit.kvm else "tcg")
