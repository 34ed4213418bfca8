"""`pvdev serve --control` and `pvdev control`, as a user types them, with a driver at work on the device meanwhile."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pvdev.control import ask
from pvdev.transport.vfio_user import Server, VfioUserPort
from vmxnet3.driver import Driver
from vmxnet3.wire import Event

PVDEV = (sys.executable, "-m", "pvdev.cli")
MAC = bytes.fromhex("020000000001")
FRAME = MAC + bytes.fromhex("020000000002 88b5") + bytes(46)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VfioUserPort]:
    """A client of `pvdev serve` with a loopback port, its control socket at `c`, the cable out."""
    words = ["serve", "vmxnet3", "--socket", "s", "--control", "c", "--port", "loopback", "--link", "down"]
    monkeypatch.chdir(tmp_path)
    with subprocess.Popen((*PVDEV, *words), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "Ctrl-C ends it" in process.stdout.readline()
            port = VfioUserPort("s", memory=4 << 20)
            yield port
            port.close()
        finally:
            process.terminate()
            out, _ = process.communicate(timeout=30)
    assert process.returncode == 0, out
    assert list(tmp_path.iterdir()) == []


def control(*words: str) -> Any:
    """The answer of `pvdev control c --json`."""
    done = subprocess.run((*PVDEV, "control", "c", "--json", *words), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["answer"]


def round_trip(driver: Driver) -> int:
    """One frame out and back through the loopback, however often it has to be tried; how often it was."""
    for tries in range(1, 10_000):
        driver.send(FRAME)
        got: list[bytes] = []

        def came(got: list[bytes] = got) -> bool:
            driver.reap_tx()
            got += [packet.data for packet in driver.receive()]
            return bool(got)

        if driver.port.until(came, 0.05):
            assert got[0] == FRAME
            return tries
    raise AssertionError("nothing came back")


def heard(driver: Driver) -> Callable[[], bool]:
    return lambda: bool(driver.events() & Event.LINK)


def test_the_link_follows_what_is_said_outside(served: VfioUserPort) -> None:
    driver = Driver(served)
    driver.bring_up()
    assert not driver.get_link().up
    assert control("status")["state"] == "active"

    assert control("link", "up", "--speed", "2500") == {"up": True, "mbps": 2500}

    assert served.until(heard(driver))
    driver.ack_events()
    link = driver.get_link()
    assert (link.up, link.mbps) == (True, 2500)
    assert round_trip(driver) == 1
    assert control("status")["port"]["frames_in"] == 1
    driver.close()


def test_the_link_flaps_while_traffic_runs(served: VfioUserPort) -> None:
    driver = Driver(served, strict=False)  # strict, it takes a flap right after its acknowledgement for the old one
    driver.bring_up()
    ask("c", {"do": "link", "args": ["up"]})
    flaps = threading.Thread(
        target=ask, args=("c", {"do": "link", "args": ["flap"], "options": {"times": 5, "interval": 0.03}})
    )
    told = False
    flaps.start()
    while flaps.is_alive():
        round_trip(driver)
        if driver.events() & Event.LINK:
            driver.ack_events(Event.LINK)
            told = True
    flaps.join()

    assert told or heard(driver)()
    assert [each for each in driver.complaints if "VMX-V-069" not in str(each)] == []
    assert driver.get_link().up
    while driver.receive():
        pass
    assert round_trip(driver) == 1
    assert control("status")["violations"] == []
    driver.close()


def test_a_wrong_word_is_one_line_and_2(served: VfioUserPort) -> None:
    done = subprocess.run((*PVDEV, "control", "c", "link", "sideways"), capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'pvdev: link: state "sideways": give one of up, down, flap\n'


def test_a_server_calls_back_in_the_order_of_time_and_stops_when_told() -> None:
    server, seen = Server(), list[str]()
    server.later(0.02, lambda: seen.append("second"))
    server.later(0.02, lambda: seen.append("third"))
    server.later(0.03, server.stop)
    server.later(0.0, lambda: seen.append("first"))
    server.later(60.0, lambda: seen.append("never"))

    server.run()

    assert seen == ["first", "second", "third"]


def test_a_server_watches_a_descriptor_of_ours_until_told_not_to() -> None:
    server, seen = Server(), list[bytes]()
    ours, theirs = socket.socketpair()

    def read() -> None:
        seen.append(ours.recv(1))
        if len(seen) == 2:
            server.watch(ours.fileno(), None)
            server.later(0.01, server.stop)

    with ours, theirs:
        server.watch(ours.fileno(), read)
        theirs.send(b"abc")
        server.run()

    assert seen == [b"a", b"b"]
