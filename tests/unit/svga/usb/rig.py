"""A USB/IP client's messages, made and read."""

from dataclasses import dataclass

from svga.usb import usbip_wire as wire
from svga.usb.bus import Bus
from svga.usb.models import model
from svga.usb.usbip_session import Session
from svga.usb.usbip_wire import Command, Op
from svga.usb.wire import SETUP

DEVID = 1 << 16 | 2  # of the first port
REQ_DEVLIST = wire.OP_COMMON.encode(version=0x0111, code=Op.REQ_DEVLIST)
LISTED = wire.DEVICE.size + wire.INTERFACE.size


def req_import(busid: str, version: int = 0x0111) -> bytes:
    return wire.OP_COMMON.encode(version=version, code=Op.REQ_IMPORT) + busid.encode().ljust(32, b"\0")


def submit(seqnum: int, direction: int, ep: int, length: int, setup: bytes = bytes(8), **more: int) -> bytes:
    facts = {"devid": DEVID, "command": Command.CMD_SUBMIT, **more}
    return wire.CMD_SUBMIT.encode(
        seqnum=seqnum, direction=direction, ep=ep, transfer_buffer_length=length, setup=setup, **facts
    )


def control(seqnum: int, kind: int, request: int, value: int = 0, index: int = 0, data: bytes | int = b"") -> bytes:
    """A control request, as Linux sends it: without data it goes out."""
    length = data if isinstance(data, int) else len(data)
    setup = SETUP.encode(bmRequestType=kind, bRequest=request, wValue=value, wIndex=index, wLength=length)
    reads = kind & 0x80 and length
    return submit(seqnum, int(bool(reads)), 0, length, setup) + (data if isinstance(data, bytes) else b"")


def unlink(seqnum: int, victim: int) -> bytes:
    return wire.CMD_UNLINK.encode(command=Command.CMD_UNLINK, seqnum=seqnum, devid=DEVID, unlink_seqnum=victim)


@dataclass(frozen=True)
class Reply:
    command: int
    seqnum: int
    status: int
    data: bytes = b""
    actual: int = 0


def replies(data: bytes, reads: bool = True) -> list[Reply]:
    """The answers to commands in there. `reads`: data follow, as the commands were ones that read."""
    found, at = [], 0
    while at < len(data):
        command, seqnum = wire.RET_SUBMIT.struct.unpack_from(data, at)[:2]
        status, actual = wire.RET_SUBMIT.struct.unpack_from(data, at)[5:7]
        at += wire.RET_SUBMIT.size
        length = actual if command == Command.RET_SUBMIT and reads else 0
        found.append(Reply(command, seqnum, status, data[at : at + length], actual if length == 0 else 0))
        at += length
    assert at == len(data)
    return found


def bus_of(*names: str) -> Bus:
    bus = Bus()
    for name in names:
        bus.plug(model(name))
    return bus


class Client:
    """A session, and what it answered since last asked."""

    def __init__(self, bus: Bus, busid: str | None = "1-1") -> None:
        self.session = Session(bus)
        if busid is not None:
            self.session.feed(req_import(busid))
            assert self.take()[:8] == bytes.fromhex("0111 0003 00000000")

    def take(self) -> bytes:
        said = bytes(self.session.out)
        self.session.out.clear()
        return said

    def send(self, data: bytes, reads: bool = True) -> list[Reply]:
        self.session.feed(data)
        return replies(self.take(), reads)

    def look(self) -> list[Reply]:
        self.session.poll()
        return replies(self.take())

    def broken(self) -> list[str]:
        return [f"{violation.rule.number} {violation.place}" for violation in self.session.rules]
