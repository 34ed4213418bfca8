"""A guest's programs and their host, from the first call to the last."""

import pytest

from vmtools.driver.ports import Ports
from vmtools.driver.rpc import Rpc, Service
from vmtools.host import OPTIONS, Host
from vmtools.wire import BDOOR_MAGIC, Cmd


@pytest.fixture(params=[True, False], ids=["at once", "word by word"])
def host(request: pytest.FixtureRequest) -> Host:
    return Host(high_bandwidth=request.param)


def test_a_program_finds_its_host(host: Host) -> None:
    frame = Ports(host).low(Cmd.GETVERSION)

    assert (frame.rax, frame.rbx) == (6, BDOOR_MAGIC)


def test_a_variable_there_and_back(host: Host) -> None:
    rpc = Rpc(Ports(host))
    host.variables["hostname"] = "web-1"

    assert rpc.call("info-get guestinfo.hostname") == (True, b"web-1")
    assert rpc.call("info-set guestinfo.state up and running\0") == (True, b"")
    assert rpc.call("info-get guestinfo.state\0") == (True, b"up and running")
    assert host.variables["state"] == b"up and running"
    assert rpc.call("info-get guestinfo.none") == (False, b"No value found")
    assert not host.rules, [str(v) for v in host.rules]


def test_a_service_comes_and_is_told(host: Host) -> None:
    service = Service(Ports(host))

    service.settle()

    assert service.seen[:2] == [b"reset", b"Capabilities_Register"]
    assert [word for word in service.seen if word.startswith(b"Set_Option")] == [
        f"Set_Option {name} {value}".encode() for name, value in OPTIONS.items()
    ]
    assert service.seen[-1] == b"OS_PowerOn"
    assert host.capabilities["hgfs_server"] == "toolbox 1"
    assert host.tools_version == "12448 4"
    assert "toolbox" in host.hub.names
    assert not host.rules, [str(v) for v in host.rules]


def test_an_option_is_told_at_once_and_again_to_the_next(host: Host) -> None:
    ports = Ports(host)
    service = Service(ports)
    service.settle()
    host.set_option("synctime", "1", ports.now_ns)
    service.settle()
    assert service.seen[-1] == b"Set_Option synctime 1"

    service.close()
    again = Service(ports)
    again.settle()

    assert b"Set_Option synctime 1" in again.seen
    assert b"OS_PowerOn" not in again.seen
