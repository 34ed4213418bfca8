"""SCSI commands as bytes. Ref: SPC-4, SBC-3, MMC-6; fields are named as there, flags are 0 or 1."""

from struct import pack

TEST_UNIT_READY = bytes(6)


def request_sense(length: int = 18, *, desc: int = 0) -> bytes:
    return bytes((0x03, desc, 0, 0, length, 0))


def inquiry(length: int = 36, page: int | None = None, *, evpd: int | None = None) -> bytes:
    """Standard data, or vital product data page `page`."""
    vital = evpd if evpd is not None else int(page is not None)
    return pack(">BBBHB", 0x12, vital, page or 0, length, 0)


def read(lba: int, blocks: int, *, size: int = 10, fua: int = 0, dpo: int = 0, protect: int = 0) -> bytes:
    """READ with a CDB of `size` bytes (6, 10, 12 or 16)."""
    return _transfer(
        {6: 0x08, 10: 0x28, 12: 0xA8, 16: 0x88}[size], lba, blocks, size, protect << 5 | dpo << 4 | fua << 3
    )


def write(lba: int, blocks: int, *, size: int = 10, fua: int = 0, dpo: int = 0, protect: int = 0) -> bytes:
    """WRITE with a CDB of `size` bytes (6, 10, 12 or 16)."""
    return _transfer(
        {6: 0x0A, 10: 0x2A, 12: 0xAA, 16: 0x8A}[size], lba, blocks, size, protect << 5 | dpo << 4 | fua << 3
    )


def verify(lba: int, blocks: int, *, size: int = 10, bytchk: int = 0, protect: int = 0) -> bytes:
    return _transfer({10: 0x2F, 12: 0xAF, 16: 0x8F}[size], lba, blocks, size, protect << 5 | bytchk << 1)


def write_and_verify(lba: int, blocks: int, *, size: int = 10, bytchk: int = 0, protect: int = 0) -> bytes:
    return _transfer({10: 0x2E, 12: 0xAE, 16: 0x8E}[size], lba, blocks, size, protect << 5 | bytchk << 1)


def synchronize_cache(lba: int = 0, blocks: int = 0, *, size: int = 10, immed: int = 0) -> bytes:
    return _transfer({10: 0x35, 16: 0x91}[size], lba, blocks, size, immed << 1)


def pre_fetch(lba: int, blocks: int, *, size: int = 10, immed: int = 0) -> bytes:
    return _transfer({10: 0x34, 16: 0x90}[size], lba, blocks, size, immed << 1)


def write_same(
    lba: int, blocks: int, *, size: int = 10, unmap: int = 0, anchor: int = 0, ndob: int = 0, protect: int = 0
) -> bytes:
    flags = protect << 5 | anchor << 4 | unmap << 3 | ndob
    return _transfer({10: 0x41, 16: 0x93}[size], lba, blocks, size, flags)


def compare_and_write(lba: int, blocks: int, *, fua: int = 0, protect: int = 0) -> bytes:
    return pack(">BBQ3xBBx", 0x89, protect << 5 | fua << 3, lba, blocks, 0)


def _transfer(opcode: int, lba: int, blocks: int, size: int, flags: int) -> bytes:
    if size == 6:
        return pack(">BBHBB", opcode, lba >> 16 & 0x1F, lba & 0xFFFF, blocks & 0xFF, 0)
    if size == 10:
        return pack(">BBIxHx", opcode, flags, lba, blocks)
    if size == 12:
        return pack(">BBIIxx", opcode, flags, lba, blocks)
    return pack(">BBQIxx", opcode, flags, lba, blocks)


def read_capacity(*, lba: int = 0, pmi: int = 0) -> bytes:
    """READ CAPACITY(10)."""
    return pack(">BxIxxBx", 0x25, lba, pmi)


def read_capacity_16(length: int = 32) -> bytes:
    return pack(">BB8xIxx", 0x9E, 0x10, length)


def get_lba_status(lba: int, length: int) -> bytes:
    return pack(">BBQIxx", 0x9E, 0x12, lba, length)


def unmap(length: int, *, anchor: int = 0) -> bytes:
    """UNMAP with a parameter list of `length` bytes; `unmap_list` makes one."""
    return pack(">BB5xHx", 0x42, anchor, length)


def unmap_list(*ranges: tuple[int, int]) -> bytes:
    """(LBA, blocks) of each descriptor."""
    rows = b"".join(pack(">QI4x", lba, blocks) for lba, blocks in ranges)
    return pack(">HH4x", 6 + len(rows), len(rows)) + rows


def mode_sense(
    page: int, length: int = 255, *, size: int = 6, subpage: int = 0, control: int = 0, dbd: int = 0, llbaa: int = 0
) -> bytes:
    """MODE SENSE with a CDB of `size` bytes (6 or 10). `control`: 0 current, 1 changeable, 2 default, 3 saved."""
    if size == 6:
        return bytes((0x1A, dbd << 3, control << 6 | page, subpage, length, 0))
    return pack(">BBBB3xHx", 0x5A, dbd << 3 | llbaa << 4, control << 6 | page, subpage, length)


def mode_select(length: int, *, size: int = 6, pf: int = 1, sp: int = 0) -> bytes:
    if size == 6:
        return bytes((0x15, pf << 4 | sp, 0, 0, length, 0))
    return pack(">BB5xHx", 0x55, pf << 4 | sp, length)


def report_luns(length: int = 256, *, select: int = 0) -> bytes:
    return pack(">BxB3xIxx", 0xA0, select, length)


def report_opcodes(length: int = 4096, *, option: int = 0, opcode: int = 0, action: int = 0, rctd: int = 0) -> bytes:
    """REPORT SUPPORTED OPERATION CODES. `option`: 0 all, 1 one without, 2 one with a service action, 3 either."""
    return pack(">BBBBHIxx", 0xA3, 0x0C, rctd << 7 | option, opcode, action, length)


def start_stop(start: int, *, loej: int = 0, immed: int = 0, power: int = 0, no_flush: int = 0) -> bytes:
    return bytes((0x1B, immed, 0, 0, power << 4 | no_flush << 2 | loej << 1 | start, 0))


def prevent_removal(prevent: int) -> bytes:
    return bytes((0x1E, 0, 0, 0, prevent, 0))


def persistent_in(action: int, length: int = 256) -> bytes:
    return pack(">BB5xHx", 0x5E, action, length)


def persistent_out(action: int, kind: int = 0, *, length: int = 24) -> bytes:
    return pack(">BBBxxIx", 0x5F, action, kind, length)


def persistent_list(key: int = 0, action_key: int = 0, flags: int = 0) -> bytes:
    """The parameter list of PERSISTENT RESERVE OUT."""
    return pack(">QQ4xB3x", key, action_key, flags)


def log_sense(page: int, length: int = 256, *, subpage: int = 0) -> bytes:
    return pack(">BBBBx2xHx", 0x4D, 0, 1 << 6 | page, subpage, length)


def read_toc(length: int = 256, *, form: int = 0, track: int = 0, msf: int = 0) -> bytes:
    return pack(">BBB3xBHx", 0x43, msf << 1, form, track, length)


def get_configuration(length: int = 256, *, start: int = 0, rt: int = 0) -> bytes:
    return pack(">BBH3xHx", 0x46, rt, start, length)


def event_status(length: int = 8, *, classes: int = 0x10, polled: int = 1) -> bytes:
    return pack(">BBxxBxxHx", 0x4A, polled, classes, length)


def read_disc_information(length: int = 34) -> bytes:
    return pack(">B6xHx", 0x51, length)
