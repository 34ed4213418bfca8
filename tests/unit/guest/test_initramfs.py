import shutil
import subprocess
from pathlib import Path

import pytest
from guest.initramfs import cpio, device, file, folder, link

# newc by hand: magic, inode, mode, uid, gid, links, mtime, size, dev 8/8, rdev 8/8, name size, check; padded to 4
ONE_FILE = (
    b"070701" b"00000001" b"000081A4" b"00000000" b"00000000" b"00000001" b"00000000" b"00000003"
    b"00000000" b"00000000" b"00000000" b"00000000" b"00000002" b"00000000" b"a\0" b"hi\n\0"
    b"070701" b"00000002" b"00000000" b"00000000" b"00000000" b"00000001" b"00000000" b"00000000"
    b"00000000" b"00000000" b"00000000" b"00000000" b"0000000B" b"00000000" b"TRAILER!!!\0" b"\0\0\0"
)  # fmt: skip


def test_cpio_golden_bytes() -> None:
    assert cpio([file("a", b"hi\n")]) == ONE_FILE


def test_cpio_is_sorted_and_repeatable() -> None:
    entries = [file("b", b"2"), folder("a"), file("a/c", b"3")]

    assert cpio(entries) == cpio(reversed(entries))


def test_cpio_device_numbers() -> None:
    head = cpio([device("console", 5, 1)])[:110]

    assert (head[14:22], head[78:86], head[86:94]) == (b"00002180", b"00000005", b"00000001")


@pytest.mark.skipif(shutil.which("cpio") is None, reason="the cpio program is not installed")
def test_cpio_program_reads_it(tmp_path: Path) -> None:
    archive = cpio([folder("d"), file("d/f", b"content", 0o755), link("l", "d/f")])

    subprocess.run(["cpio", "-idm", "--quiet"], input=archive, cwd=tmp_path, check=True)

    assert (tmp_path / "l").read_bytes() == b"content"
    assert (tmp_path / "d/f").stat().st_mode & 0o777 == 0o755
