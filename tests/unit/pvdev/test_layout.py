import pytest

from pvdev.layout import Layout, bits

PAIR = Layout(
    "Pair",
    16,
    (
        ("addr", "Q"),
        ("word", "I", bits(low=4, flag=1, rest=27)),
        ("pair", "2B"),
        ("", "2s"),
    ),
    ref="struct pair",
)


def test_bytes_that_do_not_add_up_are_an_error_at_declaration() -> None:
    with pytest.raises(ValueError, match="Short: fields take 6 bytes, declared 8"):
        Layout("Short", 8, (("a", "I"), ("b", "H")))


@pytest.mark.parametrize("widths", [{"a": 31}, {"a": 16, "b": 17}], ids=["too few", "too many"])
def test_bits_that_do_not_fill_their_integer_are_an_error_at_declaration(widths: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"Word\.w: \d+ bits declared in 'I'"):
        Layout("Word", 4, (("w", "I", bits(**widths)),))


def test_offsets_masks_and_shifts() -> None:
    assert PAIR.size == PAIR.struct.size == 16
    assert PAIR.offset == {"addr": 0, "word": 8, "pair": 12}
    assert PAIR.mask == {"low": 0xF, "flag": 0x10, "rest": 0xFFFF_FFE0}
    assert PAIR.shift == {"low": 0, "flag": 4, "rest": 5}


def test_little_endian_without_padding_of_its_own() -> None:
    mixed = Layout("Mixed", 7, (("a", "B"), ("b", "I"), ("c", "H")))

    data = mixed.encode(a=1, b=0x01020304, c=0x0A0B)

    assert data.hex() == "01" + "04030201" + "0b0a"


def test_golden_bytes_both_ways() -> None:
    data = bytes.fromhex("8877665544332211" + "35000000" + "0709" + "0000")

    decoded = PAIR.decode(data)

    assert decoded == {"addr": 0x1122334455667788, "low": 5, "flag": 1, "rest": 1, "pair": (7, 9)}
    assert PAIR.encode(addr=0x1122334455667788, low=5, flag=1, rest=1, pair=(7, 9)) == data


def test_decode_somewhere_in_a_buffer() -> None:
    data = b"\xff" * 3 + PAIR.encode(addr=42, pair=(1, 2)) + b"\xff"

    assert PAIR.decode(memoryview(data), 3)["addr"] == 42


def test_fields_not_given_are_zero_and_short_arrays_are_filled_up() -> None:
    assert PAIR.encode() == bytes(16)
    assert PAIR.encode(pair=(3,))[12:14] == b"\x03\0"


def test_numbers_leaves_out_strings_and_numbers_arrays() -> None:
    layout = Layout("Mixed", 12, (("name", "4s"), ("one", "I"), ("list", "2H")))

    assert layout.numbers(layout.encode(name=b"abcd", one=1, list=(2, 3))) == {"one": 1, "list0": 2, "list1": 3}


def test_byte_strings() -> None:
    layout = Layout("Named", 4, (("name", "4s"),))

    assert layout.encode(name=b"ab") == b"ab\0\0"
    assert layout.decode(b"wxyz") == {"name": b"wxyz"}


@pytest.mark.parametrize("fields", [{"low": 16}, {"flag": 2}, {"flag": -1}])
def test_a_value_wider_than_its_bits_is_refused(fields: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        PAIR.encode(**fields)


def test_a_name_it_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="Pair has no field adr, sizes"):
        PAIR.encode(adr=1, sizes=2)


def test_padding_reads_as_nothing_and_writes_zeros() -> None:
    assert "" not in PAIR.decode(b"\xff" * 16)
    assert PAIR.encode(pair=(255, 255))[14:] == b"\0\0"


def test_one_struct_code_per_field() -> None:
    two = Layout("Two", 8, (("both", "HHI"),))

    with pytest.raises(ValueError, match="one struct code per field, got 'HHI'"):
        two.decode(bytes(8))


def test_the_network_s_order() -> None:
    layout = Layout("Header", 6, (("version", "H"), ("code", "I")), order=">")

    assert layout.encode(version=0x0111, code=5) == bytes.fromhex("0111 00000005")
    assert layout.decode(bytes.fromhex("0111 00000005")) == {"version": 0x0111, "code": 5}
