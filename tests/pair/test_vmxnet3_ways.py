"""However a driver rings and however frames come: the model's rings end the same, down to the last byte."""

from vmxnet3.backend import Queue
from vmxnet3.conform.inside import ModelBench
from vmxnet3.conform.packets import TCP, UDP, Raw, ether, offsets, payload, seed
from vmxnet3.conform.rig import build, frame
from vmxnet3.conform.test_v_rx import STATUS
from vmxnet3.conform.test_v_tx import V4, V6
from vmxnet3.driver import Csum, Tso

WAYS = [(ModelBench(), True), (ModelBench(), False), (ModelBench(budget=1), False)]


def test_frames_received_one_by_one_or_all_at_once() -> None:
    finals = [received(bench, each) for bench, each in WAYS]

    assert finals[0] == finals[1] == finals[2]


def received(bench: ModelBench, each: bool) -> bytes:
    """Frames of every shape: final guest memory."""
    with build(bench, Queue()) as rig:
        driver = rig.driver(mtu=9000, head_size=1024, rx_ring0=32, rx_ring1=32)
        frames = [
            frame(60, seed=1),
            frame(5000, seed=2),
            STATUS["tcp4"][0],
            STATUS["bad udp4"][0],
            STATUS["tagged udp6"][0],
            frame(1024, seed=3),
        ]
        for part in [frames[n : n + 1] for n in range(6)] if each else [frames]:
            rig.feed(*part)
        driver.stats()
        return rig.snapshot()


def test_packets_sent_with_a_bell_each_or_one_for_all() -> None:
    finals = [sent(bench, each) for bench, each in WAYS]

    assert finals[0] == finals[1] == finals[2]


def sent(bench: ModelBench, each: bool) -> tuple[list[bytes], bytes]:
    """Packets of every shape: frames sent and final guest memory."""
    with build(bench, Queue()) as rig:
        driver = rig.driver(tx_ring=64)
        tcp = ether(V4, TCP(sport=1, dport=2, flags="PA"), Raw(payload(4000)))
        udp = ether(V6, UDP(sport=1, dport=2), Raw(payload(301)))
        driver.send(frame(seed=1), doorbell=each)
        driver.send(frame(1514, seed=2), pieces=[14, 700, 800], doorbell=each)
        driver.send(seed(tcp, length=False), offload=Tso(54, 1000), header=54, doorbell=each)
        driver.send(seed(udp), offload=Csum(*offsets(udp)), vlan=0x6005, doorbell=each)
        driver.send(frame(seed=3), cq=False, doorbell=each)
        driver.send(frame(seed=4), doorbell=each)
        driver.kick()
        rig.settle()
        driver.stats()
        driver.tx[0].ctrl[0] = 0
        return list(rig.net.sent), rig.snapshot()
