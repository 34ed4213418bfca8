"""One channel of GuestRPC's message layer: who uses it, and what is under way on it.

Ref: open-vm-tools lib/message/message.c.
"""

from typing import Protocol

from vmtools.wire import MASK32

NOT = -1  # no send, or no receive, is under way


class End(Protocol):
    """The host's end of one channel."""

    def sent(self, data: bytes, now_ns: int) -> None:
        """The guest has sent a whole message."""

    def waiting(self, now_ns: int) -> bytes | None:
        """What the guest is to receive next. The same until it is `taken`, or `dropped`."""
        ...

    def taken(self, now_ns: int) -> None:
        """The guest has received it all and said so."""

    def dropped(self, now_ns: int) -> None:
        """The guest has given it up, or begun something else instead."""

    def closed(self, now_ns: int) -> None:
        """The channel is no more."""


class Channel:
    """One open channel. `owner`: whose call opened it; `used_ns`: when it was last used."""

    __slots__ = (
        "abandoned",
        "announced",
        "at",
        "checkpoints",
        "cookie_high",
        "cookie_low",
        "end",
        "fast_in",
        "fast_out",
        "got",
        "id",
        "offer",
        "opened_ns",
        "owner",
        "protocol",
        "restart",
        "size",
        "used_ns",
        "words",
    )

    def __init__(self, number: int, protocol: int, cookie: int, owner: int, now_ns: int) -> None:
        self.id, self.protocol, self.owner, self.opened_ns, self.used_ns = number, protocol, owner, now_ns, now_ns
        self.cookie_high, self.cookie_low = cookie >> 32, cookie & MASK32
        self.end: End
        self.checkpoints = 0  # in a row
        self.restart = False  # a checkpoint asked for it
        self.announced = NOT  # bytes the guest is sending
        self.fast_out = False  # it may send them at once
        self.got: list[int] = []  # words of it so far
        self.offer: bytes | None = None  # what it is receiving
        self.size = 0
        self.fast_in = False
        self.words = memoryview(b"")  # in words of four bytes
        self.at = 0  # words of it received
        self.abandoned = False  # the last step gave a message up

    def lost(self, number: str) -> str:
        """The rule a payload call breaks for which nothing is under way."""
        return "VMT-D-020" if self.abandoned else number

    def idle(self) -> None:
        """Nothing is under way, in either direction."""
        self.announced, self.offer = NOT, None
