"""docs/SCSI.md is what the target's tables say."""

from pathlib import Path

import pytest
import scsi_page

from pvscsi.scsi.opcodes import cd_commands, disk_commands


def test_the_page_in_the_repository_is_true() -> None:
    assert scsi_page.PAGE.read_text(encoding="utf-8") == scsi_page.page()


def test_every_command_has_its_line() -> None:
    names = [line.split(" | ")[1] for line in scsi_page.commands()[2:]]

    assert len(names) == len(set(names))
    assert set(names) == {row.name for row in (*disk_commands(thin=True), *cd_commands())}


def test_what_only_some_units_have() -> None:
    lines = {line.split(" | ")[1]: line for line in scsi_page.commands()}

    assert lines["UNMAP"] == "| 42 | UNMAP | 10 | thin |  | writes | does not run |"
    assert lines["READ TOC/PMA/ATIP"].startswith("| 43 | READ TOC/PMA/ATIP | 10 |  | yes | reads |")


def test_a_stale_page_is_found_and_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "SCSI.md"
    page.write_text("old")

    assert scsi_page.main(["--check"], target=page) == 1
    assert (page.read_text(), capsys.readouterr().err) == ("old", "SCSI.md is stale: run `python tools/scsi_page.py`\n")
    assert scsi_page.main([], target=page) == 0
    assert scsi_page.main(["--check"], target=page) == 0


def test_it_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert scsi_page.main(["--stdout"]) == 0
    assert capsys.readouterr().out == scsi_page.page()
