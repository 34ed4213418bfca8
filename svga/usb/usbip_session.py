"""One USB/IP client: what it sends, and what is sent back. Bytes in, bytes out; no socket.

A client lists devices, or imports one and then is that device's host until it goes.
"""

from collections import OrderedDict

from pvdev.rules import RuleLog
from svga.rules import RULES
from svga.usb import usbip_wire as wire
from svga.usb.bus import Bus, Plug
from svga.usb.hid import NAK, Answer
from svga.usb.usbip_wire import Command, Op, Status
from svga.usb.wire import IN as FROM_DEVICE
from svga.usb.wire import SPEED_FULL

WAITING_MOST = 64  # reads of a client that wait for a hand
DATA_MOST = 1 << 16  # bytes a client sends with one request; wLength can say no more


class Session:
    """`out` grows by what is to be sent; whoever sends it takes it away. `ended`: why this client is to be let go."""

    def __init__(self, bus: Bus, rules: RuleLog | None = None) -> None:
        self.bus = bus
        self.rules = rules if rules is not None else RuleLog(RULES)
        self.out = bytearray()
        self.ended: str | None = None
        self.plug: Plug | None = None
        self._in = bytearray()
        self._waiting: OrderedDict[int, int] = OrderedDict()  # seqnum -> how much it would take

    def close(self) -> None:
        """The client has gone: its device is free, and as if plugged in anew."""
        if self.plug is not None:
            self.plug.release(self, reset=True)
        self.ended = self.ended or "closed"
        self._waiting.clear()

    def feed(self, data: bytes) -> None:
        """Bytes of the client's, in whatever pieces."""
        self._in += data
        while not self.ended:
            taken = self._operation() if self.plug is None else self._command(self.plug)
            if not taken:
                break
            del self._in[:taken]
        self.poll()

    def poll(self) -> None:
        """Answer what waits for a hand, as far as hands moved."""
        plug = self.plug
        if plug is None or self.ended:
            return
        if not plug.there:
            self.ended = f"{plug.busid} was unplugged"
            return
        while self._waiting:
            answer = plug.interrupt(FROM_DEVICE | 1)
            if answer is NAK:
                return
            seqnum, room = self._waiting.popitem(last=False)
            self._answer(seqnum, answer, room)

    def due(self) -> int | None:
        """When to `poll` although no hand has moved, on the bus's clock."""
        return self.plug.due() if self.plug is not None and self._waiting else None

    def _wrong(self, place: str, value: int) -> int:
        self.rules.note("SVG-D-069", place, value)
        self.ended = f"{place} {value:#x} is not USB/IP"
        return 0

    # -- before a device is imported -------------------------------------------------------------------------------

    def _operation(self) -> int:
        """Do the first request in `_in`; how many bytes it took, 0: it is not all there."""
        if len(self._in) < wire.OP_COMMON.size:
            return 0
        version, code, _ = wire.OP_COMMON.struct.unpack_from(self._in)
        if version != wire.VERSION:
            return self._wrong("version", version)
        if code == Op.REQ_DEVLIST:
            self._list()
            return wire.OP_COMMON.size
        if code != Op.REQ_IMPORT:
            return self._wrong("operation", code)
        end = wire.OP_COMMON.size + wire.BUSID_SIZE
        if len(self._in) < end:
            return 0
        self._import(bytes(self._in[wire.OP_COMMON.size : end]).partition(b"\0")[0].decode("latin-1"))
        return end

    def _list(self) -> None:
        """All devices nobody holds."""
        free = [plug for plug in self.bus.plugs if plug.holder is None]
        self.out += wire.OP_COMMON.encode(version=wire.VERSION, code=Op.REP_DEVLIST)
        self.out += len(free).to_bytes(4, "big")
        for plug in free:
            interface = plug.model.persona.interface
            self.out += _describe(plug) + bytes((*interface[5:8], 0))

    def _import(self, busid: str) -> None:
        plug = self.bus.find(busid)
        status = Status.NODEV if plug is None else Status.OK if plug.hold(self) else Status.DEV_BUSY
        self.out += wire.OP_COMMON.encode(version=wire.VERSION, code=Op.REP_IMPORT, status=status)
        if plug is None or status != Status.OK:
            self.ended = f"{busid!r} cannot be imported: {status.name}"
            return
        with self.bus.lock:
            plug.model.reset()
        self.plug = plug
        self.out += _describe(plug)

    # -- afterwards ------------------------------------------------------------------------------------------------

    def _command(self, plug: Plug) -> int:
        if len(self._in) < wire.CMD_SUBMIT.size:
            return 0
        command, seqnum, devid, direction, endpoint = wire.CMD_SUBMIT.struct.unpack_from(self._in)[:5]
        if devid != _devid(plug):
            return self._wrong("devid", devid)
        if command == Command.CMD_UNLINK:
            return self._unlink(seqnum)
        if command != Command.CMD_SUBMIT:
            return self._wrong("command", command)
        if direction not in (wire.OUT, wire.IN):
            return self._wrong("direction", direction)
        if endpoint > 15:
            return self._wrong("ep", endpoint)
        return self._submit(plug, seqnum, direction, endpoint)

    def _unlink(self, seqnum: int) -> int:
        """Take a read back. Status 0 says it was too late: its answer is under way or was never owed."""
        victim = wire.CMD_UNLINK.struct.unpack_from(self._in)[5]
        status = -wire.ECONNRESET if self._waiting.pop(victim, None) is not None else 0
        self.out += wire.RET_UNLINK.encode(command=Command.RET_UNLINK, seqnum=seqnum, status=status)
        return wire.CMD_UNLINK.size

    def _submit(self, plug: Plug, seqnum: int, direction: int, endpoint: int) -> int:
        length, _, packets, _, setup = wire.CMD_SUBMIT.struct.unpack_from(self._in)[6:]
        if packets not in wire.NO_PACKETS:
            return self._wrong("number_of_packets", packets)
        end = wire.CMD_SUBMIT.size + (length if direction == wire.OUT else 0)
        if length < 0 or end > wire.CMD_SUBMIT.size + DATA_MOST:
            return self._wrong("transfer_buffer_length", length & 0xFFFF_FFFF)
        if len(self._in) < end:
            return 0
        data = bytes(self._in[wire.CMD_SUBMIT.size : end])
        if endpoint == 0:
            answer = plug.control(setup, data)
            sent = len(data) if direction == wire.OUT else None
            self._answer(seqnum, answer, length, sent)
        elif direction == wire.OUT or endpoint != 1:
            self._reply(seqnum, -wire.EPIPE)
        elif len(self._waiting) < WAITING_MOST and seqnum not in self._waiting:
            self._waiting[seqnum] = length
        else:
            self._reply(seqnum, -wire.ENOMEM)
        return end

    def _answer(self, seqnum: int, answer: Answer, room: int, sent: int | None = None) -> None:
        """What the device said. `sent`: how much it was sent, when the client wants nothing back."""
        if not isinstance(answer, bytes):
            self._reply(seqnum, -wire.EPIPE)
        elif sent is not None:
            self._reply(seqnum, 0, actual=sent)
        else:
            self._reply(seqnum, -wire.EOVERFLOW if len(answer) > room else 0, answer[:room])

    def _reply(self, seqnum: int, status: int, data: bytes = b"", actual: int = 0) -> None:
        actual = len(data) or actual
        self.out += wire.RET_SUBMIT.struct.pack(Command.RET_SUBMIT, seqnum, 0, 0, 0, status, actual, 0, 0, 0)
        self.out += data


def _devid(plug: Plug) -> int:
    return plug.bus.number << 16 | plug.address


def _describe(plug: Plug) -> bytes:
    persona = plug.model.persona
    return wire.DEVICE.encode(
        path=f"/sys/devices/pvdev/usb{plug.bus.number}/{plug.busid}".encode(),
        busid=plug.busid.encode(),
        busnum=plug.bus.number,
        devnum=plug.address,
        speed=SPEED_FULL,
        idVendor=persona.vendor,
        idProduct=persona.product,
        bcdDevice=persona.release,
        bConfigurationValue=plug.model.configuration,
        bNumConfigurations=1,
        bNumInterfaces=1,
    )
