"""A second driver nobody here wrote: SeaBIOS boots from our disk."""

import subprocess
from pathlib import Path

import pytest
from guest.kit import Kit

from pvdev.qemu import device_arg, machine_args
from tests.guest.disks import Served, broken

pytestmark = [pytest.mark.guest, pytest.mark.slow]

SECTOR = 512
TEXT = b"read by the boot sector\n"
LBA = 1 << 16  # of the text, far behind the boot sector
# Real mode, entered at 0:7C00 with the boot disk in DL: INT 13h function 42h reads the sector at LBA to 0:7E00, its
# text goes out of COM1 byte by byte, and QEMU's isa-debug-exit at port 501h ends it all.
CODE = bytes.fromhex(
    "31c0 8ed8 8ed0 bc007c"  # xor ax, ax; mov ds, ax; mov ss, ax; mov sp, 7C00h
    "be407c b442 cd13 b002 7211"  # mov si, 7C40h; mov ah, 42h; int 13h; mov al, 2; jc end
    "be007e fc baf803"  # mov si, 7E00h; cld; mov dx, 3F8h
    "ac 84c0 7403 ee ebf8 b001"  # next: lodsb; test al, al; jz +3; out dx, al; jmp next; mov al, 1
    "ba0105 ee f4"  # end: mov dx, 501h; out dx, al; hlt
)
PACKET = bytes.fromhex("10000100 007e0000") + LBA.to_bytes(8, "little")  # at 7C40h: one sector, to 0:7E00


def make_image(path: Path) -> None:
    """A disk with the boot sector, and the text where only a driver finds it."""
    sector = (CODE.ljust(0x40, b"\0") + PACKET).ljust(SECTOR - 2, b"\0") + b"\x55\xaa"
    with path.open("wb") as file:
        file.write(sector)
        file.seek(LBA * SECTOR)
        file.write(TEXT.ljust(SECTOR, b"\0"))


def test_seabios_boots_from_our_disk(guest_kit: Kit, tmp_path: Path) -> None:
    make_image(tmp_path / "disk.img")
    with Served(tmp_path, "--disk", f"file:{tmp_path / 'disk.img'}") as served:
        command = [*guest_kit.qemu, *machine_args("64M"), "-accel", "tcg", "-nodefaults", "-display", "none"]
        command += ["-serial", "stdio", "-device", "isa-debug-exit,iobase=0x501,iosize=1", "-no-reboot"]
        command += ["-device", device_arg(served.socket)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
        end = served.end()

    assert (done.stdout, done.stderr) == (TEXT, b"")
    assert done.returncode == 3  # isa-debug-exit makes 2n+1 of n
    assert broken(end) == []
