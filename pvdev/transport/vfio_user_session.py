"""One client's session with one device: a message in, at most one reply out. No socket, no thread, no clock.

Ref: QEMU docs/interop/vfio-user.rst. Every register access is done on the device when its reply is returned. What
the operating system must do is asked of a `Host`.
"""

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pvdev.device import Device
from pvdev.mem import Buffer, DmaFault, Remote
from pvdev.pci import CAP_MSI, CAP_MSIX
from pvdev.rules import RuleLog, Severity
from pvdev.transport import vfio_user_wire as wire
from pvdev.transport.vfio_user_dma import DmaTable, Mapper
from pvdev.transport.vfio_user_irqs import IrqTable, Signals
from pvdev.transport.vfio_user_regions import Regions
from pvdev.transport.vfio_user_rules import RULES, Refused, fixed
from pvdev.transport.vfio_user_wire import Command, Message

STRAYS_MAX = 16  # replies nobody asked for, before the connection ends

HOW_TO_SHARE = "start QEMU with -object memory-backend-memfd,id=m,size=<as in -m>,share=on -machine memory-backend=m"

Answer = tuple[bytes, Sequence[int]]  # a whole message and the descriptors that go with it


class Host(Mapper, Signals, Protocol):
    """What a session asks of the outside."""

    def twin(self) -> int:
        """Make a second socket pair for our own commands; the client's end, ours to close once it is sent."""
        ...

    def remote(self) -> Remote:
        """Memory reached by DMA messages to this client."""
        ...

    def event(self, line: str) -> None:
        """Tell the user."""
        ...


@dataclass(frozen=True)
class Options:
    """How a server behaves. `posted`: let QEMU post register writes (default: each waits for its reply).

    `strict`: the first broken rule ends the connection.
    """

    posted: bool = False
    strict: bool = False


@dataclass
class Peer:
    """What the client said of itself in VERSION."""

    minor: int = 0
    max_msg_fds: int = wire.FDS_DEFAULT
    max_data_xfer_size: int = wire.XFER_MAX
    qemu: bool = False

    def __str__(self) -> str:
        return f"{'QEMU' if self.qemu else 'a vfio-user client'}, protocol {wire.MAJOR}.{self.minor}"


class Unshared:
    """Memory without a descriptor, of a client whose DMA messages cannot be used: every access fails at once."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell = tell

    def read(self, address: int, length: int) -> bytes:
        self._tell(address)
        raise DmaFault("MEM-01", "guest memory is not shared", address)

    def write(self, address: int, data: Buffer) -> None:
        self._tell(address)
        raise DmaFault("MEM-01", "guest memory is not shared", address)


class Session:
    """From a client's first message to its last.

    `handle` takes a whole message with its descriptors and owns them from then on. `closing` is set when the
    connection must end after the reply. `log` collects broken rules; it may outlive the session.
    """

    def __init__(self, device: Device, host: Host, options: Options | None = None, log: RuleLog | None = None) -> None:
        self.device, self.host, self.options = device, host, options or Options()
        self.log = log if log is not None else RuleLog(RULES)
        self.peer = Peer()
        self.ready = False  # VERSION is done
        self.closing = False
        self.twin = False  # the client takes our commands on a socket of their own
        self._strays = 0
        self._told: set[str] = set()
        self._pci = device.pci
        strict = self.options.strict
        self.irqs = IrqTable(device.pci.irq, self._irq_counts(), host, self._note, strict=strict)
        self.regions = Regions(device.pci, self._note)
        self.dma = DmaTable(device.mem, host, self._note, self._remote)
        self._handlers: dict[int, Callable[[bytes, list[int]], bytes]] = {
            Command.DMA_MAP: self._dma_map,
            Command.DMA_UNMAP: self._dma_unmap,
            Command.DEVICE_GET_INFO: self._get_info,
            Command.DEVICE_GET_REGION_IO_FDS: self.regions.io_fds,
            Command.DEVICE_GET_IRQ_INFO: self._irq_info,
            Command.DEVICE_SET_IRQS: self._set_irqs,
            Command.REGION_READ: self.regions.read,
            Command.REGION_WRITE: self.regions.write,
            Command.REGION_WRITE_MULTI: self.regions.write_multi,
            Command.DEVICE_RESET: self._reset,
            Command.DEVICE_FEATURE: self._feature,
            Command.MIG_DATA_READ: self._migration_data,
            Command.MIG_DATA_WRITE: self._migration_data,
        }

    def _irq_counts(self) -> list[int]:
        pci = self._pci
        msi, msix = int(CAP_MSI in pci.config.caps), pci.irq.vectors if CAP_MSIX in pci.config.caps else 0
        return [int(pci.identity.pin > 0), msi, msix, 1, 1]

    def _note(self, rule: str, place: str, value: int) -> None:
        self.log.note(rule, place, value)
        if self.options.strict and RULES[rule].severity is not Severity.ADVICE:
            self.closing = True

    # -- messages -----------------------------------------------------------------------------------------------------

    def handle(self, message: Message) -> Answer | None:
        """Do what `message` asks; its reply, or None when there is none to send."""
        out_fds: list[int] = []
        refused = False
        try:
            flags = message.flags
            if message.fault or flags or message.error:
                self._check_header(message)
                if message.flags & wire.TYPE_MASK == wire.TYPE_REPLY:
                    return None
            command, payload = message.command, message.payload
            if not self.ready or command == Command.VERSION:
                reply = self._version(message, out_fds)
                flags = 0  # answered in any case
            elif command == Command.DEVICE_GET_REGION_INFO:
                reply = self._region_info(payload, out_fds)
            else:
                handler = self._handlers.get(command)
                if handler is None:
                    raise Refused(errno.EINVAL, "VFU-S-011", "command", command)
                reply = handler(payload, message.fds)
        except Refused as refusal:
            refused = True
            if refusal.rule:
                self._note(refusal.rule, refusal.place, refusal.value)
            self.closing |= refusal.fatal
            if message.flags & wire.NO_REPLY and self.ready:
                return None
            return wire.pack(
                message.msg_id, message.command, flags=wire.TYPE_REPLY | wire.ERROR, error=refusal.error
            ), ()
        finally:
            if message.fds:
                if not refused:
                    self._note("VFU-S-015", f"command {message.command}", len(message.fds))
                for fd in message.fds:
                    self.host.close(fd)
                message.fds.clear()
        if flags & wire.NO_REPLY:
            return None
        return wire.pack(message.msg_id, command, reply, flags=wire.TYPE_REPLY), out_fds

    def _check_header(self, message: Message) -> None:
        if message.fault:
            raise Refused(errno.EINVAL, message.fault, "header", message.size, fatal=message.fault == "VFU-S-003")
        kind = message.flags & wire.TYPE_MASK
        if kind == wire.TYPE_REPLY:
            self.stray(message)
            return
        if kind != wire.TYPE_COMMAND:
            raise Refused(errno.EINVAL, "VFU-S-008", "header", kind)
        if message.flags & wire.ERROR or message.error:
            self._note("VFU-S-009", "header", message.error)
        if message.flags & ~wire.KNOWN_FLAGS:
            self._note("VFU-S-010", "header", message.flags)

    def stray(self, message: Message) -> None:
        """A reply nobody waits for: dropped, and the connection ends when they do not stop."""
        self._note("VFU-S-007", "header", message.msg_id)
        self._strays += 1
        if self._strays > STRAYS_MAX:
            self.closing = True

    def gone(self, *, inside: bool = False) -> None:
        """The client is gone (`inside` a message): everything it lent is released and the device reset.

        The reset comes first: the device lets go of its rings before the memory under them goes.
        """
        if inside:
            self.log.note("VFU-S-006", "end of stream")
        if self.ready:
            self.device.reset()
        self.dma.clear()
        self.irqs.close()

    def _remote(self) -> Remote:
        if self.peer.qemu and not self.twin:  # why: see `unshared`
            return Unshared(self.unshared)
        return self.host.remote()

    def unshared(self, address: int) -> None:
        """The device needs memory that came without a descriptor.

        QEMU is never asked by message: 10.1 to 10.2 misread those messages, and every version stalls for 5 s and then
        drops the link when one comes while it waits for a register access.
        """
        self.tell("unshared", f"guest memory is not shared: {address:#x} came without a descriptor; {HOW_TO_SHARE}")

    def zeros(self) -> None:
        """The device found zeros where the driver must have written (MEM-03)."""
        self.tell("zeros", f"guest memory is not shared: it reads as zeros here; {HOW_TO_SHARE}")

    def tell(self, what: str, line: str) -> None:
        """Say `line` to the user, once per session and `what`."""
        if what not in self._told:
            self._told.add(what)
            self.host.event(f"{self.device.name}: {line}")

    # -- negotiation --------------------------------------------------------------------------------------------------

    def _version(self, message: Message, out_fds: list[int]) -> bytes:
        if self.ready:
            raise Refused(errno.EINVAL, "VFU-S-021", "VERSION")
        if message.command != Command.VERSION:
            raise Refused(errno.EINVAL, "VFU-S-020", "first message", message.command, fatal=True)
        if message.fds:
            raise Refused(errno.EINVAL, "VFU-S-029", "VERSION", len(message.fds), fatal=True)
        if message.flags & wire.NO_REPLY:
            self._note("VFU-S-030", "VERSION", message.flags)
        if len(message.payload) < wire.VERSION.size:
            raise Refused(errno.EINVAL, "VFU-S-024", "VERSION", len(message.payload), fatal=True)
        try:
            major, minor, document = wire.parse_version(message.payload)
        except ValueError:
            raise Refused(errno.EINVAL, "VFU-S-025", "VERSION", len(message.payload), fatal=True) from None
        if major != wire.MAJOR:
            raise Refused(errno.EINVAL, "VFU-S-022", "VERSION", major, fatal=True)
        capabilities = self._capabilities(document)
        peer = self.peer
        peer.minor = min(minor, wire.MINOR)
        peer.max_msg_fds = self._number(capabilities, "max_msg_fds", wire.FDS_DEFAULT, 0, 1024, "VFU-S-027")
        peer.max_data_xfer_size = self._number(
            capabilities, "max_data_xfer_size", wire.XFER_MAX, 1, 1 << 63, "VFU-S-028"
        )
        peer.qemu = "pgsizes" in capabilities and "write_multiple" in capabilities
        reply: dict[str, object] = {"max_msg_fds": wire.FDS_MAX, "max_data_xfer_size": wire.XFER_MAX}
        if capabilities.get("write_multiple") is True:
            reply["write_multiple"] = True
        twin = capabilities.get("twin_socket")
        if isinstance(twin, dict) and twin.get("supported") is True and peer.max_msg_fds:
            out_fds.append(self.host.twin())
            reply["twin_socket"] = {"supported": True, "fd_index": 0}
            self.twin = True
        self.ready = True
        self.host.event(f"{self.device.name}: client connected: {peer}")
        return wire.version_payload(wire.MAJOR, peer.minor, reply)

    def _capabilities(self, document: object) -> dict[str, object]:
        if document is None:
            return {}
        if not isinstance(document, dict):
            self._note("VFU-S-026", "VERSION", 0)
            if self.options.strict:
                raise Refused(errno.EINVAL, fatal=True)
            return {}
        capabilities = document.get("capabilities", {})
        if not isinstance(capabilities, dict):
            raise Refused(errno.EINVAL, "VFU-S-025", "VERSION capabilities", fatal=True)
        return capabilities

    @staticmethod
    def _number(caps: dict[str, object], key: str, default: int, low: int, high: int, rule: str) -> int:
        value = caps.get(key, default)
        if type(value) is not int or not low <= value <= high:
            raise Refused(errno.EINVAL, rule, "VERSION", value if type(value) is int else 0, fatal=True)
        return value

    # -- information --------------------------------------------------------------------------------------------------

    def _get_info(self, payload: bytes, fds: list[int]) -> bytes:
        fixed(self._note, "GET_INFO", payload, wire.DEVICE_INFO.size)
        return wire.DEVICE_INFO.struct.pack(
            wire.DEVICE_INFO.size, wire.INFO_RESET | wire.INFO_PCI, wire.NUM_REGIONS, wire.NUM_IRQS
        )

    def _region_info(self, payload: bytes, out_fds: list[int]) -> bytes:
        waits = self.peer.qemu and not self.options.posted
        return self.regions.info(payload, out_fds, mappable=self.peer.max_msg_fds > 0, waits=waits)

    def _irq_info(self, payload: bytes, fds: list[int]) -> bytes:
        fixed(self._note, "GET_IRQ_INFO", payload, wire.IRQ_INFO.size)
        _, flags, index, count = wire.IRQ_INFO.struct.unpack_from(payload)
        if index >= wire.NUM_IRQS:
            raise Refused(errno.EINVAL, "VFU-S-046", "GET_IRQ_INFO", index)
        if flags or count:
            self._note("VFU-S-045", "GET_IRQ_INFO", flags or count)
        answer = wire.IRQ_EVENTFD
        if index == wire.IRQ_INTX:
            answer |= wire.IRQ_MASKABLE | wire.IRQ_AUTOMASKED
        return wire.IRQ_INFO.struct.pack(wire.IRQ_INFO.size, answer, index, self.irqs.counts[index])

    def _set_irqs(self, payload: bytes, fds: list[int]) -> bytes:
        self.irqs.set(payload, fds)
        return b""

    # -- DMA, reset, the rest -----------------------------------------------------------------------------------------

    def _dma_map(self, payload: bytes, fds: list[int]) -> bytes:
        self.dma.map(payload, fds)
        if len(payload) > wire.DMA_MAP.size:
            self._note("VFU-S-014", "DMA_MAP", len(payload))
        for fd in fds:
            self.host.close(fd)  # the mapping stays
        fds.clear()
        return b""

    def _dma_unmap(self, payload: bytes, fds: list[int]) -> bytes:
        if len(payload) > wire.DMA_UNMAP.size:
            self._note("VFU-S-014", "DMA_UNMAP", len(payload))
        return self.dma.unmap(payload)

    def _reset(self, payload: bytes, fds: list[int]) -> bytes:
        if payload:
            self._note("VFU-S-105", "DEVICE_RESET", len(payload))
        self.device.reset()
        return b""

    def _feature(self, payload: bytes, fds: list[int]) -> bytes:
        """No device of ours has a feature: migration is not offered, dirty pages are not logged."""
        if len(payload) < wire.FEATURE.size:
            raise Refused(errno.EINVAL, "VFU-S-107", "DEVICE_FEATURE", len(payload))
        argsz, flags = wire.FEATURE.struct.unpack_from(payload)
        methods = flags & (wire.FEATURE_GET | wire.FEATURE_SET | wire.FEATURE_PROBE)
        if argsz < wire.FEATURE.size or not methods or methods == wire.FEATURE_GET | wire.FEATURE_SET:
            raise Refused(errno.EINVAL, "VFU-S-107", "DEVICE_FEATURE", flags)
        raise Refused(errno.ENOTSUP, "VFU-S-107", "DEVICE_FEATURE", flags)

    def _migration_data(self, payload: bytes, fds: list[int]) -> bytes:
        raise Refused(errno.EINVAL, "VFU-S-109", "migration data", len(payload))
