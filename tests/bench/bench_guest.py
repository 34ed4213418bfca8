"""The same guest, kernel and work with our device and with QEMU's own, in turn: A B A B, medians, spread.

    python -m tests.bench.bench_guest [ROUNDS [NAME...]]       names: those of WORK; all

Transmit is the packet generator of the kernel onto a port that takes everything; receive is a flood from a datagram
socket; ping is answered by the far end of one. A disk is one that is all zeros and keeps nothing, and fio uses it. Our
device is served by a process of its own, as `pvdev serve` does it.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from guest.flood import start_flood
from guest.frames import DgramPeer, mac
from guest.kit import Kit, find_kit
from guest.storage import find_storage
from guest.vm import Device, Vm, vfio_user

from tests.guest.disks import Served

GUEST_MAC, HOST_MAC, HOST_IP = "02:00:00:00:00:01", "02:00:00:00:00:fe", "192.0.2.1"
ROUNDS, SECONDS = 3, 4

DISK = 1 << 30
FIO = {  # a way of disk_bench.sh -> what it measures
    "randread-32": "4 KiB random read, depth 32, /s",
    "randwrite-32": "4 KiB random write, depth 32, /s",
    "randread-1": "4 KiB random read, depth 1, /s",
    "randwrite-1": "4 KiB random write, depth 1, /s",
    "read-8": "256 KiB read, depth 8, bytes/s",
    "write-8": "256 KiB write, depth 8, bytes/s",
}

Make = Callable[..., AbstractContextManager[tuple[Device, list[str]]]]
MakeDisk = Callable[[Path], AbstractContextManager[tuple[list[Device], list[str]]]]


@contextmanager
def served(folder: Path, port: str) -> Iterator[Device]:
    """Our NIC with `port` behind it, in a process of its own."""
    path = folder / "nic"
    command = [sys.executable, "-m", "pvdev.cli", "serve", "vmxnet3", "--socket", str(path), "--port", port]
    process = subprocess.Popen([*command, "--mac", GUEST_MAC], stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2])
    try:
        while not path.exists():
            if process.poll() is not None:
                raise RuntimeError("pvdev serve ended at once")
            time.sleep(0.02)
        yield vfio_user(path)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10)


@contextmanager
def ours(folder: Path, *, wired: bool) -> Iterator[tuple[Device, list[str]]]:
    with served(folder, f"dgram:{folder / 'nic.net'},peer={folder / 'host'}" if wired else "null") as device:
        yield device, []


@contextmanager
def qemus(folder: Path, *, wired: bool) -> Iterator[tuple[Device, list[str]]]:
    """QEMU's own vmxnet3; unwired, its netdev takes every frame and does nothing."""
    net = f"dgram,id=n,local.type=unix,local.path={folder / 'nic.net'},remote.type=unix,remote.path={folder / 'host'}"
    yield f"vmxnet3,netdev=n,mac={GUEST_MAC}", ["-netdev", net if wired else "hubport,id=n,hubid=0"]


def transmit(kit: Kit, make: Make, size: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name, make(Path(name), wired=False) as (device, extra):
        params = {"size": size, "seconds": SECONDS}
        report = Vm(kit, ["nic_pktgen"], devices=[device], extra=extra, params=params, deadline_s=90).run().check()
    return {f"transmit {size} bytes, frames/s": report.values[f"tx_pps_{size}"]}


def receive(kit: Kit, make: Make) -> dict[str, float]:
    with (
        tempfile.TemporaryDirectory() as name,
        DgramPeer(Path(name) / "host", Path(name) / "nic.net") as peer,
        make(Path(name), wired=True) as (device, extra),
    ):
        frame = (mac(GUEST_MAC) + mac(HOST_MAC) + b"\x88\xb5").ljust(60, b"Z")
        flood: list[subprocess.Popen[str]] = []
        event: dict[str, Callable[[], None]] = {
            "flood-start": lambda: flood.append(start_flood(peer.remote, frame, SECONDS + 30)),
            "flood-stop": lambda: flood[0].terminate(),
        }
        vm = Vm(
            kit,
            ["nic_flood_rx"],
            devices=[device],
            extra=extra,
            params={"seconds": SECONDS},
            deadline_s=90,
            on_event=lambda what: event[what](),
        )
        try:
            report = vm.run().check()
        finally:
            for process in flood:
                process.kill()
                process.communicate()
    return {"receive 60 bytes, frames/s": report.values["rx_pps"]}


def ping(kit: Kit, make: Make) -> dict[str, float]:
    with (
        tempfile.TemporaryDirectory() as name,
        DgramPeer(Path(name) / "host", Path(name) / "nic.net") as peer,
        make(Path(name), wired=True) as (device, extra),
    ):
        answerer = threading.Thread(target=peer.answer_pings, args=(HOST_IP, mac(HOST_MAC), 60.0), daemon=True)
        event: dict[str, Callable[[], None]] = {"ping-start": answerer.start, "ping-stop": lambda: None}
        vm = Vm(
            kit, ["nic_ping_latency"], devices=[device], extra=extra, deadline_s=90, on_event=lambda what: event[what]()
        )
        report = vm.run().check()
        peer.socket.close()
    return {"ping round trip, us": report.values["ping_us"], "first after idle, us": report.values["ping_idle_us"]}


@contextmanager
def our_disk(folder: Path) -> Iterator[tuple[list[Device], list[str]]]:
    with Served(folder, "--disk", f"null:{DISK}") as served:
        yield [vfio_user(served.socket)], []
        served.end()


@contextmanager
def qemus_disk(folder: Path) -> Iterator[tuple[list[Device], list[str]]]:
    yield (
        ["pvscsi,id=s", "scsi-hd,bus=s.0,drive=d,scsi-id=0"],
        ["-blockdev", f"null-co,node-name=d,size={DISK},read-zeroes=on"],
    )


def disk(kit: Kit, make: MakeDisk) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name, make(Path(name)) as (devices, extra):
        params: dict[str, str | int | float] = {"seconds": SECONDS, "ways": ",".join(FIO)}
        report = Vm(kit, ["disk_bench"], devices=devices, extra=extra, params=params, deadline_s=120).run().check()
    return {what: report.values[way] for way, what in FIO.items()}


NICS, DISKS = (ours, qemus), (our_disk, qemus_disk)
WORK: dict[str, tuple[Callable[[Kit, Any], dict[str, float]], tuple[Any, Any]]] = {
    "transmit-60": (lambda kit, make: transmit(kit, make, 60), NICS),
    "transmit-1500": (lambda kit, make: transmit(kit, make, 1500), NICS),
    "receive": (receive, NICS),
    "ping": (ping, NICS),
    "disk": (disk, DISKS),
}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    only = sys.argv[2:] or list(WORK)
    kit = find_kit(fetch=True)
    find_storage(fetch=True)
    print(f"guest: QEMU {'.'.join(map(str, kit.qemu_version))}, Linux {kit.release}, {os.cpu_count()} processors here")
    print(f"  {'':32} {'ours':>13} {'':>29} {'QEMU':>13} {'':>29}  ratio")
    for name in only:
        results: tuple[dict[str, list[float]], dict[str, list[float]]] = {}, {}
        work, makes = WORK[name]
        for _ in range(rounds):
            for side, make in zip(results, makes, strict=True):
                for what, value in work(kit, make).items():
                    side.setdefault(what, []).append(value)
        for what, values in results[0].items():
            theirs = results[1][what]
            sides = "".join(f" {median(v):13,.0f} ({min(v):13,.0f}-{max(v):13,.0f})" for v in (values, theirs))
            print(f"  {what:32}{sides}  {median(values) / median(theirs):.2f}", flush=True)


if __name__ == "__main__":
    main()
