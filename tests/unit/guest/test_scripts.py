from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from guest import scripts
from guest.cache import KitError
from guest.initramfs import ROOTFS
from guest.scripts import asked, build_for


def test_script_asks_for_modules_and_programs() -> None:
    script = "# What it shows.\n#   pv_nic=eth0\n# modules: sd_mod sg\n# programs: fio\n# modules: ext4\nplan 1\n"

    assert asked(script) == {"modules": ["sd_mod", "sg", "ext4"], "programs": ["fio"]}


def test_archive_has_what_all_scripts_ask_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Any] = []
    monkeypatch.setattr(scripts, "build", lambda kit, modules, files: built.extend((modules, files)))
    monkeypatch.setattr(scripts, "storage_files", _pretend)
    files = {
        "tests/a.sh": b"# modules: sd_mod vmxnet3\n# programs: fio sg_inq\n",
        "tests/b.sh": b"# modules: ext4 sd_mod\n# programs: fio\n",
    }

    build_for(None, ["a", "b"], ("vmxnet3",), files)  # type: ignore[arg-type]

    assert built == [("vmxnet3", "sd_mod", "ext4"), {"bin/fio": b"", "bin/sg_inq": b""} | files]


def _pretend(names: Sequence[str]) -> dict[str, bytes]:
    return {f"bin/{name}": b"" for name in names}


def test_script_there_is_none_of() -> None:
    with pytest.raises(KitError, match=r"no test script disk_nothing: write rootfs/tests/disk_nothing\.sh"):
        build_for(None, ["disk_nothing"])  # type: ignore[arg-type]


@pytest.mark.parametrize("path", sorted((ROOTFS / "tests").glob("*.sh")), ids=lambda path: path.stem)
def test_every_script_says_what_it_shows(path: Path) -> None:
    head = path.read_text().splitlines()[0]

    assert head.startswith("# ")
    assert not head.startswith(("# modules:", "# programs:"))
