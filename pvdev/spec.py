"""The one small language that names a backend anywhere: `kind:argument,key=value,...`.

The kind is lower case. The argument runs to the first comma and may hold anything else, `:`, `/` and `=` too; it may
be empty or left out (`null`, `pcap:,out=x`). A comma inside an argument or a value is written twice, as QEMU has it:
`nbd:unix:/run/a,,b.sock`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pvdev.errors import ConfigError

_KIND = re.compile(r"[a-z][a-z0-9-]*")
_PARTS = re.compile(r"(?:[^,]|,,)*")  # up to the next single comma
_SIZE = re.compile(r"([0-9]{1,18})([KMGT]?)", re.IGNORECASE)
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}  # powers of two
_YES, _NO = ("yes", "on", "true", "1"), ("no", "off", "false", "0")


@dataclass(frozen=True)
class Spec:
    """A parsed specification. The typed readers raise ConfigError naming the option and what it takes."""

    kind: str
    argument: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"{self.kind}:{self.argument}" if self.argument or self.options else self.kind]
        parts += [f"{key}={value}" for key, value in self.options.items()]
        return ",".join(part.replace(",", ",,") for part in parts)

    def text(self, key: str, default: str | None = None) -> str | None:
        return self.options.get(key, default)

    def integer(self, key: str, default: int | None = None, *, low: int = 0, high: int | None = None) -> int | None:
        """A decimal number from `low` to `high`, both allowed."""
        value = self.options.get(key)
        if value is None:
            return default
        wanted = f"a number from {low} to {high}" if high is not None else f"a number, {low} or more"
        if not re.fullmatch(r"-?[0-9]{1,18}", value) or int(value) < low or (high is not None and int(value) > high):
            raise ConfigError(f"{self.kind}: {key}={value}: give {wanted}")
        return int(value)

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.options.get(key)
        if value is None:
            return default
        if value.lower() not in _YES + _NO:
            raise ConfigError(f"{self.kind}: {key}={value}: give yes or no")
        return value.lower() in _YES

    def size(self, key: str, default: int | None = None) -> int | None:
        """Bytes; see `parse_size`."""
        value = self.options.get(key)
        return default if value is None else parse_size(value, f"{self.kind}: {key}")

    def choice(self, key: str, choices: Iterable[str], default: str | None = None) -> str | None:
        value, known = self.options.get(key, default), sorted(choices)
        if key in self.options and value not in known:
            raise ConfigError(f"{self.kind}: {key}={value}: give one of {', '.join(known)}")
        return value


def parse(text: str, grammar: Mapping[str, Iterable[str]], what: str = "backend") -> Spec:
    """Read a specification against `grammar`: each known kind and the option keys it allows.

    `what` names the thing in messages ("network port"). ConfigError: unknown kind or key, a key given twice or
    without a value.
    """
    known = ", ".join(sorted(grammar))
    head = re.match(r"[^:,]*", text)
    kind = head.group() if head else ""
    if not _KIND.fullmatch(kind) or kind not in grammar:
        raise ConfigError(f"{what} {text!r}: no kind {kind!r}; known: {known}")
    argument, *pairs = split(text[len(kind) + 1 :] if text[len(kind) : len(kind) + 1] == ":" else text[len(kind) :])
    allowed = sorted(grammar[kind])
    takes = f"allowed: {', '.join(allowed)}" if allowed else "it takes none"
    options: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if key not in allowed:
            raise ConfigError(f"{kind}: no option {key!r}; {takes}")
        if not equals or not value:
            raise ConfigError(f"{kind}: option {key!r} has no value; write {key}=VALUE")
        if key in options:
            raise ConfigError(f"{kind}: option {key!r} is given twice; give it once")
        options[key] = value
    return Spec(kind, argument, options)


def parse_size(text: str, what: str = "size") -> int:
    """Bytes from `4096`, `64K`, `512M`, `1G`, `2T` (powers of 1024). ConfigError otherwise."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ConfigError(f"{what}: {text!r} is not a size; give bytes, or a number with K, M, G or T")
    return int(match[1]) << _UNITS[match[2].upper()]


def split(text: str) -> list[str]:
    """Parts between single commas, with doubled commas made single: of `FILE,key=value` the file comes first."""
    parts, at = [], 0
    while True:
        match = _PARTS.match(text, at)
        end = match.end() if match else at
        parts.append(text[at:end].replace(",,", ","))
        if end == len(text):
            return parts
        at = end + 1
