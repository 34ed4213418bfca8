"""A program's side of GuestRPC: a channel, requests over it, and a service that polls for commands.

Ref: open-vm-tools lib/message/message.c (what follows what), lib/rpcOut/rpcout.c, lib/rpcIn/rpcin.c.
"""

from collections.abc import Callable

from vmtools.driver.ports import Ports
from vmtools.frame import Frame
from vmtools.wire import CPT, DORECV, FLAG_COOKIE, HB, MASK32, PROTO_RPCI, PROTO_TCLO, SUCCESS, Cmd, Message

TRIES = 16


class ChannelError(Exception):
    """The host said no at a step of the message layer."""


class Channel:
    """One open channel. Raises `ChannelError`."""

    def __init__(self, ports: Ports, protocol: int, *, cookie: bool = True) -> None:
        self.ports, self.high, self.low, self.restarts = ports, 0, 0, 0
        answer = ports.low(Cmd.MESSAGE, protocol | (FLAG_COOKIE if cookie else 0), sub=Message.OPEN)
        if not status(answer) & SUCCESS:
            raise ChannelError("OPEN")
        self.id = answer.rdx >> 16 & 0xFFFF
        self.high, self.low = answer.rsi & MASK32, answer.rdi & MASK32

    def call(self, kind: int, ebx: int = 0) -> Frame:
        """One step by the low-bandwidth port."""
        return self.ports.low(Cmd.MESSAGE, ebx, sub=kind, channel=self.id, esi=self.high, edi=self.low)

    def send(self, data: bytes) -> None:
        for _ in range(TRIES):
            answer = status(self.call(Message.SENDSIZE, len(data)))
            if not answer & SUCCESS:
                raise ChannelError("SENDSIZE")
            if answer & HB and data:
                answer = self.ports.out(data, self.id, self.high, self.low).rbx >> 16 & 0xFFFF
            else:
                for at in range(0, len(data), 4):
                    word = int.from_bytes(data[at : at + 4], "little")
                    answer = status(self.call(Message.SENDPAYLOAD, word))
                    if not answer & SUCCESS:
                        break
            if answer & SUCCESS:
                return
            if not answer & CPT:
                break
            self.restarts += 1
        raise ChannelError("SENDPAYLOAD")

    def receive(self) -> bytes | None:
        """The next message, or None when there is none."""
        for _ in range(TRIES):
            frame = self.call(Message.RECVSIZE)
            answer, size = status(frame), frame.rbx & MASK32
            if not answer & SUCCESS:
                raise ChannelError("RECVSIZE")
            if not answer & DORECV:
                return None
            if frame.rdx >> 16 & 0xFFFF != Message.SENDSIZE:
                raise ChannelError("RECVSIZE: not a size")
            answer, data = self._payload(size, bool(answer & HB))
            if answer & SUCCESS:
                answer = status(self.call(Message.RECVSTATUS, SUCCESS))
                if answer & SUCCESS:
                    return data
            if not answer & CPT:
                break
            self.restarts += 1
        raise ChannelError("RECVPAYLOAD")

    def _payload(self, size: int, fast: bool) -> tuple[int, bytes]:
        """(status, bytes) of what was announced."""
        if fast and size:
            frame, data = self.ports.inward(size, self.id, self.high, self.low)
            return frame.rbx >> 16 & 0xFFFF, data
        out, answer = b"", SUCCESS
        while len(out) < size:
            frame = self.call(Message.RECVPAYLOAD, SUCCESS)
            answer = status(frame)
            if not answer & SUCCESS:
                return answer, b""
            if frame.rdx >> 16 & 0xFFFF != Message.SENDPAYLOAD:
                raise ChannelError("RECVPAYLOAD: not a payload")
            out += (frame.rbx & MASK32).to_bytes(4, "little")
        return answer, out[:size]

    def close(self) -> None:
        if not status(self.call(Message.CLOSE)) & SUCCESS:
            raise ChannelError("CLOSE")


def status(frame: Frame) -> int:
    """Of a step by the low-bandwidth port."""
    return frame.rcx >> 16 & 0xFFFF


class Rpc:
    """Requests over one channel that stays open."""

    def __init__(self, ports: Ports) -> None:
        self.channel = Channel(ports, PROTO_RPCI)

    def call(self, text: str | bytes) -> tuple[bool, bytes]:
        """(whether it worked, what the host says)."""
        self.channel.send(text.encode() if isinstance(text, str) else text)
        answer = self.channel.receive()
        if answer is None or answer[:2] not in (b"1 ", b"0 "):
            raise ChannelError(f"no answer: {answer!r}")
        return answer[:2] == b"1 ", answer[2:]


Handler = Callable[[bytes], bytes]


class Service:
    """A program that polls: `poll` is one turn. `on[word](rest)` carries a command out and gives its result.

    `seen`: the commands so far.
    """

    def __init__(self, ports: Ports, name: str = "toolbox") -> None:
        self.ports, self.name = ports, name
        self.channel = Channel(ports, PROTO_TCLO)
        self.rpc = Rpc(ports)
        self.seen: list[bytes] = []
        self.on: dict[bytes, Handler] = {
            b"reset": lambda rest: b"OK ATR " + name.encode(),
            b"ping": lambda rest: b"OK ",
            b"Capabilities_Register": self._register,
            b"Set_Option": lambda rest: b"OK ",
        }
        self._result = b""

    def poll(self, times: int = 1, every_ns: int = 100_000_000) -> None:
        """Send the last result, and carry out what there is."""
        for _ in range(times):
            self.channel.send(self._result)
            self._result = b""
            command = self.channel.receive()
            if command is not None:
                self.seen.append(command)
                word, _, rest = command.rstrip(b"\0").partition(b" ")
                handler = self.on.get(word)
                self._result = handler(rest) if handler is not None else b"ERROR Unknown Command"
            self.ports.now_ns += every_ns

    def settle(self, most: int = 100) -> None:
        """Poll until nothing is to be done."""
        for _ in range(most):
            before = len(self.seen)
            self.poll()
            if len(self.seen) == before:
                return

    def close(self) -> None:
        self.channel.close()
        self.rpc.channel.close()

    def _register(self, rest: bytes) -> bytes:
        for text in (
            "tools.capability.hgfs_server toolbox 1",
            "tools.capability.statechange ",
            "tools.capability.softpowerop_retry ",
            "tools.capability.features 37=1 36=1",
        ):
            self.rpc.call(text)
        self.rpc.call("tools.set.versiontype 12448 4")
        return b"OK "
