"""What driver and device agree on before anything runs: the version, and from version 7 on the capabilities.

Ref: Linux vmxnet3_probe_device and vmxnet3_declare_features (order of accesses; DCR0 rewritten while active).
"""

from collections.abc import Callable

from vmxnet3.versions import CAPABILITIES, LIVE_CAPS
from vmxnet3.wire import Cap


class Negotiation:
    """VRRS, UVRS, DCR and PTCR. Survives everything but a PCI reset. `newest`: the highest version offered.

    `version` is the one selected, 0 while none is: the device then behaves as version 1. `caps` is the effective DCR 0.
    `active`: set by the device; then only offloads change, and `on_caps` hears of it.
    """

    def __init__(self, newest: int, note: Callable[[str, str, int], None], on_caps: Callable[[Cap], None]) -> None:
        self.newest, self._note, self._on_caps = newest, note, on_caps
        self.reset()

    def reset(self) -> None:
        """Nothing agreed."""
        self.version, self.caps, self.active = 0, Cap(0), False

    def _read_VRRS(self) -> int:
        return (1 << self.newest) - 1

    def _write_VRRS(self, value: int) -> None:
        if self.active:
            self._note("VMX-D-004", "VRRS", value)
        elif value & value - 1 or not value or value >> self.newest:
            self._note("VMX-D-003", "VRRS", value)
        else:
            self.version, self.caps = value.bit_length(), Cap(0)  # capabilities are agreed after the version

    def _read_UVRS(self) -> int:
        return 1

    def _write_UVRS(self, value: int) -> None:
        if self.active:
            self._note("VMX-D-004", "UVRS", value)
        elif value != 1:
            self._note("VMX-D-003", "UVRS", value)

    def _read_DCR(self, index: int) -> int:
        return int(CAPABILITIES) if index == 0 and self.version >= 7 else 0

    def _write_DCR(self, index: int, value: int) -> None:
        """The driver asks for capabilities; it gets those it asked for and the device has."""
        if index or self.version < 7:
            self._note("VMX-D-005", f"DCR {index}", value)
            return
        if value & ~int(CAPABILITIES):
            self._note("VMX-D-005", "DCR 0", value)
        wanted = Cap(value & int(CAPABILITIES))
        if self.active:
            if (wanted ^ self.caps) & ~LIVE_CAPS:
                self._note("VMX-D-004", "DCR 0", value)
            wanted = wanted & LIVE_CAPS | self.caps & ~LIVE_CAPS
        self.caps = wanted
        self._on_caps(wanted)

    def _read_PTCR(self, index: int) -> int:
        return int(Cap.ERROR) if self.version >= 7 else 0  # never passed through

    def _write_PTCR(self, index: int, value: int) -> None:
        """Nothing is ever passed through, whatever is asked for."""
