"""Message layouts against literal bytes, and the cutting of a stream into messages."""

import json
import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvdev.transport import vfio_user_wire as wire
from pvdev.transport.vfio_user_wire import Command, MessageReader


def hx(text: str) -> bytes:
    return bytes.fromhex(text)


# Worked out from the specification's tables; little-endian.
GOLDEN = {
    "GET_INFO request": (
        wire.pack(3, Command.DEVICE_GET_INFO, wire.DEVICE_INFO.encode(argsz=16)),
        hx("03000400 20000000 00000000 00000000 10000000 00000000 00000000 00000000"),
    ),
    "GET_INFO reply": (
        wire.pack(3, 4, wire.DEVICE_INFO.encode(argsz=16, flags=3, num_regions=9, num_irqs=5), flags=1),
        hx("03000400 20000000 01000000 00000000 10000000 03000000 09000000 05000000"),
    ),
    "error reply EINVAL to READ": (
        wire.pack(3, Command.REGION_READ, flags=wire.TYPE_REPLY | wire.ERROR, error=22),
        hx("03000900 10000000 21000000 16000000"),
    ),
    "posted write": (
        wire.pack(
            3,
            Command.REGION_WRITE,
            wire.REGION_ACCESS.encode(offset=0x10, region=0, count=4) + hx("efbeadde"),
            flags=wire.NO_REPLY,
        ),
        hx("03000a00 24000000 10000000 00000000 1000000000000000 00000000 04000000 efbeadde"),
    ),
    "INTx on": (
        wire.pack(3, Command.DEVICE_SET_IRQS, wire.SET_IRQS.encode(argsz=20, flags=0x24, count=1)),
        hx("03000800 24000000 00000000 00000000 14000000 24000000 00000000 00000000 01000000"),
    ),
    "DMA_MAP": (
        wire.pack(3, Command.DMA_MAP, wire.DMA_MAP.encode(argsz=32, flags=3, size=256 << 20)),
        hx("03000200 30000000 00000000 00000000 20000000 030000000000000000000000 0000000000000000 0000001000000000"),
    ),
    "DMA_UNMAP": (
        wire.pack(3, Command.DMA_UNMAP, wire.DMA_UNMAP.encode(argsz=24, address=0x10_0000, size=0x1000)),
        hx("03000300 28000000 00000000 00000000 18000000 00000000 0000100000000000 0010000000000000"),
    ),
    "sparse capability": (
        wire.sparse_cap([(0x4000, 0x1000)]),
        hx("01000100 00000000 01000000 00000000 0040000000000000 0010000000000000"),
    ),
    "DMA_READ": (
        wire.pack(9, Command.DMA_READ, wire.DMA_ACCESS.encode(address=0x1234, count=8)),
        hx("09000b00 20000000 00000000 00000000 3412000000000000 0800000000000000"),
    ),
    "WRITE_MULTI entry": (
        wire.WRITE_MULTI_ENTRY.encode(offset=0x20, region=1, count=4, data=hx("01020304")),
        hx("2000000000000000 01000000 04000000 01020304 00000000"),
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_bytes(name: str) -> None:
    made, literal = GOLDEN[name]

    assert made == literal


def test_golden_bytes_are_read_back() -> None:
    (message,) = MessageReader().feed(GOLDEN["posted write"][1])

    assert (message.msg_id, message.command, message.size, message.flags) == (3, 10, 36, wire.NO_REPLY)
    assert wire.REGION_ACCESS.decode(message.payload) == {"offset": 0x10, "region": 0, "count": 4}
    assert not message.is_reply


def test_a_message_explains_itself() -> None:
    (message,) = MessageReader().feed(wire.pack(3, 9, b"abc"))
    (unknown,) = MessageReader().feed(wire.pack(3, 99, flags=1))

    assert "REGION_READ command id 3" in repr(message)
    assert "99 reply" in repr(unknown)


# -- VERSION ---------------------------------------------------------------------------------------------------------


def test_version_payload_has_no_spare_space() -> None:
    payload = wire.version_payload(0, 1, {"max_msg_fds": 8})

    assert payload == b'\x00\x00\x01\x00{"capabilities":{"max_msg_fds":8}}\x00'


def test_version_without_json() -> None:
    assert wire.parse_version(wire.version_payload(0, 0, None)) == (0, 0, None)


@pytest.mark.parametrize(
    "payload",
    [b"", b"\0\0\0", b"\0\0\0\0{}", b"\0\0\0\0{\0", b"\0\0\0\0\xff\0", b"\0\0\0\0" + b"[" * 100_000 + b"\0"],
    ids=["empty", "short", "no NUL", "no JSON", "no UTF-8", "too deep"],
)
def test_version_that_makes_no_sense(payload: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the type is the promise
        wire.parse_version(payload)


def test_version_stops_at_the_first_nul() -> None:
    assert wire.parse_version(b"\0\0\2\0{}\0garbage\0") == (0, 2, {})


# -- region information ----------------------------------------------------------------------------------------------


def info(body: bytes, cap_offset: int = 32) -> bytes:
    return wire.REGION_INFO.encode(argsz=32 + len(body), cap_offset=cap_offset) + body


def test_areas_of_a_region() -> None:
    areas = [(0x1000, 0x1000), (0x4000, 0x2000)]

    assert wire.region_areas(info(wire.sparse_cap(areas))) == areas
    assert wire.region_areas(info(b"", 0)) is None


@pytest.mark.parametrize(
    "payload",
    [
        info(b"", 8),
        info(b"", 32),
        info(wire.CAP_HEADER.encode(id=9, version=1, next=32)),
        info(wire.CAP_HEADER.encode(id=1, version=1)),
        info(wire.CAP_HEADER.encode(id=1, version=1) + wire.SPARSE_MMAP.encode(nr_areas=1 << 31)),
    ],
    ids=["inside the fixed part", "past the end", "a loop", "cut short", "too many areas"],
)
def test_capability_chains_that_make_no_sense(payload: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        wire.region_areas(payload)


# -- the reader ------------------------------------------------------------------------------------------------------

STREAM = wire.pack(1, 4, b"a" * 16) + wire.pack(2, 13) + wire.pack(3, 10, b"b" * 5000) + wire.pack(4, 9, b"c" * 16)


def shape(reader: MessageReader, chunks: list[bytes]) -> list[tuple[int, int, bytes]]:
    return [(m.msg_id, m.command, m.payload) for chunk in chunks for m in reader.feed(chunk)]


WHOLE = shape(MessageReader(), [STREAM])


def test_several_messages_in_one_read() -> None:
    assert [(ident, len(payload)) for ident, _, payload in WHOLE] == [(1, 16), (2, 0), (3, 5000), (4, 16)]


def test_VFU_S_001_a_header_in_pieces_is_put_together() -> None:
    reader = MessageReader()

    assert reader.feed(STREAM[:7]) == []
    assert reader.inside
    assert shape(reader, [STREAM[7:]]) == WHOLE
    assert not reader.inside


def test_VFU_S_002_a_payload_in_pieces_is_put_together() -> None:
    reader = MessageReader()

    assert shape(reader, [STREAM[:20], STREAM[20:100], STREAM[100:]]) == WHOLE


def test_the_stream_byte_by_byte() -> None:
    assert shape(MessageReader(), [STREAM[i : i + 1] for i in range(len(STREAM))]) == WHOLE


@given(st.lists(st.integers(1, len(STREAM) - 1), max_size=20))
def test_any_fragmentation_gives_the_same_messages(cuts: list[int]) -> None:
    edges = [0, *sorted(set(cuts)), len(STREAM)]

    assert shape(MessageReader(), [STREAM[a:b] for a, b in pairwise(edges)]) == WHOLE


def test_VFU_S_003_a_message_under_16_bytes_ends_the_stream() -> None:
    reader = MessageReader()

    (message,) = reader.feed(struct.pack("<HHIII", 1, 4, 15, 0, 0) + b"rest")

    assert message.fault == "VFU-S-003"
    assert reader.broken
    assert reader.feed(STREAM) == []


def test_VFU_S_005_a_message_too_large_is_reported_and_read_past() -> None:
    reader = MessageReader(limit=64)
    large = wire.pack(5, 10, b"x" * 100)

    messages = [m for chunk in (large[:30], large[30:] + STREAM[:32]) for m in reader.feed(chunk)]

    assert [(m.msg_id, m.fault, m.payload) for m in messages] == [(5, "VFU-S-005", b""), (1, "", b"a" * 16)]
    assert not reader.broken


def test_VFU_S_005_a_message_beyond_all_measure_ends_the_stream() -> None:
    reader = MessageReader()

    (message,) = reader.feed(struct.pack("<HHIII", 1, 10, 0xFFFF_FFFF, 0, 0))

    assert message.fault == "VFU-S-005"
    assert reader.broken


def test_the_largest_write_is_taken() -> None:
    reader = MessageReader()
    data = wire.pack(1, 10, bytes(16 + wire.XFER_MAX))

    assert len(data) == wire.MESSAGE_MAX
    assert [m.fault for m in reader.feed(data)] == [""]


def test_descriptors_stay_with_the_message_whose_bytes_they_came_with() -> None:
    reader = MessageReader()

    messages = reader.feed(STREAM[:48], [11, 12])  # read together with the one before it

    assert [(m.msg_id, m.fds) for m in messages] == [(1, []), (2, [11, 12])]


def test_descriptors_wait_for_the_rest_of_their_message() -> None:
    reader = MessageReader()

    assert reader.feed(STREAM[:20], [11]) == []
    messages = reader.feed(STREAM[20:])

    assert [m.fds for m in messages] == [[11], [], [], []]


def test_descriptors_of_no_message_are_handed_back() -> None:
    reader = MessageReader(limit=64)
    reader.feed(wire.pack(5, 10, b"x" * 100)[:40])

    assert reader.feed(b"x", [11]) == []
    assert reader.stray == [11]


def test_descriptors_of_an_unfinished_message_are_handed_back_at_the_end() -> None:
    reader = MessageReader()
    reader.feed(STREAM[:20], [11])

    assert reader.abandon() == [11]


def test_the_reader_asks_for_what_is_missing() -> None:
    reader = MessageReader()
    assert reader.want == 4096
    reader.feed(wire.pack(1, 10, bytes(100_000))[:1000])

    assert reader.want == 100_016 - 1000


def test_golden_json_of_qemu_is_understood() -> None:
    text = (
        '{"capabilities": {"pgsizes": 4096, "max_msg_fds": 16, "max_dma_maps": 65535, "max_data_xfer_size": 1048576,'
        ' "migration": {"max_bitmap_size": 268435456, "pgsize": 4096}, "write_multiple": true}}'
    )

    major, minor, document = wire.parse_version(bytes(4) + text.encode() + b"\0")

    assert (major, minor) == (0, 0)
    assert document == json.loads(text)
