"""Whatever a guest does with its registers and messages, the host raises nothing, stays small, and serves the next."""

from random import Random

import pytest

from pvdev.faults import Fault, FaultPlan
from tests.conformance.vmtools.rig import MEMORY, SECOND, Rig
from tests.conformance.vmtools.test_host_services import NICS_V3, V1, V2
from tests.conformance.vmtools.test_hostile import HEAD, XDR
from vmtools.driver.rpc import Channel, ChannelError, Service
from vmtools.frame import Frame
from vmtools.wire import (
    BALLOON_MAGIC,
    BDOOR_MAGIC,
    FLAG_COOKIE,
    MASK32,
    MASK64,
    PAGE,
    PROTO_RPCI,
    PROTO_TCLO,
    Balloon,
    Cmd,
    Message,
)

pytestmark = pytest.mark.slow

NASTY = (0, 1, 2, 3, 4, 5, 63, 64, 127, 128, 511, 512, 513, 65535, 65536, 65537, 0x7FFF_FFFF, 0x8000_0000, MASK32)
WORDS = (
    b"info-get",
    b"info-set",
    b"SetGuestInfo",
    b"SetGuestDiskInfo",
    b"log",
    b"tools.capability.features",
    b"tools.capability.resolution_server",
    b"tools.set.versiontype",
    b"tools.os.statechange.status",
    b"vmbackup.eventSet",
    b"vmx.set_option",
    b"vmx.capability.unified_loop",
    b"update.tools.health",
)
ARGUMENTS = (
    b"guestinfo.a",
    b"guestinfo.a b",
    b" 7 123",
    b" 10 " + NICS_V3,
    b" 9 " + V2,
    b" 2 " + V1,
    b" 8 " + HEAD,
    b'{"disks": [{"name": "Lw==", "free": "1", "size": "2"}]}',
    b"toolbox 1",
    b"1 3",
    b"0 5",
    b"reset 0 ",
    b"prov.snapshotCommit 0 ",
    b"req.keepAlive 0 ",
    b"req.error 3 why",
    b"req.done 0 ",
    b"synctime 0 1",
    b"hung",
    *(b" 10 " + data for data in XDR.values()),
)
RESULTS = (b"", b"OK ", b"OK ATR toolbox", b"OK ATR toolbox-dnd", b"ERROR no", b"nonsense", b"OK ATR")


def number(rng: Random) -> int:
    kind = rng.randrange(3)
    return rng.choice(NASTY) if kind == 0 else rng.randrange(256) if kind == 1 else rng.getrandbits(32)


def mangled(data: bytes, rng: Random) -> bytes:
    """A message that was one, with some of it changed."""
    out = bytearray(data)
    for _ in range(rng.choice((0, 0, 1, 3))):
        if out:
            at = rng.randrange(len(out))
            out[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
    return bytes(out)[: rng.choice((len(out), len(out), rng.randrange(len(out) + 1)))]


def a_request(rng: Random) -> bytes:
    return mangled(rng.choice(WORDS) + b" " + rng.choice(ARGUMENTS) + rng.choice((b"", b"\0", b" ")), rng)


def a_call(rig: Rig, channels: list[Channel], rng: Random) -> None:
    """One call with registers that are half right."""
    channel = rng.choice(channels)
    values = [rng.choice((number(rng), rng.getrandbits(64), MASK64)) for _ in range(7)]
    frame = Frame(*values, cpl=rng.choice((0, 3)), caller=rng.randrange(4))
    frame.rax = rng.choice((BDOOR_MAGIC, BDOOR_MAGIC, BALLOON_MAGIC, values[0]))
    if rng.randrange(4):
        frame.rdx = channel.id << 16
        frame.rsi, frame.rdi, frame.rbp = channel.high, channel.low, rng.choice((channel.high, channel.low))
    kind = rng.randrange(8)
    if kind < 4:
        frame.rcx = rng.choice((number(rng), rng.choice(list(Cmd)), rng.randrange(8) << 16 | Cmd.MESSAGE))
        frame.rbx = rng.choice((number(rng), PROTO_RPCI | FLAG_COOKIE, PROTO_TCLO | FLAG_COOKIE, 1))
        rig.host.low(frame, rig.ports.now_ns)
    elif kind == 4:
        frame.rbx, frame.rbp, frame.rdi = rng.choice((0x0001_0000, number(rng))), channel.high, channel.low
        rig.host.high_out(frame, rng.randbytes(min(rig.host.accepts(frame), 1 << 17)), rig.ports.now_ns)
    elif kind == 5:
        frame.rbx, frame.rsi, frame.rbp = rng.choice((0x0001_0000, number(rng))), channel.high, channel.low
        frame.rcx = rng.choice((channel_size(rig, channel), frame.rcx))
        count = frame.rcx
        assert len(rig.host.high_in(frame, rig.ports.now_ns)) <= count
    else:
        frame.rax, frame.cpl, frame.rcx = BALLOON_MAGIC, 0, rng.choice((*Balloon, number(rng)))
        frame.rbx, frame.rsi = (
            rng.choice((number(rng), rng.randrange(MEMORY // PAGE), 0x3E)),
            rng.choice((number(rng), 3)),
        )
        at = rng.randrange(32) * 8
        entry = rng.choice((rng.randrange(MEMORY // PAGE) << 12, rng.getrandbits(64), rng.randrange(32) << 21))
        rig.memory[at : at + 8] = entry.to_bytes(8, "little")
        rig.host.balloon(frame, rig.ports.now_ns)
    assert all(0 <= value <= MASK64 for value in frame.values())


def channel_size(rig: Rig, channel: Channel) -> int:
    """What RECVSIZE says."""
    return channel.call(Message.RECVSIZE).rbx & MASK32


def a_turn_of_the_host(rig: Rig, rng: Random) -> None:
    """What a host may do at any time."""
    host, now = rig.host, rig.ports.now_ns
    kind = rng.randrange(10)
    if kind == 0:
        host.power.request(rng.choice(("shutdown", "suspend", "resume")), now)
    elif kind == 1:
        host.snapshot.start(now, lambda now_ns: rng.choice((True, False, None)))
    elif kind == 2:
        host.snapshot.abort(now)
    elif kind == 3:
        host.snapshot.taken(rng.choice((True, False)), now)
    elif kind == 4:
        host.heartbeat.ping(now)
    elif kind == 5:
        host.balloon_device.set_target(rng.randrange(MEMORY // PAGE))
    elif kind == 6:
        host.balloon_device.reset()
    elif kind == 7:
        host.resume(now)
    elif kind == 8:
        host.set_option("synctime", rng.choice("01"), now)
    else:
        host.gone(rng.randrange(4), now)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("fast", [True, False], ids=["at once", "word by word"])
def test_nothing_a_guest_does_gets_out(fast: bool, seed: int) -> None:
    rng = Random(f"{fast} {seed}")
    rig = Rig(high_bandwidth=fast, requeue=bool(rng.randrange(2)))
    points = ("message.sendpayload", "message.recvpayload", "message.recvstatus", "message.close")
    rig.host.faults = FaultPlan(
        [(rng.choice(points), n, Fault(rng.choice(("checkpoint", "other")))) for n in range(0, 500, 7)]
    )
    channels: list[Channel] = []
    for n in range(1500):
        while len(channels) < 4:
            try:
                channels.append(Channel(rig.ports, rng.choice((PROTO_RPCI, PROTO_TCLO))))
            except ChannelError:
                rig.host.gone(rig.ports.caller, rig.ports.now_ns)
        kind = rng.randrange(8)
        channel = rng.choice(channels)
        try:
            if kind < 3:
                a_call(rig, channels, rng)
            elif kind < 5:
                channel.send(rng.choice((a_request(rng), rng.choice(RESULTS))))
                channel.receive()
            elif kind == 5:
                channel.call(rng.randrange(8), rng.choice((0, 1, number(rng))))
            elif kind == 6:
                a_turn_of_the_host(rig, rng)
            else:
                rig.pass_time(rng.choice((0, SECOND // 10, SECOND, 20 * SECOND)))
        except ChannelError:
            channels.remove(channel)
        if n % 250 == 249:
            rig.host.reset(rig.ports.now_ns)
            channels.clear()
        assert len(rig.host.channels) <= 128
        assert rig.host.balloon_device.current <= MEMORY // PAGE
        assert rig.host.variables.size <= rig.host.variables.limit

    rig.host.faults = None
    rig.host.gone(rig.ports.caller, rig.ports.now_ns)
    rig.host.reset(rig.ports.now_ns)
    rig.assert_alive()
    service = Service(rig.ports)
    rig.scripts(service)
    service.settle()
    assert b"Capabilities_Register" in service.seen


@pytest.mark.parametrize("seed", range(4))
def test_nothing_a_guest_says_gets_out(seed: int) -> None:
    """Requests alone, thousands of them, near to what they should be."""
    rng = Random(seed)
    rig = Rig()
    rig.service()
    for _ in range(6000):
        answer = rig.host.rpci.answer(a_request(rng), rig.ports.now_ns)
        assert answer[:2] in (b"1 ", b"0 ")
        if not rng.randrange(20):
            a_turn_of_the_host(rig, rng)
            rig.pass_time(SECOND)

    rig.assert_alive()
