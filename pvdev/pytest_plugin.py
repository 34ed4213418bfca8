"""For your own tests: `pip install pvdev` gives pytest these fixtures.

`make_vmxnet3(**options)` builds a NIC with a `Queue` port behind it and the in-process `Port` a driver under test
uses; `vmxnet3` is one such NIC. After the test its rule violations are held against the marker
`allows("VMX-D-038", ...)`: any other violation fails the test.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pvdev.transport.inproc import LocalPort
    from vmxnet3.backend import Queue
    from vmxnet3.device import Vmxnet3


@dataclass(frozen=True)
class Nic:
    """An emulated NIC, the port its driver uses, and the network behind it."""

    device: "Vmxnet3"
    port: "LocalPort"
    network: "Queue"


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
    marker = request.node.get_closest_marker("allows")
    allowed = set(marker.args) if marker is not None else set()
    broken = [str(v) for nic in made for v in nic.device.rules if v.rule.number not in allowed]
    for nic in made:
        nic.port.close()
    assert not broken, "the driver broke rules:\n" + "\n".join(broken)


@pytest.fixture
def vmxnet3(make_vmxnet3: Callable[..., Nic]) -> Nic:
    """One NIC with the default options."""
    return make_vmxnet3()
