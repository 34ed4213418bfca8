"""DMA_MAP and DMA_UNMAP with files that are only bytes. One test per rule."""

import errno
from collections.abc import Iterator

import pytest

from pvdev.mem import DmaFault
from pvdev.transport import vfio_user_wire as wire
from pvdev.transport.vfio_user_client import QEMU_CAPABILITIES
from pvdev.transport.vfio_user_wire import Command
from tests.pair.vfio_user_rig import FakeFile, ScratchDevice, Talk, dma_map, dma_unmap

EINVAL = errno.EINVAL


def start(**capabilities: object) -> Talk:
    talk = Talk(ScratchDevice())
    talk.hello(capabilities)
    talk.host.files = {40: FakeFile(), 41: FakeFile(), 42: FakeFile(inode=2), 43: FakeFile(error=errno.ENODEV)}
    return talk


@pytest.fixture
def talk() -> Iterator[Talk]:
    """Descriptors 40 and 41 are one file of 64 KiB, 42 another, 43 cannot be mapped."""
    made = start()
    yield made
    made.device.close()


@pytest.fixture
def qemu() -> Iterator[Talk]:
    made = start(**QEMU_CAPABILITIES)
    yield made
    made.device.close()


def test_a_mapped_region_is_the_file(talk: Talk) -> None:
    talk.done(Command.DMA_MAP, dma_map(0x1_0000, 0x2000, offset=0x1000), [40])
    talk.host.files[40].data[0x1010:0x1014] = b"abcd"

    assert talk.device.mem.read(0x1_0010, 4) == b"abcd"
    talk.device.mem.write(0x1_0020, b"xyz")
    assert talk.host.files[40].data[0x1020:0x1023] == b"xyz"
    assert talk.host.closed == [40]  # the mapping stays
    assert not talk.log


def test_VFU_S_090_map_cut_short(talk: Talk) -> None:
    assert talk.refused(Command.DMA_MAP, dma_map(0, 0x1000)[:31]) == EINVAL
    assert talk.refused(Command.DMA_MAP, dma_map(0, 0x1000, argsz=31), [40]) == EINVAL
    assert talk.host.closed == [40]
    assert talk.log.numbers() == {"VFU-S-090"}


@pytest.mark.parametrize(("flags", "fds"), [(0x13, [40]), (0, [40]), (4, [40]), (7, []), (11, []), (0, [])])
def test_VFU_S_091_map_flags(talk: Talk, flags: int, fds: list[int]) -> None:
    assert talk.refused(Command.DMA_MAP, dma_map(0, 0x1000, flags=flags), fds) == EINVAL
    assert talk.log.numbers() == {"VFU-S-091"}


@pytest.mark.parametrize("flags", [7, 11])
def test_flags_of_libvfio_user_are_taken(talk: Talk, flags: int) -> None:
    talk.done(Command.DMA_MAP, dma_map(0, 0x1000, flags=flags), [40])

    assert talk.device.mem.reachable(0, 0x1000, write=True)


@pytest.mark.parametrize(("address", "size"), [(0, 0x1000), (0x1000, 0x1000), (0, 0x4000), (0x2000, 0x4000)])
def test_VFU_S_092_overlap(talk: Talk, address: int, size: int) -> None:
    talk.done(Command.DMA_MAP, dma_map(0, 0x3000), [40])

    assert talk.refused(Command.DMA_MAP, dma_map(address, size), [42]) == errno.EEXIST
    assert talk.log.numbers() == {"VFU-S-092"}
    assert len(talk.session.dma) == 1


def test_VFU_S_093_the_same_again(talk: Talk) -> None:
    talk.done(Command.DMA_MAP, dma_map(0, 0x1000), [40])
    talk.done(Command.DMA_MAP, dma_map(0, 0x1000), [41])  # another number for the same file

    assert talk.log.numbers() == {"VFU-S-093"}
    assert talk.host.closed == [40, 41]
    assert len(talk.session.dma) == 1


@pytest.mark.parametrize("again", [[42], []])
def test_VFU_S_093_not_quite_the_same(talk: Talk, again: list[int]) -> None:
    talk.done(Command.DMA_MAP, dma_map(0, 0x1000), [40])

    assert talk.refused(Command.DMA_MAP, dma_map(0, 0x1000), again) == errno.EEXIST


@pytest.mark.parametrize(
    ("address", "size"), [(0, 0), ((1 << 64) - 0x1000, 0x2000), (0x1000, (1 << 64) - 1), ((1 << 64) - 1, 2)]
)
def test_VFU_S_094_no_size_or_past_the_end(talk: Talk, address: int, size: int) -> None:
    assert talk.refused(Command.DMA_MAP, dma_map(address, size)) == EINVAL
    assert talk.log.numbers() == {"VFU-S-094"}


def test_the_last_page_there_is(talk: Talk) -> None:
    talk.done(Command.DMA_MAP, dma_map((1 << 64) - 0x1000, 0x1000), [40])

    assert talk.device.mem.read((1 << 64) - 4, 4) == bytes(4)


@pytest.mark.parametrize(("address", "size", "offset"), [(3, 0x1000, 0), (0, 5, 0), (0, 0x1000, 7)])
def test_VFU_S_095_unaligned(talk: Talk, address: int, size: int, offset: int) -> None:
    talk.done(Command.DMA_MAP, dma_map(address, size, offset=offset), [40])

    assert talk.log.numbers() == {"VFU-S-095"}
    assert talk.device.mem.reachable(address, size)


def test_VFU_S_096_file_too_short(talk: Talk) -> None:
    assert talk.refused(Command.DMA_MAP, dma_map(0, 0x2000, offset=0xF000), [40]) == EINVAL
    assert talk.log.numbers() == {"VFU-S-096"}


def test_VFU_S_097_not_mappable(talk: Talk) -> None:
    assert talk.refused(Command.DMA_MAP, dma_map(0, 0x1000), [43]) == errno.ENODEV
    assert talk.host.closed == [43]
    assert talk.log.numbers() == {"VFU-S-097"}


def test_VFU_S_098_two_descriptors(talk: Talk) -> None:
    assert talk.refused(Command.DMA_MAP, dma_map(0, 0x1000), [40, 41]) == EINVAL
    assert talk.host.closed == [40, 41]


def test_VFU_S_099_too_many_regions(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAPS_MAX", 2)
    for i in range(2):
        talk.done(Command.DMA_MAP, dma_map(i << 12, 0x1000))

    assert talk.refused(Command.DMA_MAP, dma_map(0x2000, 0x1000)) == errno.ENOSPC


def test_VFU_S_100_maps_are_taken_whether_or_not_the_device_uses_them(talk: Talk) -> None:
    """What QEMU sends for BAR windows and ROMs: no descriptor, nobody ever touches them."""
    talk.done(Command.DMA_MAP, dma_map(0xFEBF_0000, 0x1000))
    talk.done(Command.DMA_MAP, dma_map(0xFFFC_0000, 0x4_0000, flags=1))

    assert talk.host.events == ["scratch: client connected: a vfio-user client, protocol 0.0"]


@pytest.mark.parametrize(("address", "size"), [(0, 0x1000), (0x1000, 0x2000), (0, 0x4000), (0x8000, 0x1000), (0, 0)])
def test_VFU_S_101_unmap_is_exact(talk: Talk, address: int, size: int) -> None:
    talk.done(Command.DMA_MAP, dma_map(0, 0x3000), [40])

    assert talk.refused(Command.DMA_UNMAP, dma_unmap(address, size)) == errno.ENOENT
    assert talk.log.numbers() == {"VFU-S-101"}
    assert talk.device.mem.reachable(0, 0x3000)


@pytest.mark.parametrize(
    "payload", [dma_unmap(0, 0x1000)[:23], dma_unmap(0, 0x1000, argsz=23), dma_unmap(0, 0x1000, argsz=(1 << 20) + 1)]
)
def test_VFU_S_102_unmap_cut_short(talk: Talk, payload: bytes) -> None:
    assert talk.refused(Command.DMA_UNMAP, payload) == EINVAL
    assert talk.log.numbers() == {"VFU-S-102"}


@pytest.mark.parametrize(
    ("flags", "address", "size"), [(2, 0x1000, 0), (2, 0, 0x1000), (3, 0, 0), (1, 0, 0), (4, 0, 0)]
)
def test_VFU_S_103_unmap_flags(talk: Talk, flags: int, address: int, size: int) -> None:
    assert talk.refused(Command.DMA_UNMAP, dma_unmap(address, size, flags=flags)) == EINVAL
    assert talk.log.numbers() == {"VFU-S-103"}


def test_unmap_echoes_its_request(talk: Talk) -> None:
    talk.done(Command.DMA_MAP, dma_map(0x1000, 0x1000), [40])

    assert talk.done(Command.DMA_UNMAP, dma_unmap(0x1000, 0x1000)) == dma_unmap(0x1000, 0x1000)
    assert talk.device.mem.regions() == ()


def test_unmap_all(talk: Talk) -> None:
    for i in range(3):
        talk.done(Command.DMA_MAP, dma_map(i << 13, 0x1000), [40])

    talk.done(Command.DMA_UNMAP, dma_unmap(0, 0, flags=2))

    assert talk.device.mem.regions() == ()


def test_VFU_S_104_holders_have_let_go_when_unmap_is_answered(talk: Talk) -> None:
    talk.done(Command.DMA_MAP, dma_map(0, 0x1000), [40])
    window = talk.device.mem.window(0, 64)
    talk.device.mem.on_unmap(lambda lo, hi: window.release())

    talk.done(Command.DMA_UNMAP, dma_unmap(0, 0x1000))

    assert not talk.log


def test_read_only_memory_is_not_written(talk: Talk) -> None:
    talk.done(Command.DMA_MAP, dma_map(0, 0x1000, flags=1), [40])

    with pytest.raises(DmaFault, match="MEM-02"):
        talk.device.mem.write(0, b"x")


def test_memory_without_a_descriptor_is_reached_by_messages(talk: Talk) -> None:
    talk.done(Command.DMA_MAP, dma_map(0, 0x1000))

    assert talk.device.mem.read(8, 4) == b"RRRR"


def test_qemu_is_never_asked_for_memory_by_message(qemu: Talk) -> None:
    qemu.done(Command.DMA_MAP, dma_map(0, 0x1000))
    assert len(qemu.host.events) == 1

    for _ in range(2):
        with pytest.raises(DmaFault):
            qemu.device.mem.read(8, 4)
    with pytest.raises(DmaFault):
        qemu.device.mem.write(8, b"abcd")

    assert len(qemu.host.events) == 2
    assert "guest memory is not shared: 0x8" in qemu.host.events[1]
    assert "memory-backend-memfd,id=m,size=<as in -m>,share=on -machine memory-backend=m" in qemu.host.events[1]


def test_VFU_S_113_what_is_checked_is_a_copy(talk: Talk) -> None:
    """`read` gives private bytes: what the client changes afterwards is not seen."""
    talk.done(Command.DMA_MAP, dma_map(0, 0x1000), [40])
    copy = talk.device.mem.read(0, 4)
    talk.host.files[40].data[0:4] = b"evil"

    assert copy == bytes(4)
