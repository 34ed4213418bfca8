"""Ring loops in process: frames per second, and how many times faster than an object per descriptor."""

from collections import deque

from tests.bench.baseline import BaselineRx, BaselineTx, Ring
from tests.bench.rig import RING, Rig, rate, udp_frame
from vmxnet3.backend import Null, Queue

LAPS = 40


def transmit(size: int) -> tuple[float, float]:
    """(product, baseline) frames per second."""
    rig = Rig(Null())
    ring, _, _ = rig.tx[0]
    images = rig.tx_images(udp_frame(bytes.fromhex("0200000000dd"), size))
    device = rig.device
    queue = device._path.queues.tx[0]  # type: ignore[union-attr]

    def product(lap: int) -> int:
        ring.view[:] = images[lap & 1]
        before = queue.stats[2]
        while device.service(256, 0):
            pass
        return queue.stats[2] - before

    ours = rate(product, LAPS)
    other = Rig(Null())
    ring2, comp2, _ = other.tx[0]
    images2 = other.tx_images(udp_frame(bytes.fromhex("0200000000dd"), size))
    plain = BaselineTx(other.device.mem, Ring(ring2.address, RING), Ring(comp2.address, RING), len)

    def baseline(lap: int) -> int:
        ring2.view[:] = images2[lap & 1]
        return plain.service(RING)

    theirs = rate(baseline, LAPS // 8)
    return ours, theirs


def receive(size: int) -> tuple[float, float]:
    """(product, baseline) frames per second."""
    backend = Queue()
    rig = Rig(backend)
    ring, _, data = rig.rx[0]
    images = rig.rx_images()
    frame = udp_frame(rig.device.mac, size)
    frames = deque([frame] * RING)
    device = rig.device

    def product(lap: int) -> int:
        ring.view[:] = images[lap & 1]
        backend.inbound = frames.copy()
        while device.service(256, 0):
            pass
        return RING

    ours = rate(product, LAPS)
    assert bytes(data.view[: len(frame)]) == frame
    assert not device.rules, [str(v) for v in device.rules]
    other = Rig(Null())
    ring2, comp2, _ = other.rx[0]
    images2 = other.rx_images()
    plain = BaselineRx(other.device.mem, Ring(ring2.address, RING), Ring(comp2.address, RING))
    batch = [frame] * RING

    def baseline(lap: int) -> int:
        ring2.view[:] = images2[lap & 1]
        return plain.service(batch)

    return ours, rate(baseline, LAPS // 8)


def main() -> None:
    print("ring loops in process: frames/s, ratio to an object per descriptor")
    for name, run in (("transmit", transmit), ("receive", receive)):
        for size in (64, 1500):
            ours, theirs = run(size)
            print(f"  {name:8} {size:5} bytes  {ours:12,.0f}  baseline {theirs:10,.0f}  ratio {ours / theirs:5.1f}")


if __name__ == "__main__":
    main()
