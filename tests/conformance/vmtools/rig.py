"""A host and a guest on it: a program, a service and a kernel's balloon, each by the reference guest."""

from collections.abc import Callable
from mmap import mmap
from typing import Any

from pvdev.mem import GuestMemory
from pvdev.trace import Recorder
from vmtools.backdoor import Machine
from vmtools.driver.balloon import BalloonDriver
from vmtools.driver.ports import Ports
from vmtools.driver.rpc import Rpc, Service
from vmtools.host import Host
from vmtools.wire import PAGE

SECOND = 1_000_000_000
MEMORY = 64 << 20


class Rig:
    """`options`: of `Host`. `ports`: a program's side; `kernel`: the kernel's, with the same clock."""

    def __init__(self, **options: Any) -> None:
        machine = options.pop("machine", Machine(memory=MEMORY))
        self.mem = GuestMemory()
        self.memory = memoryview(mmap(-1, MEMORY))  # costs nothing until it is used
        self.mem.map(0, self.memory)
        self.host = Host(machine=machine, mem=self.mem, **options)
        self.trace = self.host.trace = Recorder()
        self.ports = Ports(self.host)
        self.kernel = Ports(self.host, cpl=0, caller=2)

    def rpc(self) -> Rpc:
        return Rpc(self.ports)

    def service(self, name: str = "toolbox") -> Service:
        """A service that has registered, and carries out power operations."""
        service = Service(self.ports, name)
        self.scripts(service)
        service.settle()
        return service

    def scripts(self, service: Service, ok: bool = True) -> None:
        """Power operations run a script, which ends with `ok`."""

        def script(number: int) -> Callable[[bytes], bytes]:
            def run(rest: bytes) -> bytes:
                service.rpc.call(f"tools.os.statechange.status {int(ok)} {number}\0")
                return b"OK "

            return run

        words = (b"OS_Halt", b"OS_Reboot", b"OS_PowerOn", b"OS_Resume", b"OS_Suspend")
        service.on.update({word: script(number) for number, word in enumerate(words, 1)})

    def balloon(self, wanted: int = 0x2E) -> BalloonDriver:
        self.kernel.now_ns = self.ports.now_ns
        return BalloonDriver(self.kernel, self.mem, MEMORY // PAGE, wanted=wanted)

    def pass_time(self, ns: int) -> None:
        """Nobody calls for so long; the root looks after deadlines when they are due."""
        end = self.ports.now_ns + ns
        for _ in range(10_000):
            due = self.host.tick(self.ports.now_ns)
            if due is None or due > end:
                break
            self.ports.now_ns = max(due, self.ports.now_ns)
        else:
            raise AssertionError("a deadline that does not pass")
        self.ports.now_ns = end
        self.host.tick(end)

    def assert_clean(self) -> None:
        """The guest broke no rule."""
        assert not self.host.rules, [str(v) for v in self.host.rules]

    def assert_alive(self) -> None:
        """Whatever happened, a new program is served."""
        self.ports.now_ns += 1
        rpc = self.rpc()
        assert rpc.call("info-set guestinfo.alive yes") == (True, b"")
        assert rpc.call("info-get guestinfo.alive") == (True, b"yes")
        rpc.channel.close()
