"""The reference driver against the model: bulk traffic, both ways, on every transport."""

from hashlib import blake2b
from random import Random
from typing import Any

import pytest

from pvdev.transport.vfio_user import RUNG, Polling
from vmxnet3.backend import Queue
from vmxnet3.conform.inside import served
from vmxnet3.conform.rig import MAC, PEER, MakeRig, Rig, frame
from vmxnet3.driver import Driver
from vmxnet3.driver.common import Buffer
from vmxnet3.ports.port import LoopbackPort


def crowd(count: int, longest: int, seed: int) -> list[bytes]:
    """Frames of every size in a random order, each its own."""
    random = Random(seed)
    sizes = (
        random.choice((60, 61, 64, 128, 590, 1514, longest, random.randrange(60, longest + 1))) for _ in range(count)
    )
    return [MAC + PEER + b"\x88\xb5" + random.randbytes(size - 14) for size in sizes]


def digest(frames: list[bytes]) -> str:
    return blake2b(b"".join(len(data).to_bytes(4, "little") + data for data in frames)).hexdigest()


SHAPES: list[dict[str, Any]] = [
    {"mtu": 1500},
    {"mtu": 9000},
    {"mtu": 9000, "bodies": 2, "rx_ring0": 96},
    {"mtu": 9000, "head_size": 512, "body_size": 1024},
    {"mtu": 1500, "tx_ring": 32, "rx_ring0": 32, "rx_ring1": 32},
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_drain_gives_every_frame_in_order(rig: Rig, shape: dict[str, Any]) -> None:
    driver = rig.driver(profile="linux", strict=True, **shape)
    frames = crowd(1000, shape["mtu"] + 14, seed=1)
    got: list[bytes] = []

    def sink(queue: int, found: list[Buffer]) -> None:
        got.extend(map(bytes, found))

    rig.feed(*frames)

    def look() -> bool:
        driver.drain(sink)
        return len(got) >= len(frames)

    assert rig.port.until(look)
    assert digest(got) == digest(frames)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batches_arrive_on_the_wire_in_order(rig: Rig, shape: dict[str, Any]) -> None:
    driver = rig.driver(profile="linux", strict=True, **shape)
    frames = crowd(1000, shape["mtu"] + 14, seed=2)

    rig.push(driver, frames)

    assert digest(rig.sent(1000)) == digest(frames)
    rig.settle()
    driver.reap_tx()
    assert driver.tx[0].completed == 1000


def test_loopback_through_both_rings(make_rig: MakeRig) -> None:
    rig = make_rig(LoopbackPort("loopback"))
    driver = rig.driver()

    for n in range(50):
        driver.send(frame(60 + n, seed=n))

    assert [packet.data for packet in rig.got(driver, 50)] == [frame(60 + n, seed=n) for n in range(50)]


def test_several_queues_at_once(rig: Rig) -> None:
    driver = rig.driver(tx_queues=8, rx_queues=16, tx_ring=32, rx_ring0=32, rx_ring1=32)

    for n in range(80):
        driver.send(frame(seed=n), queue=n % 8)
        driver.reap_tx()

    assert sorted(rig.sent(80)) == sorted(frame(seed=n) for n in range(80))


def test_no_rule_is_broken_by_ordinary_traffic(rig: Rig) -> None:
    driver = rig.driver(profile="linux")

    rig.carried(driver, *crowd(200, 1514, seed=3))
    driver.send_batch(crowd(100, 1514, seed=4))
    rig.reap(driver, 100)
    driver.stop()

    assert rig.broken() == set()


@pytest.mark.parametrize("polling", [RUNG, Polling()], ids=["rung", "polled"])
@pytest.mark.parametrize("share", [True, False], ids=["mapped", "messages"])
def test_polled_and_by_message(polling: Polling, share: bool) -> None:
    net = Queue()
    frames = crowd(200, 1514, seed=5)
    with served(net, polling=polling, share=share, mac=MAC) as (device, port):
        driver = Driver(port).bring_up()
        got: list[bytes] = []
        net.inbound.extend(frames)
        device.wake()
        done = 0

        def look() -> bool:
            nonlocal done
            got.extend(packet.data for packet in driver.receive())
            done += driver.send_batch(frames[done : done + 16])
            driver.reap_tx()
            return len(got) == len(net.sent) == len(frames)

        assert port.until(look)
        assert digest(got) == digest(list(net.sent)) == digest(frames)
        driver.close()
