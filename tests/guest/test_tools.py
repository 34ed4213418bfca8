"""Linux 6.12 and unmodified open-vm-tools in a guest, a host of ours behind the ports: one boot."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from guest.kit import Kit
from guest.ktap import GuestReport
from guest.openvmtools import tools_files

from pvdev.transport.vfio_user import Server
from tests.guest.tooled import Tooled
from vmtools.host import Host
from vmtools.ways.plugin.guest import GuestLink
from vmtools.wire import BalloonCap

pytestmark = [pytest.mark.guest, pytest.mark.slow]

SIZE = 512 << 20
LARGE, SMALL = 80 * 512, 3000  # pages: as 2 MiB and as 4 KiB each


@dataclass
class Seen:
    """A boot, and what the host knew during it."""

    report: GuestReport
    host: Host
    link: GuestLink
    notes: dict[str, int] = field(default_factory=dict)


@pytest.fixture(scope="module")
def seen(guest_kit: Kit, open_vm_tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    server = Server()
    tooled = Tooled(guest_kit, server, tmp_path_factory.mktemp("tools"), SIZE, x="from the host")
    host, link, ram = tooled.host, tooled.link, tooled.ram
    notes: dict[str, int] = {}

    def event(name: str) -> None:
        balloon = host.balloon_device
        if name == "ptp":
            notes["wall"] = tooled.clock.wall_ns(time.monotonic_ns())
        elif name == "daemon":
            tooled.until(lambda: "Script exit code: 0, success = 1" in host.log)
            vm.send("daemon-fine")
        elif name in ("inflated", "deflated", "small"):
            notes[f"before-{name}"] = ram.resident()
            target = {"inflated": LARGE, "deflated": 0, "small": SMALL}[name]
            with link.turn:
                if name == "small":
                    balloon.offered &= ~BalloonCap.BATCHED_2M
                    balloon.reset()
                balloon.set_target(target)
            tooled.until(lambda: balloon.current == target)
            notes[name] = ram.resident()
            vm.send(name)

    with server.background():
        vm = tooled.vm(guest_kit, "tools", files=tools_files(open_vm_tools), smp=2, on_event=event, deadline_s=180.0)
        report = vm.run()
    tooled.close()
    return Seen(report, host, link, notes)


def test_the_kernel_and_ordinary_programs_find_vmware(seen: Seen) -> None:
    seen.report.check()
    assert seen.link.hello is not None
    assert seen.link.hello.processors == 2
    assert seen.host.variables["from.guest"] == b"6.12"
    assert not [str(broken) for broken in seen.host.rules if not broken.known]


def test_a_message_that_meets_untouched_pages_goes_by_words(seen: Seen) -> None:
    """The program's buffer for 60000 bytes has never been touched: the processor would fault, a host cannot."""
    assert len(seen.host.variables["long"]) == 60_000
    assert seen.link.carrier.missing >= 1


def test_the_daemon_registers_and_leaves(seen: Seen) -> None:
    assert seen.report.facts["daemon"] == "0"
    assert seen.host.tools_version
    assert seen.host.capabilities["hgfs_server"] == "toolbox 0"


def test_the_balloon_takes_memory_from_the_guest_and_this_machine_gets_it(seen: Seen) -> None:
    kb = {name: int(seen.report.values[f"{name}_kb"]) for name in ("before", "inflated", "deflated", "small")}
    taken = 4 * LARGE

    assert kb["before"] - kb["inflated"] > 0.9 * taken
    assert kb["deflated"] - kb["inflated"] > 0.9 * taken
    assert seen.notes["before-inflated"] - seen.notes["inflated"] > 1024 * taken // 2
    calls = seen.host.balloon_device.calls
    assert calls["BATCHED_2M_LOCK"] >= 1
    assert calls["BATCHED_2M_UNLOCK"] >= 1
    assert calls["BATCHED_LOCK"] * 512 >= SMALL
    assert calls["START"] == 2  # once more after the host's reset


def test_the_precision_clock_reads_the_host_s_nanoseconds(seen: Seen) -> None:
    assert 0 <= seen.notes["wall"] - int(seen.report.facts["ptp"]) < 5_000_000_000
