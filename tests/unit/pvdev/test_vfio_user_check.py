"""What a device says of itself is checked before it is served (rule VFU-S-049); and every rule has its test."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pvdev.errors import ConfigError
from pvdev.mem import SharedBlock
from pvdev.pci import Bar
from pvdev.transport.vfio_user_check import check_device
from pvdev.transport.vfio_user_rules import RULES
from tests.pair.vfio_user_rig import MSIX_AT, Ports, ScratchDevice

ROOT = Path(__file__).parents[2]


@pytest.fixture
def device() -> Iterator[ScratchDevice]:
    made = ScratchDevice()
    yield made
    made.close()


@pytest.fixture(scope="module")
def block() -> Iterator[SharedBlock]:
    made = SharedBlock(0x2000)
    yield made
    made.close()


Spoil = Callable[[ScratchDevice, SharedBlock], None]


def bar(size: int, **facts: object) -> Bar:
    """A BAR past its own checks."""
    made = Bar(0x4000, Ports())
    for name, value in {"size": size, **facts}.items():
        object.__setattr__(made, name, value)
    return made


def put(index: int, make: Callable[[SharedBlock], Bar]) -> Spoil:
    def spoil(device: ScratchDevice, block: SharedBlock) -> None:
        device.pci.bars[index] = make(block)

    return spoil


def pin(device: ScratchDevice, block: SharedBlock) -> None:
    device.pci.identity = replace(device.pci.identity, pin=5)


def config(device: ScratchDevice, block: SharedBlock) -> None:
    device.pci.config.size = 1024


def vectors(device: ScratchDevice, block: SharedBlock) -> None:
    device.pci.irq.vectors = 3


def table(device: ScratchDevice, block: SharedBlock) -> None:
    device.pci.config.data[MSIX_AT + 4 : MSIX_AT + 8] = (0x1F00 | 2).to_bytes(4, "little")


def pending_bits(device: ScratchDevice, block: SharedBlock) -> None:
    device.pci.config.data[MSIX_AT + 8 : MSIX_AT + 12] = (0x2000 | 2).to_bytes(4, "little")


def table_in_ports(device: ScratchDevice, block: SharedBlock) -> None:
    device.pci.config.data[MSIX_AT + 4] = 3


def table_mapped(device: ScratchDevice, block: SharedBlock) -> None:
    device.pci.config.data[MSIX_AT + 4 : MSIX_AT + 8] = (0x1000 | 1).to_bytes(4, "little")


SPOILS: dict[str, tuple[Spoil, str]] = {
    "BAR size": (put(0, lambda block: bar(0x3000)), "not a power of two"),
    "BAR index": (put(6, lambda block: bar(0x1000)), "index 6"),
    "ports": (put(0, lambda block: bar(0x1000, io=True, shared=block)), "cannot be mapped"),
    "area without memory": (put(0, lambda block: bar(0x1000, areas=((0, 0x1000),))), "no shared memory"),
    "area unaligned": (put(0, lambda block: bar(0x2000, shared=block, areas=((1, 0x1000),))), "whole pages"),
    "area outside": (put(0, lambda block: bar(0x1000, shared=block, areas=((0, 0x2000),))), "whole pages"),
    "areas overlap": (put(0, lambda b: bar(0x2000, shared=b, areas=((0, 0x2000), (0x1000, 0x1000)))), "overlap"),
    "memory too short": (put(0, lambda block: bar(0x4000, shared=block)), "has 0x2000 bytes"),
    "too many areas": (
        put(0, lambda b: bar(1 << 24, shared=b, areas=tuple((i << 13, 4096) for i in range(1000)))),
        "has",
    ),
    "pin": (pin, "interrupt pin 5"),
    "config": (config, "config space of 1024"),
    "vectors": (vectors, "has 20 vectors"),
    "MSI-X table": (table, "MSI-X table at 0x1f00"),
    "MSI-X pending bits": (pending_bits, "MSI-X pending bits at 0x2000"),
    "MSI-X table in ports": (table_in_ports, "memory BAR"),
    "MSI-X table mapped": (table_mapped, "inside a mappable area"),
}


@pytest.mark.parametrize("what", SPOILS)
def test_VFU_S_049_a_device_no_vmm_could_use(device: ScratchDevice, block: SharedBlock, what: str) -> None:
    spoil, text = SPOILS[what]
    spoil(device, block)

    with pytest.raises(ConfigError, match=text) as failure:
        check_device(device)

    assert str(failure.value).startswith("scratch cannot be served: ")
    assert "\n" not in str(failure.value)


def test_a_sound_device_passes(device: ScratchDevice) -> None:
    check_device(device)


def test_every_rule_has_a_test() -> None:
    named = set()
    for file in ROOT.glob("**/test_vfio_user_*.py"):
        named |= set(re.findall(r"def test_VFU_([SC])_(\d{3})_", file.read_text()))

    assert {(rule.number[4], rule.number[6:]) for rule in RULES} == named


def test_rule_texts_are_one_plain_line() -> None:
    for rule in RULES:
        assert "\n" not in rule.text
        assert rule.source
