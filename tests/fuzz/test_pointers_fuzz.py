"""Whatever a guest sends a pointer, by backdoor call, control request or USB/IP: nothing is raised, all stays small,
and the pointer works afterwards."""

from random import Random
from struct import pack

import pytest

from svga.usb.hid import NAK, STALL
from svga.usb.models import model
from svga.usb.personas import INPUT_ENDPOINT, PERSONAS
from svga.usb.usbip_session import DATA_MOST, WAITING_MOST, Session
from svga.usb.usbip_wire import CMD_SUBMIT, IN, RET_SUBMIT
from svga.vmmouse import COMMANDS, QUEUE, VERSION_ID, Command, Order, VmMouse
from tests.unit.svga.test_vmmouse import Call, call, packet
from tests.unit.svga.usb.rig import Client, Reply, bus_of, control, req_import, submit, unlink

pytestmark = pytest.mark.slow

NASTY = (0, 1, 2, 3, 4, 7, 8, 63, 64, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
SEEDS = pytest.mark.parametrize("seed", range(10))


def number(rng: Random, bits: int) -> int:
    value = rng.choice(NASTY) if rng.randrange(2) else rng.getrandbits(bits)
    return value & (1 << bits) - 1


# -- VMMouse -----------------------------------------------------------------------------------------------------------


def a_call(rng: Random) -> Call:
    word = rng.choice((rng.choice(list(Order)), rng.randrange(8), number(rng, 32)))
    command = rng.choice((*COMMANDS, Command.ABSPOINTER_DATA, number(rng, 16)))
    return Call(command | number(rng, 16) << 16, word, cpl=rng.randrange(4))


@SEEDS
def test_no_call_gets_out_of_the_vmmouse(seed: int) -> None:
    rng, mouse = Random(seed), VmMouse()
    for _ in range(4000):
        if rng.randrange(2):
            registers = a_call(rng)
            ours = registers.rcx & 0xFFFF in COMMANDS
            assert mouse.call(registers, iopl=rng.randrange(4)) == ours
            assert all(value >> 32 == 0xAAAA_5555 for value in registers.values())
        else:
            act = rng.choice((mouse.point, mouse.move))
            act(rng.randrange(-(1 << 40), 1 << 40), number(rng, 32), rng.choice((None, number(rng, 8))))
            mouse.wheel(rng.randrange(-1000, 1000))
        assert len(mouse._queue) <= QUEUE
    mouse.reset()
    call(mouse, Command.ABSPOINTER_COMMAND, Order.READ_ID)
    assert call(mouse, Command.ABSPOINTER_DATA, 1)[0] == VERSION_ID
    call(mouse, Command.ABSPOINTER_COMMAND, Order.ABSOLUTE)
    mouse.point(1, 2)

    assert packet(mouse) == [0, 1, 2, 0]


# -- control requests --------------------------------------------------------------------------------------------------


def a_setup(rng: Random) -> bytes:
    kind = rng.choice((0x00, 0x01, 0x02, 0x21, 0x80, 0x81, 0x82, 0xA1, number(rng, 8)))
    value = rng.choice((0x100, 0x200, 0x2100, 0x2200, 0x301, rng.randrange(3), number(rng, 16)))
    index = rng.choice((0, INPUT_ENDPOINT, number(rng, 16)))
    return pack("<BBHHH", kind, rng.choice((rng.randrange(13), number(rng, 8))), value, index, number(rng, 16))


@SEEDS
@pytest.mark.parametrize("name", PERSONAS)
def test_no_control_request_gets_out_of_a_pointer(name: str, seed: int) -> None:
    rng, pointer = Random(f"{name} {seed}"), model(name)
    for now in range(3000):
        setup = a_setup(rng)
        length = int.from_bytes(setup[6:], "little")
        sent = b"" if setup[0] & 0x80 else rng.randbytes(rng.choice((length, min(length, 8), 0)))
        answer = pointer.control(setup, sent)
        assert answer is STALL or (isinstance(answer, bytes) and len(answer) <= (length if setup[0] & 0x80 else 0))
        pointer.move(number(rng, 16), -number(rng, 16), number(rng, 8))
        pointer.point(number(rng, 32), number(rng, 32), number(rng, 8))
        pointer.wheel(rng.randrange(-999, 999))
        pointer.key(number(rng, 8), bool(rng.randrange(3)))
        report = pointer.interrupt(rng.choice((INPUT_ENDPOINT, number(rng, 8))), now * 1_000_000)
        assert report in (STALL, NAK) or (isinstance(report, bytes) and len(report) <= pointer.persona.size)
    pointer.reset()
    pointer.control(pack("<BBHHH", 0, 9, 1, 0, 0))
    pointer.wheel(1)
    pointer.key(0x1E, True)

    report = pointer.interrupt(INPUT_ENDPOINT, 0)
    assert isinstance(report, bytes)
    at, value = {"keyboard": (2, 4)}.get(name, (pointer.persona.size - 1, 1))
    assert report[at] == value


# -- USB/IP ------------------------------------------------------------------------------------------------------------


def a_message(rng: Random) -> bytes:
    kind = rng.randrange(12)
    if kind < 5:
        setup = a_setup(rng)
        length = int.from_bytes(setup[6:], "little") & 0xFFF
        setup = setup[:6] + length.to_bytes(2, "little")
        if setup[0] & 0x80:
            return submit(rng.randrange(50), IN, 0, length, setup)
        return submit(rng.randrange(50), 0, 0, length, setup) + rng.randbytes(length)
    if kind < 9:
        return submit(rng.randrange(50), IN, rng.choice((1, 1, 1, rng.randrange(16))), rng.choice((8, 4, 1, 0)))
    return unlink(rng.randrange(50), rng.randrange(50))


def spoil(rng: Random, data: bytes) -> bytes:
    """One field of the header with another number in it."""
    at = 4 * rng.randrange(CMD_SUBMIT.size // 4)
    return data[:at] + number(rng, 32).to_bytes(4, "big") + data[at + 4 :]


def alive(session: Session) -> None:
    """Let go, the pointer is there for the next."""
    bus = session.bus
    session.close()
    other = Client(bus)
    assert other.send(control(1, 0, 9, 1) + submit(2, IN, 1, 8)) == [Reply(3, 1, 0)]
    bus.plugs[0].move(7, 7)
    assert other.look() == [Reply(3, 2, 0, b"\0\x07\x07\0")]


@SEEDS
def test_messages_in_any_order_and_pieces(seed: int) -> None:
    rng, client = Random(seed), Client(bus_of("mouse"))
    session, mouse = client.session, client.session.bus.plugs[0]
    sent = b"".join(a_message(rng) for _ in range(1500))
    at = 0
    while at < len(sent):
        size = rng.choice((1, 47, 48, 49, 500, 5000))
        session.feed(sent[at : at + size])
        at += size
        assert session.ended is None
        assert len(session._waiting) <= WAITING_MOST
        assert len(session._in) <= CMD_SUBMIT.size + DATA_MOST
        assert len(session.out) <= 20 * (size + WAITING_MOST * RET_SUBMIT.size)
        session.out.clear()
        mouse.move(rng.randrange(-400, 400), 1, number(rng, 8))

    alive(session)


@SEEDS
def test_spoilt_messages_end_one_client_and_nothing_else(seed: int) -> None:
    rng, bus = Random(seed), bus_of("mouse")
    ends = 0
    for _ in range(150):
        client = Client(bus)
        for _ in range(20):
            message = a_message(rng)
            client.session.feed(spoil(rng, message) if rng.randrange(3) == 0 else message)
        ends += client.session.ended is not None
        assert len(client.session._in) <= CMD_SUBMIT.size + DATA_MOST
        client.session.close()

    assert ends > 50
    alive(Session(bus))


@SEEDS
def test_garbage_before_anything_is_imported(seed: int) -> None:
    rng, bus = Random(seed), bus_of("mouse")
    for _ in range(300):
        client = Client(bus, None)
        start = rng.choice((b"", bytes.fromhex("0111 8003"), bytes.fromhex("0111 8005"), req_import("1-1")))
        client.session.feed(start + rng.randbytes(rng.randrange(200)))
        assert len(client.session._in) < 400
        client.session.close()

    alive(Session(bus))
