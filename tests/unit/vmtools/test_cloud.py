"""What is left for cloud-init, read as its VMware data source does."""

import base64
import gzip
from collections.abc import Callable

import pytest

from vmtools.cloud import seed
from vmtools.driver.ports import Ports
from vmtools.driver.rpc import Rpc
from vmtools.host import Host

DECODERS: dict[bytes | None, Callable[[bytes], bytes]] = {
    None: lambda data: data,
    b"base64": base64.b64decode,
    b"gzip+base64": lambda data: gzip.decompress(base64.b64decode(data)),
}


def found(host: Host, name: str) -> bytes:
    """A key's value, decoded as KEY.encoding says."""
    rpc = Rpc(Ports(host))
    ok, data = rpc.call(f"info-get guestinfo.{name}")
    told, encoding = rpc.call(f"info-get guestinfo.{name}.encoding")
    assert ok
    return DECODERS[encoding if told else None](data)


@pytest.mark.parametrize("encoding", ["", "base64", "gzip+base64"])
def test_what_is_left_is_found(encoding: str) -> None:
    host = Host()
    seed(host.variables, metadata="instance-id: i-1\n", userdata="#cloud-config\n")
    seed(host.variables, encoding=encoding, metadata="instance-id: i-2\n", vendordata=b"#cloud-config\n# \xc3\xbc\n")

    assert found(host, "metadata") == b"instance-id: i-2\n"
    assert found(host, "userdata") == b"#cloud-config\n"
    assert found(host, "vendordata") == b"#cloud-config\n# \xc3\xbc\n"


def test_the_same_data_is_the_same_variable() -> None:
    first, second = Host(), Host()
    for host in (first, second):
        seed(host.variables, encoding="gzip+base64", userdata="#cloud-config\n")

    assert dict(first.variables.items()) == dict(second.variables.items())


def test_other_names_and_encodings() -> None:
    with pytest.raises(ValueError, match="metadata, userdata or vendordata"):
        seed(Host().variables, nonsense="x")
    with pytest.raises(ValueError, match="rot13"):
        seed(Host().variables, encoding="rot13", userdata="x")
