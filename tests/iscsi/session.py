"""The target's end of iSCSI sessions: bytes in, bytes out, no socket.

As much as a judge of the SCSI target needs: one connection a session, no authentication, no digests, error recovery
level 0. Ref: RFC 7143.
"""

from collections.abc import Callable, Mapping
from enum import IntEnum
from struct import pack

from pvscsi.scsi.sense import Sense, encode
from pvscsi.scsi.target import Target, lun_number
from pvscsi.scsi.task import Direction, Status
from tests.iscsi.pdu import FINAL, NO_TAG, Opcode, Pdu, decode, keys_data, parse_keys
from tests.iscsi.runner import Job, Runner

SEGMENT = 1 << 18  # bytes of data a message to us may carry
BURST = 1 << 18
ROOM = 1 << 24  # bytes: no answer is longer, whatever the CDB asks for, unless the initiator expects that much
WINDOW = 128  # commands an initiator may have under way
_ALL = 0xFFFF_FFFF
_READ, _WRITE = 0x40, 0x20  # flags of a command
_OVERFLOW, _UNDERFLOW = 0x04, 0x02  # flags of its response
_TRANSIT = 0x80

_OFFERS: dict[str, Callable[[str], str]] = {
    "AuthMethod": lambda offered: "None",
    "HeaderDigest": lambda offered: "None",
    "DataDigest": lambda offered: "None",
    "MaxConnections": lambda offered: "1",
    "InitialR2T": lambda offered: "Yes",
    "ImmediateData": lambda offered: offered,
    "MaxBurstLength": lambda offered: str(min(int(offered), BURST)),
    "FirstBurstLength": lambda offered: str(min(int(offered), BURST)),
    "DefaultTime2Wait": lambda offered: "0",
    "DefaultTime2Retain": lambda offered: "0",
    "MaxOutstandingR2T": lambda offered: "1",
    "DataPDUInOrder": lambda offered: "Yes",
    "DataSequenceInOrder": lambda offered: "Yes",
    "ErrorRecoveryLevel": lambda offered: "0",
    "IFMarker": lambda offered: "No",
    "OFMarker": lambda offered: "No",
}
"""What is agreed on, from what the initiator offers."""

_DECLARED = {"InitiatorName", "InitiatorAlias", "TargetName", "SessionType", "MaxRecvDataSegmentLength"}
INITIATOR_ERROR, NOT_FOUND = 0x0200, 0x0203  # status class and detail of a login that fails


class Function(IntEnum):
    """Task management functions."""

    ABORT_TASK = 1
    ABORT_TASK_SET = 2
    CLEAR_TASK_SET = 4
    LUN_RESET = 5
    WARM_RESET = 6
    COLD_RESET = 7


COMPLETE, NO_TASK, NO_LUN, NOT_SUPPORTED = 0, 1, 2, 5  # answers to them
COMMAND_NOT_SUPPORTED = 5  # why a message is rejected
DATA_PHASE_ERROR = Sense(0xB, 0x4B, 0x00)
INVALID_FIELD_IN_COMMAND_UNIT = Sense(0x5, 0x0E, 0x03)


class Node:
    """A target with an iSCSI name, and its sessions by nexus."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.runner = Runner(target, lambda job: job.owner.answer())
        self.sessions: dict[int, Connection] = {}
        self._nexuses: dict[tuple[str, bytes], int] = {}

    def nexus(self, initiator: str, isid: bytes) -> int:
        """The number of an initiator port, the same whenever it comes back."""
        return self._nexuses.setdefault((initiator, isid), len(self._nexuses) + 1)

    def enter(self, nexus: int, connection: "Connection") -> None:
        """A session begins; one of the same nexus is over."""
        if nexus in self.sessions:
            self.sessions[nexus].end()
        self.sessions[nexus] = connection

    def leave(self, nexus: int) -> None:
        """A session is over, and all it had under way."""
        del self.sessions[nexus]
        self.runner.abort([job for job in self.runner.jobs if job.nexus == nexus])
        for unit in self.target.units.values():
            unit.lost(nexus)


class Exchange:
    """One command and its data. `expected`: bytes the initiator expects to be moved (EDTL)."""

    def __init__(self, connection: "Connection", pdu: Pdu) -> None:
        self.connection, self.lun, self.tag, self.expected = connection, pdu.lun, pdu.tag, pdu.words[0]
        cdb = pack(">4I", *pdu.words[3:])
        unit = connection.node.target.unit(-1 if (lun := lun_number(pdu.lun)) is None else lun)
        self.flow = unit.direction(cdb)
        self.size = 0 if self.flow is Direction.NONE else unit.expected(cdb)  # bytes the CDB speaks of
        reads = bool(pdu.flags & _READ) and self.flow is Direction.IN
        writes = bool(pdu.flags & _WRITE)
        self.memory = bytearray(min(self.size, max(self.expected, ROOM)) if reads else self.expected if writes else 0)
        self.received = self.asked = 0  # bytes of data-out: here, and called for
        self.sequence = self.requests = 0  # the next message of a burst, and of the calls for one
        self.job = Job(unit, cdb, [memoryview(self.memory)], len(self.memory), self, nexus=connection.nexus)
        self.wanting = writes and self.expected > 0
        if writes and self.flow is not Direction.OUT:  # what is sent is not looked at
            self.job.pieces, self.job.room = (), 0

    def answer(self) -> None:
        """The command has its result: data, then the response."""
        job, reading = self.job, self.flow is Direction.IN
        if job.short and not reading:  # the target wrote nothing, which must not look as if it had
            self._check(INVALID_FIELD_IN_COMMAND_UNIT)
        if reading:
            self._send(memoryview(self.memory)[: min(job.moved, self.expected)])
        residual = (job.moved if reading else self.size) - self.expected
        flags = FINAL | (_OVERFLOW if residual > 0 else _UNDERFLOW if residual < 0 else 0)
        sense = pack(">H", len(job.sense)) + job.sense if job.sense else b""
        words = (0, *self.connection.numbers(), self.sequence if reading else self.requests, 0, abs(residual))
        self.connection.send(Pdu(Opcode.SCSI_RESPONSE, flags, (0, job.status), tag=self.tag, words=words, data=sense))

    def fail(self, sense: Sense) -> None:
        """End the command before it has begun."""
        self.connection.waiting.pop(self.tag, None)
        self._check(sense)
        self.answer()

    def _check(self, sense: Sense) -> None:
        self.job.status, self.job.sense = Status.CHECK_CONDITION, encode(sense)

    def _send(self, data: memoryview) -> None:
        connection = self.connection
        for at in range(0, len(data), connection.segment):
            part = data[at : at + connection.segment]
            end = at + len(part)
            flags = FINAL if end == len(data) or end % connection.burst == 0 else 0
            words = (NO_TAG, 0, *connection.window(), self.sequence, at, 0)
            connection.send(Pdu(Opcode.DATA_IN, flags, lun=self.lun, tag=self.tag, words=words, data=bytes(part)))
            self.sequence += 1

    def take(self, data: bytes, at: int) -> bool:
        """Data of the initiator; False: they do not belong there."""
        if at != self.received or at + len(data) > len(self.memory):
            return False
        self.memory[at : at + len(data)] = data
        self.received += len(data)
        return True

    def go_on(self) -> None:
        """Call for the next burst of data, or begin the command when all are here."""
        connection = self.connection
        if self.wanting and self.received < self.expected:
            size = min(connection.burst, self.expected - self.received)
            self.asked, self.sequence = self.received + size, 0
            words = (self.tag, connection.status_number, *connection.window(), self.requests, self.received, size)
            connection.send(Pdu(Opcode.R2T, lun=self.lun, tag=self.tag, words=words))
            self.requests += 1
        else:
            connection.waiting.pop(self.tag, None)
            connection.node.runner.begin(self.job)


class Connection:
    """One connection, which is a session once its login is through. Send `out`; hang up when it is out if `closing`."""

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        self._nodes = nodes
        self._received = bytearray()
        self.out = bytearray()
        self.closing = False
        self.nexus = 0
        self._node: Node | None = None
        self._keys: dict[str, str] = {}  # what the initiator said while logging in
        self.status_number = self._command_number = 0
        self.segment, self.burst = 8192, BURST
        self.waiting: dict[int, Exchange] = {}  # commands whose data are not here yet, by tag
        self._handlers: dict[int, Callable[[Pdu], None]] = {
            Opcode.NOP_OUT: self._nop,
            Opcode.SCSI_COMMAND: self._command,
            Opcode.TASK_MANAGEMENT: self._manage,
            Opcode.LOGOUT: self._logout,
        }

    @property
    def node(self) -> Node:
        assert self._node is not None
        return self._node

    def receive(self, data: bytes) -> None:
        """Bytes have come."""
        self._received += data
        for pdu in decode(self._received):
            if self.closing:
                return
            if pdu.opcode == Opcode.LOGIN:
                self._login(pdu)
            elif self._node is None:
                self.closing = True
            elif pdu.opcode == Opcode.DATA_OUT:
                self._data_out(pdu)
            elif pdu.immediate or pdu.words[1] == self._command_number:
                # one connection loses nothing: a number that is not the next is no command of this session
                if not pdu.immediate:
                    self._command_number = (self._command_number + 1) & _ALL
                self._handlers.get(pdu.opcode, self._unknown)(pdu)

    def end(self) -> None:
        """The connection is gone, or shall be."""
        self.closing = True
        if self._node is not None and self._node.sessions.get(self.nexus) is self:
            self._node.leave(self.nexus)

    # -- sending -------------------------------------------------------------------------------------------------------

    def send(self, pdu: Pdu) -> None:
        self.out += pdu.encode()

    def window(self) -> tuple[int, int]:
        """ExpCmdSN and MaxCmdSN"""
        return self._command_number, (self._command_number + WINDOW - 1) & _ALL

    def numbers(self) -> tuple[int, int, int]:
        """StatSN, used up by this, and the window"""
        number = self.status_number
        self.status_number = (number + 1) & _ALL
        return (number, *self.window())

    # -- logging in and out --------------------------------------------------------------------------------------------

    def _login(self, pdu: Pdu) -> None:
        keys = parse_keys(pdu.data)
        self._keys |= keys
        node = self._nodes.get(self._keys.get("TargetName", ""))
        if node is None or "InitiatorName" not in self._keys:
            return self._refuse(pdu, NOT_FOUND if node is None else INITIATOR_ERROR)
        if self._node is not None or pdu.lun[6:8] != bytes(2):  # no session has a second connection
            return self._refuse(pdu, INITIATOR_ERROR)
        self._command_number = pdu.words[1]
        wanted = {key: value for key, value in keys.items() if key not in _DECLARED}
        answer = {key: _OFFERS[key](value) if key in _OFFERS else "NotUnderstood" for key, value in wanted.items()}
        self.burst = int(answer.get("MaxBurstLength", self.burst))
        self.segment = int(keys.get("MaxRecvDataSegmentLength", self.segment))
        stage, following, lun = pdu.flags >> 2 & 3, pdu.flags & 3, pdu.lun
        if stage == 0:
            answer["TargetPortalGroupTag"] = "1"
        if pdu.flags & _TRANSIT and following == 3:
            answer["MaxRecvDataSegmentLength"] = str(SEGMENT)
            self._node, self.nexus = node, node.nexus(self._keys["InitiatorName"], pdu.lun[:6])
            lun = pdu.lun[:6] + pack(">H", self.nexus)
            node.enter(self.nexus, self)
        words = (0, *self.numbers(), 0, 0, 0)
        self.send(Pdu(Opcode.LOGIN_RESPONSE, pdu.flags, lun=lun, tag=pdu.tag, words=words, data=keys_data(answer)))
        return None

    def _refuse(self, pdu: Pdu, fault: int) -> None:
        words = (0, *self.numbers(), fault << 16, 0, 0)
        self.send(Pdu(Opcode.LOGIN_RESPONSE, pdu.flags & 0x0C, lun=pdu.lun, tag=pdu.tag, words=words))
        self.closing = True

    def _logout(self, pdu: Pdu) -> None:
        self.send(Pdu(Opcode.LOGOUT_RESPONSE, tag=pdu.tag, words=(0, *self.numbers(), 0, 0, 0)))
        self.end()

    # -- commands ------------------------------------------------------------------------------------------------------

    def _nop(self, pdu: Pdu) -> None:
        if pdu.tag != NO_TAG:
            words = (NO_TAG, *self.numbers(), 0, 0, 0)
            self.send(Pdu(Opcode.NOP_IN, lun=pdu.lun, tag=pdu.tag, words=words, data=pdu.data))

    def _unknown(self, pdu: Pdu) -> None:
        head = pdu._replace(data=b"").encode()
        self.send(Pdu(Opcode.REJECT, two=(COMMAND_NOT_SUPPORTED, 0), words=(0, *self.numbers(), 0, 0, 0), data=head))

    def _command(self, pdu: Pdu) -> None:
        exchange = Exchange(self, pdu)
        if exchange.wanting:
            self.waiting[pdu.tag] = exchange
        if exchange.take(pdu.data, 0):
            exchange.go_on()
        else:
            exchange.fail(DATA_PHASE_ERROR)

    def _data_out(self, pdu: Pdu) -> None:
        exchange = self.waiting.get(pdu.tag)
        if exchange is None:  # its command has ended
            return
        number, at = pdu.words[4:6]
        whole = number == exchange.sequence and exchange.take(pdu.data, at) and exchange.received <= exchange.asked
        exchange.sequence += 1
        if not whole or bool(pdu.flags & FINAL) != (exchange.received == exchange.asked):
            exchange.fail(DATA_PHASE_ERROR)
        elif pdu.flags & FINAL:
            exchange.go_on()

    # -- task management -----------------------------------------------------------------------------------------------

    def _manage(self, pdu: Pdu) -> None:
        response = self._managed(pdu)
        words = (0, *self.numbers(), 0, 0, 0)
        self.send(Pdu(Opcode.TASK_MANAGEMENT_RESPONSE, two=(response, 0), tag=pdu.tag, words=words))

    def _managed(self, pdu: Pdu) -> int:
        function, node, runner = pdu.flags & 0x7F, self.node, self.node.runner
        if function in (Function.WARM_RESET, Function.COLD_RESET):
            runner.abort(tuple(runner.jobs))
            self._forget(lambda exchange: True)
            node.target.reset()
            if function == Function.COLD_RESET:
                for connection in tuple(node.sessions.values()):
                    connection.end()
            return COMPLETE
        number = lun_number(pdu.lun)
        unit = None if number is None else node.target.units.get(number)
        if unit is None:
            return NO_LUN
        if function == Function.ABORT_TASK:
            found = [job for job in runner.jobs if job.nexus == self.nexus and job.owner.tag == pdu.words[0]]
            runner.abort(found)
            return COMPLETE if self.waiting.pop(pdu.words[0], None) or found else NO_TASK
        if function not in (Function.ABORT_TASK_SET, Function.CLEAR_TASK_SET, Function.LUN_RESET):
            return NOT_SUPPORTED
        mine = function == Function.ABORT_TASK_SET
        runner.abort([job for job in runner.jobs if job.unit is unit and not (mine and job.nexus != self.nexus)])
        self._forget(lambda exchange: exchange.job.unit is unit, mine=mine)
        if function == Function.LUN_RESET:
            unit.reset()
        return COMPLETE

    def _forget(self, doomed: Callable[[Exchange], bool], *, mine: bool = False) -> None:
        """Commands whose data are still on their way are not begun; `mine`: those of this session."""
        for connection in [self] if mine else self.node.sessions.values():
            connection.waiting = {tag: each for tag, each in connection.waiting.items() if not doomed(each)}
