import pytest

from pvscsi.scsi.disk import Disk
from pvscsi.scsi.identity import Identity
from tests.unit.pvscsi.scsi.rig import Bytes


@pytest.mark.parametrize(
    ("block", "physical", "mend"),
    [(1000, None, "512, 4096"), (512, 1000, "power of two"), (4096, 512, "at least 4096"), (512, 1 << 30, "power of")],
)
def test_sizes_that_cannot_be(block: int, physical: int | None, mend: str) -> None:
    with pytest.raises(ValueError, match=mend):
        Disk(Bytes(), Identity.of("d"), block=block, physical=physical)


def test_no_backend_is_a_disk_without_a_medium() -> None:
    assert Disk(None, Identity.of("d"), removable=True).blocks == 0


@pytest.mark.parametrize(
    ("thin", "zeroes", "expected"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_zeros_are_promised_only_where_they_are_kept(thin: bool, zeroes: bool, expected: bool) -> None:
    assert Disk(Bytes(zeroes=zeroes), Identity.of("d"), thin=thin).reads_zeros is expected
