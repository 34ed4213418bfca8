"""The kernel in the form QEMU starts soonest: its ELF image, entered by the PVH note.

A guest without KVM spends about a second inflating its own bzImage; the host does it once in 0.2 s. The code that runs
is the same. Where the image cannot be had so (no zstd program, no PVH entry), the bzImage itself serves.
"""

import hashlib
import struct
from pathlib import Path

from guest.cache import KitError, new_file
from guest.kit import Kit
from guest.modules import decompress
from pvdev.qemu import cache_dir

PVH_NOTE = struct.pack("<I", 18) + b"Xen\0"  # type XEN_ELFNOTE_PHYS32_ENTRY, then the owner's name


def payload(image: bytes) -> bytes:
    """The packed kernel inside a bzImage, without the size that follows xz and zstd data.

    Ref: Linux Documentation/arch/x86/boot.rst, setup_sects, payload_offset, payload_length.
    """
    sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    packed = image[start : start + length]
    return packed if packed.startswith(b"\x1f\x8b") else packed[:-4]


def boot_image(kit: Kit) -> Path:
    """What to hand to QEMU's -kernel."""
    facts = kit.kernel.stat()
    key = hashlib.sha256(f"{kit.kernel}\0{facts.st_size}\0{facts.st_mtime_ns}".encode()).hexdigest()[:16]
    target = cache_dir() / "build" / f"vmlinux-{key}"
    if target.exists():
        return target
    try:
        image = decompress(payload(kit.kernel.read_bytes()))
    except KitError:
        return kit.kernel
    if not image.startswith(b"\x7fELF") or PVH_NOTE not in image:
        return kit.kernel
    return new_file(target, image)
