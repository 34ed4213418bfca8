"""A race between a driver that produces and a device that consumes, with as few kicks as the call threshold allows."""

from random import Random

from pvscsi.driver import Batch, Driver


def race(driver: Driver, count: int) -> int:
    """Publish `count` reads in random batches, kicking only as the threshold asks; how many kicks there were."""
    batch, random = Batch(driver, 64, blocks=1), Random(95)
    rings, kicks, sent, done = driver.rings, driver.kicks, 0, 0
    assert rings is not None
    while done < count:
        sent += batch.submit(range(min(random.choice((1, 1, 2, 30)), count - sent)))
        if random.random() < 0.2 or batch.out >= 32:
            assert driver.port.until(lambda: rings.done > 0), f"{batch.out} requests are stuck after {done}"
        done += len(batch.reap())
    return driver.kicks - kicks
