"""Which frames of a capture get which completion facts: rules, and what the capture itself says of a frame.

A rule is `SELECTOR: FACTS`, as in `every 10 udp port 53: csum=bad`. Grammar: docs/REPLAY.md. Pure.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pvdev.errors import ConfigError
from vmxnet3.captures.capture import Captured, CaptureReader, PacketOptions
from vmxnet3.captures.headers import Headers, headers
from vmxnet3.captures.marks import Facts, Shaper, merge, parse

COMMENT = "pvdev:"  # a line of a packet's comment that begins so holds facts
CRC_ERROR, LINK_ERRORS = 1 << 24, 0xFF << 24  # epb_flags: one of the link-layer errors, all of them
NOT_READY = 1 << 9  # epb_flags: the sender left the checksum to its hardware
SELECTORS = (
    "all, frame N or frames A-B,C,D- (from 1), every N [from M], tcp, udp, icmp, icmp6, esp, arp, ip, ip6, frag, "
    "vlan [ID], port N, sport N, dport N, host ADDRESS, src ADDRESS, dst ADDRESS, len A-B; "
    "several together must all hold, not before one turns it round"
)
_RANGES = re.compile(r"([0-9]{1,12})(?:(-)([0-9]{1,12})?)?")


class Frame:
    """One frame as selectors see it: its number (from 1), its bytes, its headers once somebody asks."""

    def __init__(self, number: int, data: bytes) -> None:
        self.number, self.data = number, data
        self._headers: Headers | None = None

    @property
    def headers(self) -> Headers:
        if self._headers is None:
            self._headers = headers(self.data)
        return self._headers


Term = Callable[[Frame], bool]


class Rule(NamedTuple):
    """Facts for the frames that every term holds for. `text` as the user wrote it."""

    text: str
    terms: tuple[Term, ...]
    facts: Facts

    def holds(self, frame: Frame) -> bool:
        return all(term(frame) for term in self.terms)


# -- the grammar ---------------------------------------------------------------------------------------------------


def parse_rule(text: str, where: str = "mark") -> Rule:
    """A rule from `SELECTOR: FACTS`. ConfigError, beginning with `where`, naming the bad word and the allowed ones."""
    selector, colon, facts = text.partition(": ")
    if not colon:
        raise ConfigError(f"{where}: {text!r} is no rule; write SELECTOR: FACTS, as in 'every 10: csum=bad'")
    try:
        return Rule(text.strip(), _parse_selector(selector), parse(facts))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def parse_rules(lines: Iterable[str], name: str) -> list[Rule]:
    """The rules of a marks file, one a line; `#` begins a comment. ConfigError with file name and line number."""
    rules = []
    for number, line in enumerate(lines, 1):
        text = re.sub(r"(^|\s)#.*", "", line).strip()
        if text:
            rules.append(parse_rule(text, f"{name}:{number}"))
    return rules


def _parse_selector(text: str) -> tuple[Term, ...]:
    words = text.replace(", ", ",").split()
    if not words:
        raise ConfigError(f"no selector; known: {SELECTORS}")
    terms, at = [], 0
    while at < len(words):
        term, at = _parse_term(words, at)
        terms.append(term)
    return tuple(terms)


def _parse_term(words: Sequence[str], at: int) -> tuple[Term, int]:
    word = words[at]
    if word == "not":
        if at + 1 == len(words):
            raise ConfigError("selector: nothing behind 'not'")
        term, at = _parse_term(words, at + 1)
        return (lambda frame: not term(frame)), at
    if word in _PLAIN:
        return _PLAIN[word], at + 1
    if word == "vlan":
        if at + 1 < len(words) and words[at + 1].isdecimal():
            vid = int(words[at + 1])
            return (lambda frame: frame.headers.vlan == vid), at + 2
        return (lambda frame: frame.headers.vlan is not None), at + 1
    if word not in _WITH_VALUE:
        raise ConfigError(f"selector {word!r}: not known; known: {SELECTORS}")
    if at + 1 == len(words):
        raise ConfigError(f"selector {word!r}: nothing behind it; known: {SELECTORS}")
    if word == "every" and at + 3 < len(words) and words[at + 2] == "from":
        return _every(words[at + 1], words[at + 3]), at + 4
    return _WITH_VALUE[word](words[at + 1]), at + 2


def _number(text: str, what: str, low: int, high: int) -> int:
    if not re.fullmatch(r"[0-9]{1,12}", text) or not low <= int(text) <= high:
        raise ConfigError(f"selector '{what} {text}': give a number from {low} to {high}")
    return int(text)


def _ranges(text: str, what: str) -> Callable[[int], bool]:
    spans = []
    for part in text.split(","):
        match = _RANGES.fullmatch(part)
        if match is None or (match[3] and int(match[3]) < int(match[1])):
            raise ConfigError(f"selector '{what} {text}': give numbers and ranges, as in 7,10-19,100-")
        low = int(match[1])
        spans.append((low, int(match[3]) if match[3] else (1 << 62 if match[2] else low)))
    return lambda value: any(low <= value <= high for low, high in spans)


def _frames(text: str) -> Term:
    holds = _ranges(text, "frames")
    return lambda frame: holds(frame.number)


def _every(text: str, start: str | None = None) -> Term:
    step = _number(text, "every", 1, 10**12)
    first = step if start is None else _number(start, "from", 1, 10**12)
    return lambda frame: frame.number >= first and (frame.number - first) % step == 0


def _length(text: str) -> Term:
    holds = _ranges(text, "len")
    return lambda frame: holds(len(frame.data))


def _port(text: str) -> Term:
    port = _number(text, "port", 0, 65535)
    return lambda frame: port in (frame.headers.source_port, frame.headers.target_port)


def _source_port(text: str) -> Term:
    port = _number(text, "sport", 0, 65535)
    return lambda frame: frame.headers.source_port == port


def _target_port(text: str) -> Term:
    port = _number(text, "dport", 0, 65535)
    return lambda frame: frame.headers.target_port == port


def _address(text: str) -> bytes:
    try:
        return ipaddress.ip_address(text).packed
    except ValueError:
        raise ConfigError(f"selector: {text!r} is no IPv4 or IPv6 address") from None


def _host(text: str) -> Term:
    address = _address(text)
    return lambda frame: address in (frame.headers.source, frame.headers.target)


def _source(text: str) -> Term:
    address = _address(text)
    return lambda frame: frame.headers.source == address


def _target(text: str) -> Term:
    address = _address(text)
    return lambda frame: frame.headers.target == address


def _protocol(name: str) -> Term:
    return lambda frame: frame.headers.protocol == name


_PLAIN: dict[str, Term] = {
    "all": lambda frame: True,
    "ip": lambda frame: frame.headers.version == 4,
    "ip6": lambda frame: frame.headers.version == 6,
    "frag": lambda frame: frame.headers.fragment,
    **{name: _protocol(name) for name in ("tcp", "udp", "icmp", "icmp6", "esp", "arp")},
}
_WITH_VALUE: dict[str, Callable[[str], Term]] = {
    "frame": _frames,
    "frames": _frames,
    "every": _every,
    "len": _length,
    "port": _port,
    "sport": _source_port,
    "dport": _target_port,
    "host": _host,
    "src": _source,
    "dst": _target,
}


# -- captures ------------------------------------------------------------------------------------------------------


def facts_of(options: PacketOptions) -> list[Facts]:
    """What a capture says of a frame itself, weakest first: flags, hash, queue, then its comment's `pvdev:` lines."""
    found: list[Facts] = []
    if options.flags & LINK_ERRORS:
        found.append(_CRC if options.flags & CRC_ERROR else _ERROR)
    if options.flags & NOT_READY:
        found.append(_GOOD)
    if options.rss_hash is not None:
        found.append(parse(f"rss={options.rss_hash:#x}"))
    if options.queue is not None and options.queue < 32:
        found.append(parse(f"queue={options.queue}"))
    for line in (options.comment or "").splitlines():
        if line.startswith(COMMENT):
            found.append(parse(line[len(COMMENT) :]))
    return found


_CRC, _ERROR, _GOOD = parse("fcs=bad"), parse("err"), parse("csum=good")


@dataclass
class Marking:
    """The rules for one capture, and how many frames got which fact so far. `queue`: for every frame of it."""

    rules: Sequence[Rule] = ()
    queue: int | None = None
    counts: Counter[str] = field(default_factory=Counter)
    frames: int = 0  # that got any
    _shaper: Shaper = field(default_factory=Shaper)

    def batches(self, reader: CaptureReader, batches: Iterable[list[Captured]]) -> Iterator[list[Captured]]:
        """The batches of `reader`, marked frames in them made `Shaped`. ConfigError for a comment's bad word."""
        number = 1
        always = bool(self.rules) or self.queue is not None
        for batch in batches:
            if always or reader.annotated:
                yield [self._marked(reader, number + i, item) for i, item in enumerate(batch)]
            else:
                yield batch
            number += len(batch)

    def _marked(self, reader: CaptureReader, number: int, item: Captured) -> Captured:
        stamp, data, wire, interface, options = item
        parts: list[Facts] = []
        if self.queue is not None:
            parts.append(parse(f"queue={self.queue}"))
        if options is not None:
            try:
                parts += facts_of(options)
            except ConfigError as error:
                raise ConfigError(f"{reader.name}: comment of frame {number}: {error}") from None
        if self.rules:
            frame = Frame(number, data)
            parts += [rule.facts for rule in self.rules if rule.holds(frame)]
        if not parts:
            return item
        facts = parts[0] if len(parts) == 1 else merge(parts)
        self.frames += 1
        self.counts.update(fact.word for fact in facts.values())
        shaped = self._shaper.shaped(data, facts)
        return stamp, shaped, wire - len(data) + len(shaped), interface, options
