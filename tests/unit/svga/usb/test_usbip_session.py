"""USB/IP, message by message, as a Linux client sends them and as none should."""

import pytest

from svga.usb import usbip_wire as wire
from svga.usb.personas import PERSONAS
from svga.usb.usbip_session import WAITING_MOST
from svga.usb.usbip_wire import IN, OUT, Command, Status
from tests.unit.svga.usb.rig import (
    LISTED,
    REQ_DEVLIST,
    Client,
    Reply,
    bus_of,
    control,
    replies,
    req_import,
    submit,
    unlink,
)

SUBMITTED, UNLINKED = Command.RET_SUBMIT, Command.RET_UNLINK


@pytest.fixture
def client() -> Client:
    """The host of a mouse that is configured."""
    found = Client(bus_of("mouse", "tablet"))
    assert found.send(control(1, 0, 9, 1)) == [Reply(SUBMITTED, 1, 0)]
    return found


# -- listing and importing ---------------------------------------------------------------------------------------------


def test_a_list_byte_by_byte() -> None:
    client = Client(bus_of("mouse", "tablet"), None)
    client.session.feed(REQ_DEVLIST)
    said = client.take()

    assert said[:12].hex(" ") == "01 11 00 05 00 00 00 00 00 00 00 02"
    assert len(said) == 12 + 2 * LISTED
    first = wire.DEVICE.decode(said, 12)
    assert first["busid"] == b"1-1".ljust(32, b"\0")
    assert said[12 + 288 : 12 + 316].hex(" ") == (
        "00 00 00 01 00 00 00 02 00 00 00 02 0e 0f 00 03 01 03 00 00 00 00 01 01 03 01 02 00"
    )


def test_what_is_held_is_not_listed(client: Client) -> None:
    other = Client(client.session.bus, None)
    other.session.feed(REQ_DEVLIST)

    assert int.from_bytes(other.take()[8:12], "big") == 1


def test_importing_says_what_it_is() -> None:
    client = Client(bus_of("tablet"), None)
    client.session.feed(req_import("1-1"))
    said = client.take()

    assert len(said) == 8 + wire.DEVICE.size
    assert (said[:8].hex(), wire.DEVICE.decode(said, 8)["idVendor"]) == ("0111000300000000", 0x0627)


@pytest.mark.parametrize(("busid", "status"), [("1-1", Status.DEV_BUSY), ("1-9", Status.NODEV), ("", Status.NODEV)])
def test_what_cannot_be_imported(client: Client, busid: str, status: Status) -> None:
    other = Client(client.session.bus, None)
    other.session.feed(req_import(busid))

    assert other.take() == bytes.fromhex("0111 0003") + status.to_bytes(4, "big")
    assert other.session.ended
    assert other.broken() == []


def test_bytes_one_by_one() -> None:
    bus = bus_of("mouse")
    client = Client(bus, None)
    sent = req_import("1-1") + control(1, 0, 9, 1) + control(2, 0x80, 6, 0x100, 0, 18) + submit(3, IN, 1, 8)
    for n in range(len(sent)):
        client.session.feed(sent[n : n + 1])
    bus.plugs[0].move(1, 2)
    client.session.poll()

    assert replies(client.take()[8 + wire.DEVICE.size :]) == [
        Reply(SUBMITTED, 1, 0),
        Reply(SUBMITTED, 2, 0, PERSONAS["mouse"].device),
        Reply(SUBMITTED, 3, 0, b"\0\x01\x02\0"),
    ]


def test_who_goes_leaves_it_free_and_as_new(client: Client) -> None:
    bus = client.session.bus
    bus.plugs[0].move(1, 1, 1)
    client.session.close()
    other = Client(bus)

    assert bus.plugs[0].model.configuration == 0
    assert other.send(control(1, 0, 9, 1) + submit(2, IN, 1, 8)) == [Reply(SUBMITTED, 1, 0)]


def test_what_is_pulled_lets_its_client_go(client: Client) -> None:
    client.session.bus.unplug(client.session.bus.plugs[0])
    client.session.poll()

    assert client.session.ended == "1-1 was unplugged"


# -- requests ----------------------------------------------------------------------------------------------------------


def test_control_requests(client: Client) -> None:
    persona = PERSONAS["mouse"]

    assert client.send(control(5, 0x80, 6, 0x200, 0, 9)) == [Reply(SUBMITTED, 5, 0, persona.configuration[:9])]
    assert client.send(control(6, 0x80, 6, 0x600, 0, 10)) == [Reply(SUBMITTED, 6, -wire.EPIPE)]
    assert client.send(control(7, 0x21, 9, 0x100, 0, b"abcd"), reads=False) == [Reply(SUBMITTED, 7, 0, actual=4)]
    assert client.send(control(8, 0x81, 6, 0x2200, 0, 255)) == [Reply(SUBMITTED, 8, 0, persona.report)]


def test_reads_wait_for_hands_in_order(client: Client) -> None:
    mouse = client.session.bus.plugs[0]
    assert client.send(submit(10, IN, 1, 4) + submit(11, IN, 1, 4)) == []
    mouse.move(1, 0)
    mouse.move(0, 0, 2)

    assert client.look() == [Reply(SUBMITTED, 10, 0, b"\0\x01\0\0"), Reply(SUBMITTED, 11, 0, b"\x02\0\0\0")]


def test_a_read_taken_back(client: Client) -> None:
    client.send(submit(10, IN, 1, 4) + submit(11, IN, 1, 4))

    assert client.send(unlink(12, 10)) == [Reply(UNLINKED, 12, -wire.ECONNRESET)]
    client.session.bus.plugs[0].move(1, 0)
    assert client.look() == [Reply(SUBMITTED, 11, 0, b"\0\x01\0\0")]
    assert client.send(unlink(13, 11) + unlink(14, 10) + unlink(15, 999)) == [
        Reply(UNLINKED, n, 0) for n in (13, 14, 15)
    ]


def test_a_read_too_short_for_the_report(client: Client) -> None:
    client.session.bus.plugs[0].move(1, 0)

    assert client.send(submit(10, IN, 1, 2)) == [Reply(SUBMITTED, 10, -wire.EOVERFLOW, b"\0\x01")]


def test_a_halted_endpoint_stalls(client: Client) -> None:
    client.send(control(10, 2, 3, 0, 0x81))

    assert client.send(submit(11, IN, 1, 4)) == [Reply(SUBMITTED, 11, -wire.EPIPE)]


@pytest.mark.parametrize(("direction", "ep"), [(OUT, 1), (IN, 2), (IN, 15)])
def test_endpoints_there_are_not(client: Client, direction: int, ep: int) -> None:
    assert client.send(submit(10, direction, ep, 0)) == [Reply(SUBMITTED, 10, -wire.EPIPE)]


def test_no_more_than_so_many_reads_wait(client: Client) -> None:
    said = client.send(b"".join(submit(100 + n, IN, 1, 4) for n in range(WAITING_MOST + 2)) + submit(100, IN, 1, 4))

    assert said == [Reply(SUBMITTED, 100 + n, -wire.ENOMEM) for n in (WAITING_MOST, WAITING_MOST + 1, 0)]


def test_SVG_D_068_SET_REPORT_of_64_KiB_over_the_network(client: Client) -> None:
    said = client.send(control(9, 0x21, 9, 0x100, 0, bytes(0xFFFF)))

    assert said == [Reply(SUBMITTED, 9, -wire.EPIPE)]
    assert [violation.rule.number for violation in client.session.bus.plugs[0].model.rules] == ["SVG-D-068"]


# -- what is not USB/IP ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (bytes(8), "version"),
        (req_import("1-1", 0x0100), "version"),
        (bytes.fromhex("0111 8002 00000000"), "operation"),
        (b"GET / HTTP/1.1\r\n\r\n", "version"),
    ],
)
def test_SVG_D_069_before_anything_is_imported(data: bytes, place: str) -> None:
    client = Client(bus_of("mouse"), None)
    client.session.feed(data)

    assert client.session.ended
    assert client.take() == b""
    assert client.broken() == [f"SVG-D-069 {place}"]


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (submit(1, IN, 1, 4, devid=0x10003), "devid"),
        (submit(1, IN, 1, 4, command=3), "command"),
        (submit(1, 2, 1, 4), "direction"),
        (submit(1, IN, 16, 4), "ep"),
        (submit(1, IN, 1, -1), "transfer_buffer_length"),
        (submit(1, OUT, 0, -(1 << 31)), "transfer_buffer_length"),
        (submit(1, OUT, 0, (1 << 16) + 1), "transfer_buffer_length"),
        (submit(1, OUT, 0, (1 << 31) - 1), "transfer_buffer_length"),
        (submit(1, IN, 1, 4, number_of_packets=1), "number_of_packets"),
        (submit(1, IN, 1, 4, number_of_packets=0xFFFF_FFFE), "number_of_packets"),
    ],
)
def test_SVG_D_069_messages_that_cannot_be(client: Client, data: bytes, place: str) -> None:
    assert client.send(data + submit(2, IN, 1, 4)) == []

    assert client.session.ended
    assert client.broken() == [f"SVG-D-069 {place}"]
