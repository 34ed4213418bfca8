"""Print docs/SCSI.md: the commands, pages and limits of the SCSI target, from its own tables.

Usage: python tools/scsi_page.py [--check | --stdout]

`--check` writes nothing and fails when the page is stale.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from pvscsi.scsi import limits, sense
from pvscsi.scsi.cdrom import Cdrom
from pvscsi.scsi.command import Command
from pvscsi.scsi.disk import Disk
from pvscsi.scsi.log import PAGES
from pvscsi.scsi.mode import Page, cd_pages, disk_pages
from pvscsi.scsi.opcodes import cd_commands, disk_commands
from pvscsi.scsi.unit import LogicalUnit

PAGE = Path(__file__).resolve().parent.parent / "docs" / "SCSI.md"

INTRODUCTION = """\
# The SCSI target

Printed by `tools/scsi_page.py` from the tables in `pvscsi/scsi`; a test fails when this page is stale.

`pvscsi/scsi` is a target in pure Python: a CDB and data go in, status, sense and data come out, and in between
transfers for a backend to do. It knows no adapter and no OS. A `Target` has units by LUN: `Disk` (SBC-3) and `Cdrom`
(MMC-6).

A plain READ or WRITE is one transfer over the initiator's own memory; everything longer is a generator of transfers,
and closing it aborts the command. COMPARE AND WRITE is atomic: writes that overlap it wait.
"""

CHOICES = """\
## Where the standards leave a choice

- **Order of errors.** Opcode and length of the CDB, LUN, reservation, unit attention, not ready, write protection,
  fields of the CDB, LBA range, parameter list, medium.
- **Unit attentions.** Power-on (29/01) is told each initiator once and covers whatever happened before. A reset
  (29/02, 29/03) covers what was pending; of resets only the weightiest is told. Who loads a medium (START STOP UNIT)
  is not told 28/00; all others are.
- **Sense** is in fixed format unless D_SENSE is set. An LBA above 32 bits is then not told: INFORMATION is not valid.
- **Write cache.** WCE is 1: FUA, SYNCHRONIZE CACHE, a stop and an eject make durable. WCE 0 makes every write
  durable, and clearing it flushes. A read with FUA flushes first. SYNCHRONIZE CACHE flushes the whole medium and
  answers when it is durable, even with IMMED.
- **A memory that is too small**: a read fills the whole blocks that fit, a write changes nothing, and the adapter
  reports the overrun. Answers with an allocation length are clipped. A parameter list cut short is 05/1A/00.
- **Thin provisioning.** UNMAP, and WRITE SAME with UNMAP, only where the backend takes blocks back; LBPRZ only where
  they then read as zeros. WRITE SAME with UNMAP gives blocks back only when they read afterwards as what was sent.
  UNMAP checks all ranges before the first; after a failure those before it are done. ANCHOR is not offered.
- **WRITE SAME** of 0 blocks goes on to the end (WSNZ 0). Data of another size than one block are 05/24/00, and so are
  more data than COMPARE AND WRITE has blocks for.
- **Stopping** makes a fixed disk not ready (02/04/02) until a start or a reset; a unit with a tray stays ready. Power
  conditions change nothing.
- **A backend that fails**: 03/11/00 or 03/0C/00 with the LBA, 07/27/07 when it is full, 07/27/00 when it turns
  read-only, 04/44/00 when it is gone for good. Later commands are tried anew.
- **Reservations.** Persistent ones survive resets but not the process (PTPL is not offered); no REGISTER AND MOVE,
  SPEC_I_PT or APTPL. RESERVE and RELEASE keep to one initiator, as CRH wants it beside registrations.
- **FORMAT UNIT** takes no parameter list and changes nothing. PRE-FETCH fetches nothing and is GOOD.
- **Bits a command does not look at** are ignored; NACA is 05/24/00.
- **Ordered and head-of-queue tasks** are the adapter's to keep in order; the target begins what it is given.
"""

LIMITS = (
    ("blocks of one READ, WRITE or VERIFY with data", "TRANSFER_BLOCKS_MAX"),
    ("blocks of one COMPARE AND WRITE", "COMPARE_BLOCKS_MAX"),
    ("blocks of one WRITE SAME", "WRITE_SAME_BLOCKS_MAX"),
    ("blocks of one UNMAP, all ranges together", "UNMAP_BLOCKS_MAX"),
    ("ranges of one UNMAP", "UNMAP_DESCRIPTORS_MAX"),
    ("bytes of our own memory used at a time", "CHUNK"),
)
MODE_NAMES = {
    0x01: "read-write error recovery",
    0x08: "caching",
    0x0A: "control",
    0x0E: "CD audio control",
    0x1C: "informational exceptions control",
    0x2A: "CD capabilities",
}
LOG_NAMES = {
    0x00: "supported pages",
    0x02: "write error counters",
    0x03: "read error counters",
    0x2F: "informational exceptions",
}


def _cdb(command: Command) -> str:
    action = "" if command.action is None else f"/{command.action:02X}"
    return f"{command.opcode:02X}{action}"


def commands() -> list[str]:
    """Every command: opcode, name, CDB length, which units have it, and what stops it."""
    thin = {_cdb(each): each for each in disk_commands(thin=True)}
    thick = {_cdb(each) for each in disk_commands(thin=False)}
    cd = {_cdb(each): each for each in cd_commands()}
    lines = ["| opcode | command | CDB | disk | CD | medium | under another's reservation |", "| --- " * 7 + "|"]
    for key in sorted({*thin, *cd}):
        row = thin.get(key) or cd[key]
        on_disk = "" if key not in thin else "yes" if key in thick else "thin"
        medium = "writes" if row.writes else "reads" if row.medium else ""
        lines.append(
            f"| {key} | {row.name} | {row.cdb_length} | {on_disk} | {'yes' if key in cd else ''} | {medium} "
            f"| {row.access.value} |"
        )
    return lines


def vital_pages(units: Mapping[str, type[LogicalUnit]]) -> list[str]:
    """VPD pages, and which units have them."""
    lines = [f"| page | what | {' | '.join(units)} |", "| --- " * (2 + len(units)) + "|"]
    pages = {code: page for unit in units.values() for code, page in unit.vital_pages.items()}
    for code in sorted(pages):
        what = (pages[code].__doc__ or "").split("\n")[0].partition(": ")[2]
        have = " | ".join("yes" if code in unit.vital_pages else "" for unit in units.values())
        lines.append(f"| {code:02X} | {what.rstrip('.')} | {have} |")
    return lines


def mode_pages(units: Mapping[str, Iterable[Page]]) -> list[str]:
    """Mode pages as they are by default, and the bits that may be changed."""
    lines = ["| unit | page | what | default | may be changed |", "| --- " * 5 + "|"]
    for unit, pages in units.items():
        for page in pages:
            free = ", ".join(f"byte {i}: {value:02X}" for i, value in enumerate(page.changeable[2:], 2) if value)
            code = page.default[0]
            lines.append(f"| {unit} | {code:02X} | {MODE_NAMES[code]} | `{page.default.hex(' ')}` | {free} |")
    return lines


def senses() -> list[str]:
    """Every sense a unit gives."""
    found = sorted((value, name) for name, value in vars(sense).items() if isinstance(value, sense.Sense))
    return [
        "| sense | name |",
        "| --- | --- |",
        *(f"| {value} | {name.lower().replace('_', ' ')} |" for value, name in found),
    ]


def page() -> str:
    """All of docs/SCSI.md."""
    return "\n".join(
        [
            INTRODUCTION,
            "## Commands",
            "",
            "Medium: what the command needs of it. `thin`: only on a disk with thin provisioning.",
            "",
            *commands(),
            "",
            "## Vital product data",
            "",
            *vital_pages({"disk": Disk, "CD": Cdrom}),
            "",
            "## Mode pages",
            "",
            "Nothing is saved: a reset brings the defaults back.",
            "",
            *mode_pages({"disk": disk_pages(), "CD": cd_pages()}),
            "",
            "## Log pages",
            "",
            "| page | what |",
            "| --- | --- |",
            *(f"| {code:02X} | {LOG_NAMES[code]} |" for code in sorted(PAGES)),
            "",
            "## Limits",
            "",
            "| what | most |",
            "| --- | --- |",
            *(f"| {what} | {getattr(limits, name):,} |" for what, name in LIMITS),
            "",
            "## Sense",
            "",
            *senses(),
            "",
            CHOICES,
        ]
    )


def main(arguments: list[str] | None = None, *, target: Path = PAGE) -> int:
    parser = argparse.ArgumentParser(description="Print docs/SCSI.md: commands, pages and limits of the SCSI target.")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="write nothing; fail when the page is stale")
    mode.add_argument("--stdout", action="store_true", help="print the page instead of writing it")
    options = parser.parse_args(arguments)
    text = page()
    if options.stdout:
        print(text, end="")
        return 0
    if not options.check:
        target.write_text(text, encoding="utf-8")
        return 0
    if target.exists() and target.read_text(encoding="utf-8") == text:
        return 0
    print(f"{target.name} is stale: run `python tools/scsi_page.py`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
