"""Two guests at once that share less memory than they have, as on a host that promised more than there is."""

import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from guest.kit import Kit
from guest.ktap import GuestReport
from guest.vm import Vm

from pvdev.qemu import Qemu
from pvdev.transport.vfio_user import Server
from vmtools.backdoor import Machine
from vmtools.host import Host
from vmtools.reclaim import Budget, Guest
from vmtools.ways.plugin.guest import GuestLink
from vmtools.ways.plugin.ram import Ram

pytestmark = [pytest.mark.guest, pytest.mark.slow]

MIB = 1 << 20
SIZE, TOTAL, RESERVED = 320 * MIB, 440 * MIB, 150 * MIB
SLACK = 2 * MIB  # the driver leaves a part of a large page alone
PATIENCE_S = 60.0


class Pair:
    """Two guests, `left` and `right`, and their host's steps: each is taken when both have asked for it."""

    def __init__(self, kit: Kit, folder: Path, owns: ExitStack) -> None:
        self.budget = Budget(TOTAL)
        self.rows: list[list[int]] = []  # after each step, MiB in each balloon
        self.server = Server()
        self.vms: dict[str, Vm] = {}
        self.reports: dict[str, GuestReport] = {}
        self._links: list[GuestLink] = []
        self._ready = threading.Barrier(2, action=self._step)
        self._failed: list[BaseException] = []
        for name in ("left", "right"):
            ram = Ram(SIZE)
            owns.callback(ram.close)
            host = Host(mem=ram.memory, machine=Machine(memory=SIZE))
            qemu = Qemu(kit.qemu, kit.qemu_version)
            link = GuestLink(qemu, self.server, folder, host, ram, time.monotonic_ns, name=name)
            owns.callback(link.close)
            self._links.append(link)
            self.budget.add(Guest(name, host.balloon_device, reserved=RESERVED))
            self.vms[name] = Vm(
                kit,
                ["tools_budget"],
                extra=link.args(),
                accel="tcg",
                memory=f"{SIZE >> 20}M",
                memory_path=ram.path,
                on_event=self._event,
                deadline_s=150.0,
            )

    def run(self) -> None:
        with self.server.background():
            threads = [threading.Thread(target=self._boot, args=(name,)) for name in self.vms]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        if self._failed:
            raise self._failed[0]

    def _boot(self, name: str) -> None:
        try:
            self.reports[name] = self.vms[name].run().check()
        except BaseException as error:
            self._ready.abort()
            self._failed.append(error)

    def _event(self, name: str) -> None:
        self._ready.wait(PATIENCE_S)

    def _step(self) -> None:
        """First both weigh the same, then the left one three times as much."""
        if self.rows:
            self.budget.guests[0].shares *= 3
        self._balance()
        end = time.monotonic() + PATIENCE_S
        while any(abs(row.owed) >= SLACK for row in self.budget.report()) and time.monotonic() < end:
            time.sleep(0.05)
        for vm in self.vms.values():
            vm.send("moved" if self.rows else "shared")
        self.rows.append([row.held // MIB for row in self.budget.report()])

    def _balance(self) -> None:
        with self._links[0].turn, self._links[1].turn:
            self.budget.balance()


def test_two_guests_share_a_budget_and_one_gives_to_the_other(guest_kit: Kit, tmp_path: Path) -> None:
    with ExitStack() as owns:
        pair = Pair(guest_kit, tmp_path, owns)
        pair.run()

    shared, moved = pair.rows
    assert shared == pytest.approx([100, 100], abs=2)  # of 440 MiB each keeps 220
    assert moved == pytest.approx([65, 135], abs=2)  # 150 each are reserved, 140 go by weight, 3 to 1
    left, right = (pair.reports[name].values for name in ("left", "right"))
    for values in (left, right):
        assert values["alone_kb"] - values["shared_kb"] > 90 * 1024
    assert left["moved_kb"] - left["shared_kb"] > 25 * 1024
    assert right["shared_kb"] - right["moved_kb"] > 25 * 1024
