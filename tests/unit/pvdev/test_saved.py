"""Saving a device that is not one: what goes along, what stays, what cannot come back."""

from array import array
from collections import deque
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from pvdev.errors import ConfigError
from pvdev.saved import Plan, read, save


@dataclass
class Record:
    """Something a part holds: a number, and what lasts."""

    number: int
    memory: object


class Engine:
    STATE: ClassVar[tuple[str, ...]] = ("speed", "queue", "table", "record", "private", "fixed")

    def __init__(self, memory: object) -> None:
        self.memory = memory
        self.speed = 0
        self.queue: deque[object] = deque()
        self.table = array("I", [0, 0])
        self.record = Record(0, memory)
        self.private, self.fixed = memoryview(bytearray(4)), memoryview(b"\0\0\0\0")


class Car:
    def __init__(self, doors: int = 4, tank: int = 8) -> None:
        self.memory = object()
        self.engine, self.tank, self.doors = Engine(self.memory), memoryview(bytearray(tank)), doors

    def plan(self, **other: Any) -> Plan:
        plain: dict[str, Any] = {
            "what": "car",
            "shape": {"doors": self.doors},
            "parts": {"engine": self.engine},
            "lasting": {"memory": self.memory},
            "memories": {"tank": self.tank},
            "kinds": (Record,),
        }
        return Plan(**plain | other)


def driven() -> Car:
    car = Car()
    car.engine.speed = 7
    car.engine.queue.extend((3, 1, 2))
    car.engine.table[1] = 0xFFFF_FFFF
    car.engine.record.number = 5
    car.engine.private[:] = b"mine"
    car.engine.fixed = memoryview(b"told")
    car.tank[:] = b"petrol 8"
    return car


def test_all_of_it_comes_back() -> None:
    other = Car()
    read(other.plan(), save(driven().plan())).put()

    engine = other.engine
    assert (engine.speed, list(engine.queue), list(engine.table)) == (7, [3, 1, 2], [0, 0xFFFF_FFFF])
    assert (bytes(other.tank), bytes(engine.private), bytes(engine.fixed)) == (b"petrol 8", b"mine", b"told")
    assert (engine.private.readonly, engine.fixed.readonly) == (False, True)


def test_what_lasts_is_the_other_ones_own() -> None:
    other = Car()
    read(other.plan(), save(driven().plan())).put()

    assert other.engine.record == Record(5, other.memory)
    assert other.engine.record.memory is other.memory


def test_reading_changes_nothing() -> None:
    other = Car()
    read(other.plan(), save(driven().plan()))

    assert (other.engine.speed, bytes(other.tank)) == (0, bytes(8))


def test_one_object_in_two_places_is_one_object_after() -> None:
    car, other = driven(), Car()
    car.engine.queue.append(car.engine.record)
    read(other.plan(), save(car.plan())).put()

    assert other.engine.queue[-1] is other.engine.record


@pytest.mark.parametrize(
    ("car", "change", "message"),
    [
        (Car(), {"what": "boat"}, "the saved device is of kind car, not boat: build one of those"),
        (Car(doors=2), {}, "the saved car had doors 4, not 2: build one with that"),
        (Car(tank=9), {}, "the saved car had memory of other sizes: build one with those"),
        (Car(), {"parts": {}}, "the saved car is of another version of pvdev: save one anew"),
        (Car(), {"kinds": ()}, "Record has no place in it"),
        (Car(), {"lasting": {}}, "of another version of pvdev"),
    ],
)
def test_one_that_does_not_fit(car: Car, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(car.plan(**change), save(driven().plan()))


@pytest.mark.parametrize("data", [b"", b"pvdev", b"pvdev saved 1\n", b"pvdev saved 1\n\0\0\0\0\x80"])
def test_what_was_never_saved(data: bytes) -> None:
    with pytest.raises(ConfigError, match="no saved car, or it is damaged: save one anew"):
        read(Car().plan(), data)


def test_a_part_that_lacks_what_it_names() -> None:
    """A mistake of ours, not of a user: it is not turned into something else."""
    car = Car()
    del car.engine.speed
    with pytest.raises(AttributeError):
        save(car.plan())
