"""The rules of the vfio-user protocol that our two ends check or keep.

VFU-S: what a client may send and how the server answers it. VFU-C: what our client keeps, or finds a server to break.
ADVICE marks what is legal or harmless and only noted; VIOLATION is answered with an error (or passed over) and the
connection goes on; FATAL ends it.
"""

import errno
from collections.abc import Callable

from pvdev.rules import Rule, RuleBook, Severity

A, V, F = Severity.ADVICE, Severity.VIOLATION, Severity.FATAL
SPEC = "vfio-user specification"
VFIO = "linux/vfio.h"
LIB = "libvfio-user's behaviour"
QEMU = "QEMU's client"
OURS = "our decision"

SERVER_RULES = tuple(
    Rule(f"VFU-S-{number:03}", severity, text, source)
    for number, severity, text, source in (
        # framing and header
        (1, A, "a header may arrive in pieces", SPEC),
        (2, A, "a payload may arrive in pieces", SPEC),
        (3, F, "a message is at least 16 bytes: nothing after a shorter one can be read", SPEC),
        (4, V, "a command that has a payload carries it", SPEC),
        (5, V, "a message is at most 1 MiB and 32 bytes", SPEC),
        (6, V, "the stream does not end inside a message", SPEC),
        (7, V, "a reply answers a command that is outstanding", SPEC),
        (8, V, "the type is command (0) or reply (1)", SPEC),
        (9, V, "a command carries neither the error flag nor an error number", SPEC),
        (10, V, "header flags that mean nothing are zero", SPEC),
        (11, V, "the command is one a client sends: anything else gets EINVAL", LIB),
        (12, A, "a command marked no-reply gets none, not even an error", SPEC),
        (13, A, "two outstanding commands may have one id: answered in order", SPEC),
        (14, A, "a payload is no longer than its command needs", OURS),
        (15, V, "descriptors come only where a command takes them; others are closed", SPEC),
        (16, F, "no descriptors are lost on the way: EFAULT, then the end", LIB),
        (17, A, "an error reply is the bare header", SPEC),
        # negotiation
        (20, F, "the first message is VERSION", SPEC),
        (21, V, "VERSION comes once", SPEC),
        (22, F, "the major version is 0", SPEC),
        (23, A, "the effective minor version is the lower of both", SPEC),
        (24, F, "VERSION holds its version numbers", SPEC),
        (25, F, "the version JSON is valid, ends with a NUL and `capabilities` is an object", SPEC),
        (26, A, "the version JSON may be absent and have keys we do not know, but is an object", SPEC),
        (27, F, "max_msg_fds is a number from 0 to 1024", LIB),
        (28, F, "max_data_xfer_size is a number above 0", OURS),
        (29, F, "no descriptor comes with VERSION", LIB),
        (30, A, "the VERSION reply is at most 214 bytes and is sent even if no-reply is set", QEMU),
        # information
        (40, V, "argsz has room for the fixed part of the reply", SPEC),
        (41, A, "argsz may be larger than needed", SPEC),
        (42, A, "argsz too small for the capabilities: the fixed part, with the size that is needed", SPEC),
        (43, V, "the region index exists", SPEC),
        (44, A, "a region the device lacks has size 0", VFIO),
        (45, V, "fields that must be zero are", SPEC),
        (46, V, "the interrupt index exists", SPEC),
        (47, V, "REGION_IO_FDS asks for a present region with zero flags and count and a sane argsz", LIB),
        (48, F, "the doorbell descriptors of a region fit one message", SPEC),
        (49, F, "the device's own description is sound", OURS),
        # interrupts
        (50, V, "SET_IRQS holds its fixed part, in payload and argsz", SPEC),
        (51, V, "SET_IRQS names exactly one kind of data and one action", VFIO),
        (52, V, "the vectors named are vectors of the index", VFIO),
        (53, V, "count 0 only disables: no data, trigger, start 0", LIB),
        (54, V, "descriptors come only with eventfd data", LIB),
        (55, V, "as many descriptors as vectors, or none", LIB),
        (56, V, "one byte per vector with boolean data", VFIO),
        (57, V, "the error and request indices are only triggered, one vector each", LIB),
        (58, V, "an interrupt's descriptor is an eventfd", SPEC),
        (59, A, "a new descriptor replaces the vector's old one", VFIO),
        (60, A, "no data, trigger, start 0, count 0 switches the whole index off", VFIO),
        (61, V, "a boolean is 0 or 1", LIB),
        (62, A, "an unmask eventfd the client writes samples the INTx line again", VFIO),
        (63, A, "an interrupt's descriptor that takes nothing now is not waited for", OURS),
        # region access
        (70, V, "a register access holds its fixed part", SPEC),
        (71, V, "the region of an access exists", SPEC),
        (72, V, "an access stays inside its region", SPEC),
        (73, V, "an access is not larger than max_data_xfer_size", SPEC),
        (74, V, "a write carries as many bytes as it says", SPEC),
        (75, V, "an access has at least one byte", OURS),
        (76, V, "a register access is 1, 2, 4 or 8 bytes at a multiple of that; others are split", OURS),
        (77, V, "an access is one its region allows", SPEC),
        (78, A, "read-only bits of config space ignore what is written", "PCI"),
        (79, V, "REGION_WRITE_MULTI's count matches its entries, each of 1 to 8 bytes", SPEC),
        (80, A, "messages reach mapped memory too", SPEC),
        (81, A, "an access is answered before longer work is begun", OURS),
        # DMA, reset, migration
        (90, V, "DMA_MAP holds its fixed part, in payload and argsz", SPEC),
        (91, V, "DMA_MAP's flags are known, permit something and fit the descriptor", LIB),
        (92, V, "a DMA region overlaps no other: EEXIST", SPEC),
        (93, A, "mapping the same region again changes nothing", LIB),
        (94, V, "a DMA region has a size and ends below 2^64", OURS),
        (95, A, "a DMA region is page aligned", SPEC),
        (96, V, "a DMA region's file is large enough", OURS),
        (97, V, "a DMA region's descriptor can be mapped", LIB),
        (98, V, "DMA_MAP carries at most one descriptor", SPEC),
        (99, V, "no more DMA regions than max_dma_maps: ENOSPC", SPEC),
        (100, A, "a device without DMA takes maps all the same", LIB),
        (101, V, "DMA_UNMAP names exactly one region that is mapped: ENOENT", SPEC),
        (102, V, "DMA_UNMAP holds its fixed part; argsz is sane", SPEC),
        (103, V, "DMA_UNMAP's flags are known; unmapping all names no range", LIB),
        (104, V, "nothing keeps unmapped memory when DMA_UNMAP is answered", SPEC),
        (105, A, "DEVICE_RESET has no payload", SPEC),
        (106, A, "DEVICE_RESET drops work under way and is answered in time", SPEC),
        (107, V, "DEVICE_FEATURE names one feature and method that is offered", LIB),
        (108, V, "a migration state is entered only from where it may be", SPEC),
        (109, V, "migration data is moved only in a state that has any", SPEC),
        (110, V, "a stopped device is not used", LIB),
        (111, V, "a DMA reply repeats the address and count asked for and holds the data", SPEC),
        (112, A, "when the client goes, DMA and interrupts are released and the device is reset", LIB),
        (113, A, "shared memory is copied once, then checked and used", OURS),
    )
)

CLIENT_RULES = tuple(
    Rule(f"VFU-C-{number:03}", severity, text, source)
    for number, severity, text, source in (
        (1, V, "a message is sent whole, by one call", OURS),
        (2, V, "exactly `size` bytes of every message are read, wanted or not", SPEC),
        (3, V, "a reply has the id, and repeats the command, of what it answers", SPEC),
        (4, V, "a reply is no larger than a message may be; a larger one is read past", OURS),
        (5, A, "the server's commands are served while a reply is awaited", SPEC),
        (6, V, "no more descriptors in one message than the server's max_msg_fds", SPEC),
        (7, V, "no more bytes in one access than the server's max_data_xfer_size", SPEC),
        (8, V, "region information is sound: sizes, capability chain, areas, descriptor", SPEC),
        (9, V, "descriptors of failed or unexpected replies are closed", SPEC),
        (10, A, "a DMA_WRITE marked no-reply gets none", SPEC),
        (11, V, "the server's DMA stays in memory lent to it: ENODEV, EPERM, E2BIG", QEMU),
        (12, A, "after a timeout the late reply is dropped and the link goes on", OURS),
        (13, A, "BAR addresses and decoding are set before a BAR is used; INTx is unmasked after service", QEMU),
        (14, A, "memory lent to a device is a memfd that cannot shrink", OURS),
    )
)

RULES = RuleBook(SERVER_RULES, CLIENT_RULES)

Note = Callable[[str, str, int], None]  # RuleLog.note


class Refused(Exception):
    """A command is answered with this errno. `fatal`: and the connection ends."""

    def __init__(self, error: int, rule: str = "", place: str = "", value: int = 0, *, fatal: bool = False) -> None:
        super().__init__(rule)
        self.error, self.rule, self.place, self.value, self.fatal = error, rule, place, value, fatal


def fixed(note: Note, command: str, payload: bytes, size: int) -> None:
    """Check a request of `size` bytes whose first word is argsz. Raises `Refused`."""
    if len(payload) < size:
        raise Refused(errno.EINVAL, "VFU-S-004", command, len(payload))
    argsz = int.from_bytes(payload[:4], "little")
    if argsz < size:
        raise Refused(errno.EINVAL, "VFU-S-040", command, argsz)
    if len(payload) > size:
        note("VFU-S-014", command, len(payload))
