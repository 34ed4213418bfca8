import pytest

from vmxnet3.filters import RxFilter
from vmxnet3.wire import RxMode

MAC, OTHER = bytes.fromhex("02000a0b0c0d"), bytes.fromhex("02000a0b0c0e")
GROUP, STRANGE = bytes.fromhex("01005e000001"), bytes.fromhex("01005e000002")
ALL = b"\xff" * 6


def frame(dst: bytes, *, vid: int | None = None) -> bytes:
    tag = b"" if vid is None else b"\x81\x00" + vid.to_bytes(2, "big")
    return dst + bytes(6) + tag + b"\x88\xb5" + bytes(46)


FRAMES = {"own": frame(MAC), "other": frame(OTHER), "group": frame(GROUP), "strange": frame(STRANGE), "all": frame(ALL)}


def passed(accept: RxFilter) -> set[str]:
    """The names of the frames that get through."""
    kept = accept.accept(list(FRAMES.values()))
    return {name for name, data in FRAMES.items() if data in kept}


@pytest.fixture
def accept() -> RxFilter:
    made = RxFilter(MAC)
    made.multicast = frozenset([GROUP])
    return made


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (0, set()),
        (RxMode.UCAST, {"own"}),
        (RxMode.MCAST, {"group"}),
        (RxMode.BCAST, {"all"}),
        (RxMode.ALL_MULTI, {"group", "strange"}),
        (RxMode.PROMISC, set(FRAMES)),
        (RxMode.UCAST | RxMode.BCAST | RxMode.MCAST, {"own", "group", "all"}),
        (RxMode.UCAST | RxMode.ALL_MULTI, {"own", "group", "strange"}),
    ],
    ids=lambda value: "+".join(sorted(value)) if isinstance(value, set) else str(value),
)
def test_modes(accept: RxFilter, mode: int, expected: set[str]) -> None:
    accept.mode = RxMode(mode)

    assert passed(accept) == expected
    assert accept.open == bool(mode)


def test_a_new_station_address_counts_at_once(accept: RxFilter) -> None:
    accept.mode = RxMode.UCAST

    accept.mac = OTHER

    assert passed(accept) == {"other"}


def test_frames_keep_their_order(accept: RxFilter) -> None:
    accept.mode = RxMode.UCAST | RxMode.BCAST
    frames = [frame(MAC) + bytes([n]) if n % 3 else frame(OTHER) for n in range(20)]

    assert accept.accept(frames) == [data for data in frames if data[:6] == MAC]


@pytest.mark.parametrize("vid", [1, 5, 8, 4094, 4095])
def test_a_tagged_frame_needs_its_bit(accept: RxFilter, vid: int) -> None:
    accept.mode = RxMode.UCAST | RxMode.BCAST
    table = bytearray(512)
    table[vid // 8] = 1 << vid % 8
    tagged = [frame(MAC, vid=vid), frame(ALL, vid=vid | 0xE000), frame(MAC, vid=vid ^ 2), frame(OTHER, vid=vid)]
    before = accept.accept(tagged)

    accept.vlans = bytes(table)

    assert before == []
    assert accept.accept(tagged) == tagged[:2]


def test_untagged_and_priority_tagged_frames_need_none(accept: RxFilter) -> None:
    accept.mode = RxMode.UCAST
    frames = [frame(MAC), frame(MAC, vid=0), frame(MAC, vid=0xE000)]

    assert accept.accept(frames) == frames


def test_promiscuous_mode_knows_no_vlans(accept: RxFilter) -> None:
    accept.mode = RxMode.PROMISC

    assert accept.accept([frame(OTHER, vid=9)]) == [frame(OTHER, vid=9)]


def test_an_empty_table_may_mean_that_nothing_is_filtered() -> None:
    lax = RxFilter(MAC, empty_table_passes=True)
    lax.mode = RxMode.UCAST
    all_pass = lax.accept([frame(MAC, vid=9), frame(MAC, vid=10)])

    lax.vlans = bytes([0, 2]) + bytes(510)  # VLAN 9

    assert all_pass == [frame(MAC, vid=9), frame(MAC, vid=10)]
    assert lax.accept([frame(MAC, vid=9), frame(MAC, vid=10)]) == [frame(MAC, vid=9)]


@pytest.mark.parametrize("mode", [RxMode.PROMISC, RxMode.UCAST | RxMode.BCAST | RxMode.ALL_MULTI], ids=str)
@pytest.mark.parametrize("dst", [MAC, ALL, GROUP], ids=["own", "all", "group"])
def test_runts_never_pass(accept: RxFilter, mode: RxMode, dst: bytes) -> None:
    accept.mode = mode
    runts = [frame(dst)[:size] for size in range(14)]

    assert accept.accept([*runts, frame(dst)[:14]]) == [frame(dst)[:14]]


def test_clearing_keeps_the_address(accept: RxFilter) -> None:
    accept.mode = RxMode.PROMISC
    accept.vlans = b"\xff" * 512

    accept.clear()

    assert passed(accept) == set()
    assert (accept.mac, accept.multicast, accept.vlans, accept.open) == (MAC, frozenset(), bytes(512), False)
