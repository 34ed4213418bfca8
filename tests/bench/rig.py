"""Rings that refill themselves for a benchmark: the driver copies a prepared image, so only the device is timed."""

import struct
import time
from array import array
from collections.abc import Callable
from statistics import median

from pvdev.transport.inproc import LocalPort
from vmxnet3.backend import NetBackend
from vmxnet3.device import VERSIONS, Vmxnet3
from vmxnet3.wire import (
    DRIVER_SHARED,
    MAGIC,
    REG_CMD,
    REG_DSAH,
    REG_DSAL,
    REG_VRRS,
    RX_QUEUE_DESC,
    TX_QUEUE_DESC,
    Cmd,
    Feature,
    RxMode,
)

RING = 512
SLOT = 2048
_DESC = struct.Struct("<QII")


def udp_frame(mac: bytes, size: int) -> bytes:
    """A valid untagged IPv4/UDP frame of `size` bytes (without FCS), checksums right."""
    payload = bytes(i & 0xFF for i in range(size - 42))
    source, target = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))

    def fold(data: bytes) -> int:
        total = sum(array("H", data + b"\0" * (len(data) & 1)))
        total = int.from_bytes(total.to_bytes(8, "little"), "little")
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        return int.from_bytes((total ^ 0xFFFF).to_bytes(2, "little"), "big")

    length = len(payload) + 8
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, length + 20, 1, 0, 64, 17, 0, source, target)
    ip = ip[:10] + struct.pack(">H", fold(ip)) + ip[12:]
    udp = struct.pack(">HHHH", 1000, 2000, length, 0)
    check = fold(source + target + struct.pack(">BBH", 0, 17, length) + udp + payload)
    udp = udp[:6] + struct.pack(">H", check or 0xFFFF)
    return mac + bytes.fromhex("0200000000ee0800") + ip + udp + payload


class Rig:
    """An active device with `queues` transmit and receive queues of `RING` single-buffer descriptors each."""

    def __init__(self, backend: NetBackend, *, queues: int = 1, features: int = Feature.RXCSUM) -> None:
        self.device = Vmxnet3(backend)
        self.port = port = LocalPort(self.device, memory=(4 + 3 * queues) << 20)
        port.write(7, 4, 6, 2)
        self.shared, self.table = port.alloc(DRIVER_SHARED.size), port.alloc(512 * queues)
        self.tx = [self._rings(3) for _ in range(queues)]
        self.rx = [self._rings(4) for _ in range(queues)]
        table = b"".join(
            TX_QUEUE_DESC.encode(
                txRingBasePA=ring.address, txRingSize=RING, compRingBasePA=comp.address, compRingSize=RING, ddPA=0
            )
            for ring, comp, _ in self.tx
        ) + b"".join(
            RX_QUEUE_DESC.encode(
                rxRingBasePA=(ring.address, 0), rxRingSize=(RING, 0), compRingBasePA=comp.address, compRingSize=RING
            )
            for ring, comp, _ in self.rx
        )
        self.table.view[:] = table
        self.shared.view[:] = DRIVER_SHARED.encode(
            magic=MAGIC,
            queueDescPA=self.table.address,
            queueDescLen=len(table),
            mtu=1500,
            numTxQueues=queues,
            numRxQueues=queues,
            numIntrs=1,
            uptFeatures=features,
            rxMode=RxMode.UCAST | RxMode.BCAST,
        )
        port.write(1, REG_VRRS, 1 << VERSIONS - 1)
        port.write(1, REG_DSAL, self.shared.address)
        port.write(1, REG_DSAH, 0)
        port.write(1, REG_CMD, Cmd.ACTIVATE_DEV)
        assert port.read(1, REG_CMD) == 0

    def _rings(self, _kind: int):  # type: ignore[no-untyped-def]
        alloc = self.port.alloc
        return alloc(16 * RING), alloc(16 * RING), alloc(SLOT * RING)

    def tx_images(self, frame: bytes, queue: int = 0) -> tuple[bytes, bytes]:
        """The whole transmit ring filled with `frame`, for owner bit 1 and 0."""
        _, _, data = self.tx[queue]
        for i in range(RING):
            data.view[SLOT * i : SLOT * i + len(frame)] = frame
        return tuple(  # type: ignore[return-value]
            b"".join(_DESC.pack(data.address + SLOT * i, len(frame) | gen << 14, 0x3000) for i in range(RING))
            for gen in (1, 0)
        )

    def rx_images(self, queue: int = 0) -> tuple[bytes, bytes]:
        """The whole receive ring filled with empty buffers, for owner bit 1 and 0."""
        _, _, data = self.rx[queue]
        return tuple(  # type: ignore[return-value]
            b"".join(_DESC.pack(data.address + SLOT * i, SLOT | gen << 31, 0) for i in range(RING)) for gen in (1, 0)
        )


def rate(work: Callable[[int], int], laps: int, rounds: int = 7) -> float:
    """Units per second: the median of `rounds` runs of `laps` laps; `work(lap)` returns units done."""
    results = []
    lap = 0
    for _ in range(rounds):
        start, units = time.perf_counter_ns(), 0
        for _ in range(laps):
            units += work(lap)
            lap += 1
        results.append(units * 1e9 / (time.perf_counter_ns() - start))
    return median(results)
