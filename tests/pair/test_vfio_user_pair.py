"""One test body, every way to a device: direct calls, a socket with shared memory, a socket with DMA by messages."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pvdev.device import Port
from pvdev.transport.inproc import LocalPort
from pvdev.transport.vfio_user import RUNG, Polling, Server, VfioUserPort
from tests.pair.vfio_user_rig import (
    AFTER,
    BELL,
    DEVICE_ID,
    DONE,
    DST,
    FIRE,
    ICR,
    ID,
    LEN,
    MSI_AT,
    MSIX_AT,
    SCRATCH,
    SCRATCH_ID,
    SRC,
    SYNC,
    VECTOR,
    VENDOR,
    ScratchDevice,
)

Connect = Callable[[ScratchDevice, ExitStack, Path], Port]


def local(device: ScratchDevice, stack: ExitStack, folder: Path) -> Port:
    return LocalPort(device, memory=1 << 20)


POLLED = Polling()


def over_socket(
    *, share: bool = True, posted: bool = False, twin: bool = False, polling: Polling = POLLED, xfer: int = 1 << 20
) -> Connect:
    def connect(device: ScratchDevice, stack: ExitStack, folder: Path) -> Port:
        server = Server(polling=polling)
        path = folder / "s"
        server.add(device, path)
        stack.enter_context(server.background())
        capabilities: dict[str, object] = {"max_msg_fds": 8, "max_data_xfer_size": xfer}
        return VfioUserPort(path, memory=1 << 20, share=share, posted=posted, twin=twin, capabilities=capabilities)

    return connect


WAYS = {
    "local": local,
    "vfio-user": over_socket(),
    "vfio-user posted": over_socket(posted=True),
    "vfio-user rung": over_socket(polling=RUNG),
    "vfio-user messages": over_socket(share=False),
    "vfio-user small messages": over_socket(share=False, xfer=100),
    "vfio-user twin": over_socket(share=False, twin=True),
}


@pytest.fixture
def device() -> Iterator[ScratchDevice]:
    made = ScratchDevice()
    yield made
    made.close()


@pytest.fixture(params=WAYS)
def port(request: pytest.FixtureRequest, device: ScratchDevice, tmp_path: Path) -> Iterator[Port]:
    with ExitStack() as stack:
        made = WAYS[request.param](device, stack, tmp_path)
        stack.callback(made.close)
        yield made


def wait(port: Port, bits: int) -> int:
    """The interrupts that came until all of `bits` had."""
    got = 0

    def done() -> bool:
        nonlocal got
        got |= port.interrupts()
        return got & bits == bits

    assert port.until(done), f"interrupts {got:#x} of {bits:#x}"
    return got


def copy(port: Port, data: bytes, times: int = 1, register: int = BELL) -> memoryview:
    """Have the device copy `data`; the destination."""
    source, target = port.alloc(len(data)), port.alloc(len(data))
    source.view[:] = data
    port.write(0, SRC, source.address)
    port.write(0, DST, target.address)
    port.write(0, LEN, len(data))
    port.write(0, register, times)
    return target.view


PATTERN = bytes(range(256)) * 16


def test_identity_and_registers(port: Port) -> None:
    assert port.read(7, 0) == DEVICE_ID << 16 | VENDOR
    assert port.read(0, ID) == SCRATCH_ID
    port.write(0, SCRATCH, 0xCAFE_F00D)
    assert port.read(0, SCRATCH) == 0xCAFE_F00D


@pytest.mark.parametrize("size", [1, 2, 4])
def test_ports_of_every_width(port: Port, size: int) -> None:
    port.write(3, 8, (1 << 8 * size) - 2, size)

    assert port.read(3, 8, size) == (1 << 8 * size) - 2
    assert port.read(3, 8 + size, 1) == 0


def test_a_copy_and_its_interrupt(port: Port) -> None:
    target = copy(port, PATTERN)

    assert wait(port, 1) == 1
    assert bytes(target) == PATTERN
    assert port.read(0, ICR) == 1
    assert port.read(0, DONE) == 1


def test_a_register_write_is_done_when_it_returns(port: Port) -> None:
    target = copy(port, PATTERN, register=SYNC)

    assert port.read(0, DONE) == 1
    assert bytes(target) == PATTERN


def test_many_copies_from_one_bell(port: Port) -> None:
    copy(port, PATTERN[:64], times=1000)
    wait(port, 1)

    assert port.read(0, DONE) == 1000


def test_msi(port: Port) -> None:
    port.write(7, MSI_AT + 2, 1, 2)
    copy(port, PATTERN)

    assert wait(port, 1) == 1


def test_msix_vectors(port: Port) -> None:
    port.write(7, MSIX_AT + 2, 0x8000, 2)
    for vector in (0, 13, 19):  # the last ones need more than one message of descriptors
        port.write(2, 16 * vector + 12, 0)  # unmask
    port.write(0, FIRE, 0)
    port.write(0, VECTOR, 19)
    copy(port, PATTERN)

    assert wait(port, 1 | 1 << 19) == 1 | 1 << 19


def test_masked_msix_vectors_are_pending(port: Port) -> None:
    port.write(7, MSIX_AT + 2, 0xC000, 2)
    port.write(2, 16 * 5 + 12, 0)
    port.write(0, FIRE, 5)
    assert port.read(2, 0x1000) == 1 << 5
    assert port.interrupts() == 0

    port.write(7, MSIX_AT + 2, 0x8000, 2)

    assert wait(port, 1 << 5) == 1 << 5
    assert port.read(2, 0x1000) == 0


def test_back_to_intx(port: Port) -> None:
    port.write(7, MSIX_AT + 2, 0x8000, 2)
    port.write(7, MSIX_AT + 2, 0, 2)
    copy(port, PATTERN)

    assert wait(port, 1) == 1
    assert port.read(0, ICR) == 1


def test_a_deadline(port: Port) -> None:
    port.write(0, AFTER, 1_000_000)

    assert wait(port, 1) == 1


def test_mappable_memory(port: Port, device: ScratchDevice) -> None:
    for offset in (0x0, 0x1000, 0x1FFC, 0x3010):
        port.write(1, offset, 0x0102_0304 + offset)
        assert port.read(1, offset) == 0x0102_0304 + offset
        assert device.block.view[offset] == (0x04 + offset) & 0xFF


def test_a_buffer_the_device_cannot_reach(port: Port, device: ScratchDevice) -> None:
    port.write(0, SRC, 0xF000_0000)
    port.write(0, LEN, 16)
    port.write(0, SYNC, 1)

    assert port.read(0, DONE) == 0
    assert device.rules.numbers() == {"MEM-01"}


def test_reset(port: Port) -> None:
    port.write(7, MSIX_AT + 2, 0x8000, 2)
    port.write(0, SCRATCH, 5)
    port.write(0, FIRE, 3)
    port.reset()

    assert port.read(0, SCRATCH) == 0
    assert port.read(7, MSIX_AT + 2, 2) & 0x8000 == 0
    assert port.interrupts() == 0
    copy(port, PATTERN)
    wait(port, 1)


def test_buffers_come_zeroed_and_go_back(port: Port) -> None:
    for _ in range(40):
        buffer = port.alloc(100_000)
        assert bytes(buffer.view) == bytes(100_000)
        buffer.view[:] = b"x" * 100_000
        port.free(buffer)


def test_nothing_to_wait_for(port: Port) -> None:
    assert not port.until(lambda: False, timeout_s=0.01)
    assert port.until(lambda: True, timeout_s=0)


def test_no_rule_is_broken(port: Port, device: ScratchDevice) -> None:
    copy(port, PATTERN, times=3)
    wait(port, 1)
    port.read(0, ICR)
    port.reset()

    assert not device.rules
