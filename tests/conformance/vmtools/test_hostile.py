"""Hostile guests: every case ends, gets an answer, changes nothing beside what it names, and the host goes on.

Numbers are those of the list these come from; the published ones among them: words that corrupted the host
(CVE-2012-1516 and 1517), requests that were not checked (CVE-2015-2341, 2017-4925, 2018-6972), guest information that
was not (CVE-2020-3999), status bits that were believed.
"""

import tracemalloc
from collections.abc import Iterator
from random import Random

import pytest

from tests.conformance.vmtools.rig import MEMORY, SECOND, Rig
from tests.conformance.vmtools.snapshots import QuiescedGuest
from vmtools import xdr
from vmtools.driver.rpc import Channel, ChannelError, Rpc, Service, status
from vmtools.frame import Frame
from vmtools.snapshot import State
from vmtools.wire import (
    BDOOR_MAGIC,
    MASK32,
    MASK64,
    PAGE,
    PROTO_RPCI,
    PROTO_TCLO,
    SUCCESS,
    Cmd,
    Message,
)
from vmtools.wire import Balloon as Ask


@pytest.fixture(autouse=True)
def alive(rig: Rig) -> Iterator[None]:
    """After each of them the host serves a new program."""
    yield
    rig.assert_alive()


def held(rig: Rig, text: bytes = b"log x") -> Channel:
    """A channel with an answer that waits."""
    channel = Channel(rig.ports, PROTO_RPCI)
    channel.send(text)
    return channel


@pytest.mark.parametrize("size", [65537, 1 << 31, MASK32])
def test_VMT_hostile_01_sizes_nobody_has(rig: Rig, size: int) -> None:
    channel = Channel(rig.ports, PROTO_RPCI)
    tracemalloc.start()
    try:
        answer = status(channel.call(Message.SENDSIZE, size))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert answer == 0
    assert peak < 100_000
    channel.send(b"log still here")


@pytest.mark.parametrize("count", [0, 1, 7, 9, 1 << 32, 1 << 63, MASK64])
def test_VMT_hostile_02_payloads_of_another_size(rig: Rig, count: int) -> None:
    """Nothing at RSI is looked at."""
    channel = Channel(rig.ports, PROTO_RPCI)
    channel.call(Message.SENDSIZE, 8)
    frame = rig.ports.frame(rbx=0x0001_0000, rdx=channel.id << 16, rdi=channel.low, rbp=channel.high)
    frame.rcx, frame.rsi = count, 0x1000

    assert rig.host.accepts(frame) == 0
    rig.host.high_out(frame, b"", 0)

    assert frame.rbx >> 16 & 0xFFFF == 0
    assert (frame.rcx, frame.rsi) == (count, 0x1000)


def test_VMT_hostile_03_payload_that_could_not_be_read(rig: Rig) -> None:
    """Whoever carries the call had nothing, or not all, at RSI: no part of a request is carried out."""
    channel = Channel(rig.ports, PROTO_RPCI)
    text = b"info-set guestinfo.a b"
    channel.call(Message.SENDSIZE, len(text))
    for data in (b"", text[:-1]):
        frame = rig.ports.frame(rbx=0x0001_0000, rdx=channel.id << 16, rdi=channel.low, rbp=channel.high)
        frame.rcx = len(text)
        rig.host.high_out(frame, data, 0)
        assert frame.rbx >> 16 & 0xFFFF == 0

    assert "a" not in rig.host.variables
    assert rig.ports.out(text, channel.id, channel.high, channel.low).rbx >> 16 & 0xFFFF == SUCCESS
    assert rig.host.variables["a"] == b"b"


def test_VMT_hostile_04_a_payload_is_never_more_than_asked(rig: Rig) -> None:
    """Where it goes is for whoever carries the call to check; how much of it, here."""
    channel = held(rig)
    channel.call(Message.RECVSIZE)

    taken = [rig.ports.inward(count, channel.id, channel.high, channel.low)[1] for count in (0, 1, 3, MASK64, 2, 2)]

    assert taken == [b"", b"", b"", b"", b"1 ", b""]


@pytest.mark.parametrize("kind", [Message.SENDPAYLOAD, Message.RECVPAYLOAD, Message.RECVSTATUS])
@pytest.mark.parametrize("ebx", [0, 1, MASK32])
def test_VMT_hostile_05_steps_without_a_size(rig: Rig, kind: int, ebx: int) -> None:
    channel = Channel(rig.ports, PROTO_RPCI)

    assert status(channel.call(kind, ebx)) == 0
    assert channel.receive() is None


def test_VMT_hostile_06_a_channel_that_never_sent(rig: Rig) -> None:
    rpci, tclo = Channel(rig.ports, PROTO_RPCI), Channel(rig.ports, PROTO_TCLO)
    rpci.send(b"OK ATR toolbox")
    tclo.send(b"info-get guestinfo.a")

    assert rpci.receive() == b"0 Unknown command"
    assert tclo.receive() == b"reset"
    assert not rig.host.hub.names


def test_VMT_hostile_07_guessing_a_cookie(rig: Rig) -> None:
    channel = held(rig)
    random = Random(7)

    guesses = [
        rig.ports.low(Cmd.MESSAGE, sub=kind, channel=channel.id, esi=random.getrandbits(32), edi=random.getrandbits(32))
        for kind in list(Message)[1:] * 50
    ]
    halves = [
        rig.ports.low(Cmd.MESSAGE, sub=Message.CLOSE, channel=channel.id, esi=channel.high, edi=0),
        rig.ports.low(Cmd.MESSAGE, sub=Message.CLOSE, channel=channel.id, esi=0, edi=channel.low),
    ]

    assert {status(frame) for frame in guesses + halves} == {0}
    assert channel.receive() == b"1 "


def test_VMT_hostile_08_channels_without_end(rig: Rig) -> None:
    """The host still reaches its guest's service: its channel finds room."""
    opened = [rig.ports.low(Cmd.MESSAGE, PROTO_RPCI, sub=Message.OPEN) for _ in range(1000)]
    assert sum(status(frame) == SUCCESS for frame in opened) == 128
    assert len(rig.host.channels) == 128

    tclo = Channel(rig.ports, PROTO_TCLO)
    tclo.send(b"")

    assert tclo.receive() == b"reset"
    rig.host.gone(rig.ports.caller, 0)


def test_VMT_hostile_09_two_that_call_themselves_toolbox(rig: Rig) -> None:
    first, second = rig.service(), Service(rig.ports)
    second.poll(2, 1)
    rig.host.heartbeat.ping(rig.ports.now_ns)
    first.poll(2)

    assert first.seen.count(b"ping") == 1
    assert second.seen == [b"reset"]
    rig.host.tick(rig.ports.now_ns)
    with pytest.raises(ChannelError):
        second.poll()


def test_VMT_hostile_10_closing_at_any_time(rig: Rig) -> None:
    for steps in range(4):
        channel = held(rig)
        if steps > 0:
            channel.call(Message.RECVSIZE)
        if steps > 1:
            channel.call(Message.RECVPAYLOAD, 1)
        if steps > 2:
            channel.call(Message.RECVSTATUS, 1)
        channel.close()

        later = [status(channel.call(kind, 1)) for kind in list(Message)[1:]]

        assert later == [0] * 6
    half = Channel(rig.ports, PROTO_RPCI)
    half.call(Message.SENDSIZE, 100)
    half.close()
    assert not len(rig.host.channels)


@pytest.mark.parametrize("command", [0, 105, 0x7FFF, 0xFFFF])
@pytest.mark.parametrize("sub", [0, 7, 0xFFFF])
def test_VMT_hostile_11_numbers_there_are_not(rig: Rig, command: int, sub: int) -> None:
    assert rig.kernel.low(command, sub=sub).rax == MASK32


@pytest.mark.parametrize("kind", [7, 8, 0x8000, 0xFFFF])
def test_VMT_hostile_11_message_types_there_are_not(rig: Rig, kind: int) -> None:
    channel = held(rig)

    assert status(channel.call(kind, 1)) == 0
    assert channel.receive() == b"1 "


@pytest.mark.parametrize("bits", [0x10, 0x04, 0xFE])
def test_VMT_hostile_12_status_bits_of_the_host_s(rig: Rig, bits: int) -> None:
    channel = held(rig)
    channel.call(Message.RECVSIZE)
    assert status(channel.call(Message.RECVPAYLOAD, bits)) == SUCCESS  # bit 0 is not set: given up
    channel.send(b"log y")
    channel.call(Message.RECVSIZE)
    channel.call(Message.RECVPAYLOAD, bits | SUCCESS)

    assert status(channel.call(Message.RECVSTATUS, bits | SUCCESS)) == SUCCESS
    assert channel.receive() is None


@pytest.mark.parametrize(
    "key", [b"../../etc/passwd", b"/", b"..", b"a\nb", b"\xff\xfe", b"x" * 255, b"guestinfo.guestinfo.a"]
)
def test_VMT_hostile_13_keys(rig: Rig, key: bytes) -> None:
    rpc = rig.rpc()

    assert rpc.call(b"info-set guestinfo." + key + b" v") == (True, b"")
    assert rpc.call(b"info-get guestinfo." + key) == (True, b"v")
    assert [value for _, value in rig.host.variables.items()] == [b"v"]


def test_VMT_hostile_13_thousands_of_variables(rig: Rig) -> None:
    rpc, store = rig.rpc(), rig.host.variables
    store.limit = 20_000

    answers = [rpc.call(f"info-set guestinfo.{n} value")[0] for n in range(5000)]

    assert 1000 < sum(answers) < 5000
    assert store.size <= 20_000
    assert rpc.call(b"info-set guestinfo." + b"k" * 60_000 + b" v")[0] is False
    store.limit = 1 << 20


@pytest.mark.parametrize("key", ["vmtools.versionNumber", "ip", "hostname", "metadata"])
def test_VMT_hostile_14_names_of_the_tools(rig: Rig, key: str) -> None:
    """Any program may set them; the host decides nothing by them."""
    rig.rpc().call(f"info-set guestinfo.{key} 6.6.6.6")

    assert rig.host.variables[key] == b"6.6.6.6"
    assert (rig.host.tools_version, rig.host.info.addresses, rig.host.info.hostname) == ("", [], "")


@pytest.mark.parametrize(
    "text",
    [b"\0", b"\0\0\0\0", b"info-get", b"info-get ", b"info-set", b"info-set ", b"log\0x", b"info-get guestinfo.a\0b"],
)
def test_VMT_hostile_15_words_and_their_ends(rig: Rig, text: bytes) -> None:
    assert rig.rpc().call(text)[0] is False


def nested(depth: int) -> bytes:
    return xdr.u32(3, 1, 1) + xdr.opaque(b"mac") + xdr.u32(0) + xdr.u32(1) * depth


XDR = {
    "nothing": b"",
    "three bytes": b"\0\0\0",
    "another version": xdr.u32(4, 1, 0),
    "an option that is neither": xdr.u32(3, 2),
    "2^32 NICs": xdr.u32(3, 1, MASK32),
    "2^32 addresses": xdr.u32(3, 1, 1) + xdr.opaque(b"mac") + xdr.u32(MASK32),
    "16 NICs and no more": xdr.u32(3, 1, 16),
    "2048 addresses and no more": xdr.u32(3, 1, 1) + xdr.opaque(b"mac") + xdr.u32(2048),
    "an address of no kind": xdr.u32(3, 1, 1) + xdr.opaque(b"mac") + xdr.u32(1, 77) + xdr.opaque(b"1234"),
    "IPv4 of 3 bytes": xdr.u32(3, 1, 1) + xdr.opaque(b"mac") + xdr.u32(1, 1) + xdr.opaque(b"123") + bytes(64),
    "an address of 256 bytes": xdr.u32(3, 1, 1) + xdr.opaque(b"mac") + xdr.u32(1, 1) + xdr.opaque(bytes(256)),
    "options in options": nested(500),
    "a name that ends beyond": xdr.u32(3, 1, 1, 0xFFFF_FFFC),
    "settings of 16385 bytes": xdr.u32(3, 1, 0, 0, 0, 0, 1, 1, 16385) + bytes(16388),
    "something behind": xdr.u32(3, 1) + bytes(24) + b"behind",
    "absent, and something behind": xdr.u32(3, 0, 0),
}


@pytest.mark.parametrize("kind", [9, 10])
@pytest.mark.parametrize("what", XDR)
def test_VMT_hostile_16_NICs(rig: Rig, what: str, kind: int) -> None:
    before = rig.host.info.network

    assert rig.rpc().call(b"SetGuestInfo  %d " % kind + XDR[what]) == (False, b"Invalid data")
    assert rig.host.info.network is before


@pytest.mark.parametrize("data", [b"", bytes(2435), b"\x11" + bytes(2435), b"\1\0\0\0\x09" + bytes(2431)])
def test_VMT_hostile_16_NICs_of_old(rig: Rig, data: bytes) -> None:
    assert rig.rpc().call(b"SetGuestInfo  2 " + data) == (False, b"Invalid data")


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xff" + bytes(116 * 254), b"\1" + bytes(115)])
def test_VMT_hostile_17_disks(rig: Rig, data: bytes) -> None:
    assert rig.rpc().call(b"SetGuestInfo  3 " + data) == (False, b"Invalid data")
    assert rig.host.info.disks == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"disks": 5}',
        '{"disks": [5]}',
        '{"disks": [{}]}',
        '{"disks": [{"name": "!", "free": "1", "size": "1"}]}',
        '{"disks": [{"name": "", "free": "x", "size": "1"}]}',
        '{"disks": [{"name": "", "free": "1", "size": "1", "devices": 5}]}',
        "[" * 60_000,
        '{"disks": [' + "{}," * 2000 + "{}]}",
    ],
)
def test_VMT_hostile_17_disks_in_JSON(rig: Rig, text: str) -> None:
    assert rig.rpc().call("SetGuestDiskInfo " + text) == (False, b"Invalid data")


HEAD = bytes(112)
STATS = {
    "a datum that ends beyond": HEAD + b"\xae\0\0\0\xff\xff",
    "all flags": HEAD + b"\xff\xff\xff\xff" + b"\0\0" * 31 + b"\xff\xff",
    "data of nothing without end": HEAD + bytes(60_000),
    "a value of 9 bytes": HEAD + b"\xac\0\0\0" + b"\1\0\x04" + b"\1\0\x09" + b"\0\0" + b"\x09\0" + bytes(9),
    "a double of 3": HEAD + b"\xac\0\0\0" + b"\1\0\x04" + b"\1\0\x0b" + b"\0\0" + b"\3\0" + bytes(3),
    "a number nobody gave": HEAD + b"\x84\0\0\0" + b"\x04\0\xff\xff\xff\xff" + b"\1\0\5",
}


@pytest.mark.parametrize("what", STATS)
def test_VMT_hostile_18_statistics(rig: Rig, what: str) -> None:
    assert rig.rpc().call(b"SetGuestInfo  8 " + STATS[what]) == (True, b"")
    assert len(rig.host.info.statistics) <= 1


def test_VMT_hostile_18_statistics_that_are_none(rig: Rig) -> None:
    assert rig.rpc().call(b"SetGuestInfo  8 " + HEAD[1:]) == (False, b"Invalid data")


@pytest.mark.parametrize("result", [b"OK", b"ok", b"\0", b"OK ATR toolbox", b"x" * 65536, b"ERROR"])
def test_VMT_hostile_19_results_nobody_asked_for(rig: Rig, result: bytes) -> None:
    service = rig.service()
    service.channel.send(result)

    assert rig.host.hub.names["toolbox"].strays == 1
    assert rig.host.hub.names["toolbox"].welcome
    service.settle()


def test_VMT_hostile_20_a_flood_of_log_lines(rig: Rig) -> None:
    rpc = rig.rpc()
    rpc.call(b"log \x1b[2J\r\nbell\7 " + b"x" * 60_000)
    first = rig.host.log[0]
    for n in range(3000):
        rpc.call(f"log line {n}")

    assert first.startswith("?[2J??bell? xxx")
    assert len(first) == 500
    assert len(rig.host.log) == 1000


def test_VMT_hostile_21_capabilities(rig: Rig) -> None:
    service = rig.service()
    for n in range(2000):
        service.rpc.call(f"tools.capability.c{n} {'x' * 2000}")
    for text in (b"tools.capability.", b"tools.capability.\xff\xfe 1", b"tools.capability.features " + b"9=9 " * 5000):
        assert service.rpc.call(text)[0]
    service.rpc.call("tools.capability.resolution_server toolbox 1")
    service.rpc.call("tools.capability.resolution_server toolbox 0")

    assert len(rig.host.capabilities) <= 256
    assert max(map(len, rig.host.capabilities.values())) <= 1000
    assert not rig.host.resolution.able


def ready(rig: Rig) -> None:
    rig.host.balloon_device.set_target(MEMORY // PAGE)
    rig.kernel.balloon(Ask.START, 0x2E)


@pytest.mark.parametrize("command", [Ask.BATCHED_LOCK, Ask.BATCHED_UNLOCK, Ask.BATCHED_2M_LOCK])
@pytest.mark.parametrize(
    ("page", "count", "status"),
    [
        (MEMORY // PAGE, 1, 2),
        (MEMORY // PAGE - 1, 513, 1),
        (0, 0, 1),
        (0, 1 << 32, 1),
        (0, MASK64, 1),
        (MASK64, 1, 2),
        (1 << 52, 512, 2),
    ],
)
def test_VMT_hostile_22_batches(rig: Rig, command: int, page: int, count: int, status: int) -> None:
    ready(rig)

    assert rig.kernel.balloon(command, page, count).rax == status
    assert rig.host.balloon_device.current == 0


def test_VMT_hostile_22_the_same_page_twice(rig: Rig) -> None:
    ready(rig)
    words = rig.memory[:PAGE].cast("Q")
    words[0] = words[1] = 0x800 << 12
    rig.kernel.balloon(Ask.BATCHED_LOCK, 0, 2)

    assert [words[0] & 0x1F, words[1] & 0x1F] == [0, 3]
    assert rig.host.balloon_device.current == 1


def test_VMT_hostile_22_a_batch_that_cannot_be_written(rig: Rig) -> None:
    rom = memoryview(bytes((0x800 << 12).to_bytes(8, "little") + bytes(PAGE - 8)))
    rig.mem.map(MEMORY, rom, writable=False)
    ready(rig)
    rig.kernel.balloon(Ask.BATCHED_LOCK, MEMORY // PAGE, 1)

    assert rom[:8] == (0x800 << 12).to_bytes(8, "little")
    assert rig.host.rules.numbers() == {"VMT-D-038"}


@pytest.mark.parametrize(("command", "page"), [(Ask.BATCHED_LOCK, 0x400), (Ask.BATCHED_2M_LOCK, 0x400)])
def test_VMT_hostile_23_a_batch_that_gives_itself_away(rig: Rig, command: int, page: int) -> None:
    ready(rig)
    at = page * PAGE
    rig.memory[at : at + 8] = at.to_bytes(8, "little")
    rig.kernel.balloon(command, page, 1)

    assert rig.memory[at] & 0x1F == 5
    assert rig.host.balloon_device.current == 0


def test_VMT_hostile_24_pages_that_are_not_there(rig: Rig) -> None:
    ready(rig)
    never = rig.kernel.balloon(Ask.UNLOCK, 0x500, 1).rax
    rig.host.balloon_device.set_target(1)
    status = [rig.kernel.balloon(Ask.LOCK, page, 1).rax for page in (0x500, 0x501, MASK32, 1 << 40)]

    assert (never, status) == (4, [0, 6, 2, 2])


def test_VMT_hostile_26_two_threads_on_one_channel(rig: Rig) -> None:
    """Neither gets a request through that the other half wrote."""
    rig.host.channels.high_bandwidth = False
    channel = Channel(rig.ports, PROTO_RPCI)
    channel.call(Message.SENDSIZE, 24)
    channel.call(Message.SENDPAYLOAD, int.from_bytes(b"info", "little"))
    other = status(channel.call(Message.SENDSIZE, 8))
    rest = [status(channel.call(Message.SENDPAYLOAD, int.from_bytes(b"-set", "little"))) for _ in range(5)]

    assert (other, rest) == (0, [0] * 5)
    assert rig.host.rpci.served == 0
    channel.send(b"log x")


def test_VMT_hostile_27_answers_to_nothing(rig: Rig) -> None:
    rpc = rig.rpc()
    for text in (
        "tools.os.statechange.status 1 5",
        "vmbackup.eventSet prov.snapshotCommit 0 ",
        "vmbackup.eventSet req.done 0 ",
    ):
        rpc.call(text)

    assert rig.host.snapshot.strays == 2
    assert (rig.host.snapshot.state, rig.host.snapshot.last) == (State.IDLE, None)
    assert not rig.host.power.outcomes


def test_VMT_hostile_28_a_snapshot_that_never_comes(rig: Rig) -> None:
    """Keep-alives for twenty minutes, and nothing else."""
    guest = QuiescedGuest(rig)
    guest.stalls = True
    guest.start()
    for _ in range(500):
        guest.service.poll(1, 2 * SECOND)
        guest.turn(1)
        if guest.outcome is not None:
            break

    assert guest.outcome is not None
    assert (guest.outcome.ok, guest.outcome.why) == (False, "it took too long")
    assert len(guest.outcome.events) <= 1000


@pytest.mark.parametrize("command", [Cmd.STEALCLOCK, Cmd.MKS_GUEST_STATS, 2, 64, 93, 103])
def test_VMT_hostile_30_a_program_as_a_kernel(rig: Rig, command: int) -> None:
    assert rig.ports.low(command, MASK32, sub=0xFFFF).rax == MASK32


def test_a_guest_that_dies_in_the_middle_of_everything(rig: Rig) -> None:
    """128 channels, each at another step; then another guest is served."""
    random = Random(1)
    rig.host.channels.high_bandwidth = False
    for n in range(127):
        channel = held(rig, b"log %d" % n)
        for _ in range(random.randrange(6)):
            channel.call(random.choice(list(Message)[1:6]), random.choice((0, 1, 5, 64)))
    rig.host.reset(rig.ports.now_ns)

    assert not len(rig.host.channels)
    assert rig.service().seen[0] == b"reset"


def test_registers_full_of_anything(rig: Rig) -> None:
    random = Random(3)
    for _ in range(3000):
        values = [random.choice((0, 1, MASK32, MASK64, random.getrandbits(64), BDOOR_MAGIC)) for _ in range(7)]
        frame = Frame(*values, cpl=random.choice((0, 3)), caller=random.randrange(3))
        if random.randrange(3):
            frame.rax = BDOOR_MAGIC
        call = random.randrange(4)
        if call == 0:
            rig.host.low(frame, 0)
        elif call == 1:
            rig.host.high_out(frame, bytes(random.randrange(9)), 0)
        elif call == 2:
            rig.host.high_in(frame, 0)
        else:
            rig.host.balloon(frame, 0)
        assert all(0 <= value <= MASK64 for value in frame.values())
    rig.host.reset(0)
    assert Rpc(rig.ports).call("log x")[0]
