"""`guestinfo.*` variables: what a guest and its host leave for one another. Bytes, never names of files.

The guest is one domain of trust: any program in it may set any variable the host did not lock, so the host decides
nothing by them.

Ref: open-vm-tools lib/guestRpc, vmware-rpctool; VMware's security guide (tools.setInfo.sizeLimit, its default).
"""

from collections.abc import Callable, Iterator, Mapping

from pvdev.trace import Sink
from vmtools.rpci import Rpci, done, refused

PREFIX = b"guestinfo."
KEY_MAX = 255  # bytes
TOTAL_MAX = 1 << 20  # bytes of keys and values
NO_VALUE = "No value found"


class Variables:
    """The store. Keys go without the prefix, values are bytes.

    `limit`: bytes of all the guest may set, keys included. `writable`: whether it may set any. `on_change(key, value)`
    hears of each change from either side (value None: removed), and is where whoever keeps them writes them down.
    """

    def __init__(self, start: Mapping[str, str | bytes] | None = None, *, limit: int = TOTAL_MAX) -> None:
        self.limit, self.writable = limit, True
        self.locked: set[bytes] = set()  # keys only the host may set
        self.on_change: list[Callable[[str, bytes | None], None]] = []
        self.trace: Sink | None = None
        self.reads = self.writes = self.refusals = 0
        self._values: dict[bytes, bytes] = {}
        self._size = 0
        for key, value in (start or {}).items():
            self._put(_bytes(key), _bytes(value))

    @property
    def size(self) -> int:
        """Bytes of all keys and values."""
        return self._size

    def __getitem__(self, key: str) -> bytes:
        return self._values[_bytes(key)]

    def __setitem__(self, key: str, value: str | bytes) -> None:
        """The host sets a variable; no limit binds it. Raises `ValueError` for a key no guest could ask for."""
        name = _bytes(key)
        if not good_key(name):
            raise ValueError(f"{key!r} names no variable: 1 to {KEY_MAX} bytes without spaces")
        self._put(name, _bytes(value))
        self._tell(name)

    def __delitem__(self, key: str) -> None:
        name = _bytes(key)
        self._size -= len(name) + len(self._values.pop(name))
        self._tell(name)

    def __contains__(self, key: str) -> bool:
        return _bytes(key) in self._values

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[str]:
        return (key.decode("utf-8", "surrogateescape") for key in list(self._values))

    def get(self, key: str) -> bytes | None:
        return self._values.get(_bytes(key))

    def items(self) -> Iterator[tuple[str, bytes]]:
        return ((key.decode("utf-8", "surrogateescape"), value) for key, value in list(self._values.items()))

    def lock(self, key: str) -> None:
        """Only the host sets this one from now on."""
        self.locked.add(_bytes(key))

    def offer(self, rpci: Rpci, note: Callable[[str, str, int], None]) -> None:
        """Answer the guest's requests."""
        self._note = note
        rpci.on("info-get", self._get)
        rpci.on("info-set", self._set)

    # -- the guest's ---------------------------------------------------------------------------------------------------

    def _get(self, rest: bytes, now_ns: int) -> bytes:
        """`info-get guestinfo.KEY`; the kernel's driver leaves the prefix to its caller."""
        self.reads += 1
        value = self._values.get(rest.rstrip(b" ").removeprefix(PREFIX))
        return refused(NO_VALUE) if value is None else done(value)

    def _set(self, rest: bytes, now_ns: int) -> bytes:
        """`info-set guestinfo.KEY VALUE`; the value runs to the end."""
        word, _, value = rest.partition(b" ")
        if not word.startswith(PREFIX) or not good_key(word[len(PREFIX) :]):
            self._note("VMT-D-032", "info-set", len(word))
            self.refusals += 1
            return refused("Invalid key")
        key = word[len(PREFIX) :]
        if not self.writable or key in self.locked:
            self.refusals += 1
            return refused("disabled")
        before = self._values.get(key)
        change = len(value) - len(before) if before is not None else len(key) + len(value)
        if change > 0 and self._size + change > self.limit:
            self.refusals += 1
            return refused("Too much data")
        self.writes += 1
        self._put(key, value)
        if before != value:
            self._tell(key)
        return done()

    def _put(self, key: bytes, value: bytes) -> None:
        before = self._values.get(key)
        self._size += len(value) - len(before) if before is not None else len(key) + len(value)
        self._values[key] = value

    def _tell(self, key: bytes) -> None:
        value, text = self._values.get(key), key.decode("utf-8", "surrogateescape")
        if self.trace is not None:
            self.trace("guestinfo.set", key=text, size=len(value or b""))
        for hear in self.on_change:
            hear(text, value)


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def good_key(key: str | bytes) -> bool:
    """Whether a guest could ask for it."""
    key = _bytes(key)
    return 0 < len(key) <= KEY_MAX and not any(mark in key for mark in (b" ", b"\0"))
