"""What a device is between two pieces of work, as bytes; and how another one, built the same way, becomes it.

Each part of a device names in `STATE` what a driver can change of it. That is numbers, containers, records of the
device's own `kinds` and private memory. What it refers to beside those, guest memory above all, is written as a name,
and found again by that name in the device that takes over.
"""

import array
import io
import pickle
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from pvdev.errors import ConfigError

MAGIC = b"pvdev saved 1\n"
CHECK = 4  # bytes of a CRC-32 behind it
_PLAIN = {
    ("builtins", "memoryview"): memoryview,
    ("collections", "deque"): deque,
    ("array", "array"): array.array,
    ("array", "_array_reconstructor"): array._array_reconstructor,  # type: ignore[attr-defined]
}


class Part(Protocol):
    """Something of a device that has state."""

    STATE: ClassVar[tuple[str, ...]]


@dataclass(frozen=True)
class Plan:
    """Where a device's state is.

    `what`: the kind of device, and `shape` how it was built: both have to fit. `lasting`: objects that state may refer
    to. `memories`: its own, whose bytes are part of the state. `kinds`: the classes of the records in it.
    """

    what: str
    shape: Mapping[str, object]
    parts: Mapping[str, Part]
    lasting: Mapping[str, object]
    memories: Mapping[str, memoryview]
    kinds: Sequence[type] = field(repr=False)


class _Writer(pickle.Pickler):
    def __init__(self, file: io.BytesIO, lasting: Mapping[str, object]) -> None:
        super().__init__(file, protocol=5)
        self._names = {id(thing): name for name, thing in lasting.items()}

    def persistent_id(self, obj: Any) -> str | None:
        return self._names.get(id(obj))

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, memoryview):
            return memoryview, (bytes(obj) if obj.readonly else bytearray(obj),)
        return NotImplemented


class _Reader(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, plan: Plan) -> None:
        super().__init__(file)
        self._lasting = plan.lasting
        self._kinds = _PLAIN | {(kind.__module__, kind.__qualname__): kind for kind in plan.kinds}

    def persistent_load(self, pid: Any) -> object:
        return self._lasting[pid]

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Nothing but what state is made of: a file from elsewhere can start nothing here."""
        found = self._kinds.get((module_name, global_name))
        if found is None:
            raise pickle.UnpicklingError(f"{module_name}.{global_name} has no place in it")
        return found


def save(plan: Plan) -> bytes:
    """The state. Whoever works on the device calls this, between two pieces of work."""
    state = {name: {key: getattr(part, key) for key in part.STATE} for name, part in plan.parts.items()}
    memories = {name: bytes(memory) for name, memory in plan.memories.items()}
    file = io.BytesIO()
    _Writer(file, plan.lasting).dump((plan.what, dict(plan.shape), memories, state))
    body = file.getvalue()
    return MAGIC + zlib.crc32(body).to_bytes(CHECK, "little") + body


@dataclass(frozen=True)
class Saved:
    """A state that fits a plan."""

    plan: Plan
    _memories: Mapping[str, bytes]
    _state: Mapping[str, Mapping[str, object]]

    def put(self) -> None:
        """Make it the state of the plan's device, which was just reset."""
        for name, memory in self.plan.memories.items():
            memory[:] = self._memories[name]
        for name, part in self.plan.parts.items():
            for key, value in self._state[name].items():
                setattr(part, key, value)


def read(plan: Plan, data: bytes) -> Saved:
    """What `save` gave. Nothing is changed yet. Raises `ConfigError` when it is damaged, or of another device."""
    body = memoryview(data)[len(MAGIC) + CHECK :]
    if not data.startswith(MAGIC) or data[len(MAGIC) : len(MAGIC) + CHECK] != zlib.crc32(body).to_bytes(
        CHECK, "little"
    ):
        raise ConfigError(f"this is no saved {plan.what}, or it is damaged: save one anew")
    try:
        what, shape, memories, state = _Reader(io.BytesIO(body), plan).load()
    except Exception as error:  # whatever strange bytes may do
        raise ConfigError(f"the saved {plan.what} is of another version of pvdev ({error}): save one anew") from error
    if what != plan.what:
        raise ConfigError(f"the saved device is of kind {what}, not {plan.what}: build one of those")
    for key, here in plan.shape.items():
        if shape.get(key) != here:
            raise ConfigError(f"the saved {what} had {key} {shape.get(key)}, not {here}: build one with that")
    sizes = {name: len(memory) for name, memory in plan.memories.items()}
    names = {name: set(part.STATE) for name, part in plan.parts.items()}
    if {name: len(memory) for name, memory in memories.items()} != sizes:
        raise ConfigError(f"the saved {what} had memory of other sizes: build one with those")
    if {name: set(part) for name, part in state.items()} != names:
        raise ConfigError(f"the saved {what} is of another version of pvdev: save one anew")
    return Saved(plan, memories, state)
