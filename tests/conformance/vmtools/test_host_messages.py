"""Duties of the host, VMT-V-012 to 031 and 058: channels and messages."""

import pytest

from pvdev.faults import Fault, FaultPlan
from tests.conformance.vmtools.rig import SECOND, Rig
from vmtools.driver.rpc import Channel, ChannelError, Rpc, status
from vmtools.frame import Frame
from vmtools.message import CHECKPOINTS_MAX
from vmtools.wire import CPT, DORECV, FLAG_COOKIE, HB, MASK32, PROTO_RPCI, PROTO_TCLO, SUCCESS, Cmd, Message

CHECKPOINT = Fault("checkpoint")
POINTS = ("message.sendpayload", "message.recvpayload", "message.recvstatus")


@pytest.fixture(params=[True, False], ids=["at once", "word by word"])
def rig(request: pytest.FixtureRequest) -> Rig:
    return Rig(high_bandwidth=request.param)


@pytest.fixture
def slow() -> Rig:
    return Rig(high_bandwidth=False)


def echo(rig: Rig) -> list[bytes]:
    """The host answers `echo TEXT` with the text; what it was asked so far."""
    asked: list[bytes] = []

    def answer(rest: bytes, now_ns: int) -> bytes:
        asked.append(rest)
        return b"1 " + rest

    rig.host.rpci.on("echo", answer, binary=True)
    return asked


def opened(rig: Rig, protocol: int) -> Frame:
    return rig.ports.low(Cmd.MESSAGE, protocol, sub=Message.OPEN)


def test_VMT_V_012_a_channel_has_a_cookie_nobody_guesses(rig: Rig) -> None:
    channels = [Channel(rig.ports, PROTO_RPCI) for _ in range(50)]

    cookies = {channel.high << 32 | channel.low for channel in channels}

    assert [channel.id for channel in channels] == list(range(50))
    assert len(cookies) == 50
    assert min(cookie.bit_length() for cookie in cookies) > 32


def test_VMT_V_013_a_channel_without_a_cookie(rig: Rig) -> None:
    echo(rig)
    channel = Channel(rig.ports, PROTO_RPCI, cookie=False)

    channel.send(b"echo hello")

    assert (channel.high, channel.low) == (0, 0)
    assert channel.receive() == b"1 hello"


@pytest.mark.parametrize("protocol", [0, PROTO_RPCI ^ 1, PROTO_RPCI | 0x0400_0000 | FLAG_COOKIE, MASK32])
def test_VMT_V_014_other_protocols_get_nothing(rig: Rig, protocol: int) -> None:
    frame = opened(rig, protocol)

    assert status(frame) == 0
    assert not len(rig.host.channels)


def test_VMT_V_015_there_are_128_channels(rig: Rig) -> None:
    channels = [Channel(rig.ports, PROTO_RPCI) for _ in range(128)]
    with pytest.raises(ChannelError):
        Channel(rig.ports, PROTO_RPCI)

    channels[5].close()

    assert Channel(rig.ports, PROTO_RPCI).id == 5


def test_VMT_V_015_one_that_nobody_used_for_long_makes_room(rig: Rig) -> None:
    channels = [Channel(rig.ports, PROTO_RPCI) for _ in range(128)]
    rig.ports.now_ns = 61 * SECOND
    for channel in channels[:3] + channels[4:]:
        channel.send(b"log x")

    again = Channel(rig.ports, PROTO_RPCI)

    assert again.id == 3
    with pytest.raises(ChannelError):
        channels[3].send(b"log x")


def test_VMT_V_015_one_in_use_stays(rig: Rig) -> None:
    for n in range(128):
        rig.ports.now_ns = n
        Channel(rig.ports, PROTO_RPCI)
    rig.ports.now_ns = 60 * SECOND

    with pytest.raises(ChannelError):
        Channel(rig.ports, PROTO_RPCI)
    assert len(rig.host.channels) == 128


def test_VMT_V_015_a_poll_is_use(rig: Rig) -> None:
    """TCLO channels do not make room for others; RPCI channels that are used do not either."""
    service = rig.service()
    for _ in range(126):
        Channel(rig.ports, PROTO_RPCI)
    rig.ports.now_ns += 50 * SECOND
    service.rpc.call("log x")
    rig.ports.now_ns += 20 * SECOND

    again = Channel(rig.ports, PROTO_RPCI)

    assert again.id not in (service.channel.id, service.rpc.channel.id)


def test_VMT_V_016_channels_are_apart(rig: Rig) -> None:
    echo(rig)
    one, other = Channel(rig.ports, PROTO_RPCI), Channel(rig.ports, PROTO_RPCI)
    one.send(b"echo one")
    other.send(b"echo other")

    assert (other.receive(), one.receive()) == (b"1 other", b"1 one")


def test_VMT_V_016_words_of_two_messages_do_not_mix(slow: Rig) -> None:
    echo(slow)
    one, other = Channel(slow.ports, PROTO_RPCI), Channel(slow.ports, PROTO_RPCI)
    texts = {one: b"echo 111", other: b"echo 222"}
    for channel in texts:
        channel.call(Message.SENDSIZE, 8)
    for at in (0, 4):
        for channel, text in texts.items():
            channel.call(Message.SENDPAYLOAD, int.from_bytes(text[at : at + 4], "little"))

    assert (one.receive(), other.receive()) == (b"1 111", b"1 222")


@pytest.mark.parametrize("kind", list(Message)[1:])
@pytest.mark.parametrize("what", ["id", "high", "low", "beyond"])
def test_VMT_V_017_strangers_change_nothing(rig: Rig, kind: Message, what: str) -> None:
    echo(rig)
    channel = Channel(rig.ports, PROTO_RPCI)
    channel.send(b"echo mine")
    wrong = {"id": channel.id, "high": channel.high, "low": channel.low}
    wrong[what if what in wrong else "id"] ^= 1 if what in wrong else 0x80

    frame = rig.ports.low(Cmd.MESSAGE, 1, sub=kind, channel=wrong["id"], esi=wrong["high"], edi=wrong["low"])

    assert status(frame) == 0
    assert channel.receive() == b"1 mine"


def test_VMT_V_018_a_request_of_no_bytes_is_answered(rig: Rig) -> None:
    channel = Channel(rig.ports, PROTO_RPCI)

    channel.send(b"")

    assert channel.receive() == b"0 Unknown command"


def test_VMT_V_018_on_TCLO_it_is_a_poll(rig: Rig) -> None:
    channel = Channel(rig.ports, PROTO_TCLO)

    channel.send(b"")

    assert channel.receive() == b"reset"


def test_VMT_V_019_the_largest_message(rig: Rig) -> None:
    asked = echo(rig)
    channel = Channel(rig.ports, PROTO_RPCI)
    assert status(channel.call(Message.SENDSIZE, 65537)) == 0

    channel.send(b"echo " + bytes(65531))

    assert len(asked[0]) == 65531
    assert channel.receive() == b"1 " + bytes(65531)


@pytest.mark.parametrize("size", range(1, 10))
def test_VMT_V_020_every_tail(slow: Rig, size: int) -> None:
    asked = echo(slow)
    text = bytes(range(1, 10))[:size]
    channel = Channel(slow.ports, PROTO_RPCI)

    channel.send(b"echo " + text)

    assert asked == [text]
    assert channel.receive() == b"1 " + text


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 1000])
def test_VMT_V_021_at_once_or_word_by_word_is_the_same(size: int) -> None:
    text, seen = bytes(n & 0xFF for n in range(size)), []
    for fast in (True, False):
        rig = Rig(high_bandwidth=fast)
        asked = echo(rig)
        rpc = rig.rpc()
        seen.append((rpc.call(b"echo " + text), asked))

    assert seen[0] == seen[1] == ((True, text), [text])


def test_VMT_V_022_more_payload_than_announced(slow: Rig) -> None:
    asked = echo(slow)
    channel = Channel(slow.ports, PROTO_RPCI)
    channel.send(b"echo abc")

    assert status(channel.call(Message.SENDPAYLOAD, 1)) == 0
    assert asked == [b"abc"]
    assert channel.receive() == b"1 abc"


def test_VMT_V_023_the_answer_is_there_at_once(rig: Rig) -> None:
    echo(rig)
    channel = Channel(rig.ports, PROTO_RPCI)
    channel.send(b"echo abc")

    frame = channel.call(Message.RECVSIZE)

    assert status(frame) & ~HB == SUCCESS | DORECV


def test_VMT_V_024_nothing_waits(rig: Rig) -> None:
    frame = Channel(rig.ports, PROTO_RPCI).call(Message.RECVSIZE)

    assert status(frame) == SUCCESS
    assert frame.rdx >> 16 & 0xFFFF != Message.SENDSIZE


def test_VMT_V_025_a_size_asked_for_twice(rig: Rig) -> None:
    echo(rig)
    channel = Channel(rig.ports, PROTO_RPCI)
    channel.send(b"echo abc")

    answers = [channel.call(Message.RECVSIZE) for _ in range(2)]

    assert [(frame.rbx & MASK32, frame.rdx >> 16 & 0xFFFF) for frame in answers] == [(5, 1), (5, 1)]
    assert channel.receive() == b"1 abc"


def test_VMT_V_026_payload_word_by_word(slow: Rig) -> None:
    """Also where it could come at once."""
    echo(slow)
    channel = Channel(slow.ports, PROTO_RPCI)
    channel.send(b"echo abc")
    channel.call(Message.RECVSIZE)

    words = [channel.call(Message.RECVPAYLOAD, 1) for _ in range(2)]

    assert [(frame.rbx & MASK32, frame.rdx >> 16 & 0xFFFF) for frame in words] == [
        (int.from_bytes(b"1 ab", "little"), 2),
        (ord("c"), 2),
    ]
    assert status(channel.call(Message.RECVPAYLOAD, 1)) == 0


@pytest.mark.parametrize("kind", [Message.RECVPAYLOAD, Message.RECVSTATUS])
def test_VMT_V_027_an_answer_that_is_given_up(rig: Rig, kind: int) -> None:
    echo(rig)
    channel = Channel(rig.ports, PROTO_RPCI)
    channel.send(b"echo abc")
    channel.call(Message.RECVSIZE)

    assert status(channel.call(kind, 0)) == SUCCESS
    assert channel.receive() is None


@pytest.mark.parametrize(("requeue", "then"), [(True, b"reset"), (False, b"reset")])
def test_VMT_V_027_a_reset_that_is_given_up_comes_again(requeue: bool, then: bytes) -> None:
    rig = Rig(requeue=requeue)
    channel = Channel(rig.ports, PROTO_TCLO)
    channel.call(Message.RECVSIZE)
    channel.call(Message.RECVPAYLOAD, 0)

    assert channel.receive() == then


@pytest.mark.parametrize(("requeue", "then"), [(True, b"ping"), (False, None)])
def test_VMT_V_027_a_command_that_is_given_up(requeue: bool, then: bytes | None) -> None:
    rig = Rig(requeue=requeue)
    service, results = rig.service(), []
    rig.host.heartbeat.ping(rig.ports.now_ns, lambda result, now_ns: results.append(result.ok))
    service.channel.call(Message.RECVSIZE)
    service.channel.call(Message.RECVPAYLOAD, 0)

    assert service.channel.receive() == then
    assert results == ([] if requeue else [False])


def test_VMT_V_028_only_a_good_status_ends_it(rig: Rig) -> None:
    echo(rig)
    channel = Channel(rig.ports, PROTO_RPCI)
    channel.send(b"echo abc")
    channel.call(Message.RECVSIZE)

    assert status(channel.call(Message.RECVSTATUS, 1)) == 0
    assert channel.receive() == b"1 abc"
    assert channel.receive() is None


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("nth", [0, 1])
def test_VMT_V_029_a_checkpoint_anywhere(rig: Rig, point: str, nth: int) -> None:
    """The message begins anew, and its command runs once."""
    asked = echo(rig)
    rig.host.faults = FaultPlan([(point, nth, CHECKPOINT)])
    rpc = rig.rpc()

    answers = [rpc.call(b"echo first"), rpc.call(b"echo second")]

    assert answers == [(True, b"first"), (True, b"second")]
    assert asked == [b"first", b"second"]
    assert rpc.channel.restarts == 1
    rig.assert_clean()


@pytest.mark.parametrize("point", POINTS)
def test_VMT_V_029_a_checkpoint_on_TCLO(rig: Rig, point: str) -> None:
    service = rig.service()
    results: list[bool] = []
    rig.host.faults = FaultPlan([(point, 0, CHECKPOINT)])
    rig.host.heartbeat.ping(rig.ports.now_ns, lambda result, now_ns: results.append(result.ok))

    service.settle()

    assert results == [True]
    assert service.seen.count(b"ping") == 1
    rig.assert_clean()


@pytest.mark.parametrize("point", POINTS)
def test_VMT_V_030_checkpoints_end(rig: Rig, point: str) -> None:
    asked = echo(rig)
    rig.host.faults = FaultPlan([(point, None, CHECKPOINT)])
    rpc = rig.rpc()

    assert rpc.call(b"echo x") == (True, b"x")
    assert asked == [b"x"]
    assert rpc.channel.restarts == CHECKPOINTS_MAX


def test_VMT_V_031_CLOSE_ends_it(rig: Rig) -> None:
    """An answer that was not received goes with it, as vmwgfx counts on."""
    echo(rig)
    channel = Channel(rig.ports, PROTO_RPCI)
    channel.send(b"echo unread")

    channel.close()

    assert not len(rig.host.channels)
    assert status(channel.call(Message.CLOSE)) == 0
    assert Channel(rig.ports, PROTO_RPCI).receive() is None


def test_VMT_V_058_no_failing_call_leaves_its_type(rig: Rig) -> None:
    """Types 1, 3 and 5 left in place would read as success."""
    calls = [rig.ports.low(Cmd.MESSAGE, 1, sub=kind, channel=9) for kind in range(1, 10)]
    fast = rig.ports.out(b"abc", 9, 0, 0)
    back, data = rig.ports.inward(3, 9, 0, 0)

    assert [status(frame) for frame in calls] == [0] * 9
    assert [frame.rcx & 0xFFFF for frame in calls] == [Cmd.MESSAGE] * 9
    assert (fast.rbx >> 16 & 0xFFFF, back.rbx >> 16 & 0xFFFF, data) == (0, 0, b"")


def test_the_instruction_leaves_its_registers_as_hardware_would(rig: Rig) -> None:
    rig.host.channels.high_bandwidth = True
    echo(rig)
    channel = Channel(rig.ports, PROTO_RPCI)
    channel.call(Message.SENDSIZE, 6)
    out = rig.ports.out(b"echo x", channel.id, channel.high, channel.low)
    channel.call(Message.RECVSIZE)
    back, data = rig.ports.inward(3, channel.id, channel.high, channel.low)

    assert (out.rcx, out.rsi) == (0, 0x7F00_0000_1006)
    assert (back.rcx, back.rdi, data) == (0, 0x7F00_0000_2003, b"1 x")


def test_the_dead_leave_nothing(rig: Rig) -> None:
    rpc = rig.rpc()
    rpc.channel.call(Message.SENDSIZE, 100)
    rig.host.gone(rig.ports.caller, 0)

    assert not len(rig.host.channels)
    with pytest.raises(ChannelError):
        rpc.call("log x")


def test_a_checkpoint_is_a_status_of_its_own(slow: Rig) -> None:
    slow.host.faults = FaultPlan([("message.sendpayload", 0, CHECKPOINT)])
    channel = Channel(slow.ports, PROTO_RPCI)
    channel.call(Message.SENDSIZE, 4)

    assert status(channel.call(Message.SENDPAYLOAD, 0)) == CPT


def test_a_close_that_fails(rig: Rig) -> None:
    rig.host.faults = FaultPlan([("message.close", 0, Fault("fail"))])
    rpc = Rpc(rig.ports)
    with pytest.raises(ChannelError):
        rpc.channel.close()

    rpc.channel.close()
