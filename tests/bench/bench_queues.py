"""Many queues: what a frame costs on 1, 2 and 4 of them, and whether queues that only stand there cost anything.

Every figure is a ratio to one queue in the same run: 1.0 is the aim. Receive goes through RSS on more than one queue.
"""

from collections import deque
from itertools import cycle, islice

from pvdev.transport.inproc import LocalPort
from tests.bench.rig import RING, SLOT, Rig, rate, udp_frame
from vmxnet3.backend import Null, Queue
from vmxnet3.wire import DRIVER_SHARED, REG_CMD, RSS_CONF, Cmd, Feature, HashType

LAPS, SIZE = 24, 64
MOST = 32  # queues of each kind, from version 6 on


def transmit(used: int, configured: int) -> float:
    """Frames per second on `used` queues of `configured`."""
    rig = Rig(Null(), queues=configured)
    images = [rig.tx_images(udp_frame(bytes.fromhex("0200000000dd"), SIZE), queue) for queue in range(used)]
    device = rig.device

    def work(lap: int) -> int:
        for queue in range(used):
            rig.tx[queue][0].view[:] = images[queue][lap & 1]
        while device.service(256, 0):
            pass
        return used * RING

    return rate(work, max(LAPS // used, 2))


def receive(used: int, configured: int) -> float:
    """The same for receive: as many flows as it takes to fill each used queue evenly."""
    backend = Queue()
    rig = Rig(backend, queues=configured)
    images = [rig.rx_images(queue) for queue in range(used)]
    device = rig.device
    if configured > 1:
        _spread(rig.port, rig, used)
    frames = deque(islice(cycle(_flows(rig, used)), used * RING))

    def work(lap: int) -> int:
        for queue in range(used):
            rig.rx[queue][0].view[:] = images[queue][lap & 1]
        backend.inbound = frames.copy()
        while device.service(256, 0):
            pass
        return used * RING

    figure = rate(work, max(LAPS // used, 2))
    assert not device.rules, [str(v) for v in device.rules]
    return figure


def _spread(port: LocalPort, rig: Rig, used: int) -> None:
    """RSS with an indirection table over the first `used` queues."""
    conf = port.alloc(RSS_CONF.size)
    conf.view[:] = RSS_CONF.encode(
        hashType=int(HashType.IPV4 | HashType.TCP_IPV4),
        hashFunc=1,
        hashKeySize=40,
        indTableSize=128,
        hashKey=bytes(range(40)),
        indTable=bytes(n % used for n in range(128)),
    )
    at, features = DRIVER_SHARED.offset["rssConfLen"], DRIVER_SHARED.offset["uptFeatures"]
    rig.shared.view[at : at + 12] = RSS_CONF.size.to_bytes(4, "little") + conf.address.to_bytes(8, "little")
    rig.shared.view[features] = Feature.RXCSUM | Feature.RSS
    port.write(1, REG_CMD, Cmd.UPDATE_FEATURE)


def _flows(rig: Rig, used: int) -> list[bytes]:
    """One frame for each used queue, found by trying source addresses."""
    rss = rig.device._path.rss  # type: ignore[union-attr]
    frame = udp_frame(rig.device.mac, SIZE)
    found: dict[int, bytes] = {}
    for n in range(4096):
        data = _from(frame, n)
        queue = rss.choose(data)[0] if rss is not None else 0
        found.setdefault(queue, data)
        if len(found) == used:
            break
    return [found[queue] for queue in sorted(found)]


def _from(frame: bytes, n: int) -> bytes:
    """`frame` from another address, with its checksums kept right: what is added there is taken from its neighbour."""
    words = [int.from_bytes(frame[at : at + 2], "big") for at in (26, 28)]
    total = sum(words)
    low = (words[1] + n) % 0xFFFF
    return frame[:26] + ((total - low) % 0xFFFF).to_bytes(2, "big") + low.to_bytes(2, "big") + frame[30:]


def main() -> None:
    print(f"queues: {SIZE}-byte frames in process, rate as a ratio to one queue ({SLOT}-byte buffers)")
    for name, run in (("transmit", transmit), ("receive", receive)):
        one = run(1, 1)
        for used, configured in ((2, 2), (4, 4), (1, 4), (1, MOST)):
            ratio = run(used, configured) / one
            print(f"  {name:8} {used:2} in use of {configured:2}  {ratio:5.2f}   ({one:,.0f} frames/s on one)")


if __name__ == "__main__":
    main()
