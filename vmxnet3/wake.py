"""Wake-on-LAN: which frames wake a sleeping machine, by the driver's PMConf.

Ref: open-vm-tools vmxnet3_defs.h (Vmxnet3_PMConf); Linux vmxnet3_suspend (unicast and ARP patterns it builds); AMD,
"Magic Packet Technology" (six bytes of ones, then the address sixteen times, anywhere in the frame).
"""

from collections.abc import Callable
from dataclasses import dataclass

from pvdev.mem import DmaFault, GuestMemory
from vmxnet3.wire_args import PM_CONF, PM_FILTER, PM_MAX_FILTERS, PM_MAX_MASK, PM_MAX_PATTERN, Wake


@dataclass(frozen=True)
class Pattern:
    """Bytes a frame must start with, those whose mask byte is set."""

    mask: bytes  # 0 or 0xFF for each byte
    wanted: bytes  # already masked

    def matches(self, frame: bytes) -> bool:
        size = len(self.mask)
        head = int.from_bytes(frame[:size], "big")
        return len(frame) >= size and head & int.from_bytes(self.mask, "big") == int.from_bytes(self.wanted, "big")


@dataclass(frozen=True)
class WakeFilter:
    """What wakes: magic packets, or frames that match one of the patterns."""

    magic: bool
    patterns: tuple[Pattern, ...]

    def reason(self, frame: bytes, mac: bytes) -> str | None:
        """ "magic", "filter N", or None when this frame wakes nobody."""
        if self.magic and b"\xff" * 6 + mac * 16 in frame:
            return "magic"
        return next((f"filter {n}" for n, pattern in enumerate(self.patterns) if pattern.matches(frame)), None)


def read_wake(mem: GuestMemory, length: int, address: int, note: Callable[[str, str, int], None]) -> WakeFilter | None:
    """The PMConf at `address`, clamped to what it may hold; None when there is none, or none that can be read."""
    if not address and not length:
        return None
    head = PM_CONF.offset["filters"]
    if length < head or not address:
        note("VMX-D-063", "confLen", length)
        return None
    try:
        data = mem.read(address, min(length, PM_CONF.size)).ljust(PM_CONF.size, b"\0")
    except DmaFault as fault:
        note("VMX-D-063", "confPA", fault.value)
        return None
    area = PM_CONF.numbers(data)
    count, events = area["numFilters"], area["wakeUpEvents"]
    if count > PM_MAX_FILTERS:
        note("VMX-D-063", "numFilters", count)
        count = PM_MAX_FILTERS
    patterns = []
    if events & Wake.FILTER:
        for n in range(count):
            sizes = PM_FILTER.decode(data, head + n * PM_FILTER.size)
            if (pattern := _pattern(n, sizes, note)) is not None:
                patterns.append(pattern)
    return WakeFilter(bool(events & Wake.MAGIC), tuple(patterns))


def _pattern(
    n: int, area: dict[str, int | bytes | tuple[int, ...]], note: Callable[[str, str, int], None]
) -> Pattern | None:
    mask_size, size, mask, wanted = area["maskSize"], area["patternSize"], area["mask"], area["pattern"]
    assert isinstance(mask_size, int)
    assert isinstance(size, int)
    assert isinstance(mask, bytes)
    assert isinstance(wanted, bytes)
    if mask_size > PM_MAX_MASK or size > PM_MAX_PATTERN:
        note("VMX-D-063", f"filter {n}", mask_size << 8 | size)
        mask_size, size = min(mask_size, PM_MAX_MASK), min(size, PM_MAX_PATTERN)
    size = min(size, 8 * mask_size)
    full = bytes(0xFF * (mask[i >> 3] >> (i & 7) & 1) for i in range(size))
    return Pattern(full, bytes(a & b for a, b in zip(wanted, full, strict=False))) if any(full) else None
