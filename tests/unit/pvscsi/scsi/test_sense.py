import pytest

from pvscsi.scsi.sense import (
    INVALID_FIELD_IN_CDB,
    LBA_OUT_OF_RANGE,
    NO_SENSE,
    Check,
    Sense,
    bad_cdb,
    bad_list,
    encode,
    parse,
)


def test_fixed_format_has_18_bytes() -> None:
    assert encode(LBA_OUT_OF_RANGE, 0x12345678).hex(" ") == "f0 00 05 12 34 56 78 0a 00 00 00 00 21 00 00 00 00 00"


def test_information_that_does_not_fit_is_not_valid() -> None:
    assert encode(LBA_OUT_OF_RANGE, 1 << 32).hex(" ") == "70 00 05 00 00 00 00 0a 00 00 00 00 21 00 00 00 00 00"


def test_a_field_pointer_in_fixed_format() -> None:
    assert bad_cdb(2, 7).data()[12:].hex(" ") == "24 00 00 cf 00 02"
    assert bad_cdb(0x102).data()[12:].hex(" ") == "24 00 00 c0 01 02"
    assert bad_list(9).data()[12:].hex(" ") == "26 00 00 80 00 09"


def test_descriptor_format() -> None:
    check = Check(LBA_OUT_OF_RANGE, information=1 << 40, pointer=bytes.fromhex("c00002"))

    assert check.data(descriptors=True).hex(" ") == (
        "72 05 21 00 00 00 00 14  00 0a 80 00 00 00 01 00 00 00 00 00  02 06 00 00 c0 00 02 00".replace("  ", " ")
    )


def test_a_sense_prints_as_it_is_looked_up() -> None:
    assert str(INVALID_FIELD_IN_CDB) == "05/24/00"


@pytest.mark.parametrize("descriptors", [False, True])
@pytest.mark.parametrize("information", [None, 0, 77])
@pytest.mark.parametrize("pointer", [bytes(3), b"\xc8\x00\x02"])
def test_parse_undoes_encode(information: int | None, pointer: bytes, descriptors: bool) -> None:
    found = parse(encode(Sense(0xE, 0x1D, 0x03), information, pointer, descriptors=descriptors))

    assert (found.sense, found.information, found.pointer) == (Sense(0xE, 0x1D, 0x03), information, pointer)


@pytest.mark.parametrize("data", [b"", b"\x70", b"\x72\x05", bytes(18), b"\x7f" * 20])
def test_what_is_no_sense_data_parses_as_none(data: bytes) -> None:
    assert parse(data).sense == NO_SENSE


def test_descriptors_cut_short_are_left_out() -> None:
    whole = encode(LBA_OUT_OF_RANGE, 5, b"\xc0\x00\x02", descriptors=True)

    assert [parse(whole[:size]).information for size in (8, 12, 20)] == [None, None, 5]
