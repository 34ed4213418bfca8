"""For your own tests: `pip install pvdev` gives pytest these fixtures.

`make_vmxnet3(**options)` builds a NIC with a `Queue` port behind it and the in-process `Port` a driver under test
uses; `vmxnet3` is one such NIC. `make_vmtools(**options)` builds the host side of VMware Tools with the in-process
ports a guest under test uses; `vmtools` is one such host. After the test rule violations are held against the marker
`allows("VMX-D-038", ...)`: any other violation fails the test.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pvdev.rules import RuleLog
    from pvdev.transport.inproc import LocalPort
    from vmtools.driver.ports import Ports
    from vmtools.driver.rpc import Rpc, Service
    from vmtools.host import Host
    from vmtools.scenario import Scenario
    from vmxnet3.backend import Queue
    from vmxnet3.device import Vmxnet3


@dataclass(frozen=True)
class Nic:
    """An emulated NIC, the port its driver uses, and the network behind it."""

    device: "Vmxnet3"
    port: "LocalPort"
    network: "Queue"


@dataclass(frozen=True)
class Tools:
    """The host side of VMware Tools, and the ports a guest of it calls. Time stands still until somebody moves it."""

    host: "Host"
    ports: "Ports"

    def rpc(self) -> "Rpc":
        """A program that asks its host."""
        from vmtools.driver.rpc import Rpc

        return Rpc(self.ports)

    def service(self, name: str = "toolbox") -> "Service":
        """A service that polls for commands, to be given handlers."""
        from vmtools.driver.rpc import Service

        return Service(self.ports, name)

    def scenario(self, text: str) -> "Scenario":
        """Have the host play a scenario, in TOML (`vmtools.scenario`)."""
        from vmtools.scenario import parse

        made = parse(text)
        made.attach(self.host)
        return made

    def run(self, *command: str, until: Callable[[], bool] | None = None) -> int:
        """Run an unmodified program of this machine, and all it starts, as a guest of this host, in real time; its
        exit code. When `until()` it is asked to end (SIGTERM). Raises `ConfigError`: this machine cannot do that.
        """
        import os
        import signal
        import time

        from vmtools.ways.herald import Herald
        from vmtools.ways.supervisor import Supervisor

        supervisor, asked = Supervisor(self.host, time.monotonic_ns), [] if until is None else [until]

        def tick() -> None:
            with supervisor.turn:
                self.host.tick(time.monotonic_ns())
                enough = bool(asked) and asked[0]()
            if enough and (pid := supervisor.pid):
                asked.clear()
                os.kill(pid, signal.SIGTERM)

        with Herald(tick, lambda: supervisor.pid) as herald:
            code = supervisor.run(command, mask=herald.mask, started=lambda pid: herald.start())
        self.ports.now_ns = max(self.ports.now_ns, time.monotonic_ns())
        return code

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and the host do what is due meanwhile, ten times a second."""
        end = self.ports.now_ns + int(seconds * 1e9)
        while self.ports.now_ns < end:
            self.host.tick(self.ports.now_ns)
            self.ports.now_ns = min(self.ports.now_ns + 100_000_000, end)
        self.host.tick(self.ports.now_ns)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "rule(number): the device rule a test is about")
    config.addinivalue_line("markers", "allows(*numbers): rules the driver under test is known to break in this test")


@pytest.fixture
def make_vmxnet3(request: pytest.FixtureRequest) -> Iterator[Callable[..., Nic]]:
    """A factory: each call makes a NIC; options are those of `vmxnet3.device.Vmxnet3`."""
    from pvdev.transport.inproc import LocalPort
    from vmxnet3.backend import Queue
    from vmxnet3.device import Vmxnet3

    made: list[Nic] = []

    def make(**options: Any) -> Nic:
        network = Queue()
        device = Vmxnet3(network, **options)
        made.append(Nic(device, LocalPort(device), network))
        return made[-1]

    yield make
    broken = _broken(request, (nic.device.rules for nic in made))
    for nic in made:
        nic.port.close()
    assert not broken, "the driver broke rules:\n" + "\n".join(broken)


@pytest.fixture
def vmxnet3(make_vmxnet3: Callable[..., Nic]) -> Nic:
    """One NIC with the default options."""
    return make_vmxnet3()


@pytest.fixture
def make_vmtools(request: pytest.FixtureRequest) -> Iterator[Callable[..., Tools]]:
    """A factory: each call makes a host of the tools; options are those of `vmtools.host.Host`."""
    from vmtools.driver.ports import Ports
    from vmtools.host import Host

    made: list[Tools] = []

    def make(**options: Any) -> Tools:
        host = Host(**options)
        made.append(Tools(host, Ports(host)))
        return made[-1]

    yield make
    broken = _broken(request, (tools.host.rules for tools in made))
    assert not broken, "the guest broke rules:\n" + "\n".join(broken)


@pytest.fixture
def vmtools(make_vmtools: Callable[..., Tools]) -> Tools:
    """One host with the default options."""
    return make_vmtools()


def _broken(request: pytest.FixtureRequest, logs: "Iterable[RuleLog]") -> list[str]:
    """The violations the marker `allows` does not."""
    marker = request.node.get_closest_marker("allows")
    allowed = set(marker.args) if marker is not None else set()
    return [str(v) for log in logs for v in log if v.rule.number not in allowed]
