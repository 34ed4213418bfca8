"""One request of the reference driver, from its CDB to what its completion said."""

from dataclasses import dataclass, field

from pvscsi import wire
from pvscsi.driver.common import GUARD, clean
from pvscsi.driver.data import Data
from pvscsi.wire import Flag, HostStatus

SENSE_MAX = 256  # the longest sense buffer, watched bytes not counted
SENSE_SLOT = SENSE_MAX + 32
CHECK_CONDITION = 2
SUCCESSES = (
    HostStatus.SUCCESS,
    HostStatus.LINKED_COMMAND_COMPLETED,
    HostStatus.LINKED_COMMAND_COMPLETED_WITH_FLAG,
)


@dataclass(frozen=True)
class Sense:
    """Decoded sense data. `information` is None when it is not valid."""

    key: int
    asc: int
    ascq: int
    information: int | None = None
    fixed: bool = True

    def __str__(self) -> str:
        return f"{self.key:02X}/{self.asc:02X}/{self.ascq:02X}"


def decode_sense(raw: bytes) -> Sense | None:
    """Fixed or descriptor format; None for anything else, or less than its head."""
    if len(raw) < 8:
        return None
    if raw[0] & 0x7E == 0x70 and len(raw) >= 14:
        information = int.from_bytes(raw[3:7], "big") if raw[0] & 0x80 else None
        return Sense(raw[2] & 15, raw[12], raw[13], information)
    if raw[0] & 0x7E != 0x72:
        return None
    information, at = None, 8
    while at + 2 <= len(raw):
        if raw[at] == 0 and raw[at + 1] == 10 and at + 12 <= len(raw) and raw[at + 2] & 0x80:
            information = int.from_bytes(raw[at + 4 : at + 12], "big")
        at += 2 + raw[at + 1]
    return Sense(raw[1] & 15, raw[2], raw[3], information, fixed=False)


def available_sense(raw: bytes) -> int:
    """How many bytes of sense data there are by their own length byte, 0 for what is no sense data."""
    return 8 + raw[7] if len(raw) >= 8 and raw[0] & 0x7C == 0x70 else 0


@dataclass(eq=False)
class Request:
    """What was asked, and once `done` what came of it.

    `host` and `status` are hostStatus and scsiStatus; `moved` dataLen, `sense_raw` the sense bytes delivered, `data`
    what was read. `dropped`: its rings went away before it was completed.
    """

    cdb: bytes
    target: int
    context: int
    slot: int
    flags: Flag
    size: int  # dataLen
    memory: Data | None
    sense_room: int
    sense_view: memoryview = field(repr=False)  # the whole slot, watched bytes included
    done: bool = False
    dropped: bool = False
    host: int = -1
    status: int = -1
    moved: int = 0
    sense_raw: bytes = b""
    data: bytes = field(default=b"", repr=False)

    @property
    def sense(self) -> Sense | None:
        return decode_sense(self.sense_raw)

    @property
    def good(self) -> bool:
        return self.done and self.host == HostStatus.SUCCESS and self.status == 0

    def outcome(self) -> str:
        """In one line, for messages: "SUCCESS 02 06/29/00"."""
        if not self.done:
            return "dropped" if self.dropped else "not completed"
        host = HostStatus(self.host).name if self.host in set(HostStatus) else f"{self.host:#x}"
        return f"{host} {self.status:02X} {self.sense or self.sense_raw.hex()}".strip()

    def judge(self) -> list[tuple[str, str]]:
        """Which duties this request's completion breaks: (rule, what was seen)."""
        return [
            (rule, f"{self.cdb.hex()}: {what}") for rule, what in [*self._statuses(), *self._data(), *self._sense()]
        ]

    def _statuses(self) -> list[tuple[str, str]]:
        out = []
        if self.status > 0xFF:
            out.append(("PVS-V-060", f"scsiStatus {self.status:#x}"))
        if self.host == HostStatus.DATA_UNDERRUN:
            out.append(("PVS-V-062", "a short transfer is told as an underrun"))
        if self.host not in (*SUCCESSES, HostStatus.SENSFAILED) and self.status == CHECK_CONDITION:
            out.append(("PVS-V-063", f"CHECK CONDITION with hostStatus {self.host:#x}"))
        return out

    def _data(self) -> list[tuple[str, str]]:
        out = []
        if self.moved > self.size:
            out.append(("PVS-V-061", f"{self.moved} bytes moved of {self.size}"))
        memory = self.memory
        if memory is None:
            return out
        if not memory.intact():
            out.append(("PVS-V-066", "bytes between the pieces of the data, or the SG list, were written"))
        if self.flags & Flag.DIR_TOHOST and self.moved < self.size and not memory.untouched(self.moved):
            out.append(("PVS-V-061", f"dataLen {self.moved}, and bytes behind them were written"))
        return out

    def _sense(self) -> list[tuple[str, str]]:
        length, view = len(self.sense_raw), self.sense_view
        if self.status == CHECK_CONDITION and self.host != HostStatus.SENSFAILED:
            available = available_sense(self.sense_raw)
            if self.sense_room and not length:
                return [("PVS-V-064", "CHECK CONDITION without sense")]
            if self.sense_room >= 8 and length != min(self.sense_room, available):
                return [("PVS-V-064", f"{length} bytes of sense, room for {self.sense_room}, {available} there are")]
        elif length:
            return [("PVS-V-064", f"{length} bytes of sense without CHECK CONDITION")]
        if not clean(view[length:]):
            return [("PVS-V-064", f"more than {length} bytes were written to the sense buffer")]
        return []

    def finish(self, fields: tuple[int, int, int, int, int, int]) -> list[tuple[str, str]]:
        """Take over what its completion says; which duties that breaks."""
        _, self.moved, length, self.host, self.status, pad = fields
        self.done = True
        broken = [("PVS-V-060", f"pad {pad:#x}")] if pad else []
        if length > self.sense_room:
            broken.append(("PVS-V-064", f"senseLen {length}, room for {self.sense_room}"))
        self.sense_raw = bytes(self.sense_view[: min(length, self.sense_room)])
        broken += self.judge()
        if self.memory is not None and self.flags & Flag.DIR_TOHOST:
            self.data = self.memory.read(self._arrived(self.memory))
        return broken

    def _arrived(self, memory: Data) -> int:
        """Bytes of data there are. A success that moved 0 may mean "all of it" with VMware and QEMU; see Linux."""
        if self.good and not self.moved and not memory.untouched(0):
            return self.size
        return min(self.moved, self.size)

    def release(self) -> None:
        """Give its memory back."""
        if self.memory is not None:
            memory, self.memory = self.memory, None
            memory.release()
        self.sense_view[:] = bytes([GUARD]) * len(self.sense_view)


def descriptor(request: Request, *, lun: int | bytes, tag: int, sense_address: int, **other: int | bytes) -> bytes:
    """The 128 bytes of a request. `lun`: a number, or all eight bytes; `other`: fields as they are to stand there."""
    memory = request.memory
    fields: dict[str, int | bytes] = {
        "context": request.context,
        "dataAddr": memory.address if memory is not None else 0,
        "dataLen": request.size,
        "senseAddr": sense_address if request.sense_room else 0,
        "senseLen": request.sense_room,
        "flags": int(request.flags),
        "cdb": request.cdb,
        "cdbLen": min(len(request.cdb), 16),
        "lun": lun if isinstance(lun, bytes) else bytes((0, lun, 0, 0, 0, 0, 0, 0)),
        "tag": tag,
        "target": request.target,
    }
    return wire.REQUEST.encode(**{**fields, **other})
