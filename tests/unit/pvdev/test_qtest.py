"""A QEMU that speaks qtest and QMP, played by a script: what is asked, what comes back, how it ends."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pvdev.errors import ConfigError, PeerError
from pvdev.mem import SharedBlock
from pvdev.transport.qtest import QtestMachine

SCRIPT = """
import json, os, re, socket, sys, threading

def end(name):
    found = re.search(rf"socket,id={name},fd=(\\d+)", " ".join(sys.argv))
    return socket.socket(fileno=int(found[1])).makefile("rwb", buffering=0)

if "refuse" in sys.argv:
    sys.exit("qemu: no such accelerator")

def monitor():
    qmp = end("mon")
    qmp.write(b'{"QMP": {}}\\n')
    while line := qmp.readline():
        asked = json.loads(line)
        if asked["execute"] == "fail":
            qmp.write(b'{"error": {"desc": "no"}}\\n')
            continue
        qmp.write(b'{"event": "NOISE"}\\n' + json.dumps({"return": asked["arguments"]}).encode() + b"\\n")
        if asked["execute"] == "system_reset":
            qmp.write(b'{"event": "OTHER"}\\n{"event": "RESET"}\\n')

threading.Thread(target=monitor, daemon=True).start()
bus = end("bus")
while line := bus.readline():
    word, *rest = line.decode().split()
    if word == "abort":
        print("first line", file=sys.stderr)
        print("ERROR: reached", file=sys.stderr, flush=True)
        os.abort()
    bus.write({"readl": b"IRQ raise 3\\nOK 0x7b015ad\\n", "hush": b"", "nonsense": b"FAIL what\\n"}.get(word, b"OK\\n"))
"""


@pytest.fixture
def memory() -> Iterator[SharedBlock]:
    block = SharedBlock(1 << 20)
    yield block
    block.close()


@pytest.fixture
def script(tmp_path: Path) -> tuple[str, ...]:
    path = tmp_path / "qemu.py"
    path.write_text(SCRIPT)
    return sys.executable, str(path)


@pytest.fixture
def machine(script: tuple[str, ...], memory: SharedBlock) -> Iterator[QtestMachine]:
    made = QtestMachine(script, (), memory)
    yield made
    made.close()


def test_answers_are_numbers(machine: QtestMachine) -> None:
    assert machine.ask("readl 0xb0000000") == 0x07B015AD  # what it says of interrupts in between is passed over
    assert machine.ask("writel 0 1") == 0


def test_the_monitor_passes_over_events(machine: QtestMachine) -> None:
    assert machine.monitor("set_link", name="nic", up=False) == {"name": "nic", "up": False}


def test_waiting_for_an_event(machine: QtestMachine) -> None:
    machine.monitor("system_reset")
    machine.event("RESET")

    assert machine.ask("readl 0") == 0x07B015AD


def test_a_monitor_command_that_fails(machine: QtestMachine) -> None:
    with pytest.raises(PeerError, match=r"QMP fail: .*no"):
        machine.monitor("fail")


def test_a_qemu_that_aborts_says_its_last_words_ever_after(machine: QtestMachine) -> None:
    for _ in range(2):
        with pytest.raises(PeerError, match="QEMU ended with SIGABRT: ERROR: reached"):
            machine.ask("abort")
    with pytest.raises(PeerError, match="SIGABRT"):
        machine.monitor("query-status")


def test_a_command_it_does_not_know(machine: QtestMachine) -> None:
    with pytest.raises(PeerError, match="'nonsense' was answered with 'FAIL'"):
        machine.ask("nonsense")


def test_a_qemu_that_falls_silent(script: tuple[str, ...], memory: SharedBlock) -> None:
    machine = QtestMachine(script, (), memory, timeout_s=0.5)
    with pytest.raises(PeerError, match="no answer to 'hush'"):
        machine.ask("hush")
    machine.close()


def test_a_qemu_that_does_not_start(script: tuple[str, ...], memory: SharedBlock) -> None:
    with pytest.raises(ConfigError, match=r"does not start .* QEMU ended with code 1: qemu: no such accelerator"):
        QtestMachine(script, ("refuse",), memory)


@pytest.mark.parametrize("asked", ["ask", "monitor"])
def test_a_test_that_takes_too_long(script: tuple[str, ...], memory: SharedBlock, asked: str) -> None:
    machine = QtestMachine(script, (), memory, limit_s=0)

    for _ in range(2):
        with pytest.raises(PeerError, match="longer than it may"):
            getattr(machine, asked)("readl")
    machine.close()
