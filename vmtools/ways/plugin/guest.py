"""A host joined to a QEMU guest: its memory, its plugin, the words of its command line, and the loop that serves all.

Ref: QEMU documentation, "invocation" (-plugin, -smbios); Linux arch/x86/kernel/cpu/vmware.c.
"""

import threading
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from pvdev.control import Loop
from pvdev.device import Device
from pvdev.pci import CMD_IO, COMMAND, Bar
from pvdev.qemu import Qemu
from vmtools.host import Host
from vmtools.ways.plugin.acpi import ssdt
from vmtools.ways.plugin.build import plugin_for
from vmtools.ways.plugin.carrier import Carrier, Claim, Hello
from vmtools.ways.plugin.ram import Ram

BUS_KHZ = 1_000_000  # QEMU's local APICs count nanoseconds
TICK_S = 0.02
_BAR0 = 0x10  # in configuration space


class GuestLink:
    """Everything between `host` and one guest that `qemu` will run. `close` it when QEMU has ended.

    Built before `loop` runs. All is done in the loop's thread, with `turn` held: whoever else uses the host takes it
    too. `ram` is the guest's memory, the host's `mem` among it. Raises `ConfigError`.
    """

    def __init__(
        self,
        qemu: Qemu,
        loop: Loop,
        folder: Path,
        host: Host,
        ram: Ram,
        now_ns: Callable[[], int],
        *,
        name: str = "plugin",
    ) -> None:
        self._plugin = plugin_for(qemu)
        self.host, self.ram = host, ram
        self.hello: Hello | None = None
        self.turn = threading.RLock()
        self._loop, self._now_ns, self._open = loop, now_ns, True
        self._socket, self._table = folder / f"{name}.sock", folder / f"{name}.aml"
        self._table.write_bytes(ssdt())
        self.carrier = Carrier(
            loop,
            str(self._socket),
            host,
            ram.memory,
            now_ns,
            turn=self.turn,
            on_hello=self._hello,
            on_missing=self._by_words,
        )
        host.machine.memory = ram.size
        host.machine.uuid = host.machine.uuid if any(host.machine.uuid) else uuid.uuid4().bytes
        host.balloon_device.release = ram.release
        self._tick()

    def args(self) -> list[str]:
        """QEMU's words: the plugin, and what firmware says of the machine. It runs on TCG only."""
        number = self.host.machine.uuid
        serial = "VMware-" + " ".join(f"{byte:02x}" for byte in number[:8]) + "-" + number[8:].hex(" ")
        smbios = f"type=1,manufacturer=VMware,, Inc.,product=VMware Virtual Platform,version=None,serial={serial}"
        carrier = self.carrier
        plugin = f"{self._plugin},socket={self._socket},claims={carrier.claims_path},bus-khz={BUS_KHZ}"
        firmware = ["-smbios", f"{smbios},uuid={uuid.UUID(bytes=number)}", "-acpitable", f"file={self._table}"]
        return ["-plugin", plugin, *firmware]

    def carry(self, devices: Sequence[tuple[Device, Callable[[], None]]]) -> None:
        """Have the plugin carry the dword accesses to these devices' I/O ports, wherever the guest puts them.

        With each device comes what tells its transport that it was touched.
        """
        self._devices = [(device, touched) for device, touched in devices if _io_bars(device)]
        for device, _ in self._devices:
            device.pci.on_command = self._followed(device.pci.on_command)

    def close(self) -> None:
        self._open = False
        self.carrier.close()

    # -- inside -----------------------------------------------------------------------------------------------------

    def _hello(self, hello: Hello) -> None:
        self.hello = hello
        self.host.machine.tsc_hz, self.host.machine.bus_hz = hello.tsc_khz * 1000, hello.bus_khz * 1000
        self.host.reset(self._now_ns())

    def _by_words(self) -> None:
        self.host.channels.high_bandwidth = False

    def _tick(self) -> None:
        if self._open:
            with self.turn:
                self.host.tick(self._now_ns())
            self._loop.later(TICK_S, self._tick)

    def _followed(self, before: Callable[[int], None] | None) -> Callable[[int], None]:
        """Hears a command register; a guest moves ports only while they are off."""

        def follow(command: int) -> None:
            if before is not None:
                before(command)
            claims = [claim for device, touched in self._devices for claim in _claims(device, touched)]
            self.carrier.claim(*claims)

        return follow


def _io_bars(device: Device) -> dict[int, Bar]:
    return {number: bar for number, bar in device.pci.bars.items() if bar.io}


def _claims(device: Device, touched: Callable[[], None]) -> list[Claim]:
    """The ports of a device as the guest has placed them; none while they are off."""
    config, found = device.pci.config, []
    if not config.word(COMMAND) & CMD_IO:
        return []
    for number, bar in _io_bars(device).items():
        first = config.word(_BAR0 + 4 * number) & ~3
        if first:
            found.append(_claim(first, bar, touched))
    return found


def _claim(first: int, bar: Bar, touched: Callable[[], None]) -> Claim:
    def read(port: int) -> int:
        value = bar.handler.read(port - first, 4)
        touched()
        return value

    def write(port: int, value: int) -> None:
        bar.handler.write(port - first, 4, value)
        touched()

    return Claim(first, bar.size, read, write)
