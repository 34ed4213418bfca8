"""Which frames a NIC accepts: station address, multicast table, broadcast, VLAN table, promiscuous mode."""

from collections.abc import Sequence

from vmxnet3.offloads.plain import TPID
from vmxnet3.wire import RxMode

_BROADCAST = b"\xff" * 6
_ALL_VLANS = bytes(512)


class RxFilter:
    """The receive filter of one device. Until the driver sets a mode nothing passes."""

    def __init__(self, mac: bytes, *, empty_table_passes: bool = False) -> None:
        self.mode = RxMode(0)
        self.mac = mac
        self.multicast: frozenset[bytes] = frozenset()
        self.vlans = bytes(512)  # a bit per VLAN id, lowest first
        self.empty_table_passes = empty_table_passes  # BSD drivers never fill the VLAN table

    def clear(self) -> None:
        """Nothing passes; the station address stays."""
        self.mode, self.multicast, self.vlans = RxMode(0), frozenset(), bytes(512)

    @property
    def open(self) -> bool:
        return bool(self.mode)

    def accept(self, frames: Sequence[bytes]) -> list[bytes]:
        """The frames that pass, in order. A runt without a whole header never does."""
        mode = self.mode
        if mode & RxMode.PROMISC:
            return [frame for frame in frames if len(frame) >= 14]
        mac, passes = self.mac, self._passes
        unicast = bool(mode & RxMode.UCAST)
        return [
            frame
            for frame in frames
            if (unicast and len(frame) >= 14 and frame[12] != 0x81 and frame.startswith(mac)) or passes(frame)
        ]

    def _passes(self, frame: bytes) -> bool:
        if len(frame) < 14:
            return False
        mode, target = self.mode, frame[:6]
        if target[0] & 1:
            if target == _BROADCAST:
                wanted = bool(mode & RxMode.BCAST)
            else:
                wanted = bool(mode & RxMode.ALL_MULTI) or (bool(mode & RxMode.MCAST) and target in self.multicast)
        else:
            wanted = bool(mode & RxMode.UCAST) and target == self.mac
        return wanted and (frame[12:14] != TPID or self._vlan_passes(frame))

    def _vlan_passes(self, frame: bytes) -> bool:
        vid = (frame[14] << 8 | frame[15]) & 0xFFF if len(frame) >= 16 else 0
        if vid == 0 or self.vlans[vid >> 3] >> (vid & 7) & 1:
            return True
        return self.empty_table_passes and self.vlans == _ALL_VLANS
