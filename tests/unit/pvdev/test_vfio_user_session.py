"""The server's session without a socket: negotiation, information, register access, reset. One test per rule."""

import errno
import json
from collections.abc import Iterator

import pytest

from pvdev.errors import GuestFault
from pvdev.transport import vfio_user_wire as wire
from pvdev.transport.vfio_user_client import QEMU_CAPABILITIES
from pvdev.transport.vfio_user_regions import split
from pvdev.transport.vfio_user_session import STRAYS_MAX
from pvdev.transport.vfio_user_wire import Command, Message
from tests.pair.vfio_user_rig import (
    DONE,
    FIRE,
    ID,
    SCRATCH,
    SCRATCH_ID,
    FakeFile,
    ScratchDevice,
    Talk,
    access,
    dma_map,
    dma_unmap,
    irqs,
)

EINVAL = errno.EINVAL
READ_SCRATCH = wire.REGION_ACCESS.encode(offset=SCRATCH, region=0, count=4)


@pytest.fixture
def device() -> Iterator[ScratchDevice]:
    made = ScratchDevice()
    yield made
    made.close()


@pytest.fixture
def fresh(device: ScratchDevice) -> Talk:
    """Connected, nothing said."""
    return Talk(device)


@pytest.fixture
def talk(fresh: Talk) -> Talk:
    """VERSION is done."""
    fresh.hello()
    return fresh


@pytest.fixture
def qemu(fresh: Talk) -> Talk:
    """VERSION is done, the client is QEMU."""
    fresh.hello(QEMU_CAPABILITIES)
    return fresh


@pytest.fixture
def strict(device: ScratchDevice) -> Talk:
    made = Talk(device, strict=True)
    made.hello()
    return made


# -- header ----------------------------------------------------------------------------------------------------------


def message(**facts: int | str) -> Message:
    made = Message(7, int(facts.get("command", 13)), int(facts.get("size", 16)), int(facts.get("flags", 0)), 0)
    made.fault = str(facts.get("fault", ""))
    return made


def test_VFU_S_003_a_short_message_is_answered_and_ends_the_connection(talk: Talk) -> None:
    reply = talk.feed(message(fault="VFU-S-003", size=8))

    assert reply is not None
    assert reply.error == EINVAL
    assert talk.session.closing


@pytest.mark.parametrize("command", [4, 5, 6, 7])
def test_VFU_S_004_a_command_without_its_payload(talk: Talk, command: int) -> None:
    assert talk.refused(command) == EINVAL
    assert "VFU-S-004" in talk.log.numbers()


def test_VFU_S_005_a_message_too_large_is_refused_and_the_link_kept(talk: Talk) -> None:
    reply = talk.feed(message(fault="VFU-S-005", size=2 << 20))

    assert reply is not None
    assert reply.error == EINVAL
    assert talk.read(0, ID) == SCRATCH_ID
    assert not talk.session.closing


def test_VFU_S_007_a_reply_to_nothing_is_dropped(talk: Talk) -> None:
    assert talk.say(Command.REGION_READ, flags=wire.TYPE_REPLY) is None
    assert talk.log.count("VFU-S-007") == 1
    assert not talk.session.closing


def test_VFU_S_007_replies_without_end_end_the_connection(talk: Talk) -> None:
    for _ in range(STRAYS_MAX + 1):
        talk.say(Command.REGION_READ, flags=wire.TYPE_REPLY)

    assert talk.session.closing


@pytest.mark.parametrize("kind", [2, 15])
def test_VFU_S_008_unknown_message_types(talk: Talk, kind: int) -> None:
    reply = talk.say(Command.DEVICE_RESET, flags=kind)

    assert reply is not None
    assert reply.error == EINVAL
    assert talk.device.resets == 0


def test_VFU_S_009_error_in_a_command_is_ignored(talk: Talk) -> None:
    reply = talk.say(Command.DEVICE_RESET, flags=wire.ERROR, error=5)

    assert reply is not None
    assert reply.error == 0
    assert talk.log.numbers() == {"VFU-S-009"}


def test_VFU_S_010_unknown_flags_are_ignored(talk: Talk) -> None:
    reply = talk.say(Command.DEVICE_RESET, flags=0x8000)

    assert reply is not None
    assert reply.flags == wire.TYPE_REPLY
    assert talk.log.numbers() == {"VFU-S-010"}


@pytest.mark.parametrize("command", [0, Command.DMA_READ, Command.DMA_WRITE, Command.DIRTY_PAGES, 19, 0xFFFF])
def test_VFU_S_011_commands_no_client_sends(talk: Talk, command: int) -> None:
    assert talk.refused(command, bytes(32)) == EINVAL
    assert talk.log.numbers() == {"VFU-S-011"}


def test_VFU_S_012_no_reply_means_none_even_for_an_error(talk: Talk) -> None:
    assert talk.say(Command.REGION_WRITE, access(0, SCRATCH, b"\1\2\3\4"), flags=wire.NO_REPLY) is None
    assert talk.say(Command.REGION_READ, flags=wire.NO_REPLY) is None
    assert talk.read(0, SCRATCH) == 0x04030201
    assert talk.log.numbers() == {"VFU-S-070"}


def test_VFU_S_013_one_id_twice(talk: Talk) -> None:
    first, second = talk.say(Command.REGION_READ, READ_SCRATCH), talk.say(Command.DEVICE_RESET)

    assert first is not None
    assert second is not None
    assert (first.msg_id, first.command, second.msg_id, second.command) == (7, 9, 7, 13)


def test_VFU_S_014_surplus_payload(talk: Talk) -> None:
    reply = talk.done(Command.DEVICE_GET_INFO, wire.DEVICE_INFO.encode(argsz=32) + bytes(16))

    assert len(reply) == 16
    assert talk.log.numbers() == {"VFU-S-014"}


def test_VFU_S_015_surplus_descriptors_are_closed(talk: Talk) -> None:
    talk.done(Command.DEVICE_RESET, b"", [50, 51])

    assert talk.host.closed == [50, 51]
    assert talk.log.numbers() == {"VFU-S-015"}


def test_VFU_S_017_an_error_reply_is_the_bare_header(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(region: int, offset: int, size: int) -> int:
        raise GuestFault("X-1", "a model that lets a fault out", 0)

    monkeypatch.setattr(talk.device.pci, "read", fails)

    assert talk.refused(Command.REGION_READ, READ_SCRATCH) == errno.EIO


# -- negotiation -----------------------------------------------------------------------------------------------------


def said(reply: Message) -> object:
    document = wire.parse_version(reply.payload)[2]
    assert isinstance(document, dict)
    return document["capabilities"]


def test_VFU_S_020_the_first_message_is_version(fresh: Talk) -> None:
    assert fresh.refused(Command.DEVICE_RESET) == EINVAL
    assert fresh.session.closing
    assert fresh.device.resets == 0


def test_VFU_S_021_version_comes_once(talk: Talk) -> None:
    assert talk.refused(Command.VERSION, wire.version_payload(0, 0, None)) == EINVAL
    assert not talk.session.closing
    assert talk.read(0, ID) == SCRATCH_ID


def test_VFU_S_022_major_version(fresh: Talk) -> None:
    assert fresh.refused(Command.VERSION, wire.version_payload(1, 0, {})) == EINVAL
    assert fresh.session.closing


@pytest.mark.parametrize(("proposed", "effective"), [(0, 0), (1, 1), (2, 1), (9, 1)])
def test_VFU_S_023_minor_version(fresh: Talk, proposed: int, effective: int) -> None:
    reply = fresh.hello({}, minor=proposed)

    assert wire.parse_version(reply.payload)[:2] == (0, effective)
    assert fresh.session.peer.minor == effective


def test_VFU_S_024_version_without_numbers(fresh: Talk) -> None:
    assert fresh.refused(Command.VERSION, b"\0\0\0") == EINVAL
    assert fresh.session.closing


@pytest.mark.parametrize("text", [b"{}", b"{\0", b'{"capabilities":[]}\0', b'{"capabilities":1}\0'])
def test_VFU_S_025_version_json_that_makes_no_sense(fresh: Talk, text: bytes) -> None:
    assert fresh.refused(Command.VERSION, bytes(4) + text) == EINVAL
    assert fresh.session.closing


@pytest.mark.parametrize("text", [b"", b"{}\0", b'{"capabilities":{"new":1},"more":[]}\0', b"[1]\0", b"null\0"])
def test_VFU_S_026_optional_json(fresh: Talk, text: bytes) -> None:
    fresh.done(Command.VERSION, bytes(4) + text)

    assert fresh.session.ready


def test_VFU_S_026_strict_wants_an_object(device: ScratchDevice) -> None:
    talk = Talk(device, strict=True)

    assert talk.refused(Command.VERSION, bytes(4) + b"[]\0") == EINVAL
    assert talk.session.closing


@pytest.mark.parametrize("value", ["-1", "1025", '"8"', "true", "1.5", "null"])
def test_VFU_S_027_max_msg_fds(fresh: Talk, value: str) -> None:
    text = f'{{"capabilities":{{"max_msg_fds":{value}}}}}'.encode()

    assert fresh.refused(Command.VERSION, bytes(4) + text + b"\0") == EINVAL
    assert fresh.session.closing


@pytest.mark.parametrize("value", [0, -1, "x"])
def test_VFU_S_028_max_data_xfer_size(fresh: Talk, value: object) -> None:
    assert fresh.refused(Command.VERSION, wire.version_payload(0, 0, {"max_data_xfer_size": value})) == EINVAL
    assert fresh.session.closing


def test_VFU_S_029_descriptors_with_version(fresh: Talk) -> None:
    assert fresh.refused(Command.VERSION, wire.version_payload(0, 0, {}), [50]) == EINVAL
    assert fresh.host.closed == [50]
    assert fresh.session.closing


def test_VFU_S_030_version_reply_fits_qemu_and_ignores_no_reply(fresh: Talk) -> None:
    wanted = {**QEMU_CAPABILITIES, "twin_socket": {"supported": True}}
    reply = fresh.say(Command.VERSION, wire.version_payload(0, 0, wanted), flags=wire.NO_REPLY)

    assert reply is not None
    assert reply.size <= 214
    assert len(reply.payload) - 5 <= wire.VERSION_JSON_MAX
    assert fresh.log.numbers() == {"VFU-S-030"}


def test_version_reply_holds_what_was_asked_and_no_more(fresh: Talk) -> None:
    reply = fresh.hello({"max_msg_fds": 1})

    assert said(reply) == {"max_msg_fds": wire.FDS_MAX, "max_data_xfer_size": 1 << 20}
    assert b" " not in reply.payload
    assert not fresh.session.peer.qemu


def test_qemu_is_recognised(qemu: Talk) -> None:
    assert qemu.session.peer.qemu
    assert qemu.host.events == ["scratch: client connected: QEMU, protocol 0.0"]


def test_twin_socket_is_given_to_who_asks(fresh: Talk) -> None:
    reply = fresh.hello({"max_msg_fds": 1, "twin_socket": {"supported": True}})

    assert reply.fds == [99]
    assert json.dumps(said(reply)).count('"twin_socket": {"supported": true, "fd_index": 0}') == 1


# -- information -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "payload"),
    [
        (4, wire.DEVICE_INFO.encode(argsz=15)),
        (5, wire.REGION_INFO.encode(argsz=31)),
        (7, wire.IRQ_INFO.encode(argsz=8)),
    ],
)
def test_VFU_S_040_argsz_too_small(talk: Talk, command: int, payload: bytes) -> None:
    assert talk.refused(command, payload) == EINVAL
    assert talk.log.numbers() == {"VFU-S-040"}


def test_VFU_S_041_argsz_larger_than_needed(talk: Talk) -> None:
    reply = talk.done(Command.DEVICE_GET_INFO, wire.DEVICE_INFO.encode(argsz=4096))

    assert wire.DEVICE_INFO.decode(reply) == {"argsz": 16, "flags": 3, "num_regions": 9, "num_irqs": 5}
    assert not talk.log


def region_info(talk: Talk, index: int, argsz: int = 32) -> Message:
    reply = talk.say(Command.DEVICE_GET_REGION_INFO, wire.REGION_INFO.encode(argsz=argsz, index=index))
    assert reply is not None
    return reply


def test_VFU_S_042_region_info_in_two_steps(talk: Talk) -> None:
    first = region_info(talk, 1)
    needed = wire.REGION_INFO.decode(first.payload)
    second = region_info(talk, 1, 64)

    assert (len(first.payload), needed["argsz"], needed["cap_offset"], first.fds) == (32, 80, 0, [])
    assert not int(str(needed["flags"])) & wire.REGION_F_CAPS
    assert len(second.payload) == 32  # still not enough


def test_region_info_with_room(talk: Talk) -> None:
    reply = region_info(talk, 1, 80)

    assert reply.fds == [talk.device.block.fd]
    assert wire.REGION_INFO.decode(reply.payload)["flags"] == 15
    assert wire.region_areas(reply.payload) == [(0x1000, 0x1000), (0x3000, 0x1000)]


def test_region_without_mappable_memory() -> None:
    talk = Talk(ScratchDevice(mappable=False))
    talk.hello()

    assert wire.REGION_INFO.decode(region_info(talk, 1, 80).payload)["flags"] == 3
    talk.device.close()


def test_a_client_that_takes_no_descriptors_maps_nothing(fresh: Talk) -> None:
    fresh.hello({"max_msg_fds": 0})

    assert wire.REGION_INFO.decode(region_info(fresh, 1, 80).payload)["flags"] == 3


def test_VFU_S_043_no_such_region(talk: Talk) -> None:
    assert talk.refused(Command.DEVICE_GET_REGION_INFO, wire.REGION_INFO.encode(argsz=32, index=9)) == EINVAL


@pytest.mark.parametrize("index", [4, 5, wire.REGION_ROM, wire.REGION_VGA])
def test_VFU_S_044_absent_regions(talk: Talk, index: int) -> None:
    facts = wire.REGION_INFO.decode(region_info(talk, index).payload)

    assert (facts["size"], facts["flags"], facts["index"]) == (0, 0, index)


def test_VFU_S_045_fields_that_must_be_zero(talk: Talk) -> None:
    talk.done(Command.DEVICE_GET_IRQ_INFO, wire.IRQ_INFO.encode(argsz=16, flags=1, count=2))

    assert talk.log.numbers() == {"VFU-S-045"}


def test_VFU_S_046_no_such_interrupt_index(talk: Talk) -> None:
    assert talk.refused(Command.DEVICE_GET_IRQ_INFO, wire.IRQ_INFO.encode(argsz=16, index=5)) == EINVAL
    assert talk.refused(Command.DEVICE_SET_IRQS, irqs(5, 0x21, 0, 0)) == EINVAL
    assert talk.log.numbers() == {"VFU-S-046"}


@pytest.mark.parametrize(("index", "count", "flags"), [(0, 1, 7), (1, 1, 1), (2, 20, 1), (3, 1, 1), (4, 1, 1)])
def test_interrupt_information(talk: Talk, index: int, count: int, flags: int) -> None:
    reply = talk.done(Command.DEVICE_GET_IRQ_INFO, wire.IRQ_INFO.encode(argsz=16, index=index))

    assert wire.IRQ_INFO.decode(reply) == {"argsz": 16, "flags": flags, "index": index, "count": count}


@pytest.mark.parametrize(
    "fields",
    [
        {"argsz": 16, "flags": 1},
        {"argsz": 16, "count": 1},
        {"argsz": 15},
        {"argsz": (1 << 20) + 1},
        {"argsz": 16, "index": 9},
        {"argsz": 16, "index": 5},
    ],
)
def test_VFU_S_047_region_io_fds(talk: Talk, fields: dict[str, int]) -> None:
    assert talk.refused(Command.DEVICE_GET_REGION_IO_FDS, wire.IO_FDS.encode(**fields)) == EINVAL
    assert talk.log.numbers() == {"VFU-S-047"}


def test_VFU_S_048_no_doorbell_descriptors_are_offered(talk: Talk) -> None:
    reply = talk.done(Command.DEVICE_GET_REGION_IO_FDS, wire.IO_FDS.encode(argsz=4096, index=0))

    assert wire.IO_FDS.decode(reply) == {"argsz": 16, "flags": 0, "index": 0, "count": 0}


# -- the switch that makes QEMU wait for its writes ------------------------------------------------------------------


def test_qemu_is_made_to_wait_for_writes(qemu: Talk) -> None:
    reply = region_info(qemu, wire.REGION_CONFIG)

    assert wire.REGION_INFO.decode(reply.payload)["flags"] == 7
    assert reply.fds == []


def test_qemu_may_post_writes_when_told_so(device: ScratchDevice) -> None:
    talk = Talk(device, posted=True)
    talk.hello(QEMU_CAPABILITIES)

    assert wire.REGION_INFO.decode(region_info(talk, wire.REGION_CONFIG).payload)["flags"] == 3


def test_other_clients_never_see_the_switch(talk: Talk) -> None:
    assert wire.REGION_INFO.decode(region_info(talk, wire.REGION_CONFIG).payload)["flags"] == 3


# -- register access -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [Command.REGION_READ, Command.REGION_WRITE])
def test_VFU_S_070_access_cut_short(talk: Talk, command: int) -> None:
    assert talk.refused(command, READ_SCRATCH[:15]) == EINVAL
    assert talk.log.numbers() == {"VFU-S-070"}


@pytest.mark.parametrize("region", [4, 6, 8, 9, 0xDEADBEEF])
def test_VFU_S_071_no_such_region(talk: Talk, region: int) -> None:
    assert talk.refused(Command.REGION_READ, wire.REGION_ACCESS.encode(region=region, count=4)) == EINVAL
    assert talk.refused(Command.REGION_WRITE, access(region, 0, b"1234")) == EINVAL
    assert talk.log.numbers() == {"VFU-S-071"}


@pytest.mark.parametrize("offset", [0xFFD, 0x1000, (1 << 64) - 1, (1 << 64) - 4])
def test_VFU_S_072_access_past_the_end(talk: Talk, offset: int) -> None:
    assert talk.refused(Command.REGION_READ, wire.REGION_ACCESS.encode(offset=offset, count=4)) == EINVAL
    assert talk.refused(Command.REGION_WRITE, access(0, offset, b"1234")) == EINVAL
    assert talk.log.numbers() == {"VFU-S-072"}


def test_VFU_S_073_access_larger_than_a_transfer(talk: Talk) -> None:
    assert talk.refused(Command.REGION_READ, wire.REGION_ACCESS.encode(count=(1 << 20) + 1)) == EINVAL
    assert talk.log.numbers() == {"VFU-S-073"}


@pytest.mark.parametrize("data", [b"123", b"12345"])
def test_VFU_S_074_write_with_the_wrong_amount(talk: Talk, data: bytes) -> None:
    payload = wire.REGION_ACCESS.encode(offset=SCRATCH, count=4) + data

    assert talk.refused(Command.REGION_WRITE, payload) == EINVAL
    assert talk.read(0, SCRATCH) == 0


def test_VFU_S_075_access_of_nothing(talk: Talk) -> None:
    assert len(talk.done(Command.REGION_READ, wire.REGION_ACCESS.encode())) == 16
    assert len(talk.done(Command.REGION_WRITE, wire.REGION_ACCESS.encode())) == 16
    assert talk.log.numbers() == {"VFU-S-075"}


def test_VFU_S_076_odd_accesses_are_split(talk: Talk) -> None:
    talk.done(Command.REGION_WRITE, access(3, 1, b"\1\2\3\4\5\6\7"))
    payload = talk.done(Command.REGION_READ, wire.REGION_ACCESS.encode(offset=0, region=3, count=12))

    assert payload[16:] == b"\0\1\2\3\4\5\6\7\0\0\0\0"
    assert talk.log.numbers() == {"VFU-S-076"}


@pytest.mark.parametrize(
    ("offset", "count", "pieces"),
    [
        (0, 3, [(0, 2), (2, 1)]),
        (1, 4, [(1, 1), (2, 2), (4, 1)]),
        (0, 12, [(0, 4), (4, 4), (8, 4)]),
        (6, 5, [(6, 2), (8, 2), (10, 1)]),
        (3, 1, [(3, 1)]),
    ],
)
def test_splitting(offset: int, count: int, pieces: list[tuple[int, int]]) -> None:
    assert split(offset, count) == pieces


def test_VFU_S_077_a_region_that_is_there_allows_both(talk: Talk) -> None:
    """Every present region has READ and WRITE, an absent one refuses both (VFU-S-071)."""
    for index in (0, 1, 2, 3, 7):
        facts = wire.REGION_INFO.decode(region_info(talk, index).payload)
        assert int(str(facts["flags"])) & 3 == 3


def test_VFU_S_078_read_only_config_bits(talk: Talk) -> None:
    talk.write(7, 0, 0xFFFF_FFFF)
    talk.write(7, 0x30, 0xFFFF_F800)
    talk.write(7, 0x10, 0xFFFF_FFFF)

    assert talk.read(7, 0) == 0x5C2A_1234
    assert talk.read(7, 0x30) == 0  # no ROM
    assert talk.read(7, 0x10) == 0xFFFF_F000  # BAR sizing
    assert not talk.log


def test_config_space_is_read_whole(talk: Talk) -> None:
    payload = talk.done(Command.REGION_READ, wire.REGION_ACCESS.encode(region=7, count=4096))

    assert payload[16:20] == bytes.fromhex("34122a5c")
    assert len(payload) == 16 + 4096
    assert not talk.log


def entry(region: int, offset: int, size: int, data: bytes) -> bytes:
    return wire.WRITE_MULTI_ENTRY.encode(offset=offset, region=region, count=size, data=data)


def test_VFU_S_079_write_multi(talk: Talk) -> None:
    good, bad = entry(0, SCRATCH, 4, b"\1\0\0\0"), entry(0, SCRATCH, 9, b"\2")

    assert talk.refused(Command.REGION_WRITE_MULTI, wire.WRITE_MULTI.encode(wr_cnt=2) + good) == EINVAL
    assert talk.refused(Command.REGION_WRITE_MULTI, wire.WRITE_MULTI.encode(wr_cnt=2) + good + bad) == EINVAL
    assert talk.read(0, SCRATCH) == 0  # nothing of it was done
    assert talk.log.numbers() == {"VFU-S-079"}


def test_write_multi_in_order(talk: Talk) -> None:
    entries = entry(0, SCRATCH, 4, b"\1\0\0\0") + entry(0, SCRATCH, 4, b"\2\0\0\0") + entry(3, 8, 2, b"\7\7")

    reply = talk.done(Command.REGION_WRITE_MULTI, wire.WRITE_MULTI.encode(wr_cnt=3) + entries)

    assert reply == wire.WRITE_MULTI.encode(wr_cnt=3)
    assert (talk.read(0, SCRATCH), talk.read(3, 8)) == (2, 0x0707)


def test_write_multi_outside_a_region(talk: Talk) -> None:
    payload = wire.WRITE_MULTI.encode(wr_cnt=1) + entry(0, 0x1000, 4, b"")

    assert talk.refused(Command.REGION_WRITE_MULTI, payload) == EINVAL
    assert talk.refused(Command.REGION_WRITE_MULTI, b"") == EINVAL


def test_VFU_S_080_messages_reach_mapped_memory(talk: Talk) -> None:
    talk.write(1, 0x1008, 0x1122_3344)
    talk.done(Command.REGION_WRITE, access(1, 0x3000, b"block of memory " * 4))

    assert bytes(talk.device.block.view[0x1008:0x100C]) == b"\x44\x33\x22\x11"
    reply = talk.done(Command.REGION_READ, wire.REGION_ACCESS.encode(offset=0x3000, region=1, count=64))
    assert reply[16:] == b"block of memory " * 4
    assert not talk.log


def test_VFU_S_081_a_doorbell_is_answered_before_its_work(talk: Talk) -> None:
    talk.write(0, 0x10, 5)

    assert talk.device.kicked
    assert talk.device.rounds == 0
    assert talk.read(0, DONE) == 0


# -- reset, features, migration --------------------------------------------------------------------------------------


def test_VFU_S_105_reset_with_a_payload(talk: Talk) -> None:
    assert talk.done(Command.DEVICE_RESET, b"x") == b""
    assert talk.log.numbers() == {"VFU-S-105"}
    assert talk.device.resets == 1


def test_VFU_S_106_reset_drops_work_and_keeps_what_the_client_gave(talk: Talk) -> None:
    talk.host.files[40] = FakeFile()
    talk.done(Command.DMA_MAP, dma_map(0, 0x1000), [40])
    talk.set_irqs(2, 0x24, 3, 1, fds=[60])
    talk.write(0, SCRATCH, 77)
    talk.write(0, 0x10, 1000)

    talk.done(Command.DEVICE_RESET)

    assert talk.read(0, SCRATCH) == 0
    assert not talk.device.kicked
    assert talk.device.mem.reachable(0, 0x1000)
    talk.write(7, 0x9E, 0x8000, 2)
    talk.write(0, FIRE, 3)
    assert talk.host.signalled == [60]


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b"\0" * 7, EINVAL),
        (wire.FEATURE.encode(argsz=7, flags=0x10001), EINVAL),
        (wire.FEATURE.encode(argsz=8, flags=1), EINVAL),
        (wire.FEATURE.encode(argsz=8, flags=0x30001), EINVAL),
        (wire.FEATURE.encode(argsz=16, flags=0x10001), errno.ENOTSUP),
        (wire.FEATURE.encode(argsz=16, flags=0x20002), errno.ENOTSUP),
        (wire.FEATURE.encode(argsz=8, flags=0x50001), errno.ENOTSUP),
        (wire.FEATURE.encode(argsz=8, flags=0x70001), errno.ENOTSUP),
        (wire.FEATURE.encode(argsz=8, flags=0x4FFFF), errno.ENOTSUP),
    ],
)
def test_VFU_S_107_no_features(talk: Talk, payload: bytes, error: int) -> None:
    assert talk.refused(Command.DEVICE_FEATURE, payload) == error
    assert talk.log.numbers() == {"VFU-S-107"}


def test_VFU_S_108_no_migration_state_can_be_entered(talk: Talk) -> None:
    for state in range(8):
        payload = wire.FEATURE.encode(argsz=16, flags=0x20002) + state.to_bytes(4, "little") + bytes(4)
        assert talk.refused(Command.DEVICE_FEATURE, payload) == errno.ENOTSUP


@pytest.mark.parametrize("command", [Command.MIG_DATA_READ, Command.MIG_DATA_WRITE])
def test_VFU_S_109_no_migration_data(talk: Talk, command: int) -> None:
    assert talk.refused(command, wire.MIG_DATA.encode(argsz=8, size=64)) == EINVAL
    assert talk.log.numbers() == {"VFU-S-109"}


def test_VFU_S_110_the_device_is_never_stopped(talk: Talk) -> None:
    """Without migration there is no STOP: after a refused state change every command still works."""
    talk.refused(Command.DEVICE_FEATURE, wire.FEATURE.encode(argsz=16, flags=0x20002) + b"\1" + bytes(7))

    assert talk.read(0, ID) == SCRATCH_ID
    assert talk.refused(Command.DMA_UNMAP, dma_unmap(0, 0x1000)) == errno.ENOENT


def test_VFU_S_112_the_client_is_gone(talk: Talk) -> None:
    talk.host.files[40] = FakeFile()
    talk.done(Command.DMA_MAP, dma_map(0, 0x1000), [40])
    talk.set_irqs(0, 0x24, 0, 1, fds=[60])
    talk.set_irqs(0, 0x14, 0, 1, fds=[61])
    talk.write(0, SCRATCH, 1)

    talk.session.gone()

    assert talk.device.resets == 1
    assert talk.device.mem.regions() == ()
    assert sorted(talk.host.closed) == [40, 60, 61]
    assert talk.device.pci.irq.connected is None


def test_a_client_that_never_negotiated_leaves_no_trace(fresh: Talk) -> None:
    fresh.session.gone()

    assert fresh.device.resets == 0


# -- strict ----------------------------------------------------------------------------------------------------------


def test_strict_ends_the_connection_at_the_first_violation(strict: Talk) -> None:
    strict.say(Command.DEVICE_RESET, flags=0x8000)

    assert strict.session.closing


def test_strict_lets_advice_pass(strict: Talk) -> None:
    strict.done(Command.DEVICE_RESET, b"x")

    assert strict.log.numbers() == {"VFU-S-105"}
    assert not strict.session.closing


def test_private_memory_is_diagnosed_once(qemu: Talk) -> None:
    qemu.session.zeros()
    qemu.session.zeros()

    (line,) = qemu.host.events[1:]
    assert line.startswith("scratch: guest memory is not shared:")
    assert "-object memory-backend-memfd" in line
    assert "\n" not in line
