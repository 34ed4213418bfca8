"""Devices of ours served to a guest: what every guest test of a NIC starts from."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from guest.frames import mac
from guest.kit import Kit
from guest.ktap import GuestReport
from guest.vm import Vm, vfio_user

from pvdev.transport.vfio_user import Server
from vmxnet3.backend import Frame, NetBackend
from vmxnet3.device import Vmxnet3
from vmxnet3.kind import SERVED_PACE
from vmxnet3.ports.host import open_port
from vmxnet3.profiles import PROFILES

GUEST_MAC, HOST_MAC = "02:00:00:00:00:01", "02:00:00:00:00:fe"


class Host:
    """Devices of ours on sockets, served in a thread; `lines` is what the server said."""

    def __init__(self, folder: Path, owns: ExitStack, *, posted: bool = False) -> None:
        self._folder, self._owns = folder, owns
        self.lines: list[str] = []
        self.server = Server(on_event=self.lines.append, posted=posted)
        self.nics: list[Vmxnet3] = []

    def add(self, port: str | NetBackend, **options: object) -> Vmxnet3:
        """A NIC with `port` behind it, a port or the notation of the command line; `options` are the device's."""
        backend = self._owns.enter_context(open_port(port)) if isinstance(port, str) else port
        address = mac(f"02:00:00:00:00:{len(self.nics) + 1:02x}")
        options = {"moderation": SERVED_PACE, "profile": PROFILES["linux"], **options}
        nic = Vmxnet3(backend, mac=address, **options)  # type: ignore[arg-type]
        self.server.add(nic, self._socket(), watch=(backend,) if backend.fileno() >= 0 else ())
        self.nics.append(nic)
        return nic

    def wire(self, near: int, far: int) -> None:
        """Two NICs of these versions, connected by datagram sockets."""
        ends = [self._folder / f"wire{len(self.nics)}{end}" for end in "ab"]
        self.add(f"dgram:{ends[0]},peer={ends[1]}", version=near)
        self.add(f"dgram:{ends[1]},peer={ends[0]}", version=far)

    def _socket(self) -> Path:
        return self._folder / f"nic{len(self.nics)}"

    def boot(self, kit: Kit, test: str, **options: object) -> GuestReport:
        """Run one test script in a guest that has all NICs."""
        with self.server.background():
            return self.vm(kit, test, **options).run()

    def vm(self, kit: Kit, test: str, **options: object) -> Vm:
        """The guest `boot` would run, for a test that talks to it meanwhile; the server must be running."""
        devices = [vfio_user(self._folder / f"nic{n}") for n in range(len(self.nics))]
        return Vm(kit, [test], devices=devices, **options)  # type: ignore[arg-type]

    def broken_rules(self) -> list[str]:
        """What Linux did against the rules, but for what it is known for (vmxnet3/profiles.py)."""
        return [str(violation) for nic in self.nics for violation in nic.rules if not violation.known]


class Tap:
    """Another port with a recorder at it: every frame that passed, in order, each way."""

    def __init__(self, port: NetBackend) -> None:
        self._port, self.waits = port, port.waits
        self.deadline, self.link, self.fileno = port.deadline, port.link, port.fileno
        self.sent: list[bytes] = []
        self.received: list[bytes] = []

    def send(self, frames: Sequence[Frame]) -> int:
        taken = self._port.send(frames)
        self.sent += [b"".join(frame) for frame in frames[:taken]]
        return taken

    def receive(self, limit: int, now_ns: int) -> Sequence[bytes]:
        frames = self._port.receive(limit, now_ns)
        self.received += frames
        return frames


class Told:
    """The facts of a guest while it still runs; hand `line` to `Vm` as `on_line`."""

    def __init__(self) -> None:
        self.facts: dict[str, str] = {}

    def line(self, line: str) -> None:
        if line.startswith("PVDEV-FACT "):
            key, _, text = line.removeprefix("PVDEV-FACT ").partition(" ")
            self.facts[key] = text.strip()
