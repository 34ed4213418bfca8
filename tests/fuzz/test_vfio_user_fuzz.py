"""Whatever a client sends, the server neither dies nor hangs, and the next client finds a working device."""

import contextlib
import os
import struct
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pvdev.errors import PeerError
from pvdev.transport import vfio_user_wire as wire
from pvdev.transport.vfio_user import Client, Server
from pvdev.transport.vfio_user_client import QEMU_CAPABILITIES
from pvdev.transport.vfio_user_wire import Command, MessageReader
from tests.pair.vfio_user_rig import ID, SCRATCH_ID, FakeFile, ScratchDevice, Talk, access, dma_map, dma_unmap, irqs

GOOD = [
    wire.pack(1, Command.VERSION, wire.version_payload(0, 0, QEMU_CAPABILITIES)),
    wire.pack(2, Command.DMA_MAP, dma_map(0, 0x1000)),
    wire.pack(3, Command.DMA_UNMAP, dma_unmap(0, 0x1000)),
    wire.pack(4, Command.DEVICE_GET_INFO, wire.DEVICE_INFO.encode(argsz=16)),
    wire.pack(5, Command.DEVICE_GET_REGION_INFO, wire.REGION_INFO.encode(argsz=80, index=1)),
    wire.pack(6, Command.DEVICE_GET_REGION_IO_FDS, wire.IO_FDS.encode(argsz=16)),
    wire.pack(7, Command.DEVICE_GET_IRQ_INFO, wire.IRQ_INFO.encode(argsz=16, index=2)),
    wire.pack(8, Command.DEVICE_SET_IRQS, irqs(2, 0x24, 0, 2)),
    wire.pack(8, Command.DEVICE_SET_IRQS, irqs(0, 0x22, 0, 1, b"\1")),
    wire.pack(9, Command.REGION_READ, wire.REGION_ACCESS.encode(count=4)),
    wire.pack(10, Command.REGION_WRITE, access(0, 0x10, b"\1\0\0\0")),
    wire.pack(11, Command.REGION_WRITE, access(7, 0x9E, b"\0\x80")),
    wire.pack(12, Command.REGION_WRITE_MULTI, wire.WRITE_MULTI.encode(wr_cnt=1) + bytes(24)),
    wire.pack(13, Command.DEVICE_RESET),
    wire.pack(14, Command.DEVICE_FEATURE, wire.FEATURE.encode(argsz=8, flags=0x10001)),
    wire.pack(15, Command.MIG_DATA_READ, wire.MIG_DATA.encode(argsz=8, size=16)),
]

EDGES = [0, 1, 3, 4, 7, 8, 0xFF, 0xFFF, 0x1000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF]


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """A good message with some of its 32-bit words replaced, cut, or lengthened; its size word mostly right."""
    data = bytearray(draw(st.sampled_from(GOOD)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data) // 4 - 1)) * 4
        struct.pack_into("<I", data, at, draw(st.sampled_from(EDGES) | st.integers(0, 0xFFFF_FFFF)))
    data = data[: draw(st.integers(16, len(data)))] + draw(st.binary(max_size=24))
    if draw(st.integers(0, 9)):
        struct.pack_into("<I", data, 4, len(data))
    return bytes(data)


STREAMS = st.lists(mutants() | st.binary(max_size=64) | st.sampled_from(GOOD), max_size=12)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    device = ScratchDevice()
    server = Server(dma_timeout_s=0.005)
    path = tmp_path_factory.mktemp("fuzz") / "s"
    server.add(device, path)
    with server.background():
        yield path
    device.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(negotiate=st.booleans(), stream=STREAMS, cuts=st.lists(st.integers(1, 400), max_size=4), fd=st.booleans())
def test_any_bytes_to_a_socket(path: Path, negotiate: bool, stream: list[bytes], cuts: list[int], fd: bool) -> None:
    data = b"".join(stream)
    fds = [os.eventfd(0)] if fd else []
    with contextlib.suppress(PeerError), Client(path, negotiate=negotiate) as client:
        last = 0
        for cut in [*sorted(cuts), len(data)]:
            if data[last:cut]:
                client.send(data[last:cut], fds)
            last = max(cut, last)
    for event in fds:
        os.close(event)

    with Client(path) as client:
        reply = client.call(Command.REGION_READ, wire.REGION_ACCESS.encode(offset=ID, count=4))
        assert int.from_bytes(reply.payload[16:], "little") == SCRATCH_ID


@settings(max_examples=300, deadline=None)
@given(stream=STREAMS, fds=st.lists(st.integers(0, 3), max_size=12), strict=st.booleans())
def test_any_messages_to_a_session(stream: list[bytes], fds: list[int], strict: bool) -> None:
    """Every command gets one reply of its own id, whatever it holds; every descriptor is kept or closed once."""
    device = ScratchDevice()
    talk = Talk(device, strict=strict)
    talk.host.files = {fd: FakeFile(error=5 if fd % 5 == 0 else 0) for fd in range(100, 200)}
    talk.hello(QEMU_CAPABILITIES)
    reader, numbers, given_fds = MessageReader(), count(100), []
    for message in reader.feed(b"".join(stream)):
        message.fds = [next(numbers) for _ in range(fds.pop() if fds else 0)]
        given_fds += message.fds
        talk.feed(message)
        device.service(16, 0)
    talk.session.gone()

    assert sorted(talk.host.closed) == given_fds
    assert device.mem.regions() == ()
    fresh = Talk(device)
    fresh.hello()
    assert fresh.read(0, ID) == SCRATCH_ID
    device.close()
