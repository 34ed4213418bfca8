from pathlib import Path

import pytest

from pvdev.errors import ConfigError
from vmxnet3.ports.host import KINDS, open_port
from vmxnet3.ports.pcap import PcapPort
from vmxnet3.ports.port import LOOP_ROOM, LoopbackPort, NullPort, Port
from vmxnet3.ports.switch import SwitchPort
from vmxnet3.ports.tunnel import DgramPort, StreamPort

LAN = Path(__file__).parents[3] / "data" / "lan.pcapng"


# Without an OS object -------------------------------------------------------------------------------------------


def test_null_takes_everything_and_gives_nothing() -> None:
    with open_port("null") as port:
        assert isinstance(port, NullPort)
        assert port.send([[b"ab", memoryview(b"c")], [b"d"]]) == 2
        assert (port.frames_out, port.bytes_out, port.dropped) == (2, 4, 0)
        assert (port.receive(9, 0), port.deadline(), port.fileno()) == ((), None, -1)


def test_loopback_gives_back_what_was_sent() -> None:
    with open_port("loopback") as port:
        assert port.send([[b"ab", memoryview(b"c")], [b"d"]]) == 2
        assert port.deadline() == 0
        assert (port.receive(1, 0), port.receive(9, 0), port.receive(9, 0)) == ([b"abc"], [b"d"], [])
        assert (port.frames_out, port.bytes_out, port.frames_in, port.bytes_in) == (2, 4, 2, 4)
        assert port.deadline() is None


def test_loopback_drops_beyond_its_room_and_forgets_at_link_up() -> None:
    port = LoopbackPort("loopback")
    frames = [[b"x"]] * (LOOP_ROOM + 2)

    assert port.send(frames) == len(frames)
    assert (port.frames_out, port.dropped) == (LOOP_ROOM, 2)
    port.link(up=True)
    assert (port.stale, port.receive(1, 0)) == (LOOP_ROOM, [])


# The language ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "tpa:x",
            "network port 'tpa:x': no kind 'tpa'; known: dgram, loopback, null, packet, pcap, stream, switch, tap",
        ),
        ("tap:x,brige=y", "tap: no option 'brige'; allowed: address, bridge, mtu, up"),
        ("tap:x,mtu=1", "tap: mtu=1: give a number from 68 to 65521"),
        ("tap:a-name-too-long1", "tap a-name-too-long1: the name is too long; give at most 15 bytes"),
        ("dgram:x", "dgram x: no peer; give peer=PATH, where the other side receives"),
        ("dgram:x,peer=x", "dgram x: peer=x is the port's own path; give the other side's"),
        ("stream:", "stream: no path; write stream:PATH"),
    ],
)
def test_a_port_that_cannot_be_is_told_in_one_line(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_port(text)

    assert str(caught.value) == says


def test_every_kind_opens_its_port(tmp_path: Path) -> None:
    a, b, c, d = (str(tmp_path / name) for name in "abcd")
    kinds: dict[str, type[Port]] = {
        "null": NullPort,
        "loopback:": LoopbackPort,
        f"pcap:{LAN},pace=x2,loop=yes": PcapPort,
        f"dgram:{a},peer={b}": DgramPort,
        f"stream:{c},listen=yes": StreamPort,
        f"switch:{d}": SwitchPort,
    }

    assert {text.split(":")[0] for text in kinds} == KINDS.keys() - {"packet", "tap"}
    for text, kind in kinds.items():
        with open_port(text) as port:
            assert type(port) is kind
