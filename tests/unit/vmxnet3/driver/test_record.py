"""Structures in shared memory, field by field."""

from vmxnet3 import wire
from vmxnet3.driver import Record


def test_fields_of_every_size_and_arrays() -> None:
    memory = memoryview(bytearray(b"\xee" * 800))
    record = Record(wire.DRIVER_SHARED, memory)

    record.fill(magic=wire.MAGIC, mtu=1500)
    record["queueDescPA"] = 1 << 40
    record["maxNumRxSG"] = 18
    record.put("modLevels", [8, 7])
    record.cell("cmdInfo")[:] = b"x" * 16

    found = wire.DRIVER_SHARED.decode(memory)
    assert [found[name] for name in ("magic", "mtu", "queueDescPA", "maxNumRxSG")] == [wire.MAGIC, 1500, 1 << 40, 18]
    assert record.all("modLevels") == [8, 7] + [0] * 23
    assert bytes(memory[704:736]) == b"x" * 16 + b"\xee" * 16
