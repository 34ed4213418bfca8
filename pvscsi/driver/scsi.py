"""A disk behind the reference driver: the commands one needs to use it, as calls."""

from dataclasses import dataclass
from typing import Any

from pvdev.errors import PvdevError
from pvscsi.driver import cdb
from pvscsi.driver.common import Buffer
from pvscsi.driver.driver import Driver
from pvscsi.driver.request import Request


class CommandFailed(PvdevError):
    """A SCSI command did not end GOOD; `request` says how."""

    def __init__(self, request: Request) -> None:
        super().__init__(f"{request.cdb.hex()}: {request.outcome()}")
        self.request = request


@dataclass(frozen=True)
class Capacity:
    """`last` is the address of the last block, `block` bytes each; the rest from READ CAPACITY(16)."""

    last: int
    block: int
    physical: int = 0  # log2 of logical blocks per physical block
    thin: bool = False  # LBPME
    reads_zeros: bool = False  # LBPRZ

    @property
    def blocks(self) -> int:
        return self.last + 1


class Disk:
    """One logical unit. Every call raises `CommandFailed` unless the command ends GOOD."""

    def __init__(self, driver: Driver, target: int = 0, lun: int = 0, block: int = 512) -> None:
        self.driver, self.target, self.lun, self.block = driver, target, lun, block

    def run(self, command: Buffer, **how: Any) -> Request:
        """Any command, however it ends."""
        return self.driver.run(command, target=self.target, lun=self.lun, **how)

    def submit(self, command: Buffer, **how: Any) -> Request:
        return self.driver.submit(command, target=self.target, lun=self.lun, **how)

    def must(self, command: Buffer, **how: Any) -> Request:
        """Any command, which is to end GOOD."""
        request = self.run(command, **how)
        if not request.good:
            raise CommandFailed(request)
        return request

    def settle(self) -> list[str]:
        """TEST UNIT READY until nothing is to be told any more: the unit attentions there were, "06/29/00"."""
        told = []
        for _ in range(16):
            request = self.run(cdb.TEST_UNIT_READY)
            if request.sense is None or request.sense.key != 6:
                break
            told.append(str(request.sense))
        return told

    def inquiry(self, page: int | None = None, length: int = 255) -> bytes:
        return self.must(cdb.inquiry(length, page), read=length).data

    def read_capacity(self) -> Capacity:
        """By READ CAPACITY(16); `block` is known to the other calls from then on."""
        raw = self.must(cdb.read_capacity_16(), read=32).data
        self.block = int.from_bytes(raw[8:12], "big")
        return Capacity(
            int.from_bytes(raw[:8], "big"), self.block, raw[13] & 15, bool(raw[14] & 0x80), bool(raw[14] & 0x40)
        )

    def read(self, lba: int, blocks: int, *, size: int = 16, **how: Any) -> bytes:
        return self.must(cdb.read(lba, blocks, size=size), read=blocks * self.block, **how).data

    def write(self, lba: int, data: Buffer, *, size: int = 16, fua: int = 0, **how: Any) -> None:
        self.must(cdb.write(lba, len(data) // self.block, size=size, fua=fua), write=data, **how)

    def flush(self) -> None:
        """SYNCHRONIZE CACHE, all of it."""
        self.must(cdb.synchronize_cache())

    def unmap(self, *ranges: tuple[int, int]) -> None:
        """(LBA, blocks) of each."""
        data = cdb.unmap_list(*ranges)
        self.must(cdb.unmap(len(data)), write=data)

    def mode_page(self, page: int, control: int = 0) -> bytes:
        """One mode page, its two header bytes included."""
        raw = self.must(cdb.mode_sense(page, control=control, dbd=1), read=255).data
        return raw[4 + raw[3] : 1 + raw[0]]
