import pytest

from pvdev.errors import ConfigError
from vmxnet3.ports.port import LoopbackPort
from vmxnet3.served import defaults, make, parse_mac


class Closing(LoopbackPort):
    closed = False

    def close(self) -> None:
        self.closed = True


def test_a_mac_address() -> None:
    assert parse_mac("02:00:00:00:00:07") == parse_mac("02-00-00-00-00-07") == bytes([2, 0, 0, 0, 0, 7])


@pytest.mark.parametrize("text", ["", "02:00:00:00:00", "01:00:00:00:00:01", "zz:00:00:00:00:00"])
def test_what_is_no_station_address(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is no unicast MAC address; write it like 02:00:00:00:00:01"):
        parse_mac(text)


def test_a_nic_is_made_of_the_options_and_owns_its_port() -> None:
    port = Closing("loopback")
    device, built = make({**defaults(), "version": 3, "mac": "02:00:00:00:00:07", "link": "down"}, port)
    port.fault = "full"

    assert (device.permanent_mac, device.link_up, device.backend) == (parse_mac("02:00:00:00:00:07"), False, port)
    assert (built.device, built.faults(), list(built.watch)) == (device, "full", [])
    built.owns.close()
    assert port.closed


def test_a_port_is_closed_when_the_nic_cannot_be_made() -> None:
    port = Closing("loopback")

    with pytest.raises(ConfigError, match="no unicast MAC"):
        make({**defaults(), "mac": "nothing"}, port)
    assert port.closed
