"""Disks from a line of text. docs/DISKS.md says what each option does."""

import re
from collections.abc import Callable

from pvdev.errors import ConfigError
from pvdev.spec import Spec, parse, parse_size
from pvscsi.block.backend import Fault, Op
from pvscsi.block.faulty import FaultyDisk, Plan
from pvscsi.block.medium import Medium
from pvscsi.block.mem import MemDisk, NullDisk

MEDIA = {  # each kind of disk and the options it takes
    "mem": ("readonly",),
    "null": (),
    "file": ("create", "lock", "readonly", "size"),
    "nbd": ("export", "readonly"),
}
WRAPPERS = {  # each kind of wrapper; its last option is of=DISK, and everything after that is the disk's
    "slow": ("latency", "read", "write", "flush", "jitter", "rate", "seed"),
    "faulty": ("bad", "badread", "badwrite", "every", "odds", "torn", "hang", "flush", "gone", "fault", "seed"),
    "record": ("format",),
    "volatile": ("seed",),
}
KINDS = MEDIA | WRAPPERS
SIZE_MOST = 1 << 62  # bytes

_OF = re.compile(r"(?<!,)(?:,,)*(,of=)")
_TIME = re.compile(r"([0-9]{1,12})(ns|us|ms|s)")
_UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}


def open_disk(text: str) -> Medium:
    """The disk that `text` names (`kind:argument,key=value`, or `wrapper:…,of=DISK`).

    ConfigError when it cannot be had, in one line.
    """
    head = re.match(r"[^:,]*", text)
    if head and head[0] in WRAPPERS:
        found = _OF.search(text)
        if found is None or found.end() == len(text):
            raise ConfigError(f"disk {text!r}: {head[0]} goes around a disk; end it with ,of=DISK like of=mem:1G")
        spec = parse(text[: found.start(1)], KINDS, "disk")
        inner = open_disk(text[found.end() :])
        try:
            return _WRAP[spec.kind](spec, inner)
        except BaseException:
            inner.close()
            raise
    spec = parse(text, KINDS, "disk")
    return _OPEN[spec.kind](spec)


def _size(spec: Spec) -> int:
    size = parse_size(spec.argument, f"{spec.kind}: size")
    if not 0 < size <= SIZE_MOST:
        raise ConfigError(f"{spec.kind}: {spec.argument}: give a size from 1 byte to 4194304T, like {spec.kind}:1G")
    return size


def _open_file(spec: Spec) -> Medium:
    from pvscsi.block.file import FileDisk

    return FileDisk(
        spec.argument,
        size=spec.size("size"),
        read_only=spec.flag("readonly"),
        create=spec.flag("create"),
        lock=spec.flag("lock", True),
    )


def _open_nbd(spec: Spec) -> Medium:
    from pvscsi.block.nbd import NbdDisk, server_uri

    return NbdDisk(server_uri(spec.argument, spec.text("export")), read_only=spec.flag("readonly"))


def _time(spec: Spec, key: str, text: str | None) -> int:
    if text is None:
        return 0
    match = _TIME.fullmatch(text)
    if match is None:
        raise ConfigError(f"{spec.kind}: {key}={text}: give a time with its unit, like 5ms (ns, us, ms, s)")
    return int(match[1]) * _UNITS[match[2]]


def _ranges(spec: Spec, *keys: str) -> list[tuple[int, int]]:
    found = []
    for key in keys:
        for text in (spec.text(key) or "").split(";"):
            low, plus, length = text.partition("+")
            if not text:
                continue
            if not plus:
                raise ConfigError(f"{spec.kind}: {key}={text}: give ranges as OFFSET+BYTES, like 1M+4K;2G+512")
            found.append((parse_size(low, f"{spec.kind}: {key}"), parse_size(length, f"{spec.kind}: {key}")))
    return found


def _odds(spec: Spec) -> float:
    text = spec.text("odds", "0") or "0"
    if not re.fullmatch(r"0|1|0?\.[0-9]{1,9}", text):
        raise ConfigError(f"{spec.kind}: odds={text}: give a number from 0 to 1, like 0.01")
    return float(text)


def _no_argument(spec: Spec) -> None:
    if spec.argument:
        raise ConfigError(f"{spec.kind}: takes no {spec.argument!r}; write {spec.kind},key=value,of=DISK")


def _wrap_slow(spec: Spec, inner: Medium) -> Medium:
    from pvscsi.block.slow import SlowDisk

    _no_argument(spec)
    common = spec.text("latency")
    latency = {op: _time(spec, "latency", common) for op in Op}
    for op, key in ((Op.READ, "read"), (Op.WRITE, "write"), (Op.FLUSH, "flush")):
        if spec.text(key) is not None:
            latency[op] = _time(spec, key, spec.text(key))
    rate = spec.size("rate")
    if rate == 0:
        raise ConfigError("slow: rate=0: nothing would ever pass; give bytes a second, like 100M")
    jitter = _time(spec, "jitter", spec.text("jitter"))
    return SlowDisk(inner, latency, jitter=jitter, rate=rate, seed=spec.integer("seed", 0) or 0)


def _wrap_faulty(spec: Spec, inner: Medium) -> Medium:
    _no_argument(spec)
    counts = {key: spec.integer(key, 0, low=1) or 0 for key in ("every", "torn", "hang", "flush", "gone")}
    fault = spec.choice("fault", [fault.value for fault in Fault])
    plan = Plan(
        bad_read=_ranges(spec, "bad", "badread"),
        bad_write=_ranges(spec, "bad", "badwrite"),
        odds=_odds(spec),
        fault=Fault(fault) if fault else None,
        **counts,
    )
    return FaultyDisk(inner, plan, seed=spec.integer("seed", 0) or 0)


def _wrap_record(spec: Spec, inner: Medium) -> Medium:
    from pvscsi.block.record import RecordDisk

    style = spec.choice("format", ("iolog", "blkparse"), "iolog")
    return RecordDisk(inner, spec.argument, style=style or "iolog")


def _wrap_volatile(spec: Spec, inner: Medium) -> Medium:
    from pvscsi.block.volatile import ROOM, VolatileDisk

    return VolatileDisk(inner, room=_size(spec) if spec.argument else ROOM, seed=spec.integer("seed"))


_OPEN: dict[str, Callable[[Spec], Medium]] = {
    "mem": lambda spec: MemDisk(str(spec), _size(spec), read_only=spec.flag("readonly")),
    "null": lambda spec: NullDisk(str(spec), _size(spec)),
    "file": _open_file,
    "nbd": _open_nbd,
}
_WRAP: dict[str, Callable[[Spec, Medium], Medium]] = {
    "slow": _wrap_slow,
    "faulty": _wrap_faulty,
    "record": _wrap_record,
    "volatile": _wrap_volatile,
}
