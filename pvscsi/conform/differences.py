"""Where a device does not do what the suite asks of it, and why: our own as it is served, and QEMU's.

QEMU's were all seen on QEMU 11.1; the causes are what its source shows, or the likeliest.

Ref: QEMU hw/scsi/vmw_pvscsi.c, hw/scsi/scsi-bus.c, hw/scsi/scsi-disk.c.
"""

from pvdev.differences import Difference, Kind


def _of(number: str, kind: Kind, reason: str, *cases: str) -> Difference:
    return Difference(f"PVS-V-{number}", cases, kind, reason)


_NO_CONFIG = "no CONFIG and no GET_MAX_TARGETS: drivers see 16 places of 65"
_NO_COMPARE = "no COMPARE AND WRITE; sent with data it is never completed, see PVS-V-077"
_NO_OPCODES = "no REPORT SUPPORTED OPERATION CODES"
_PADDED = "data is padded with zeros up to the allocation length, and the length byte follows it"
_SHORT = "REPORT LUNS is shorter than its buffer, which is told as DATARUN, see PVS-V-062"

SERVED: tuple[Difference, ...] = ()

QEMU = (
    _of("006", "harmless", "INTR_MASK keeps all 32 bits", "*"),
    _of("008", "harmless", "COMMAND_STATUS of a half-sent command is -2, not the words it wants", "*read_zero"),
    _of("008", "harmless", "accesses of other sizes are widened or split, and work", "*odd_size*"),
    _of("010", "gap", "INTR_MASK survives every reset", "*forgets_all*"),
    _of("021", "harmless", "a bare SETUP_MSG_RING answers -2, not 34", "*bare*"),
    _of("023", "gap", _NO_CONFIG, "*without_a_read"),
    _of("025", "gap", "counts that are no powers of two are rounded up: pages nobody gave are used", "*may_not_be*"),
    _of("026", "harmless", "addresses are not looked at before they are used", "*nobody_mapped*"),
    _of("028", "gap", "counts that are no powers of two are rounded up: pages nobody gave are used", "*may_not_be*"),
    _of("033", "gap", "completions of a reset are posted after the command has returned", "*one_target"),
    _of("034", "gap", "completions of a reset are posted after the command has returned", "*the_bus"),
    _of("036", "choice", "to cancel a transfer those before it are waited for: they are done, too", "*an_abort"),
    _of("036", "harmless", "a context of more than 32 bits is not found", "*same_context*"),
    _of("037", "harmless", "the target is not looked at", "*target*"),
    _of("038", "harmless", "a context of more than 32 bits is not found", "*"),
    _of("039", "gap", _NO_CONFIG + "; OpenBSD's driver does not attach", "*"),
    _of("040", "gap", _NO_CONFIG, "*by_command", "*phy_and_device*"),
    _of("056", "gap", "a full ring of 32 pages is never looked at: 1024 ahead counts as too far", "*returns[[]32]"),
    _of("058", "gap", "cmpConsIdx is never read: completions nobody took are written over", "*"),
    _of("060", "gap", "a command sent the other way is never completed, see PVS-V-077", "*every_outcome"),
    _of("061", "gap", "dataLen of completions is always 0; drivers take a success with 0 as whole", "in passing"),
    _of(
        "061",
        "gap",
        "dataLen of completions is always 0, a short transfer is DATARUN, and a command without its data is never "
        "completed",
        "*data_length*",
        "*bad_block",
    ),
    _of("061", "gap", "less data than the CDB moves is written all the same", "*writes_nothing"),
    _of("062", "gap", "short data is told as DATARUN: an I/O error for Linux and FreeBSD", "*"),
    _of("063", "gap", "CHECK CONDITION of a command with data is told with DATARUN: its sense is lost", "*"),
    _of("065", "gap", "CHECK CONDITION of a command with data is told with DATARUN", "*sense_buffer"),
    _of("066", "gap", "more room than the CDB moves is told as DATARUN", "*beyond*"),
    _of("068", "gap", "chain elements are taken for data", "*"),
    _of("070", "gap", "chain elements are taken for data", "*"),
    _of("072", "gap", "cdbLen is not looked at: what lies behind it is executed", "*not_executed*"),
    _of("075", "gap", _SHORT, "*lun_that_is_not_there[[]*"),
    _of("075", "gap", "CHECK CONDITION with DATARUN, see PVS-V-063", "*commands_to*"),
    _of("077", "gap", "a command sent the other way is never completed", "*other_way*"),
    _of("077", "gap", "an ADAPTER_RESET while such a command is out aborts the whole VM", "*reset_right_behind*"),
    _of("078", "harmless", "the flag is not looked at", "*"),
    _of("091", "gap", "no CONFIG: OpenBSD's driver does not attach", "*openbsd*"),
    _of("099", "gap", "messages there is no room for are lost", "*"),
    _of("110", "harmless", _PADDED, "*does_not_follow*"),
    _of("111", "harmless", _PADDED, "*every_allocation_length", "*sixteen_bits*"),
    _of("112", "harmless", "CMDDT, long obsolete, is not looked at", "*command_data*"),
    _of("113", "harmless", "a CD drive answers for pages it does not list", "*not_listed*"),
    _of("114", "harmless", "REQUEST SENSE is stopped by a unit attention as other commands are", "*request_sense*"),
    _of("115", "gap", _SHORT, "*does_not_stop"),
    _of("116", "harmless", "a stopped disk is ready", "*stopped"),
    _of("117", "harmless", _PADDED, "*request_sense*"),
    _of("121", "harmless", "0 blocks at the first address behind the last are fine", "*[[]*-0-*"),
    _of("121", "harmless", "VERIFY without data is not looked at", "*verify*"),
    _of("122", "harmless", "the field is not looked at in WRITE SAME", "*SAME*"),
    _of("124", "harmless", "FORMAT UNIT does nothing, so a read-only disk allows it", "*FORMAT*"),
    _of("124", "gap", _NO_COMPARE, "*COMPARE*"),
    _of("125", "harmless", "no control page", "*control_page*"),
    _of("125", "gap", "the subpage is not looked at: the page itself is answered", "*subpages_there*"),
    _of("127", "harmless", "no control page", "*sense_format", "*write_protection", "*or_nothing"),
    _of("127", "harmless", "of a page that is too short the rest is left as it is", "*too short*"),
    _of("128", "harmless", "no SYNCHRONIZE CACHE(16)", "*-16]"),
    _of("128", "harmless", "the range is not looked at", "*outside*"),
    _of("129", "harmless", "page B2 offers UNMAP whether or not there is any", "*pages_say*"),
    _of("129", "harmless", "the limits of page B0 are not held to", "*as_are_told*"),
    _of("130", "gap", "NDOB is not looked at: nothing is written, and the status is GOOD", "*without_data*"),
    _of("130", "harmless", "UNMAP is not looked at on a disk that has none", "*has_none*"),
    _of("130", "harmless", "the limits of page B0 are not held to", "*as_are_told*"),
    _of("130", "harmless", "data of another size than a block is not refused", "*another_size*"),
    _of("131", "gap", "nothing is verified: false successes, outside the medium too", "*medium_alone*", "*reserved*"),
    _of("131", "gap", "no comparing with data (BYTCHK)", "*against_data*", "*for_all*"),
    _of("132", "gap", _NO_COMPARE, "*"),
    _of("133", "gap", "no GET LBA STATUS", "*"),
    _of("134", "gap", _SHORT, "*report_luns*"),
    _of("135", "gap", _NO_OPCODES, "*"),
    _of("136", "gap", "an unknown command with data for the device is never completed", "*unknown*-out]"),
    _of("136", "harmless", "opcode 0F is one of an old group and ends in 05/24/00", "*unknown*"),
    _of("136", "gap", _SHORT, "*REPORT LUNS*"),
    _of("136", "harmless", "NACA is not looked at", "*naca*"),
    _of("139", "gap", "an error of the host is 0B/00/06, without its place", "*cannot_be*", "*later*", "*among*"),
    _of("139", "gap", "nothing is verified: false successes", "*verify*"),
    _of("139", "gap", _NO_COMPARE, "*compare*"),
    _of("140", "gap", "new blocks are out of range until READ CAPACITY was sent", "*new_blocks*"),
    _of("140", "harmless", "told even when the size is the same", "*same_size*"),
    _of("141", "harmless", "a CD drive is a disk that only reads: 07/27/00", "*not_written*"),
    _of("141", "harmless", "no READ CD, no READ TRACK INFORMATION", "*read_cd", "*track_information"),
    _of("141", "harmless", "the session's first track has number 0", "*sessions*"),
    _of("141", "harmless", "RT and the first feature are not looked at: all features are answered", "*some_of*"),
    _of("141", "choice", "a new medium is first told as 06/3A/00", "*told_once"),
    _of("141", "harmless", "a tray that closes on nothing is told as new media", "*removal*"),
    _of("142", "harmless", "REQUEST SENSE is stopped by a unit attention, see PVS-V-114", "*pending_sense*"),
    _of("143", "gap", "chain elements are taken for data", "*chained*"),
)


TABLES: dict[str, tuple[Difference, ...]] = {"local": (), "vfio-user": SERVED, "qemu": QEMU}
