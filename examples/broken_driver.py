"""A driver that makes one mistake, and the device that tells which.

    python examples/broken_driver.py

The reference driver sends one good frame, then one whose last descriptor does not ask for a completion.
"""

from pvdev.transport.inproc import LocalPort
from vmxnet3.backend import Queue
from vmxnet3.device import Vmxnet3
from vmxnet3.driver import Driver

FRAME = bytes.fromhex("ffffffffffff 020000000001 88b5") + bytes(46)


def main() -> None:
    network = Queue()
    nic = Vmxnet3(network)
    driver = Driver(LocalPort(nic))
    driver.bring_up()

    driver.send(FRAME)
    driver.send(FRAME, cq=False)

    print(f"{len(network.sent)} frames on the wire, {driver.reap_tx()} completion")
    for violation in nic.rules:
        print(violation)


if __name__ == "__main__":
    main()
