"""The port on a machine played by a dictionary: where accesses go, where messages land, when INTx is seen."""

from collections.abc import Iterator
from typing import Any

import pytest

from pvdev.arena import Arena
from pvdev.pci import CONFIG_REGION
from pvdev.transport.qtest_port import RESERVED, WINDOW, QtestPort

SLOT = 4
CONFIG = WINDOW + (SLOT << 15)
MSI, MSIX = 0x50, 0x60
TABLE = 2  # BAR of the MSI-X table
_SIZE = {"b": 1, "w": 2, "l": 4, "q": 8}


class FakeMachine:
    """A function with two memory BARs of a page, MSI and 4 MSI-X vectors; everything else is plain memory."""

    def __init__(self) -> None:
        self.bytes: dict[int, int] = {}
        self.log: list[str] = []
        self.masks = {0x10: 0xFFFF_F000, 0x18: 0xFFFF_F000}
        self.ports: set[int] = set()
        for at, value in (
            (0x34, MSI),
            (MSI, 0x6005),
            (MSI + 2, 0x80),
            (MSIX, 0x0011),
            (MSIX + 2, 3),
            (MSIX + 4, TABLE),
        ):
            self.store(CONFIG + at, value, 2 if at != 0x34 else 1)

    def store(self, address: int, value: int, size: int) -> None:
        for n in range(size):
            self.bytes[address + n] = value >> 8 * n & 0xFF

    def load(self, address: int, size: int) -> int:
        return sum(self.bytes.get(address + n, 0) << 8 * n for n in range(size))

    def ask(self, line: str) -> int:
        verb, address, *rest = line.split()
        if verb.startswith("in"):
            self.log.append(line)
            return self.load(int(address, 0), _SIZE[verb[-1]])
        if verb.startswith("read"):
            return self.load(int(address, 0), _SIZE[verb[-1]])
        self.log.append(line)
        if verb.startswith("write"):
            at, value = int(address, 0), int(rest[0], 0)
            if CONFIG + 0x10 <= at < CONFIG + 0x28:
                value = value & self.masks.get(at - CONFIG, 0) | int(at - CONFIG in self.ports)
            self.store(at, value, _SIZE[verb[-1]])
        return 0

    def monitor(self, command: str, **arguments: Any) -> Any:
        self.log.append(command)

    def event(self, name: str) -> None:
        self.log.append(name)

    def close(self) -> None:
        self.log.append("close")


@pytest.fixture
def machine() -> FakeMachine:
    return FakeMachine()


@pytest.fixture
def port(machine: FakeMachine) -> Iterator[QtestPort]:
    arena = Arena(RESERVED + (1 << 20), 0)
    made = QtestPort(machine, arena, SLOT)
    machine.log.clear()
    yield made
    made.close()


def fire(port: QtestPort, machine: FakeMachine, at: int) -> None:
    """What a device does with a message: stores its data at its address."""
    address, data = machine.load(at, 4), machine.load(at + 8, 4)
    view = port.arena.block.view[address : address + 4]
    view[:] = data.to_bytes(4, "little")
    view.release()


def test_config_space_is_mapped_and_bars_are_placed(machine: FakeMachine) -> None:
    arena = Arena(RESERVED + (1 << 20), 0)
    port = QtestPort(machine, arena, SLOT)

    assert machine.log[:4] == [
        "outl 0xcf8 0x80000064",
        "outl 0xcfc 0x0",
        "outl 0xcf8 0x80000060",
        "outl 0xcfc 0xb0000001",
    ]
    assert [port.read(CONFIG_REGION, at) for at in (0x10, 0x14, 0x18)] == [0xE000_0000, 0, 0xE000_1000]
    assert port.read(CONFIG_REGION, 4, 2) & 3 == 3
    port.close()


def test_accesses_follow_the_bar(port: QtestPort, machine: FakeMachine) -> None:
    port.write(0, 8, 0x1234)
    port.write(CONFIG_REGION, 0x10, 0xFE00_0000)
    port.write(0, 8, 0x77, 1)

    assert machine.load(0xE000_0008, 4) == 0x1234
    assert machine.load(0xFE00_0008, 1) == 0x77
    assert port.read(0, 8, 1) == 0x77


def test_memory_starts_behind_the_first_mib(port: QtestPort) -> None:
    buffer = port.alloc(64, 64)

    assert buffer.address >= RESERVED
    buffer.view[:4] = b"data"
    assert bytes(port.arena.block.view[buffer.address : buffer.address + 4]) == b"data"


def test_msix_messages_land_in_ram_and_the_driver_reads_back_its_own(port: QtestPort, machine: FakeMachine) -> None:
    for vector in range(4):
        for field, value in ((0, 0xFEE0_0000), (4, 0), (8, 0x40 + vector), (12, 0)):
            port.write(TABLE, 16 * vector + field, value)
    port.write(CONFIG_REGION, MSIX + 2, 0x8000 | 3, 2)
    base = 0xE000_1000

    fire(port, machine, base + 16)
    fire(port, machine, base + 48)

    assert [port.read(TABLE, 16 + at) for at in (0, 4, 8, 12)] == [0xFEE0_0000, 0, 0x41, 0]
    assert machine.load(base + 16, 4) - machine.load(base, 4) == 4
    assert port.interrupts() == 0b1010
    assert port.interrupts() == 0


def test_msi_is_vector_0(port: QtestPort, machine: FakeMachine) -> None:
    for at, value, size in ((4, 0xFEE0_0000, 4), (8, 0, 4), (12, 0x30, 2), (2, 0x81, 2)):
        port.write(CONFIG_REGION, MSI + at, value, size)
    address = machine.load(CONFIG + MSI + 4, 4)

    view = port.arena.block.view[address : address + 4]
    view[:] = machine.load(CONFIG + MSI + 12, 2).to_bytes(4, "little")
    view.release()

    assert port.read(CONFIG_REGION, MSI + 12, 2) == 0x30
    assert port.interrupts() == 1


def test_intx_is_seen_once_per_assertion(port: QtestPort, machine: FakeMachine) -> None:
    status = CONFIG + 6
    machine.store(status, 8, 2)
    first = [port.interrupts(), port.interrupts()]
    machine.store(status, 0, 2)
    port.read(0, 0)
    machine.store(status, 8, 2)

    assert first == [1, 0]
    assert port.interrupts() == 1


def test_intx_that_is_switched_off_is_not_seen(port: QtestPort, machine: FakeMachine) -> None:
    port.write(CONFIG_REGION, 4, 0x400, 2)
    machine.store(CONFIG + 6, 8, 2)

    assert port.interrupts() == 0


def test_until_looks_again_and_gives_up(port: QtestPort) -> None:
    asked = 0

    def third() -> bool:
        nonlocal asked
        asked += 1
        return asked == 3

    assert port.until(third)
    assert not port.until(lambda: False, timeout_s=0)


def test_reset_is_the_machines_and_maps_everything_again(port: QtestPort, machine: FakeMachine) -> None:
    port.write(TABLE, 0, 0xFEE0_0000)
    machine.log.clear()

    port.reset()

    assert machine.log[:2] == ["system_reset", "RESET"]
    assert "outl 0xcfc 0xb0000001" in machine.log
    assert port.read(TABLE, 0) != 0xFEE0_0000


def test_a_BAR_of_ports_is_reached_by_port_instructions(machine: FakeMachine) -> None:
    """Wherever they begin: the address is not looked at here."""
    machine.masks[0x14], machine.ports = 0xFFFF_FFF0, {0x14}
    port = QtestPort(machine, Arena(RESERVED + (1 << 20), 0), SLOT)
    machine.store(0xC001, 0x1234_5678, 4)
    machine.log.clear()

    port.write(1, 8, 5)
    got = port.read(1, 1)
    port.close()

    assert got == 0x1234_5678
    assert machine.log[:2] == ["outl 0xc008 0x5", "inl 0xc001"]
