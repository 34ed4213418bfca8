"""The commands of a disk as calls, and their CDBs."""

import pytest

from pvscsi.driver import CommandFailed, Disk, Driver, cdb
from tests.unit.pvscsi.driver.puppet import UNIT_ATTENTION, Puppet

CDBS = {
    "12 00 00 00 24 00": cdb.inquiry(),
    "12 01 b0 01 00 00": cdb.inquiry(256, 0xB0),
    "08 12 34 56 00 00": cdb.read(0x123456, 256, size=6),
    "28 18 00 00 00 07 00 01 00 00": cdb.read(7, 256, dpo=1, fua=1),
    "8a 00 00 00 00 01 00 00 00 00 00 00 00 02 00 00": cdb.write(1 << 32, 2, size=16),
    "a8 00 00 00 00 07 00 00 00 02 00 00": cdb.read(7, 2, size=12),
    "89 00 00 00 00 00 00 00 00 05 00 00 00 03 00 00": cdb.compare_and_write(5, 3),
    "93 09 00 00 00 00 00 00 00 05 00 00 00 03 00 00": cdb.write_same(5, 3, size=16, unmap=1, ndob=1),
    "9e 12 00 00 00 00 00 00 00 05 00 00 00 20 00 00": cdb.get_lba_status(5, 32),
    "42 00 00 00 00 00 00 00 18 00": cdb.unmap(24),
    "5a 10 0a 05 00 00 00 02 00 00": cdb.mode_sense(10, 512, size=10, subpage=5, llbaa=1),
    "15 10 00 00 18 00": cdb.mode_select(24),
    "a0 00 02 00 00 00 00 00 01 00 00 00": cdb.report_luns(select=2),
    "a3 0c 82 9e 00 10 00 00 02 00 00 00": cdb.report_opcodes(512, option=2, opcode=0x9E, action=0x10, rctd=1),
    "5f 01 05 00 00 00 00 00 18 00": cdb.persistent_out(1, 5),
    "1b 00 00 00 02 00": cdb.start_stop(0, loej=1),
    "4a 01 00 00 10 00 00 00 08 00": cdb.event_status(),
    "43 02 01 00 00 00 01 00 0c 00": cdb.read_toc(12, form=1, track=1, msf=1),
    "46 02 00 1e 00 00 00 00 08 00": cdb.get_configuration(8, start=0x1E, rt=2),
    "2e 02 00 00 00 05 00 00 01 00": cdb.write_and_verify(5, 1, bytchk=1),
    "25 00 00 00 00 00 00 00 00 00": cdb.read_capacity(),
}


@pytest.mark.parametrize("wanted", CDBS)
def test_cdbs(wanted: str) -> None:
    assert CDBS[wanted].hex(" ") == wanted


def test_unmap_list() -> None:
    raw = cdb.unmap_list((5, 2), (1 << 40, 1))

    assert raw.hex() == "00260020000000000000000000000005000000020000000000000100000000000000000100000000"


def test_a_failed_command_says_how(puppet: Puppet, driver: Driver) -> None:
    puppet.acts.append(lambda: puppet.complete(driver, UNIT_ATTENTION))

    with pytest.raises(CommandFailed, match="SUCCESS 02 06/29/00"):
        Disk(driver).inquiry()


def test_capacity(puppet: Puppet, driver: Driver) -> None:
    data = (0xFFFF).to_bytes(8, "big") + (4096).to_bytes(4, "big") + bytes((0, 3, 0xC0, 0)) + bytes(16)
    puppet.acts.append(lambda: puppet.complete(driver, data=data))
    disk = Disk(driver)

    capacity = disk.read_capacity()

    assert (capacity.blocks, disk.block) == (0x10000, 4096)
    assert (capacity.physical, capacity.thin, capacity.reads_zeros) == (3, True, True)
