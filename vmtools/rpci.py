"""RPCI: what a guest asks of its host, in words. One table of commands; the answer waits when the call returns.

Ref: open-vm-tools lib/rpcOut/rpcout.c, lib/rpcChannel; the two bytes before an answer say whether it worked.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pvdev.trace import Sink

DONE, UNKNOWN = b"1 ", b"0 Unknown command"
SHOWN = 200  # bytes of a request on the trace

Handler = Callable[[bytes, int], bytes]
Note = Callable[[str, str, int], None]


def done(data: bytes = b"") -> bytes:
    """It worked."""
    return DONE + data


def refused(why: str) -> bytes:
    """It did not; guests show `why` to their users."""
    return b"0 " + why.encode()


@dataclass(frozen=True)
class Command:
    """`handler(arguments, now_ns)` answers with `done` or `refused`. `binary`: a NUL at the end belongs to it."""

    handler: Handler
    binary: bool = False


class Rpci:
    """The commands: by whole word, or by how a word begins (`tools.capability.`).

    The word ends at the first space or at the message's end; one NUL at the end is not part of the text.
    """

    def __init__(self, note: Note) -> None:
        self.commands: dict[bytes, Command] = {}
        self.families: dict[bytes, Command] = {}
        self.trace: Sink | None = None
        self.served = self.unknown = 0
        self._note = note

    def on(self, word: str, handler: Handler, *, binary: bool = False) -> None:
        """Answer `word` with `handler`; a word that ends with a dot stands for all that begin with it, and the handler
        then gets the rest of the word too."""
        table = self.families if word.endswith(".") else self.commands
        table[word.encode()] = Command(handler, binary)

    def answer(self, message: bytes, now_ns: int) -> bytes:
        """Carry a request out; what the guest is to receive."""
        word, _, rest = message.partition(b" ")
        command = self.commands.get(word)
        if command is None and b" " not in message and word.endswith(b"\0"):
            word, rest = word[:-1], b"\0"
            command = self.commands.get(word)
        if not word or not word.isascii() or not word.decode("ascii").isprintable():
            self._note("VMT-D-022", "RPCI", len(message))
        if command is None and (family := word[: word.rfind(b".") + 1]):
            while family and (command := self.families.get(family)) is None:
                family = family[: family.rfind(b".", 0, -1) + 1]
            if command is not None:
                rest = message[len(family) :]
        self.served += 1
        if self.trace is not None:
            self.trace("rpci.request", text=message[:SHOWN], size=len(message))
        if command is None:
            self.unknown += 1
            return UNKNOWN
        if not command.binary and rest.endswith(b"\0"):
            rest = rest[:-1]
        return command.handler(rest, now_ns)


class RpciEnd:
    """The host's end of one RPCI channel: it holds one answer until it is received."""

    __slots__ = ("_answer", "_channel", "_note", "_rpci")

    def __init__(self, rpci: Rpci, note: Note, channel: int) -> None:
        self._rpci, self._note, self._channel = rpci, note, channel
        self._answer: bytes | None = None

    def sent(self, data: bytes, now_ns: int) -> None:
        if self._answer is not None:
            self._note("VMT-D-021", f"channel {self._channel}", len(self._answer))
        self._answer = self._rpci.answer(data, now_ns)

    def waiting(self, now_ns: int) -> bytes | None:
        return self._answer

    def taken(self, now_ns: int) -> None:
        self._answer = None

    def dropped(self, now_ns: int) -> None:
        self._answer = None

    def closed(self, now_ns: int) -> None:
        self._answer = None
