"""GuestRPC's message layer: channels, and the calls that carry messages over them word by word or whole.

A channel knows nothing of what it carries: an `End` takes what the guest has sent and offers what it is to receive.
A call that fails changes nothing but the status, which replaces the request's type: types 1, 3 and 5 left in place
would read as success.

Ref: open-vm-tools lib/message/message.c, lib/include/guest_msg_def.h; Linux drivers/gpu/drm/vmwgfx/vmwgfx_msg.c.
"""

import secrets
from array import array
from collections.abc import Callable, Iterator

from pvdev.faults import FaultPlan
from vmtools.channel import NOT, Channel, End
from vmtools.frame import Frame
from vmtools.wire import (
    BDOOR_MAGIC,
    CHANNELS_MAX,
    CPT,
    DORECV,
    FLAG_COOKIE,
    HB,
    HB_MESSAGE,
    IN_SIZE_MAX,
    MASK16,
    MASK32,
    MASK64,
    PROTO_TCLO,
    SUCCESS,
    TYPE_SENDPAYLOAD,
    TYPE_SENDSIZE,
    Message,
)

CHECKPOINTS_MAX = 3  # in a row on one channel: Linux gives up after three tries
IDLE_NS = 60_000_000_000  # after which a channel may have to make room for another
FAILED = 0
CLOSE = int(Message.CLOSE)  # a plain number: this is the hot path


class Channels:
    """All channels of one guest. `make[protocol](channel)` makes an end; `cookies` gives 64 bits nobody can guess.

    `high_bandwidth`: whether payloads may go at once. `requeue`: whether an abandoned command of the host's is offered
    again. `faults`: "message.sendpayload", "message.recvpayload", "message.recvstatus" with kind "checkpoint".
    """

    def __init__(
        self,
        make: dict[int, Callable[[Channel], End]],
        note: Callable[[str, str, int], None],
        *,
        most: int = CHANNELS_MAX,
        high_bandwidth: bool = True,
        cookies: Callable[[], int] = lambda: secrets.randbits(64),
    ) -> None:
        if not 0 < most <= CHANNELS_MAX:
            raise ValueError(f"{most} channels: 1 to {CHANNELS_MAX}")
        self.high_bandwidth, self.most = high_bandwidth, most
        self.faults: FaultPlan | None = None
        self._make, self._note, self._cookies = make, note, cookies
        self._channels: list[Channel | None] = [None] * most
        self._refused = False  # the last OPEN, which asked for a cookie
        self._steps = (
            self._open,
            self._send_size,
            self._send_payload,
            self._recv_size,
            self._recv_payload,
            self._recv_status,
            self._close,
        )

    def __iter__(self) -> Iterator[Channel]:
        return (channel for channel in self._channels if channel is not None)

    def __len__(self) -> int:
        return sum(channel is not None for channel in self._channels)

    # -- calls ---------------------------------------------------------------------------------------------------------

    def low(self, frame: Frame, now_ns: int) -> None:
        """Command MESSAGE at the low-bandwidth port."""
        kind = frame.rcx >> 16 & 0xFFFF
        if 0 < kind <= CLOSE:
            number = frame.rdx >> 16 & 0xFFFF
            channel = self._channels[number] if number < self.most else None
            if (
                channel is None
                or channel.cookie_high ^ frame.rsi & 0xFFFF_FFFF | channel.cookie_low ^ frame.rdi & 0xFFFF_FFFF
            ):
                self._note("VMT-D-009", Message(kind).name, number)
                status = FAILED
            else:
                channel.used_ns = now_ns
                status = self._steps[kind](frame, channel, now_ns)
        elif kind:
            self._note("VMT-D-006", "message type", kind)
            status = FAILED
        else:
            status = self._open(frame, None, now_ns)
        frame.rcx = frame.rcx & ~0xFFFF_0000 | status << 16

    def accepts(self, frame: Frame) -> int:
        """How many bytes a payload call with this frame would take: 0 where it fails."""
        channel = self._find(frame, frame.rbp, frame.rdi)
        if channel is None or not channel.fast_out or channel.got or not 0 < channel.announced == frame.rcx:
            return 0
        return channel.announced

    def high_out(self, frame: Frame, data: bytes, now_ns: int) -> None:
        """A whole payload from the guest."""
        channel, status = self._find(frame, frame.rbp, frame.rdi, "send"), FAILED
        if channel is not None:
            channel.used_ns = now_ns
            if not self.accepts(frame) or len(data) != frame.rcx:
                self._note("VMT-D-013", f"channel {channel.id}", frame.rcx)
            else:
                status = self._pass("message.sendpayload", channel) or SUCCESS
                frame.rsi = frame.rsi + frame.rcx & MASK64
                frame.rcx = 0
                if status & SUCCESS:
                    self._complete(channel, data, now_ns)
        frame.rbx = frame.rbx & ~0xFFFF_0000 | status << 16

    def high_in(self, frame: Frame, now_ns: int) -> bytes:
        """A whole payload to the guest: what it is to find at RDI."""
        channel, status, data = self._find(frame, frame.rsi, frame.rbp, "receive"), FAILED, b""
        if channel is not None:
            channel.used_ns = now_ns
            if channel.offer is None or not channel.fast_in or channel.at or frame.rcx != channel.size or not frame.rcx:
                self._note("VMT-D-018", f"channel {channel.id}", frame.rcx)
            else:
                status = self._pass("message.recvpayload", channel) or SUCCESS
                if status & SUCCESS:
                    data, channel.at = channel.offer, len(channel.words)
                    frame.rdi = frame.rdi + frame.rcx & MASK64
                    frame.rcx = 0
        frame.rbx = frame.rbx & ~0xFFFF_0000 | status << 16
        return data

    # -- what the host does to them ------------------------------------------------------------------------------------

    def shut(self, channel: Channel, now_ns: int) -> None:
        """Close a channel from this side: the guest's next call on it fails."""
        if self._channels[channel.id] is channel:
            self._channels[channel.id] = None
            channel.end.closed(now_ns)

    def gone(self, owner: int, now_ns: int) -> None:
        """Whoever opened them is dead: nobody will close its channels."""
        for channel in self:
            if channel.owner == owner:
                self.shut(channel, now_ns)

    def reset(self, now_ns: int) -> None:
        """The machine starts anew: no channel is open."""
        for channel in self:
            self.shut(channel, now_ns)

    # -- steps ---------------------------------------------------------------------------------------------------------

    def _find(self, frame: Frame, high: int, low: int, told: str = "") -> Channel | None:
        """The channel a high-bandwidth call is about. `told`: the direction, when mistakes are to be noted."""
        number = frame.rdx >> 16 & MASK16
        channel = self._channels[number] if number < self.most else None
        wrong = ""
        if frame.rax & MASK32 != BDOOR_MAGIC:
            wrong, value = "VMT-D-001", frame.rax & MASK32
        elif frame.rbx & MASK16 != HB_MESSAGE:
            wrong, value = "VMT-D-015", frame.rbx & MASK32
        elif channel is None or (channel.cookie_high ^ high & MASK32) | (channel.cookie_low ^ low & MASK32):
            wrong, value = "VMT-D-009", number
        if wrong:
            if told:
                self._note(wrong, f"high bandwidth, {told}", value)
            return None
        if told and frame.rbx >> 16 & MASK16 != SUCCESS:
            self._note("VMT-D-016" if frame.rbx >> 16 & ~SUCCESS & MASK16 else "VMT-D-015", told, frame.rbx & MASK32)
        return channel

    def _pass(self, point: str, channel: Channel) -> int:
        """0, or the status of a checkpoint that strikes here: the guest starts the message again."""
        if self.faults is None or (fault := self.faults.at(point)) is None or fault.kind != "checkpoint":
            return 0
        if channel.checkpoints >= CHECKPOINTS_MAX:
            return 0
        channel.checkpoints += 1
        channel.restart = True
        if point == "message.sendpayload":
            channel.announced = NOT
        else:
            channel.offer = None
        return CPT

    def _open(self, frame: Frame, channel: Channel | None, now_ns: int) -> int:
        protocol, cookie = frame.rbx & MASK32 & ~FLAG_COOKIE, bool(frame.rbx & FLAG_COOKIE)
        if protocol not in self._make:
            self._note("VMT-D-007", "OPEN", frame.rbx & MASK32)
            return FAILED
        if not cookie and not self._refused:
            self._note("VMT-D-008", "OPEN", frame.rbx & MASK32)
        number = self._room(protocol, now_ns)
        self._refused = cookie and number is None
        if number is None:
            return FAILED
        secret = (self._cookies() & MASK64 or 1) if cookie else 0
        channel = Channel(number, protocol, secret, frame.caller, now_ns)
        channel.end = self._make[protocol](channel)
        self._channels[number] = channel
        frame.rdx = frame.rdx & ~0xFFFF_0000 | number << 16
        frame.rsi, frame.rdi = channel.cookie_high, channel.cookie_low
        return SUCCESS

    def _room(self, protocol: int, now_ns: int) -> int | None:
        """The number of a new channel. One that nobody used for long may have to go; and the first TCLO channel
        always finds room, or a guest that opens too many would be out of its host's reach."""
        if None in self._channels:
            return self._channels.index(None)
        rest = [channel for channel in self if channel.protocol != PROTO_TCLO]
        oldest = min(rest, key=lambda channel: channel.used_ns, default=None)
        starved = protocol == PROTO_TCLO and len(rest) == self.most
        if oldest is None or not (starved or now_ns - oldest.used_ns > IDLE_NS):
            return None
        self.shut(oldest, now_ns)
        return oldest.id

    def _send_size(self, frame: Frame, channel: Channel, now_ns: int) -> int:
        size = frame.rbx & MASK32
        channel.abandoned = False
        if (channel.announced != NOT or channel.offer is not None) and not channel.restart:
            self._note("VMT-D-010", f"channel {channel.id}", size)
            if channel.offer is not None:
                channel.end.dropped(now_ns)
            channel.idle()
            return FAILED
        channel.idle()
        if size > IN_SIZE_MAX:
            self._note("VMT-D-011", f"channel {channel.id}", size)
            return FAILED
        channel.restart = False
        if not size:
            self._complete(channel, b"", now_ns)
            return SUCCESS
        channel.announced, channel.got, channel.fast_out = size, [], self.high_bandwidth
        return SUCCESS | HB if self.high_bandwidth else SUCCESS

    def _send_payload(self, frame: Frame, channel: Channel, now_ns: int) -> int:
        size, got = channel.announced, channel.got
        if size == NOT:
            self._note(channel.lost("VMT-D-012"), f"channel {channel.id}", frame.rbx & MASK32)
            return FAILED
        if self.faults is not None and (status := self._pass("message.sendpayload", channel)):
            return status
        got.append(frame.rbx & MASK32)
        if 4 * len(got) >= size:
            if size & 3 and got[-1] >> 8 * (size & 3):
                self._note("VMT-D-014", f"channel {channel.id}", got[-1])
            self._complete(channel, array("I", got).tobytes()[:size], now_ns)
        return SUCCESS

    def _complete(self, channel: Channel, data: bytes, now_ns: int) -> None:
        channel.announced, channel.checkpoints, channel.restart = NOT, 0, False
        channel.end.sent(data, now_ns)

    def _recv_size(self, frame: Frame, channel: Channel, now_ns: int) -> int:
        channel.abandoned = False
        if channel.announced != NOT:
            self._note("VMT-D-010", f"channel {channel.id}", channel.announced)
            channel.idle()
            return FAILED
        channel.restart = False
        offer = channel.offer = channel.end.waiting(now_ns)
        if offer is None:
            return SUCCESS
        size = channel.size = len(offer)
        channel.words = memoryview(offer + bytes(-size % 4)).cast("I")
        channel.at, channel.fast_in = 0, self.high_bandwidth
        frame.rdx = frame.rdx & ~0xFFFF_0000 | TYPE_SENDSIZE << 16
        frame.rbx = size
        return SUCCESS | DORECV | HB if self.high_bandwidth else SUCCESS | DORECV

    def _recv_payload(self, frame: Frame, channel: Channel, now_ns: int) -> int:
        if frame.rbx & MASK32 != SUCCESS:
            return self._abandon(frame, channel, now_ns)
        at = channel.at
        if channel.offer is None or at >= len(channel.words):
            self._note(channel.lost("VMT-D-017"), f"channel {channel.id}", at)
            return FAILED
        if self.faults is not None and (status := self._pass("message.recvpayload", channel)):
            return status
        frame.rbx = channel.words[at]
        channel.at = at + 1
        frame.rdx = frame.rdx & ~0xFFFF_0000 | TYPE_SENDPAYLOAD << 16
        return SUCCESS

    def _recv_status(self, frame: Frame, channel: Channel, now_ns: int) -> int:
        if frame.rbx & MASK32 != SUCCESS:
            return self._abandon(frame, channel, now_ns)
        if channel.offer is None or channel.at < len(channel.words):
            self._note(channel.lost("VMT-D-019"), f"channel {channel.id}", channel.at)
            return FAILED
        if self.faults is not None and (status := self._pass("message.recvstatus", channel)):
            return status
        channel.offer, channel.checkpoints = None, 0
        channel.end.taken(now_ns)
        return SUCCESS

    def _abandon(self, frame: Frame, channel: Channel, now_ns: int) -> int:
        """RECVPAYLOAD or RECVSTATUS that says the step before went wrong. Only bit 0 of it is the guest's to set."""
        if frame.rbx & MASK32 & ~SUCCESS:
            self._note("VMT-D-016", f"channel {channel.id}", frame.rbx & MASK32)
        if frame.rbx & SUCCESS:  # the rest is masked: it is the same call as without
            frame.rbx = frame.rbx & ~MASK32 | SUCCESS
            kind = frame.rcx >> 16 & MASK16
            return self._steps[kind](frame, channel, now_ns)
        if channel.offer is None:
            self._note(channel.lost("VMT-D-017"), f"channel {channel.id}", frame.rbx & MASK32)
            return FAILED
        channel.offer, channel.checkpoints, channel.abandoned = None, 0, True
        channel.end.dropped(now_ns)
        return SUCCESS

    def _close(self, frame: Frame, channel: Channel, now_ns: int) -> int:
        if self.faults is not None and self.faults.at("message.close") is not None:
            return FAILED
        self._channels[channel.id] = None
        channel.end.closed(now_ns)
        return SUCCESS
