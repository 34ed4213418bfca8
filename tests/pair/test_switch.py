"""NICs on one switch: two in this process, one in another."""

import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pvdev.device import Port
from pvdev.transport.inproc import LocalPort
from pvdev.transport.vfio_user import VfioUserPort
from vmxnet3.device import Vmxnet3
from vmxnet3.driver import Driver
from vmxnet3.ports.switch import SwitchPort

MACS = [bytes((2, 0, 0, 0, 0, n)) for n in (1, 2, 3)]
EVERYBODY = b"\xff" * 6


@pytest.fixture
def drivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Driver]]:
    """Drivers of three NICs, the last of them in a `pvdev serve` of its own."""
    monkeypatch.chdir(tmp_path)
    serve = [sys.executable, "-m", "pvdev.cli", "serve", "vmxnet3", "--socket", "s", "--port", "switch:./sw"]
    words = [*serve, "--mac", MACS[2].hex(":")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process, ExitStack() as owns:
        owns.callback(process.terminate)
        assert process.stdout is not None
        assert "Ctrl-C ends it" in process.stdout.readline()
        ports: list[Port] = [
            LocalPort(Vmxnet3(owns.enter_context(SwitchPort("./sw")), mac=mac), memory=4 << 20) for mac in MACS[:2]
        ]
        ports.append(VfioUserPort("s", memory=4 << 20))
        made = [Driver(port) for port in ports]
        for driver, port in zip(made, ports, strict=True):
            owns.callback(port.close)
            driver.bring_up()
        yield made


def await_frames(driver: Driver, count: int) -> list[bytes]:
    got: list[bytes] = []

    def came() -> bool:
        got.extend(packet.data for packet in driver.receive())
        return len(got) >= count

    port = driver.port
    while not port.until(came, 20):  # in process it waits for no other process: the switch says when to look again
        assert isinstance(port, LocalPort), f"{len(got)} of {count} came"
        assert isinstance(port.device, Vmxnet3)
        assert select.select([port.device.backend.fileno()], [], [], 20)[0], f"{len(got)} of {count} came"
    return got


def test_three_nics_in_two_processes_talk_over_a_switch(drivers: list[Driver]) -> None:
    for i, driver in enumerate(drivers):
        hello = EVERYBODY + MACS[i] + b"\x88\xb5" + bytes([i]) * 46
        driver.send(hello)
        for other in drivers:
            if other is not driver:
                assert await_frames(other, 1) == [hello]

    for i, driver in enumerate(drivers):
        for j, other in enumerate(drivers):
            if i != j:
                for lot in range(10):  # no more at a time than a socket queues: nobody runs the sender meanwhile
                    frames = [MACS[j] + MACS[i] + b"\x88\xb5" + bytes([lot, n]) * 23 for n in range(10)]
                    for frame in frames:
                        driver.send(frame)
                        driver.reap_tx()
                    assert await_frames(other, 10) == frames

    for driver in drivers:
        assert driver.receive() == []
