"""The language of completion facts: words such as `csum=bad vlan=100` that say how the ring presents a frame.

The same words stand in a capture's comments, in a marks file and on the command line, and `describe` writes them.
Grammar and meaning: docs/REPLAY.md. Bits and fields are those of `wire.RX_COMP`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from pvdev.errors import ConfigError
from vmxnet3.captures.headers import Headers, headers
from vmxnet3.offloads.plain import TPID
from vmxnet3.shape import Lro, Override, Shape, Shaped, Signal
from vmxnet3.wire import RX_COMP, RssType

KNOWN = (
    "csum=good|bad|unknown, ipcsum=good|bad, vlan=ID[.PRIORITY]|TCI|strip, rss=[TYPE:]HASH|none, queue=N, "
    "lro=SEGMENTS[:MSS], inner, trunc=BYTES, err, fcs=bad, frag, gen=hold:TIME, irq=lost|spurious|delay:TIME, "
    "[first.|last.]FIELD=N, [first.|last.]word0+=BITS or word3-=BITS"
)
RSS_NAMES = {
    "ip4": RssType.IPV4,
    "tcp4": RssType.TCPIPV4,
    "ip6": RssType.IPV6,
    "tcp6": RssType.TCPIPV6,
    "udp4": RssType.UDPIPV4,
    "udp6": RssType.UDPIPV6,
    "esp4": RssType.ESPIPV4,
    "esp6": RssType.ESPIPV6,
}
MAX_QUEUE, MAX_TIME_NS = 31, 60_000_000_000
_STANDS = ("rxdIdx", "len", "gen")  # the device's own: no override reaches them
_TIME = re.compile(r"([0-9]{1,12})(ns|us|ms|s)")
_UNITS = {"ns": 1, "us": 1000, "ms": 1_000_000, "s": 1_000_000_000}
_RAW = re.compile(r"(?:(first|last)\.)?word([0-3])([+-])=(.*)", re.DOTALL)
_FIELD = re.compile(r"(first|last)\.(\w+)=(.*)", re.DOTALL)


def _fields() -> dict[str, tuple[int, int, int]]:
    """Name -> (word, mask, shift) of everything in a receive completion that may be overruled."""
    found = {}
    for word, spec in enumerate(RX_COMP.fields):
        for name in [name for name, _ in spec[2]] if len(spec) == 3 else [spec[0]]:
            if name not in _STANDS:
                found[name] = word, RX_COMP.mask.get(name, 0xFFFF_FFFF), RX_COMP.shift.get(name, 0)
    return found


FIELDS = _fields()


class Bits:
    """What becomes of one completion's bits: an `Override` being put together. The last word on a bit counts."""

    def __init__(self) -> None:
        self.clear, self.on = [0, 0, 0, 0], [0, 0, 0, 0]

    def put(self, word: int, mask: int, value: int) -> None:
        self.clear[word] |= mask
        self.on[word] = self.on[word] & ~mask | value

    def field(self, **values: int) -> None:
        for name, value in values.items():
            word, mask, shift = FIELDS[name]
            self.put(word, mask, value << shift)

    def override(self) -> Override:
        a, b = self.clear, self.on
        return Override((a[0], a[1], a[2], a[3]), (b[0], b[1], b[2], b[3]))


class Draft:
    """One frame's shape being put together."""

    def __init__(self, frame: bytes) -> None:
        self.frame = frame
        self.first, self.last = Bits(), Bits()
        self.set: dict[str, object] = {}  # the other fields of its Shape
        self._headers: Headers | None = None

    @property
    def headers(self) -> Headers:
        if self._headers is None:
            self._headers = headers(self.frame)
        return self._headers

    def shape(self) -> Shape:
        return Shape(first=self.first.override(), last=self.last.override(), **self.set)  # type: ignore[arg-type]


class Fact(NamedTuple):
    """One word: of the facts in one `slot` the last counts. `per_frame`: what it comes to depends on the frame."""

    slot: str
    word: str
    apply: Callable[[Draft], None]
    per_frame: bool = False


Facts = Mapping[str, Fact]  # slot -> fact, in the order they are applied


class _BadWordError(ValueError):
    """What is wrong with a word, and its mend."""


# -- words ---------------------------------------------------------------------------------------------------------


def parse(text: str) -> Facts:
    """The facts in `text`, words between blanks. ConfigError naming the bad word and what is allowed."""
    found: dict[str, Fact] = {}
    for word in text.split():
        try:
            fact = _parse_word(word)
        except _BadWordError as error:
            raise ConfigError(f"mark {word!r}: {error}") from None
        found.pop(fact.slot, None)
        found[fact.slot] = fact
    if not found:
        raise ConfigError(f"a mark without a word; known: {KNOWN}")
    return found


def merge(parts: Iterable[Facts]) -> Facts:
    """All of them, later ones first where they disagree."""
    merged: dict[str, Fact] = {}
    for facts in parts:
        for slot, fact in facts.items():
            merged.pop(slot, None)
            merged[slot] = fact
    return merged


def _parse_word(word: str) -> Fact:
    if match := _RAW.fullmatch(word):
        return _raw(word, match[1] or "last", int(match[2]), match[3] == "+", match[4])
    if match := _FIELD.fullmatch(word):
        return _field(word, match[1], match[2], match[3])
    name, equals, value = word.partition("=")
    if name not in _WORDS:
        raise _BadWordError(f"not known; known: {KNOWN}")
    if name in _BARE and equals:
        raise _BadWordError(f"it takes no value; write {name}")
    return _WORDS[name](word, value)


def _number(text: str, low: int, high: int) -> int:
    """Decimal or 0x hexadecimal."""
    if not re.fullmatch(r"[0-9]{1,12}|0x[0-9a-fA-F]{1,12}", text) or not low <= int(text, 0) <= high:
        raise _BadWordError(f"give a number from {low} to {high}")
    return int(text, 0)


def _time(text: str) -> int:
    match = _TIME.fullmatch(text)
    if match is None or not 0 < (ns := int(match[1]) * _UNITS[match[2]]) <= MAX_TIME_NS:
        raise _BadWordError("give a time up to 60s, as in 500us, 2ms or 1s")
    return ns


def _show_time(ns: int) -> str:
    unit = next(unit for unit in ("s", "ms", "us", "ns") if ns % _UNITS[unit] == 0)
    return f"{ns // _UNITS[unit]}{unit}"


def _raw(word: str, which: str, number: int, on: bool, text: str) -> Fact:
    bits = _number(text, 1, 0xFFFF_FFFF)
    stands = sum(mask for name, mask in RX_COMP.mask.items() if name in _STANDS and _word_of(name) == number)
    if bits & stands:
        raise _BadWordError(f"bits {bits & stands:#x} are the device's own ({', '.join(_STANDS)}); leave them out")

    def apply(draft: Draft) -> None:
        (draft.first if which == "first" else draft.last).put(number, bits, bits if on else 0)

    return Fact(f"{which}.word{number}{bits:#x}", word, apply)


def _word_of(name: str) -> int:
    return next(i for i, spec in enumerate(RX_COMP.fields) if len(spec) == 3 and name in dict(spec[2]))


def _field(word: str, which: str, name: str, text: str) -> Fact:
    if name not in FIELDS:
        raise _BadWordError(f"no field {name!r} to set; there is {', '.join(FIELDS)}")
    number, mask, shift = FIELDS[name]
    value = _number(text, 0, mask >> shift)

    def apply(draft: Draft) -> None:
        (draft.first if which == "first" else draft.last).put(number, mask, value << shift)

    return Fact(f"{which}.{name}", word, apply)


def _bits(slot: str, word: str, **values: int) -> Fact:
    """A fact that sets fields of the last completion."""
    return Fact(slot, word, lambda draft: draft.last.field(**values))


def _shape(slot: str, word: str, name: str, value: object) -> Fact:
    """A fact that is a field of `Shape`."""
    return Fact(slot, word, lambda draft: draft.set.__setitem__(name, value))


def _csum(word: str, value: str) -> Fact:
    if value == "bad":
        return _bits("csum", word, cnc=0, tuc=0)
    if value == "unknown":
        return _bits("csum", word, cnc=1, tuc=0)
    if value == "good":
        return Fact("csum", word, _checksum_good, per_frame=True)
    raise _BadWordError("give good, bad or unknown")


def _checksum_good(draft: Draft) -> None:
    """As a NIC says it of a whole packet of that kind: what Linux takes for CHECKSUM_UNNECESSARY."""
    found = draft.headers
    draft.last.field(cnc=0, tuc=1, frg=0)
    if found.version == 4:
        draft.last.field(v4=1, ipc=1)
    elif found.version == 6:
        draft.last.field(v6=1)
    if found.protocol in ("tcp", "udp"):
        draft.last.field(**{found.protocol: 1})


def _ipcsum(word: str, value: str) -> Fact:
    if value not in ("good", "bad"):
        raise _BadWordError("give good or bad")
    return _bits("ipcsum", word, ipc=int(value == "good"))


def _vlan(word: str, value: str) -> Fact:
    if value == "strip":
        return Fact("vlan", word, _strip_tag, per_frame=True)
    if value.startswith("0x"):
        return _shape("vlan", word, "strip", _number(value, 0, 0xFFFF))
    vid, dot, priority = value.partition(".")
    if not re.fullmatch(r"[0-9]{1,4}", vid) or int(vid) > 4095 or not re.fullmatch(r"[0-7]", priority if dot else "0"):
        raise _BadWordError("give an id from 0 to 4095 (with a priority: 100.5), a whole TCI (0xa064), or strip")
    return _shape("vlan", word, "strip", int(priority or 0) << 13 | int(vid))


def _strip_tag(draft: Draft) -> None:
    """The frame's own tag is reported, and taken out of its bytes. Without one nothing happens."""
    frame = draft.frame
    if frame[12:14] == TPID and len(frame) >= 18:
        draft.set["strip"] = frame[14] << 8 | frame[15]
        draft.frame = frame[:12] + frame[16:]


def _rss(word: str, value: str) -> Fact:
    if value == "none":
        return _bits("rss", word, rssType=0, rssHash=0)
    name, colon, text = value.rpartition(":")
    if colon and name not in RSS_NAMES:
        raise _BadWordError(f"no type {name!r}; give one of {', '.join(RSS_NAMES)}, or only the hash, or none")
    number = _number(text, 0, 0xFFFF_FFFF)
    if colon:
        return _bits("rss", word, rssType=RSS_NAMES[name], rssHash=number)
    return Fact("rss", word, lambda draft: _rss_by_frame(draft, number), per_frame=True)


def _rss_by_frame(draft: Draft, number: int) -> None:
    """The type that the frame's headers allow; none that is known: no hash either."""
    found = draft.headers
    name = f"{found.protocol if found.protocol in ('tcp', 'udp', 'esp') else 'ip'}{found.version}"
    kind = RSS_NAMES.get(name, RssType.NONE)
    draft.last.field(rssType=kind, rssHash=number if kind else 0)


def _lro(word: str, value: str) -> Fact:
    numbers = value.split(":")
    if len(numbers) > 4:
        raise _BadWordError("give SEGMENTS[:MSS[:DUPACKS[:TSDELTA]]]")
    limits = ((1, 0xFF), (0, 0xFFFF), (0, 0xFF), (0, 0xFFFF))
    return _shape(
        "lro", word, "lro", Lro(*([*(_number(n, *m) for n, m in zip(numbers, limits, strict=False)), 0, 0, 0][:4]))
    )


def _gen(word: str, value: str) -> Fact:
    verb, _, text = value.partition(":")
    if verb != "hold":
        raise _BadWordError("give hold:TIME, as in gen=hold:2ms")
    return _shape("gen", word, "hold_ns", _time(text))


def _irq(word: str, value: str) -> Fact:
    verb, _, text = value.partition(":")
    if verb == "delay":
        return _shape("irq", word, "delay_ns", _time(text))
    if value not in ("lost", "spurious"):
        raise _BadWordError("give lost, spurious, or delay:TIME as in irq=delay:2ms")
    return _shape("irq", word, "signal", Signal(value))


def _fcs(word: str, value: str) -> Fact:
    if value != "bad":
        raise _BadWordError("give bad")
    return _bits("err", word, err=1, fcs=0)


_BARE = ("inner", "err", "frag")
_WORDS: dict[str, Callable[[str, str], Fact]] = {
    "csum": _csum,
    "ipcsum": _ipcsum,
    "vlan": _vlan,
    "rss": _rss,
    "queue": lambda word, value: _shape("queue", word, "queue", _number(value, 0, MAX_QUEUE)),
    "lro": _lro,
    "inner": lambda word, value: _shape("inner", word, "inner", True),
    "trunc": lambda word, value: _shape("trunc", word, "length", _number(value, 1, 65535)),
    "err": lambda word, value: _bits("err", word, err=1),
    "fcs": _fcs,
    "frag": lambda word, value: _bits("frag", word, frg=1, tuc=0),
    "gen": _gen,
    "irq": _irq,
}

# -- frames --------------------------------------------------------------------------------------------------------


class Shaper:
    """Makes frames `Shaped` by facts. Shapes that do not depend on the frame are made once."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, ...], Shape] = {}

    def shaped(self, frame: bytes, facts: Facts) -> Shaped:
        words = tuple(fact.word for fact in facts.values())
        if (shape := self._made.get(words)) is not None:
            return Shaped(frame, shape)
        draft = Draft(frame)
        for fact in facts.values():
            fact.apply(draft)
        shape = draft.shape()
        if not any(fact.per_frame for fact in facts.values()) and len(self._made) < 4096:
            self._made[words] = shape
        return Shaped(draft.frame, shape)


_NAMED = tuple(map(_parse_word, ("csum=good", "csum=bad", "csum=unknown", "ipcsum=good", "ipcsum=bad", "rss=none")))
_NAMED += tuple(map(_parse_word, ("fcs=bad", "err", "frag")))


def describe(frame: Shaped) -> str:
    """The words that make `frame` of its bytes: `parse` and `Shaper` give an equal shape. "" when it has none."""
    shape, words = frame.shape, []
    if shape.lro is not None:
        numbers = list(shape.lro)
        while len(numbers) > 1 and not numbers[-1]:
            numbers.pop()
        words.append(f"lro={':'.join(map(str, numbers))}")
    if shape.queue is not None:
        words.append(f"queue={shape.queue}")
    if shape.length is not None:
        words.append(f"trunc={shape.length}")
    if shape.strip is not None:
        vid, priority = shape.strip & 0xFFF, shape.strip >> 13
        plain = f"{vid}.{priority}" if priority else str(vid)
        words.append(f"vlan={shape.strip:#x}" if shape.strip & 0x1000 else f"vlan={plain}")
    if shape.inner:
        words.append("inner")
    words += [*_describe_bits("first", shape.first, frame), *_describe_bits("last", shape.last, frame)]
    if shape.hold_ns:
        words.append(f"gen=hold:{_show_time(shape.hold_ns)}")
    if shape.delay_ns:
        words.append(f"irq=delay:{_show_time(shape.delay_ns)}")
    elif shape.signal is not Signal.USUAL:
        words.append(f"irq={shape.signal.value}")
    return " ".join(words)


def _describe_bits(which: str, override: Override, frame: bytes) -> list[str]:
    """Words for every bit an override touches: facts as far as they go, then fields, then what is left of words."""
    words, left = [], list(override.clear)
    if which == "last":
        names = {number: name for name, number in RSS_NAMES.items()}
        kind = _value(override, "rssType")
        if _covers(left, "rssType") and _covers(left, "rssHash") and kind in names:
            words.append(f"rss={names[RssType(kind)]}:{_value(override, 'rssHash'):#x}")
            left[0] &= ~FIELDS["rssType"][1]
            left[1] = 0
        for fact in _NAMED:
            draft = Draft(frame)
            fact.apply(draft)
            bits = draft.last
            fits = all(
                clear & ~override.clear[k] == 0 and override.set[k] & clear == bits.on[k]
                for k, clear in enumerate(bits.clear)
            )
            if fits and any(clear & left[k] for k, clear in enumerate(bits.clear)):
                words.append(fact.word)
                left = [have & ~clear for have, clear in zip(left, bits.clear, strict=True)]
    for name in FIELDS:
        if _covers(left, name):
            words.append(f"{which}.{name}={_value(override, name):#x}")
            left[FIELDS[name][0]] &= ~FIELDS[name][1]
    for k, bits_left in enumerate(left):
        for sign, part in (("+", bits_left & override.set[k]), ("-", bits_left & ~override.set[k])):
            if part:
                words.append(f"{which}.word{k}{sign}={part:#x}")
    return words


def _covers(left: list[int], name: str) -> bool:
    word, mask, _ = FIELDS[name]
    return left[word] & mask == mask


def _value(override: Override, name: str) -> int:
    word, mask, shift = FIELDS[name]
    return (override.set[word] & mask) >> shift
