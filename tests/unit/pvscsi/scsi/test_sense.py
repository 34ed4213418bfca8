import pytest

from pvscsi.scsi import sense
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

    found = [parse(whole[:size]) for size in (8, 12, 19, 20, 27, 28)]

    assert [each.information for each in found] == [None, None, None, 5, 5, 5]
    assert [each.pointer.hex() for each in found] == ["000000"] * 5 + ["c00002"]


def test_a_descriptor_of_another_kind_is_passed_over() -> None:
    data = bytes.fromhex("72 05 21 00 00 00 00 10 03 02 00 00 00 0a 80 00 00 00 00 00 ff ff ff ff")

    assert parse(data).information == 0xFFFF_FFFF


VOCABULARY = {
    "NO_SENSE": "00/00/00",
    "NOT_READY": "02/04/00",
    "NOT_READY_STOPPED": "02/04/02",
    "NO_MEDIUM": "02/3A/00",
    "NO_MEDIUM_TRAY_CLOSED": "02/3A/01",
    "NO_MEDIUM_TRAY_OPEN": "02/3A/02",
    "NOT_READY_REMOVAL_PREVENTED": "02/53/02",
    "WRITE_ERROR": "03/0C/00",
    "UNRECOVERED_READ_ERROR": "03/11/00",
    "INTERNAL_TARGET_FAILURE": "04/44/00",
    "PARAMETER_LIST_LENGTH_ERROR": "05/1A/00",
    "INVALID_OPCODE": "05/20/00",
    "LBA_OUT_OF_RANGE": "05/21/00",
    "INVALID_FIELD_IN_CDB": "05/24/00",
    "NOT_SUPPORTED_LUN": "05/25/00",
    "INVALID_FIELD_IN_LIST": "05/26/00",
    "INVALID_RELEASE": "05/26/04",
    "INCOMPATIBLE_FORMAT": "05/30/02",
    "SAVING_NOT_SUPPORTED": "05/39/00",
    "REMOVAL_PREVENTED": "05/53/02",
    "NO_MORE_REGISTRATIONS": "05/55/04",
    "ILLEGAL_MODE_FOR_TRACK": "05/64/00",
    "MEDIUM_CHANGED": "06/28/00",
    "POWER_ON": "06/29/01",
    "BUS_RESET": "06/29/02",
    "DEVICE_RESET": "06/29/03",
    "NEXUS_LOSS": "06/29/07",
    "MODE_CHANGED": "06/2A/01",
    "RESERVATIONS_PREEMPTED": "06/2A/03",
    "RESERVATIONS_RELEASED": "06/2A/04",
    "REGISTRATIONS_PREEMPTED": "06/2A/05",
    "CAPACITY_CHANGED": "06/2A/09",
    "LUNS_CHANGED": "06/3F/0E",
    "WRITE_PROTECTED": "07/27/00",
    "SOFTWARE_WRITE_PROTECTED": "07/27/02",
    "SPACE_ALLOCATION_FAILED": "07/27/07",
    "MISCOMPARE": "0E/1D/00",
}


def test_names_mean_what_the_standards_assign() -> None:
    assert {name: str(value) for name, value in vars(sense).items() if isinstance(value, Sense)} == VOCABULARY
