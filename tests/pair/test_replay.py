"""`pvdev replay` end to end: paces, transports, facts, what it writes, live, and its memory on a large capture."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from pvdev.errors import ConfigError
from pvdev.transport.vfio_user import VfioUserPort
from tests.bench.bench_replay import big_capture, replay
from vmxnet3.captures.capture import Captured, CaptureReader
from vmxnet3.captures.marking import Frame, parse_rule
from vmxnet3.captures.pace import Pace
from vmxnet3.captures.player import Capture
from vmxnet3.driver import Config, Driver, Received
from vmxnet3.replay import LiveOptions, LiveReplay, LiveReport, Options, Replay, Report
from vmxnet3.wire import Feature, RxMode

LAN = Path(__file__).parents[1] / "data" / "lan.pcapng"
ALL_MODES = RxMode(0x1F)


class Silent:
    def at(self, done: int, text: str = "") -> None:
        pass


@contextmanager
def silent(label: str, total: int | None) -> Iterator[Silent]:
    yield Silent()


def run(**options: object) -> Report:
    return Replay(Options(str(LAN), **options)).run(silent)  # type: ignore[arg-type]


def marked(*rules: str, queue: int | None = None) -> Capture:
    return Capture(str(LAN), tuple(map(parse_rule, rules)), queue)


def run_marked(*rules: str, **options: object) -> Report:
    return Replay(Options([marked(*rules)], **options)).run(silent)  # type: ignore[arg-type]


def frames(path: Path) -> list[Captured]:
    with path.open("rb") as file:
        return [frame for batch in CaptureReader(file).batches() for frame in batch]


@pytest.mark.parametrize("transmit", [False, True], ids=["receive", "transmit"])
@pytest.mark.parametrize("via", ["local", "vfio-user"])
@pytest.mark.parametrize("pace", ["max", "x20", "pps:5000"])
def test_everything_arrives_byte_for_byte(via: str, transmit: bool, pace: str) -> None:
    report = run(via=via, transmit=transmit, pace=Pace.parse(pace))

    assert report.intact
    assert report.received.frames == len(frames(LAN))
    assert [str(violation) for violation in report.violations] == []


@pytest.mark.parametrize("via", ["local", "vfio-user"])
def test_out_holds_the_frames_in_order_with_rising_stamps(via: str, tmp_path: Path) -> None:
    run(via=via, out=str(tmp_path / "out.pcapng"), pace=Pace.parse("x20"))

    sent, got = frames(LAN), frames(tmp_path / "out.pcapng")
    assert [frame[1] for frame in got] == [frame[1] for frame in sent]
    stamps = [frame[0] for frame in got]
    assert stamps == sorted(stamps)
    assert stamps[0] >= sent[0][0]


def test_frames_longer_than_the_mtu_are_named(tmp_path: Path) -> None:
    long = sum(len(frame[1]) > 1518 for frame in frames(LAN))

    report = run(mtu=1500)

    assert report.dropped == {"longer than the MTU of 1500 allows": long}
    assert not report.intact


@pytest.mark.parametrize("transmit", [False, True], ids=["receive", "transmit"])
@pytest.mark.parametrize("via", ["local", "vfio-user"])
def test_a_capture_cut_short_says_so_on_every_way(via: str, transmit: bool, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcapng"
    cut.write_bytes(LAN.read_bytes()[:50_000])

    with pytest.raises(ConfigError, match=r"record 95 .* is cut short; the 92 frames before it are whole"):
        Replay(Options(str(cut), via=via, transmit=transmit)).run(silent)


def test_original_timing_takes_its_time_and_says_how_late_it_was() -> None:
    stamps = [frame[0] for frame in frames(LAN)]
    report = run(pace=Pace.parse("x20"))

    assert report.seconds >= (stamps[-1] - stamps[0]) / 20e9
    assert report.lateness.count == len(stamps)
    assert 0 < report.lateness.percentile(50) <= report.lateness.percentile(99) <= report.lateness.max
    assert run().lateness.count == 0


# Facts --------------------------------------------------------------------------------------------------------------


PLAIN = {"checksum not calculated": 59, "checksum verified": 520, "fragments": 66, "packets": 645}


@pytest.mark.parametrize("via", ["local", "vfio-user"])
@pytest.mark.parametrize(
    ("rule", "news"),
    [
        ("frames 140-152 tcp: csum=bad", {"checksum verified": -10, "checksum wrong": 10}),
        ("frames 140-152 tcp: ipcsum=bad", {"checksum verified": -10, "IP header checksum wrong": 10}),
        ("frames 140-152 tcp: csum=unknown", {"checksum verified": -10, "checksum not calculated": 10}),
        ("frames 140-152 tcp: frag", {"checksum verified": -10, "fragments": 10}),
        ("arp: csum=good", {"checksum not calculated": -4, "checksum right, of no protocol": 4}),
        ("frame 3: err", {"errors": 1}),
        ("frames 3-4: fcs=bad", {"errors, FCS wrong": 2}),
        ("vlan: vlan=strip", {"tag stripped, VLAN 5": 101}),
        ("frame 7: vlan=100.3", {"tag stripped, VLAN 100": 1}),
        ("every 100: rss=esp6:0x1", {"RSS esp6": 6}),
        ("every 100: lro=5:1000", {"merged (LRO)": 6, "segments merged": 30}),
        ("every 100: inner", {"facts of an inner header": 6}),
        ("frame 1: trunc=20", {}),
        ("frame 645: gen=hold:3ms", {}),
    ],
)
def test_a_driver_sees_each_fact(via: str, rule: str, news: dict[str, int]) -> None:
    report = run_marked(rule, via=via)
    mine = {name: count for name, count in report.seen.items() if "interrupt" not in name}
    changed = Counter(mine)
    changed.subtract(PLAIN)

    assert report.intact
    assert {name: count for name, count in changed.items() if count} == news
    assert sum(report.marks.values()) == sum(holds(rule))
    assert report.erroneous == sum(count for name, count in news.items() if name.startswith("errors"))


def holds(rule: str) -> list[bool]:
    """Which frames of the capture a rule chooses."""
    found = parse_rule(rule)
    return [found.holds(Frame(number, item[1])) for number, item in enumerate(frames(LAN), 1)]


@pytest.mark.parametrize(
    ("rule", "without_interrupt", "without_packet"),
    [
        ("all: queue=0", 0, 0),
        ("frames 101-110: irq=lost", 10, 0),
        ("frame 645: irq=spurious", 0, 1),
        ("frame 645: irq=delay:1s", 1, 1),
        ("frame 645: gen=hold:1ms", 0, 0),
    ],
)
def test_lost_late_and_needless_interrupts_are_seen_as_such(
    rule: str, without_interrupt: int, without_packet: int
) -> None:
    seen = run_marked(rule).seen

    assert seen.get("packets without interrupt", 0) == without_interrupt
    assert seen.get("interrupts without packet", 0) == without_packet


def test_any_bits_can_be_set_and_the_device_is_not_blamed() -> None:
    report = run_marked("every 10: last.udp=1 last.tcp=1 last.csum=0xbeef first.ext1=3")

    assert report.intact
    assert set(report.complaints) == {"VMX-V-052", "VMX-V-053"}
    assert report.violations == []


def test_a_wedged_ring_ends_in_time_and_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without eop a driver waits for the rest of the packet, for ever."""
    monkeypatch.setattr("vmxnet3.replay.local.IDLE_S", 0.02)
    report = run_marked("frame 645: last.eop=0")

    assert not report.intact
    assert report.dropped == {"lost on the way": 1}


def test_frames_go_to_the_queues_asked_for() -> None:
    captures = [marked(queue=1), marked("frames 1-45: queue=2")]
    report = Replay(Options(captures, queues=3)).run(silent)

    assert report.intact
    assert {queue: tally.frames for queue, tally in report.received.queues.items()} == {0: 600, 1: 645, 2: 45}
    assert report.offered.digest() == report.received.digest()


@pytest.mark.parametrize("via", ["local", "vfio-user"])
def test_rounds(via: str) -> None:
    report = run(via=via, rounds=3)

    assert report.intact
    assert report.received.frames == 3 * len(frames(LAN))


@pytest.mark.parametrize("via", ["local", "vfio-user"])
def test_an_endless_replay_ends_when_it_is_told_to_and_loses_nothing(via: str) -> None:
    looks = iter(range(100))
    replay = Replay(Options([marked("every 10: csum=bad")], via=via, rounds=0))
    report = replay.run(silent, lambda: next(looks, 100) >= 40)

    assert report.interrupted
    assert report.intact
    assert report.received.frames > 0


def test_what_was_recorded_at_the_device_plays_with_the_same_facts(tmp_path: Path) -> None:
    rules = "every 7: csum=bad vlan=100", "every 50: lro=3:700 queue=1", "frame 5: err", "tcp: rss=tcp4:0x77"
    first = run_marked(*rules, queues=2, record=str(tmp_path / "rec.pcapng"))
    again = Replay(Options(str(tmp_path / "rec.pcapng"), queues=2)).run(silent)

    assert first.intact
    assert again.intact
    assert again.marks == first.marks
    assert again.received.digest() == first.received.digest()
    with (tmp_path / "rec.pcapng").open("rb") as file:
        reader = CaptureReader(file)
        assert sum(map(len, reader.batches())) == len(frames(LAN))
    assert {interface.name for interface in reader.interfaces} == {"rx0", "rx1"}


def test_a_transmit_replay_is_recorded_too(tmp_path: Path) -> None:
    run(transmit=True, record=str(tmp_path / "rec.pcapng"))

    assert [item[1] for item in frames(tmp_path / "rec.pcapng")] == [item[1] for item in frames(LAN)]


# Live -----------------------------------------------------------------------------------------------------------------


class Live:
    """A live replay of the capture in a thread."""

    def __init__(self, folder: Path, *rules: str, **options: object) -> None:
        self.path, self.stop, self.listening = str(folder / "nic"), False, threading.Event()
        self.reports: list[LiveReport] = []
        self._options = LiveOptions([marked(*rules)], self.path, quiet=True, pace=Pace("max"), **options)  # type: ignore[arg-type]
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self.reports.append(LiveReplay(self._options).run(self._progress, lambda: self.stop))

    @contextmanager
    def _progress(self, label: str, total: int | None) -> Iterator[Silent]:
        self.listening.set()
        yield Silent()

    @contextmanager
    def driver(self, mode: RxMode = ALL_MODES) -> Iterator[tuple[VfioUserPort, Driver]]:
        """The reference driver on it, up."""
        assert self.listening.wait(10)
        with closing(VfioUserPort(self.path, memory=64 << 20)) as port:
            driver = Driver(port, strict=False)
            driver.bring_up(Config(mtu=9000, rx_ring0=512, rx_ring1=512, rx_mode=mode, features=Feature.RXCSUM))
            yield port, driver

    def report(self) -> LiveReport:
        """Once it has ended."""
        self._thread.join(20)
        return self.reports[0]

    def __enter__(self) -> "Live":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop = True
        self._thread.join(20)


def gather(port: VfioUserPort, driver: Driver, count: int) -> list[Received]:
    """Packets until there are `count`."""
    got: list[Received] = []

    def enough() -> bool:
        got.extend(driver.receive())
        return len(got) >= count

    assert port.until(enough, 10)
    return got


def test_a_live_replay_waits_for_the_driver_hands_over_everything_and_ends(tmp_path: Path) -> None:
    with Live(tmp_path, "every 10: csum=bad", "frame 645: gen=hold:2ms") as replay, replay.driver() as (port, driver):
        got = gather(port, driver, 645)
        report = replay.report()

    assert [packet.data for packet in got] == [item[1] for item in frames(LAN)]
    assert (report.played, report.handed, report.refused) == (645, {0: 645}, {})
    assert (report.whole, report.interrupted, report.marks["csum=bad"]) == (True, False, 64)
    assert sum(not packet.cnc and not packet.tuc and not packet.frg for packet in got) > 50


def test_a_live_replay_says_what_the_driver_did_not_take(tmp_path: Path) -> None:
    with Live(tmp_path) as replay, replay.driver(RxMode.UCAST):
        report = replay.report()

    assert not report.whole
    assert report.refused == {"filtered out, or never taken by the driver": 645 - sum(report.handed.values())}


def test_a_live_replay_ends_when_its_client_leaves(tmp_path: Path) -> None:
    with Live(tmp_path, delay_ms=60_000) as replay:
        with replay.driver():
            pass
        report = replay.report()

    assert report.fault == "the client left before everything was played"
    assert (report.played, report.whole) == (0, False)


def test_an_endless_live_replay_is_stopped(tmp_path: Path) -> None:
    with Live(tmp_path, rounds=0, record=str(tmp_path / "rec.pcapng")) as replay, replay.driver() as (port, driver):
        gather(port, driver, 700)
        replay.stop = True
        report = replay.report()

    assert report.played >= 700
    assert not report.interrupted
    assert len(frames(tmp_path / "rec.pcapng")) == sum(report.handed.values())


@pytest.mark.slow
def test_a_large_capture_needs_no_more_memory(tmp_path: Path) -> None:
    path = big_capture(300, str(tmp_path))

    facts, kilobytes = replay(path)

    assert facts["intact"]
    assert kilobytes < 150 << 10
