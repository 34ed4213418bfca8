"""Guest rules VMT-D-001 to 042: each is broken once, told of once, and the host goes on."""

from collections.abc import Iterator

import pytest

from pvdev.faults import Fault, FaultPlan
from tests.conformance.vmtools.rig import MEMORY, SECOND, Rig
from tests.conformance.vmtools.snapshots import QuiescedGuest
from vmtools.driver.ports import Ports
from vmtools.driver.rpc import Channel, ChannelError, Service, status
from vmtools.wire import FLAG_COOKIE, MASK32, PAGE, PROTO_RPCI, PROTO_TCLO, SUCCESS, Cmd, Message
from vmtools.wire import Balloon as Ask


@pytest.fixture
def slow() -> Rig:
    return Rig(high_bandwidth=False)


@pytest.fixture(autouse=True)
def alive(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each of them the host serves a new program."""
    rigs: list[Rig] = [request.getfixturevalue(name) for name in ("rig", "slow") if name in request.fixturenames]
    yield
    for rig in rigs:
        rig.assert_alive()


def broken(rig: Rig) -> list[tuple[str, int, int]]:
    """(rule, last value, count) of each violation."""
    return [(v.rule.number, v.last, v.count) for v in rig.host.rules]


# -- the port ----------------------------------------------------------------------------------------------------------


def test_VMT_D_001_the_port_s_magic(rig: Rig) -> None:
    channel = Channel(rig.ports, PROTO_RPCI)
    channel.call(Message.SENDSIZE, 4)
    low = rig.ports.frame(rax=1, rcx=Cmd.GETVERSION)
    high = rig.ports.frame(rax=2, rbx=0x0001_0000, rdx=channel.id << 16, rdi=channel.low, rbp=channel.high)
    high.rcx = 4
    balloon = rig.kernel.frame(rax=3)

    rig.host.low(low, 0)
    rig.host.high_out(high, b"abcd", 0)
    rig.host.balloon(balloon, 0)

    assert broken(rig) == [("VMT-D-001", 1, 1), ("VMT-D-001", 2, 1), ("VMT-D-001", 3, 1)]


@pytest.mark.parametrize("command", [0, 21, 105, 0x10A])
def test_VMT_D_004_commands_there_are(rig: Rig, command: int) -> None:
    rig.ports.low(command)

    assert broken(rig) == [("VMT-D-004", command, 1)]


@pytest.mark.parametrize("command", [3, 16, 104])
def test_VMT_D_004_one_that_is_not_answered_is_no_mistake(rig: Rig, command: int) -> None:
    rig.ports.low(command)

    rig.assert_clean()
    assert rig.host.backdoor.unknown == {command: 1}


def test_VMT_D_005_what_is_the_kernel_s(rig: Rig) -> None:
    rig.ports.low(Cmd.STEALCLOCK, edi=1)
    rig.kernel.low(Cmd.STEALCLOCK, edi=1)
    rig.ports.balloon(Ask.START, 2)

    assert [(number, count) for number, _, count in broken(rig)] == [("VMT-D-005", 1), ("VMT-D-005", 1)]


# -- messages ----------------------------------------------------------------------------------------------------------


def test_VMT_D_006_message_types(rig: Rig) -> None:
    frame = rig.ports.low(Cmd.MESSAGE, sub=7)

    assert status(frame) == 0
    assert broken(rig) == [("VMT-D-006", 7, 1)]


def test_VMT_D_007_protocols(rig: Rig) -> None:
    rig.ports.low(Cmd.MESSAGE, 0x1234 | FLAG_COOKIE, sub=Message.OPEN)

    assert broken(rig) == [("VMT-D-007", 0x1234 | FLAG_COOKIE, 1)]


def test_VMT_D_008_a_cookie_is_tried_first(rig: Rig) -> None:
    Channel(rig.ports, PROTO_RPCI, cookie=False)

    assert broken(rig) == [("VMT-D-008", PROTO_RPCI, 1)]


def test_VMT_D_008_without_one_after_a_refusal() -> None:
    rig = Rig(channels=1)
    Channel(rig.ports, PROTO_RPCI)
    for cookie in (True, False):
        with pytest.raises(ChannelError):
            Channel(rig.ports, PROTO_RPCI, cookie=cookie)

    rig.assert_clean()


def test_VMT_D_009_id_and_cookie(rig: Rig) -> None:
    channel = Channel(rig.ports, PROTO_RPCI)
    channel.low ^= 1
    channel.call(Message.RECVSIZE)
    rig.ports.inward(1, channel.id, channel.high, channel.low)

    assert broken(rig) == [("VMT-D-009", channel.id, 1), ("VMT-D-009", channel.id, 1)]


def test_VMT_D_010_a_message_at_a_time(slow: Rig) -> None:
    """Both fail, and then the channel is as it was."""
    channel = Channel(slow.ports, PROTO_RPCI)
    channel.call(Message.SENDSIZE, 8)
    channel.call(Message.SENDPAYLOAD, 0)

    assert status(channel.call(Message.SENDSIZE, 4)) == 0
    assert status(channel.call(Message.SENDPAYLOAD, 0)) == 0

    channel.send(b"log x")
    assert [number for number, _, _ in broken(slow)] == ["VMT-D-010", "VMT-D-012"]


def test_VMT_D_010_nor_while_one_is_received(slow: Rig) -> None:
    channel = Channel(slow.ports, PROTO_RPCI)
    channel.send(b"log x")
    channel.call(Message.RECVSIZE)

    assert status(channel.call(Message.SENDSIZE, 4)) == 0
    channel.call(Message.SENDSIZE, 8)
    assert status(channel.call(Message.RECVSIZE)) == 0
    assert broken(slow) == [("VMT-D-010", 8, 2)]


def test_VMT_D_010_a_checkpoint_allows_one_restart(slow: Rig) -> None:
    slow.host.faults = FaultPlan([("message.sendpayload", 0, Fault("checkpoint"))])
    channel = Channel(slow.ports, PROTO_RPCI)
    channel.send(b"log x")
    channel.receive()
    slow.assert_clean()
    channel.call(Message.SENDSIZE, 8)
    channel.call(Message.SENDSIZE, 8)

    assert broken(slow) == [("VMT-D-010", 8, 1)]


def test_VMT_D_011_length_of_a_message(rig: Rig) -> None:
    channel = Channel(rig.ports, PROTO_RPCI)
    channel.call(Message.SENDSIZE, 65537)

    assert broken(rig) == [("VMT-D-011", 65537, 1)]


def test_VMT_D_012_payload_that_was_not_announced(slow: Rig) -> None:
    channel = Channel(slow.ports, PROTO_RPCI)
    channel.call(Message.SENDSIZE, 0)
    channel.call(Message.SENDPAYLOAD, 5)

    assert [number for number, _, _ in broken(slow)] == ["VMT-D-022", "VMT-D-012"]


@pytest.mark.parametrize("size", [3, 5])
def test_VMT_D_013_all_of_it_at_once(rig: Rig, size: int) -> None:
    channel = Channel(rig.ports, PROTO_RPCI)
    channel.call(Message.SENDSIZE, 4)
    rig.ports.out(b"log x"[:size], channel.id, channel.high, channel.low)

    assert broken(rig) == [("VMT-D-013", size, 1)]


def test_VMT_D_013_where_it_was_offered(slow: Rig) -> None:
    channel = Channel(slow.ports, PROTO_RPCI)
    channel.call(Message.SENDSIZE, 4)
    slow.ports.out(b"log ", channel.id, channel.high, channel.low)

    assert broken(slow) == [("VMT-D-013", 4, 1)]


def test_VMT_D_014_the_last_word_s_rest(slow: Rig) -> None:
    channel = Channel(slow.ports, PROTO_RPCI)
    channel.call(Message.SENDSIZE, 3)
    channel.call(Message.SENDPAYLOAD, int.from_bytes(b"log!", "little"))

    assert broken(slow) == [("VMT-D-014", int.from_bytes(b"log!", "little"), 1)]
    assert channel.receive() == b"1 "


def test_VMT_D_015_EBX_of_a_payload(rig: Rig) -> None:
    channel = Channel(rig.ports, PROTO_RPCI)
    channel.call(Message.SENDSIZE, 4)
    frame = rig.ports.out(b"log ", channel.id, channel.high, channel.low, ebx=0x0001_0001)

    assert frame.rbx >> 16 & 0xFFFF == 0
    assert broken(rig) == [("VMT-D-015", 0x0001_0001, 1)]


def test_VMT_D_015_a_payload_without_success(rig: Rig) -> None:
    """It is taken all the same: nobody looks at the bit."""
    channel = Channel(rig.ports, PROTO_RPCI)
    channel.call(Message.SENDSIZE, 5)
    frame = rig.ports.out(b"log x", channel.id, channel.high, channel.low, ebx=0)

    assert frame.rbx >> 16 & 0xFFFF == SUCCESS
    assert broken(rig) == [("VMT-D-015", 0, 1)]


def test_VMT_D_016_bits_a_guest_may_set(rig: Rig) -> None:
    """The others count for nothing."""
    channel = Channel(rig.ports, PROTO_RPCI)
    channel.send(b"log x")
    channel.call(Message.RECVSIZE)
    fast, data = rig.ports.inward(2, channel.id, channel.high, channel.low, ebx=0x00FF_0000)
    last = channel.call(Message.RECVSTATUS, 0x11)

    assert (fast.rbx >> 16 & 0xFFFF, data, status(last)) == (SUCCESS, b"1 ", SUCCESS)
    assert [number for number, _, _ in broken(rig)] == ["VMT-D-016", "VMT-D-016"]


def test_VMT_D_017_payload_that_was_not_promised(slow: Rig) -> None:
    channel = Channel(slow.ports, PROTO_RPCI)
    channel.send(b"log x")
    channel.call(Message.RECVPAYLOAD, 1)
    channel.call(Message.RECVSIZE)
    channel.call(Message.RECVPAYLOAD, 1)
    channel.call(Message.RECVPAYLOAD, 1)

    assert broken(slow) == [("VMT-D-017", 1, 2)]


@pytest.mark.parametrize("size", [1, 3])
def test_VMT_D_018_all_of_it_at_once(rig: Rig, size: int) -> None:
    channel = Channel(rig.ports, PROTO_RPCI)
    channel.send(b"log x")
    channel.call(Message.RECVSIZE)
    frame, data = rig.ports.inward(size, channel.id, channel.high, channel.low)

    assert (frame.rbx >> 16 & 0xFFFF, data) == (0, b"")
    assert broken(rig) == [("VMT-D-018", size, 1)]


def test_VMT_D_019_success_after_all_of_it(slow: Rig) -> None:
    channel = Channel(slow.ports, PROTO_RPCI)
    channel.send(b"log x")
    channel.call(Message.RECVSIZE)
    channel.call(Message.RECVSTATUS, 1)

    assert broken(slow) == [("VMT-D-019", 0, 1)]


def test_VMT_D_020_after_giving_up(slow: Rig) -> None:
    channel = Channel(slow.ports, PROTO_RPCI)
    channel.send(b"log x")
    channel.call(Message.RECVSIZE)
    channel.call(Message.RECVPAYLOAD, 0)
    for kind, ebx in ((Message.RECVPAYLOAD, 1), (Message.RECVSTATUS, 1), (Message.SENDPAYLOAD, 0)):
        channel.call(kind, ebx)

    assert [(number, count) for number, _, count in broken(slow)] == [("VMT-D-020", 3)]


def test_VMT_D_021_an_answer_nobody_wants(rig: Rig) -> None:
    channel = Channel(rig.ports, PROTO_RPCI)
    channel.send(b"info-get guestinfo.a")
    channel.send(b"log x")

    assert channel.receive() == b"1 "
    assert broken(rig) == [("VMT-D-021", 16, 1)]


@pytest.mark.parametrize("text", [b" log x", b"\x01 x", b"l\xf6g x", b"lo\0g x"])
def test_VMT_D_022_a_word_first(rig: Rig, text: bytes) -> None:
    assert rig.rpc().call(text) == (False, b"Unknown command")
    assert broken(rig) == [("VMT-D-022", len(text), 1)]


# -- TCLO --------------------------------------------------------------------------------------------------------------


def test_VMT_D_023_nothing_comes_first(rig: Rig) -> None:
    Channel(rig.ports, PROTO_TCLO).send(b"OK ")

    assert broken(rig) == [("VMT-D-023", 3, 1)]


def test_VMT_D_024_a_result_each(rig: Rig) -> None:
    service = rig.service()
    service.channel.send(b"OK again")

    assert broken(rig) == [("VMT-D-024", 8, 1)]
    assert rig.host.hub.names["toolbox"].strays == 1


@pytest.mark.parametrize("result", [b"", b"FINE"])
def test_VMT_D_024_a_result_s_form(rig: Rig, result: bytes) -> None:
    service = rig.service()
    service.on[b"ping"] = lambda rest: result
    results: list[bool] = []
    rig.host.heartbeat.ping(rig.ports.now_ns, lambda answer, now_ns: results.append(answer.ok))
    service.settle()

    assert results == [False]
    assert broken(rig) == [("VMT-D-024", len(result), 1)]


@pytest.mark.parametrize("result", [b"OK ATR nobody", b"OK toolbox", b"ERROR no"])
def test_VMT_D_025_a_name(rig: Rig, result: bytes) -> None:
    service = Service(rig.ports)
    service.on[b"reset"] = lambda rest: result
    service.poll(2)

    assert [number for number, _, _ in broken(rig)] == ["VMT-D-025"]


def test_VMT_D_025_one_of_a_name(rig: Rig) -> None:
    first, second = rig.service(), Service(rig.ports)
    second.poll(2, 1)
    rig.host.tick(rig.ports.now_ns)
    first.poll()

    assert [number for number, _, _ in broken(rig)] == ["VMT-D-025"]
    with pytest.raises(ChannelError):
        second.poll()


def test_VMT_D_026_the_loop_has_the_program_s_name(rig: Rig) -> None:
    service = Service(rig.ports)
    service.on[b"reset"] = lambda rest: (
        service.rpc.call("vmx.capability.unified_loop toolbox-dnd")[1] + b"OK ATR toolbox"
    )
    service.settle()

    assert [number for number, _, _ in broken(rig)] == ["VMT-D-026"]


def test_VMT_D_026_and_there_is_a_program(rig: Rig) -> None:
    rpc = rig.rpc()
    rpc.call("vmx.capability.unified_loop toolbox")

    assert broken(rig) == [("VMT-D-026", 7, 1)]


def test_VMT_D_026_before_its_answer_or_after_it(rig: Rig) -> None:
    service = Service(rig.ports)
    service.on[b"reset"] = lambda rest: service.rpc.call("vmx.capability.unified_loop toolbox")[1] + b"OK ATR toolbox"
    service.settle()
    service.rpc.call("vmx.capability.unified_loop toolbox")

    rig.assert_clean()


def test_VMT_D_027_a_poll_a_second(rig: Rig) -> None:
    service = rig.service()
    rig.ports.now_ns += 2 * SECOND
    service.poll()

    assert broken(rig) == [("VMT-D-027", 2100, 1)]


def test_VMT_D_028_capabilities_of_nobody(rig: Rig) -> None:
    rig.rpc().call("tools.capability.hgfs_server toolbox 1")

    assert [number for number, _, _ in broken(rig)] == ["VMT-D-028"]


# -- services ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rest", [b" 7 1", b"  0 x", b"  12 x", b"  7", b"  x y", b"", b"   7 1", b"  99999999999 x"])
def test_VMT_D_029_the_form_of_SetGuestInfo(rig: Rig, rest: bytes) -> None:
    assert rig.rpc().call(b"SetGuestInfo" + rest)[0] is False
    assert [number for number, _, _ in broken(rig)] == ["VMT-D-029"]


def test_VMT_D_030_uptime_rises(rig: Rig) -> None:
    rpc = rig.rpc()
    for uptime in (100, 200, 150):
        rpc.call(f"SetGuestInfo  7 {uptime}\0")

    assert broken(rig) == [("VMT-D-030", 150, 1)]
    assert rig.host.info.restarts == 1


def test_VMT_D_030_but_for_a_restart(rig: Rig) -> None:
    rpc = rig.rpc()
    rpc.call("SetGuestInfo  7 200")
    rig.service().rpc.call("SetGuestInfo  7 3")

    rig.assert_clean()
    assert rig.host.info.restarts == 1


NICS = (
    bytes.fromhex("00000003 00000001 00000011"),  # 17 NICs
    bytes.fromhex("00000003 00000001 00000001 00000013") + bytes(20),  # a MAC of 19 bytes
    bytes.fromhex("00000003 00000001 00000001 00000000 00000801"),  # 2049 addresses
    bytes.fromhex("00000003 00000001 00000000 00000065"),  # 101 routes
    bytes.fromhex("00000003 00000001") + bytes(24) + b"\0",  # something follows
    bytes.fromhex("00000002 00000001 00000011"),
    bytes.fromhex("00000002 00000001 00000001") + bytes(72) + bytes.fromhex("00000041"),  # 65 addresses in version 2
)


@pytest.mark.parametrize("data", NICS)
def test_VMT_D_031_what_is_said_of_NICs(rig: Rig, data: bytes) -> None:
    assert rig.rpc().call(b"SetGuestInfo  10 " + data) == (False, b"Invalid data")
    assert broken(rig) == [("VMT-D-031", 10, 1)]


@pytest.mark.parametrize("rest", [b"other.a b", b"guestinfo. b", b"", b"guestinfo." + b"x" * 256, b"guestinfo.a\0b c"])
def test_VMT_D_032_keys(rig: Rig, rest: bytes) -> None:
    assert rig.rpc().call(b"info-set " + rest)[0] is False
    assert [number for number, _, _ in broken(rig)] == ["VMT-D-032"]


@pytest.mark.parametrize("rest", ["1 5", "1", "2 1", "1 9999", "x y"])
def test_VMT_D_033_a_state_nobody_asked_for(rig: Rig, rest: str) -> None:
    rig.rpc().call(f"tools.os.statechange.status {rest}")

    assert [number for number, _, _ in broken(rig)] == ["VMT-D-033"]


@pytest.mark.parametrize("events", [("prov.snapshotCommit",), ("reset", "reset"), ("reset", "req.manifest")])
def test_VMT_D_034_the_order_of_events(rig: Rig, events: tuple[str, ...]) -> None:
    service = rig.service()
    rig.host.snapshot.start(rig.ports.now_ns)
    for event in events:
        service.rpc.call(f"vmbackup.eventSet {event} 0 ")

    assert [number for number, _, _ in broken(rig)] == ["VMT-D-034"]


@pytest.mark.parametrize("rest", ["reset 0 ", "nonsense 0 ", "reset x ", ""])
def test_VMT_D_034_events_of_nothing(rig: Rig, rest: str) -> None:
    rig.rpc().call(f"vmbackup.eventSet {rest}")

    assert [number for number, _, _ in broken(rig)] == ["VMT-D-034"]


def test_VMT_D_035_five_seconds(rig: Rig) -> None:
    guest = QuiescedGuest(rig)
    guest.start()
    guest.turn(1)
    rig.ports.now_ns += 6 * SECOND
    guest.service.rpc.call("vmbackup.eventSet req.keepAlive 0 ")

    assert [number for number, _, _ in broken(rig)] == ["VMT-D-035"]


# -- the balloon -------------------------------------------------------------------------------------------------------


def started(rig: Rig, wanted: int = 0x2E) -> Ports:
    rig.host.balloon_device.set_target(MEMORY // PAGE)
    rig.kernel.balloon(Ask.START, wanted)
    return rig.kernel


def batch(rig: Rig, *entries: int) -> None:
    for n, entry in enumerate(entries):
        rig.memory[8 * n : 8 * n + 8] = entry.to_bytes(8, "little")


def test_VMT_D_037_START_first(rig: Rig) -> None:
    status = [rig.kernel.balloon(command, 5, 1).rax for command in (Ask.GET_TARGET, Ask.LOCK, Ask.UNLOCK)]

    assert status == [1, 1, 1]
    assert [number for number, _, _ in broken(rig)] == ["VMT-D-037"]


def test_VMT_D_037_but_for_the_doorbell(rig: Rig) -> None:
    rig.kernel.balloon(Ask.VMCI_DOORBELL_SET, MASK32, MASK32)

    rig.assert_clean()


def test_VMT_D_037_and_after_RESET(rig: Rig) -> None:
    kernel = started(rig)
    rig.host.balloon_device.reset()

    status = [kernel.balloon(Ask.GET_TARGET).rax for _ in range(2)]

    assert status == [7, 7]
    assert broken(rig) == [("VMT-D-037", Ask.GET_TARGET, 1)]


@pytest.mark.parametrize(
    ("entries", "status"),
    [([0x10_0000 << 12], 2), ([0x100 << 12 | 0x40], 0), ([0], 5), ([(1 << 64) - PAGE], 2)],
    ids=["beyond memory", "low bits", "the batch itself", "the last page there could be"],
)
def test_VMT_D_038_entries(rig: Rig, entries: list[int], status: int) -> None:
    kernel = started(rig)
    batch(rig, *entries)
    kernel.balloon(Ask.BATCHED_LOCK, 0, len(entries))

    assert rig.memory[0] & 0x1F == status
    assert [number for number, _, _ in broken(rig)] == ["VMT-D-038"]


@pytest.mark.parametrize(("page", "count"), [(0, 0), (0, 513), (0, 1 << 32), (0x10_0000, 1), ((1 << 64) - 1, 1)])
def test_VMT_D_038_batches(rig: Rig, page: int, count: int) -> None:
    frame = started(rig).balloon(Ask.BATCHED_LOCK, page, count)

    assert frame.rax in (1, 2)
    assert [number for number, _, _ in broken(rig)] == ["VMT-D-038"]


def test_VMT_D_038_large_pages_are_aligned(rig: Rig) -> None:
    kernel = started(rig)
    batch(rig, 0x201 << 12)
    kernel.balloon(Ask.BATCHED_2M_LOCK, 0, 1)

    assert rig.memory[0] & 0x1F == 2
    assert [number for number, _, _ in broken(rig)] == ["VMT-D-038"]


def test_VMT_D_039_locked_once_unlocked_once(rig: Rig) -> None:
    kernel = started(rig)

    status = [kernel.balloon(command, 0x300, 1).rax for command in (Ask.UNLOCK, Ask.LOCK, Ask.LOCK, Ask.UNLOCK)]

    assert status == [4, 0, 3, 0]
    assert [(number, count) for number, _, count in broken(rig)] == [("VMT-D-039", 1), ("VMT-D-039", 1)]


def test_VMT_D_039_of_either_size(rig: Rig) -> None:
    kernel = started(rig)
    batch(rig, 0x400 << 12)
    kernel.balloon(Ask.BATCHED_2M_LOCK, 0, 1)
    small = kernel.balloon(Ask.LOCK, 0x433, 1).rax
    kernel.balloon(Ask.LOCK, 0x601, 1)
    batch(rig, 0x600 << 12)
    kernel.balloon(Ask.BATCHED_2M_LOCK, 0, 1)

    assert (small, rig.memory[0] & 0x1F) == (3, 3)
    assert broken(rig) == [("VMT-D-039", 0x600, 2)]


def test_VMT_D_039_sizes_side_by_side(rig: Rig) -> None:
    """Both may be there, as long as no page is given twice."""
    kernel = started(rig)
    kernel.balloon(Ask.LOCK, 0x601, 1)
    batch(rig, 0x400 << 12)
    kernel.balloon(Ask.BATCHED_2M_LOCK, 0, 1)

    assert rig.memory[0] & 0x1F == 0
    assert rig.host.balloon_device.current == 513
    assert rig.host.balloon_device.holds(0x433)
    assert not rig.host.balloon_device.holds(0x600)
    rig.assert_clean()


@pytest.mark.parametrize("command", [Ask.BATCHED_LOCK, Ask.BATCHED_2M_UNLOCK, 5, 11])
def test_VMT_D_039_commands_that_were_agreed_on(rig: Rig, command: int) -> None:
    frame = started(rig, 0x2).balloon(command, 0, 1)

    assert frame.rax == 1
    assert [number for number, _, _ in broken(rig)] == ["VMT-D-039"]


@pytest.mark.parametrize("address", [2, 0x1001, MEMORY, 0xFFFF_FFC0])
def test_VMT_D_042_where_a_steal_clock_is(rig: Rig, address: int) -> None:
    rig.kernel.low(Cmd.STEALCLOCK, edi=address)

    assert broken(rig) == [("VMT-D-042", address, 1)]
