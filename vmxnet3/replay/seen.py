"""What a driver saw of the facts it was given, counted from its completions."""

from collections import Counter

from vmxnet3.captures.marks import RSS_NAMES
from vmxnet3.driver.received import Received

_RSS = {int(kind): name for name, kind in RSS_NAMES.items()}


class Seen:
    """Counters of packets by what their completions said, named as a user would."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def packet(self, packet: Received) -> None:
        count = self.counts
        count["packets"] += 1
        if packet.err:
            count["errors, FCS wrong" if not packet.fcs else "errors"] += 1
        if packet.cnc:
            count["checksum not calculated"] += 1
        elif packet.verified:
            count["checksum verified"] += 1
        elif packet.frg:
            count["fragments"] += 1
        elif packet.v4 and not packet.ipc:
            count["IP header checksum wrong"] += 1
        elif not packet.tuc:
            count["checksum wrong"] += 1
        else:
            count["checksum right, of no protocol"] += 1
        if packet.vlan is not None:
            count[f"tag stripped, VLAN {packet.vlan & 0xFFF}"] += 1
        if packet.rss_type:
            count[f"RSS {_RSS.get(packet.rss_type, f'type {packet.rss_type}')}"] += 1
        if packet.lro is not None:
            count["merged (LRO)"] += 1
            count["segments merged"] += packet.lro.segments
        if packet.inner:
            count["facts of an inner header"] += 1
        if packet.queue:
            count[f"in queue {packet.queue}"] += 1

    def round(self, packets: int, interrupted: bool) -> None:
        """One look at the rings: what was found, and whether an interrupt had said so."""
        if packets and not interrupted:
            self.counts["packets without interrupt"] += 1
        if interrupted and not packets:
            self.counts["interrupts without packet"] += 1
