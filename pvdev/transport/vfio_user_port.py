"""A driver's `Port` on any vfio-user server: does what a VMM does around a driver, and nothing more."""

import contextlib
import mmap
import os
import select
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pvdev.arena import Arena
from pvdev.device import DmaBuffer
from pvdev.errors import ConfigError, PeerError
from pvdev.irq import Mode
from pvdev.pci import CAP_MSI, CAP_MSIX, CAP_POINTER, CMD_IO, CMD_MEMORY, COMMAND, CONFIG_REGION, INT_PIN, MSIX_ENABLE
from pvdev.rules import RuleLog
from pvdev.transport import vfio_user_wire as wire
from pvdev.transport.vfio_user_client import CAPABILITIES, CallFailed, Client
from pvdev.transport.vfio_user_wire import Command

MEMORY_WINDOW, PORT_WINDOW = 0xE000_0000, 0xC000  # where BARs are put
REGION_INFO_MAX = 1 << 16  # bytes of a region-info reply we ask for


@dataclass
class Area:
    """Mapped bytes [offset, end) of a region."""

    offset: int
    end: int
    map: mmap.mmap


@dataclass
class RegionInfo:
    size: int
    flags: int
    areas: list[Area]


class VfioUserPort:
    """The `Port` of the device behind the vfio-user server at `path`.

    `memory` bytes at `base` are lent to the device; `share=False` lends them without a descriptor, so that the device
    reaches them by messages (served whenever this port waits). `posted`: BAR writes are not waited for. BARs get
    addresses and decoding as firmware would give them. Raises `PeerError`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        memory: int = 64 << 20,
        base: int = 0x10_0000,
        share: bool = True,
        posted: bool = False,
        timeout_s: float = 5.0,
        capabilities: dict[str, object] | None = CAPABILITIES,
        twin: bool = False,
    ) -> None:
        self.share, self.posted = share, posted
        self._signalled = 0
        self._mode = Mode.INTX
        self._serviced = False  # an INTx came; the next BAR access says it is serviced
        self._bits: dict[int, int] = {}  # eventfd -> the bit it stands for
        self._messages: list[int] = []  # eventfd per vector
        self.regions: dict[int, RegionInfo] = {}
        self._epoll = select.epoll()
        self._line = self._eventfd(0)
        self.arena = Arena(memory, base)
        try:
            self.client = Client(path, timeout_s=timeout_s, capabilities=capabilities, twin=twin)
        except PeerError:
            self._release()
            raise
        try:
            self._attach(share)
        except PeerError:
            self.close()
            raise

    @property
    def rules(self) -> RuleLog:
        """What the server did wrong (VFU-C rules)."""
        return self.client.rules

    def _attach(self, share: bool) -> None:
        for fd in self.client.filenos():
            self._epoll.register(fd, select.EPOLLIN)
        block = self.arena.block
        self.client.lend(self.arena.base, block.view, fd=block.fd if share else None)
        info = self.client.call(Command.DEVICE_GET_INFO, wire.DEVICE_INFO.encode(argsz=16)).payload
        if len(info) < 16:
            raise PeerError("the server's device information is cut short")
        _, flags, num_regions, self._num_irqs = wire.DEVICE_INFO.struct.unpack_from(info)
        if not flags & wire.INFO_PCI or num_regions <= CONFIG_REGION:
            raise PeerError("the server's device is no PCI device")
        for index in range(min(num_regions, wire.NUM_REGIONS)):
            self.regions[index] = self._region(index)
        self._config = self.read_block(CONFIG_REGION, 0, self.regions[CONFIG_REGION].size)
        self._caps = self._capabilities()
        vectors = self._vectors(Mode.MSIX) if CAP_MSIX in self._caps else 1
        self._messages = [self._eventfd(vector) for vector in range(vectors)]
        self._intx(on=True)
        self._place_bars()

    # -- what the device is -------------------------------------------------------------------------------------------

    def _region(self, index: int) -> RegionInfo:
        """GET_REGION_INFO, twice when the first reply asks for more room."""
        argsz = wire.REGION_INFO.size
        for _ in range(2):
            request = wire.REGION_INFO.encode(argsz=argsz, index=index)
            reply = self.client.call(Command.DEVICE_GET_REGION_INFO, request, want_fds=True)
            payload, fds = reply.payload, reply.fds
            if len(payload) < wire.REGION_INFO.size:
                self._bad_info(index, fds, len(payload))
                raise PeerError(f"the server's information on region {index} is cut short")
            needed, flags, _, _, size, offset = wire.REGION_INFO.struct.unpack_from(payload)
            if needed <= argsz or needed > REGION_INFO_MAX:
                break
            for fd in fds:
                os.close(fd)
            argsz = needed
        region = RegionInfo(size, flags, [])
        if needed < wire.REGION_INFO.size or needed > REGION_INFO_MAX:
            self._bad_info(index, fds, needed)
        elif flags & wire.REGION_F_MMAP:
            if len(fds) != 1:
                self._bad_info(index, fds, len(fds))
            else:
                self._map_areas(index, region, payload, fds[0], offset)
        for fd in fds:
            os.close(fd)
        return region

    def _bad_info(self, index: int, fds: list[int], value: int) -> None:
        self.client.rules.note("VFU-C-008", f"region {index}", value)

    def _map_areas(self, index: int, region: RegionInfo, payload: bytes, fd: int, offset: int) -> None:
        """Map what may be mapped; a region that makes no sense is left to messages."""
        try:
            found = wire.region_areas(payload) if region.flags & wire.REGION_F_CAPS else None
        except ValueError:
            self._bad_info(index, [], len(payload))
            return
        spans = [(0, region.size)] if found is None else found
        room = os.fstat(fd).st_size
        for at, size in spans:
            if not size:
                continue
            if at % mmap.PAGESIZE or at + size > region.size or offset + at + size > room:
                self._bad_info(index, [], at)
                continue
            try:
                area = mmap.mmap(fd, size, offset=offset + at)
            except (OSError, ValueError):
                self._bad_info(index, [], at)
                continue
            region.areas.append(Area(at, at + size, area))

    def _capabilities(self) -> dict[int, int]:
        """Capability id -> its place in config space."""
        caps: dict[int, int] = {}
        at = self._config[CAP_POINTER] & 0xFC
        while at >= 0x40 and at not in caps.values() and len(caps) < 48:
            caps.setdefault(self._config[at], at)
            at = self._config[at + 1] & 0xFC
        return caps

    def _vectors(self, mode: Mode) -> int:
        if mode >= self._num_irqs:
            return 0
        reply = self.client.call(Command.DEVICE_GET_IRQ_INFO, wire.IRQ_INFO.encode(argsz=16, index=mode))
        if len(reply.payload) < 16:
            raise PeerError("the server's interrupt information is cut short")
        return min(int(wire.IRQ_INFO.struct.unpack_from(reply.payload)[3]), 2048)

    def _place_bars(self) -> None:
        """Addresses for the BARs, largest first, and decoding on: what firmware does before a driver comes."""
        memory, ports = MEMORY_WINDOW, PORT_WINDOW
        for index in sorted(range(6), key=lambda i: -self.regions[i].size):
            size = self.regions[index].size
            if not size:
                continue
            at = 0x10 + 4 * index
            kind = int.from_bytes(self._config[at : at + 4], "little")
            if kind & 1:
                address, ports = ports, ports + size
            else:
                address, memory = memory, memory + max(size, 4096)
            self._access(CONFIG_REGION, at, address.to_bytes(4, "little"))
            if kind & 7 == 4 and index < 5:
                self._access(CONFIG_REGION, at + 4, bytes(4))
        self._access(CONFIG_REGION, COMMAND, (CMD_IO | CMD_MEMORY).to_bytes(2, "little"))

    # -- accesses -----------------------------------------------------------------------------------------------------

    def read(self, region: int, offset: int, size: int = 4) -> int:
        area = self._area(region, offset, size)
        if area is not None:
            at = offset - area.offset
            return int.from_bytes(area.map[at : at + size], "little")
        reply = self.client.call(Command.REGION_READ, wire.REGION_ACCESS.struct.pack(offset, region, size)).payload
        if len(reply) != 16 + size:
            raise PeerError(f"a read of {size} bytes was answered with {len(reply) - 16}")
        if self._serviced and region < CONFIG_REGION:
            self._unmask()
        return int.from_bytes(reply[16:], "little")

    def write(self, region: int, offset: int, value: int, size: int = 4) -> None:
        area = self._area(region, offset, size)
        if area is not None:
            at = offset - area.offset
            area.map[at : at + size] = value.to_bytes(size, "little")
            return
        self._access(region, offset, value.to_bytes(size, "little"))
        if region == CONFIG_REGION:
            self._follow(offset, size)
        elif self._serviced:
            self._unmask()

    def read_block(self, region: int, offset: int, size: int) -> bytes:
        """Many bytes by messages, in pieces the server takes."""
        out = bytearray()
        step = max(1, min(self.client.max_data_xfer_size, wire.XFER_MAX))
        while len(out) < size:
            count = min(step, size - len(out))
            request = wire.REGION_ACCESS.struct.pack(offset + len(out), region, count)
            data = self.client.call(Command.REGION_READ, request).payload[16:]
            if len(data) != count:
                raise PeerError(f"a read of {count} bytes was answered with {len(data)}")
            out += data
        return bytes(out)

    def write_block(self, region: int, offset: int, data: bytes) -> None:
        """Many bytes by messages, in pieces the server takes."""
        step = max(1, min(self.client.max_data_xfer_size, wire.XFER_MAX))
        for at in range(0, len(data), step):
            self._access(region, offset + at, data[at : at + step])

    def _access(self, region: int, offset: int, data: bytes) -> None:
        payload = wire.REGION_ACCESS.struct.pack(offset, region, len(data)) + data
        if self.posted and region < CONFIG_REGION:
            self.client.post(Command.REGION_WRITE, payload)
        else:
            self.client.call(Command.REGION_WRITE, payload)

    def _area(self, region: int, offset: int, size: int) -> Area | None:
        for area in self.regions[region].areas:
            if area.offset <= offset and offset + size <= area.end:
                return area
        return None

    # -- memory -------------------------------------------------------------------------------------------------------

    def alloc(self, size: int, align: int = 4096) -> DmaBuffer:
        return self.arena.alloc(size, align)

    def free(self, buffer: DmaBuffer) -> None:
        self.arena.free(buffer)

    # -- interrupts ---------------------------------------------------------------------------------------------------

    def _eventfd(self, vector: int) -> int:
        fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._bits[fd] = 1 << vector
        self._epoll.register(fd, select.EPOLLIN)
        return fd

    def _set_irqs(self, index: int, flags: int, start: int, count: int, fds: Sequence[int] = ()) -> None:
        request = wire.SET_IRQS.struct.pack(wire.SET_IRQS.size, flags, index, start, count)
        self.client.call(Command.DEVICE_SET_IRQS, request, fds)

    def _assign(self, index: int, fds: Sequence[int]) -> None:
        """Descriptors for vectors 0…, as many in a message as the server takes."""
        step = max(1, self.client.max_msg_fds)
        for start in range(0, len(fds), step):
            part = fds[start : start + step]
            self._set_irqs(index, wire.SET_EVENTFD | wire.SET_TRIGGER, start, len(part), part)

    def _disable(self, index: int) -> None:
        self._set_irqs(index, wire.SET_NONE | wire.SET_TRIGGER, 0, 0)

    def _intx(self, *, on: bool) -> None:
        if on and self._config[INT_PIN]:
            self._assign(wire.IRQ_INTX, [self._line])
        elif not on:
            self._disable(wire.IRQ_INTX)

    def _unmask(self) -> None:
        """A BAR access after an INTx: the driver has seen to it; the device says it again if it has not."""
        self._serviced = False
        self._set_irqs(wire.IRQ_INTX, wire.SET_NONE | wire.SET_UNMASK, 0, 1)

    def _follow(self, offset: int, size: int) -> None:
        """The driver wrote config space: switch interrupts as it asked."""
        controls = [self._caps[cap] + 2 for cap in (CAP_MSI, CAP_MSIX) if cap in self._caps]
        if not any(offset < at + 2 and at < offset + size for at in controls):
            return
        mode = Mode.INTX
        if CAP_MSIX in self._caps and self.read(CONFIG_REGION, self._caps[CAP_MSIX] + 2, 2) & MSIX_ENABLE:
            mode = Mode.MSIX
        elif CAP_MSI in self._caps and (control := self.read(CONFIG_REGION, self._caps[CAP_MSI] + 2, 2)) & 1:
            mode = Mode.MSI
        if mode is self._mode:
            return
        self._leave()
        if mode is Mode.INTX:
            self.read(CONFIG_REGION, INT_PIN, 1)
            self._intx(on=True)
        elif mode is Mode.MSIX:
            self._set_irqs(wire.IRQ_MSIX, wire.SET_EVENTFD | wire.SET_TRIGGER, 0, 1)
            self._assign(wire.IRQ_MSIX, self._messages)
        else:
            count = min(1 << (control >> 4 & 7), len(self._messages))
            self._assign(wire.IRQ_MSI, self._messages[:count])
        self._mode = mode

    def _leave(self) -> None:
        """Switch the present mode off, and what is still on its way in it."""
        self._disable(int(self._mode))
        self._gather()
        self._signalled, self._serviced = 0, False

    def interrupts(self) -> int:
        self._gather()
        fired, self._signalled = self._signalled, 0
        return fired

    def _gather(self) -> None:
        """Take in what has come: interrupts, and the server's messages. Never waits."""
        for fd, _ in self._epoll.poll(0):
            bit = self._bits.get(fd)
            if bit is None:
                self.client.pump()
                continue
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(fd)
                self._signalled |= bit
                self._serviced |= fd == self._line

    def until(self, done: Callable[[], bool], timeout_s: float = 5.0) -> bool:
        """`timeout_s` is real time. `done` may look at shared memory, which tells nobody: it is asked again at least
        every millisecond."""
        end = time.monotonic() + timeout_s
        pause = 20e-6
        while True:
            self._gather()
            if done():
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            if self._epoll.fileno() < 1024:
                select.select((self._epoll,), (), (), min(left, pause))
            else:  # select knows 1024 descriptors
                self._epoll.poll(0.001)
            pause = min(2 * pause, 1e-3)

    # -- the end ------------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """DEVICE_RESET as a VMM does it: interrupts off, reset, INTx and BARs again."""
        self._leave()
        self.client.call(Command.DEVICE_RESET)
        self._mode = Mode.INTX
        self._intx(on=True)
        self._place_bars()

    def close(self) -> None:
        """Hang up. Raises nothing: the server may be gone."""
        with contextlib.suppress(PeerError, CallFailed):
            self.client.pump()
        self.client.close()
        for region in self.regions.values():
            for area in region.areas:
                area.map.close()
        self.regions.clear()
        self._release()

    def _release(self) -> None:
        self._epoll.close()
        for fd in self._bits:
            os.close(fd)
        self._bits.clear()
        self.arena.close()


@contextmanager
def fresh_port(path: str | os.PathLike[str], memory: int) -> Iterator[VfioUserPort]:
    """The port of the device served at `path`, just reset, with `memory` bytes to lend.

    Raises `ConfigError`: no such device.
    """
    try:
        port = VfioUserPort(path, memory=memory)
    except (PeerError, OSError) as error:
        raise ConfigError(f"no vfio-user device at {os.fspath(path)}: {error}") from None
    try:
        port.reset()
        yield port
    finally:
        port.close()
