"""The table that tells of the precision clock."""

from vmtools.ways.plugin.acpi import ssdt


def test_the_table_is_whole_and_names_the_device() -> None:
    table = ssdt()
    assert table[:4] == b"SSDT"
    assert int.from_bytes(table[4:8], "little") == len(table)
    assert sum(table) & 0xFF == 0
    scope = table[36:]
    assert scope[1] == len(scope) - 1
    assert scope.index(b"\x5b\x82") == 7
    assert scope[9] == len(scope) - 9
    assert scope.endswith(b"PTPC\x08_HID\x0dVMW0005\0")
