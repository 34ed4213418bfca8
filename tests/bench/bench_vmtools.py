"""The message layer in process: calls a second, and how many times faster than objects for every call."""

from dataclasses import dataclass, field
from statistics import median
from time import process_time

from vmtools.driver.ports import Ports
from vmtools.driver.rpc import Rpc
from vmtools.frame import Frame
from vmtools.host import Host
from vmtools.wire import BDOOR_MAGIC, DORECV, FLAG_COOKIE, PROTO_RPCI, SUCCESS, Cmd, Message

SIZE, LAPS = 1024, 60  # bytes of a request, requests a run
RUNS = 5


# -- the baseline: a request and an answer object a call, fields by name -----------------------------------------------


@dataclass(frozen=True)
class Request:
    kind: Message
    channel: int
    cookie: tuple[int, int]
    value: int


@dataclass(frozen=True)
class Answer:
    status: int
    kind: int | None = None
    value: int | None = None


@dataclass
class PlainChannel:
    cookie: tuple[int, int]
    size: int = 0
    sent: bytearray = field(default_factory=bytearray)
    reply: bytes = b""
    at: int = 0


class Plain:
    """The same steps, the obvious way: parse the registers into a request, match it, store the answer."""

    def __init__(self) -> None:
        self.channels: dict[int, PlainChannel] = {}

    def low(self, frame: Frame, now_ns: int) -> None:
        if frame.rax & 0xFFFF_FFFF != BDOOR_MAGIC or frame.rcx & 0xFFFF != Cmd.MESSAGE:
            frame.rax = 0xFFFF_FFFF
            return
        request = Request(
            Message(frame.rcx >> 16 & 0xFFFF),
            frame.rdx >> 16 & 0xFFFF,
            (frame.rsi & 0xFFFF_FFFF, frame.rdi & 0xFFFF_FFFF),
            frame.rbx & 0xFFFF_FFFF,
        )
        answer = self.answer(request, frame)
        frame.rcx = frame.rcx & ~0xFFFF_0000 | answer.status << 16
        if answer.kind is not None:
            frame.rdx = frame.rdx & ~0xFFFF_0000 | answer.kind << 16
        if answer.value is not None:
            frame.rbx = answer.value

    def answer(self, request: Request, frame: Frame) -> Answer:
        if request.kind is Message.OPEN:
            self.channels[0] = PlainChannel((0x1234, 0x5678))
            frame.rsi, frame.rdi = self.channels[0].cookie
            return Answer(SUCCESS, 0)
        channel = self.channels.get(request.channel)
        if channel is None or channel.cookie != request.cookie:
            return Answer(0)
        match request.kind:
            case Message.SENDSIZE:
                channel.size, channel.sent = request.value, bytearray()
                return Answer(SUCCESS)
            case Message.SENDPAYLOAD:
                channel.sent += request.value.to_bytes(4, "little")
                if len(channel.sent) >= channel.size:
                    channel.reply = b"1 " + bytes(channel.sent[: channel.size]).partition(b" ")[2]
                return Answer(SUCCESS)
            case Message.RECVSIZE:
                channel.at = 0
                return Answer(SUCCESS | DORECV, 1, len(channel.reply))
            case Message.RECVPAYLOAD:
                word = channel.reply[channel.at : channel.at + 4].ljust(4, b"\0")
                channel.at += 4
                return Answer(SUCCESS, 2, int.from_bytes(word, "little"))
            case Message.RECVSTATUS:
                return Answer(SUCCESS)
            case _:
                return Answer(0)


# -- what is measured --------------------------------------------------------------------------------------------------


def model() -> Host:
    host = Host(high_bandwidth=False)
    host.rpci.on("echo", lambda rest, now_ns: b"1 " + rest, binary=True)
    return host


def drive(host: Host | Plain, laps: int) -> tuple[int, bytes]:
    """(calls, the last answer): requests of SIZE bytes, echoed, all word by word."""
    frame, low = Frame(), host.low
    frame.rax, frame.rbx, frame.rcx, frame.rdx = BDOOR_MAGIC, PROTO_RPCI | FLAG_COOKIE, Cmd.MESSAGE, 0x5658
    low(frame, 0)
    channel, high, bottom = frame.rdx >> 16 & 0xFFFF, frame.rsi, frame.rdi
    text = b"echo " + bytes(n & 0xFF for n in range(SIZE - 5))
    words = memoryview(text).cast("I").tolist()
    calls, got = 1, list[int]()
    for _ in range(laps):
        steps = [(Message.SENDSIZE, SIZE), *((Message.SENDPAYLOAD, word) for word in words), (Message.RECVSIZE, 0)]
        steps += [(Message.RECVPAYLOAD, 1)] * ((SIZE - 3 + 3) // 4) + [(Message.RECVSTATUS, 1)]
        got = []
        for kind, value in steps:
            frame.rax, frame.rbx, frame.rcx, frame.rdx = BDOOR_MAGIC, value, kind << 16 | Cmd.MESSAGE, channel << 16
            frame.rsi, frame.rdi = high, bottom
            low(frame, 0)
            if kind == Message.RECVPAYLOAD:
                got.append(frame.rbx)
        assert frame.rcx >> 16 & SUCCESS
        calls += len(steps)
    return calls, b"".join(word.to_bytes(4, "little") for word in got)[: SIZE - 3]


def empty(laps: int) -> float:
    """Seconds of the loop itself, with nobody called."""

    class Nobody(Plain):
        def low(self, frame: Frame, now_ns: int) -> None:
            frame.rcx |= SUCCESS << 16

    started = process_time()
    drive(Nobody(), laps)
    return process_time() - started


def run() -> tuple[float, float]:
    """(product, baseline) calls a second, the loop around them taken off; medians of runs in turn."""
    rates: tuple[list[float], list[float]] = ([], [])
    for _ in range(RUNS):
        idle = empty(LAPS)
        hosts: list[Host | Plain] = [model(), Plain()]
        for n, found in enumerate(rates):
            host = hosts[n]
            started = process_time()
            calls, answer = drive(host, LAPS)
            found.append(calls / (process_time() - started - idle))
            assert answer == b"1 " + bytes(n & 0xFF for n in range(SIZE - 5))
            if isinstance(host, Host):
                assert not host.rules, [str(v) for v in host.rules]
    return median(rates[0]), median(rates[1])


def at_once() -> float:
    """Bytes a second of the largest requests, payloads at once, there and back."""
    host = Host()
    host.rpci.on("echo", lambda rest, now_ns: b"1 " + rest, binary=True)
    rpc, text, moved = Rpc(Ports(host)), b"echo " + bytes(65000), 0
    started = process_time()
    for _ in range(500):
        ok, data = rpc.call(text)
        assert ok
        moved += len(text) + len(data)
    return moved / (process_time() - started)


def main() -> None:
    print("messages of the tools in process: calls/s word by word, ratio to objects for every call")
    ours, theirs = run()
    print(f"  {SIZE:5} bytes      {ours:12,.0f}  baseline {theirs:10,.0f}  ratio {ours / theirs:5.1f}")
    print(f"  65000 bytes at once {at_once() / 1e6:8,.0f} MB/s")


if __name__ == "__main__":
    main()
