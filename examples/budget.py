"""Three guests of 64 MiB on a host that has 96 MiB for them: who keeps how much, and what their balloons give up.

Run it: python examples/budget.py. The guests here are the reference driver in this process; a guest of
`pvdev boot --tools` has the same balloon.
"""

from mmap import mmap

from pvdev.mem import GuestMemory
from vmtools.backdoor import Machine
from vmtools.driver.balloon import BalloonDriver
from vmtools.driver.ports import Ports
from vmtools.host import Host
from vmtools.reclaim import Budget, Guest
from vmtools.wire import PAGE

MIB = 1 << 20
SIZE = 64 * MIB


def guest() -> tuple[Host, BalloonDriver]:
    """A host of one guest, and the balloon driver in it."""
    memory = GuestMemory()
    memory.map(0, memoryview(mmap(-1, SIZE)))
    host = Host(machine=Machine(memory=SIZE), mem=memory)
    return host, BalloonDriver(Ports(host, cpl=0), memory, SIZE // PAGE)


def main() -> None:
    budget, drivers = Budget(96 * MIB), []
    busy = {"web": 60, "batch": 60, "idle": 6}  # MiB each could use, now and later
    for name, shares, reserved in (("web", 2000, 16), ("batch", 1000, 8), ("idle", 1000, 8)):
        host, driver = guest()
        drivers.append(driver)
        member = Guest(name, host.balloon_device, shares, reserved * MIB, lambda name=name: busy[name] * MIB)  # type: ignore[misc]
        budget.add(member)
    for moment in ("as long as idle is idle", "when it wakes up"):
        budget.balance()
        for driver in drivers:
            driver.work()
        print(f"{moment}:")
        for row in budget.report():
            print(f"  {row.name:6} keeps {row.allowed // MIB:3} of {row.memory // MIB} MiB, gives {row.held // MIB:3}")
        busy["idle"] = 60


if __name__ == "__main__":
    main()
