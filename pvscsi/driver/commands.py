"""What a driver can say through registers: commands, with what each carries and what its answer must look like.

Ref: Linux drivers/scsi/vmw_pvscsi.c; FreeBSD sys/dev/vmware/pvscsi/pvscsi.c (GET_MAX_TARGETS).
"""

from collections.abc import Callable
from dataclasses import dataclass

from pvdev.device import Port
from pvdev.errors import ConfigError
from pvdev.pci_driver import PciFacts, best_interrupts, set_interrupts
from pvscsi import wire
from pvscsi.driver.common import GUARD, DeviceBroke
from pvscsi.driver.config import Config
from pvscsi.driver.memory import Memory
from pvscsi.driver.pci import probe_pci, registers
from pvscsi.driver.profiles import PROFILES, Profile, Steps
from pvscsi.driver.rings import MSG_LOG2, Rings
from pvscsi.wire import Cmd, HostStatus, Intr

FEW = 16  # targets, when the adapter does not tell
MANY_PAGES, FEW_PAGES = 32, 8
_CMPL, _MSG = int(Intr.CMPL_0 | Intr.CMPL_1), int(Intr.MSG_0 | Intr.MSG_1)


@dataclass(frozen=True)
class ConfigPage:
    """What CONFIG left: COMMAND_STATUS (0 for a driver that does not ask), and the page as it is in memory."""

    answer: int
    raw: bytes

    @property
    def header(self) -> dict[str, int]:
        return wire.CONFIG_HEADER.numbers(self.raw)

    @property
    def ok(self) -> bool:
        header = self.header
        return not header["hostStatus"] and not header["scsiStatus"]


class Commands:
    """Registers, commands, the steps of a profile. With `strict` a broken duty raises, else `complaints` grows."""

    def __init__(self, port: Port, strict: bool = True) -> None:
        self.port, self.strict = port, strict
        self.complaints: list[DeviceBroke] = []
        self.profile: Profile = PROFILES["plain"]
        self.config = Config()
        self.memory = Memory(port, self.complain)
        self.pci: PciFacts | None = None
        self._bar = 0  # where the registers are, once `pci` is known
        self.intr = "intx"  # the kind of interrupt that is on
        self.targets = FEW
        self.rings: Rings | None = None
        self.active = False
        self.has_messages = self.has_calls = False  # what the probes said
        self.calls = False  # the request call threshold is in force

    def complain(self, rule: str, what: str) -> None:
        """A duty is seen broken: raises `DeviceBroke` with `strict`."""
        complaint = DeviceBroke(rule, what)
        if self.strict:
            raise complaint
        if len(self.complaints) < 1000:
            self.complaints.append(complaint)

    # -- registers -----------------------------------------------------------------------------------------------------

    def facts(self) -> PciFacts:
        if self.pci is None:
            self.pci = probe_pci(self.port)
            self._bar = registers(self.pci)
        return self.pci

    def _registers(self) -> int:
        self.facts()
        return self._bar

    def reg(self, offset: int, size: int = 4) -> int:
        return self.port.read(self._registers(), offset, size)

    def set_reg(self, offset: int, value: int, size: int = 4) -> None:
        self.port.write(self._registers(), offset, value, size)

    def status(self) -> int:
        """COMMAND_STATUS."""
        return self.reg(wire.REG_COMMAND_STATUS)

    def command_only(self, command: int, argument: bytes = b"") -> None:
        """A command and its argument, as far as it goes; nobody asks how it went."""
        self.set_reg(wire.REG_COMMAND, command)
        for at in range(0, len(argument), 4):
            self.set_reg(wire.REG_COMMAND_DATA, int.from_bytes(argument[at : at + 4], "little"))

    def command(self, command: int, argument: bytes = b"") -> int:
        """The same, and COMMAND_STATUS then."""
        self.command_only(command, argument)
        return self.status()

    def pending(self) -> Intr:
        """INTR_STATUS."""
        value = self.reg(wire.REG_INTR_STATUS)
        if value & ~wire.INTR_ALL:
            self.complain("PVS-V-008", f"INTR_STATUS has reserved bits: {value:#x}")
        return Intr(value & wire.INTR_ALL)

    def acknowledge(self, which: int | None = None) -> Intr:
        """Clear `which` (None: all that are set) in INTR_STATUS; what was set."""
        found = self.pending()
        value = int(found) if which is None else which
        if value:
            self.set_reg(wire.REG_INTR_STATUS, value)
        return found

    def set_mask(self, mask: int) -> None:
        self.set_reg(wire.REG_INTR_MASK, mask)

    def unmask(self) -> None:
        """All this driver wants to hear of."""
        self.set_mask(_CMPL | (_MSG if self.rings is not None and self.rings.told else 0))

    # -- commands ------------------------------------------------------------------------------------------------------

    def adapter_reset(self) -> None:
        """ADAPTER_RESET; the rings of this driver are not the device's any more."""
        self._told(Cmd.ADAPTER_RESET, b"", 0, "PVS-V-030")
        self.active = self.calls = False

    def _told(self, command: Cmd, argument: bytes, wanted: int, rule: str) -> None:
        """A command; a profile that looks at everything looks at its answer."""
        if not self.profile.checks:
            self.command_only(command, argument)
            return
        answer = self.command(command, argument)
        if answer != wanted:
            self.complain(rule, f"{command.name} answered {answer:#x}, not {wanted}")

    def config_page(self, number: int, address: int, *, size: int = wire.PAGE, at: int = 0) -> ConfigPage:
        """CONFIG into `size` bytes of memory, `at` bytes behind their start; the header says failure before."""
        piece = self.memory.take(size, wire.PAGE)
        before = wire.CONFIG_HEADER.encode(hostStatus=HostStatus.INVPARAM, scsiStatus=2)
        piece.view[at : at + len(before)] = before
        argument = wire.CONFIG.encode(cmpAddr=piece.address + at, configPageAddress=address, configPageNum=number)
        self.command_only(Cmd.CONFIG, argument)
        raw = bytes(piece.view[at:])
        page = ConfigPage(self.status() if self.profile.checks else 0, raw)
        length = 4 * page.header["numDwords"] if page.ok else wire.CONFIG_HEADER.size
        if raw[length:].strip(bytes([GUARD])):
            self.complain("PVS-V-040", f"CONFIG page {number:#x} wrote more than {length} bytes")
        if at and bytes(piece.view[:at]).strip(bytes([GUARD])):
            self.complain("PVS-V-040", f"CONFIG page {number:#x} wrote before its buffer")
        self.memory.give(piece)
        return page

    def controller_page(self) -> dict[str, int] | None:
        """The controller page as numbers; None when the device refuses it."""
        page = self.config_page(wire.CONFIG_PAGE_CONTROLLER, wire.ADDRESS_CONTROLLER << 32)
        if not page.ok:
            return None
        header = page.header
        if (header["pageNum"], header["numDwords"]) != (wire.CONFIG_PAGE_CONTROLLER, wire.CONFIG_CONTROLLER.size // 4):
            self.complain("PVS-V-039", f"the controller page's header: {header}")
        return wire.CONFIG_CONTROLLER.numbers(page.raw[: wire.CONFIG_CONTROLLER.size])

    def max_targets(self) -> int | None:
        """GET_MAX_TARGETS; None when the device does not know it."""
        answer = self.command(Cmd.GET_MAX_TARGETS)
        return None if answer == wire.STATUS_FAILED else answer

    def _know_targets(self, count: int, rule: str) -> None:
        if not 0 < count <= 256:
            self.complain(rule, f"{count} targets")
            count = FEW
        self.targets = count

    def set_calls(self, on: bool) -> bool:
        """SETUP_REQCALLTHRESHOLD; whether the threshold is in force now."""
        answer = self.command(Cmd.SETUP_REQCALLTHRESHOLD, int(on).to_bytes(4, "little"))
        self.calls = answer not in (0, wire.STATUS_FAILED)
        return self.calls

    # -- steps of a profile --------------------------------------------------------------------------------------------

    def run_steps(self, steps: Steps) -> None:
        """Do what `profiles` writes down."""
        for step in steps:
            name, _, value = step.partition(" ")
            self._verbs[name](self, value)

    def _mask(self, value: str) -> None:
        if value:
            self.set_mask(0)
        else:
            self.unmask()

    def _ask_config(self, value: str) -> None:
        page = self.controller_page()
        if page is not None:
            self._know_targets(page["numPhys"], "PVS-V-039")
        elif self.profile.name == "openbsd":
            raise ConfigError("the device has no controller page: OpenBSD's driver does not attach")

    def _ask_targets(self, value: str) -> None:
        count = self.max_targets()
        if count is not None:
            self._know_targets(count, "PVS-V-040")

    def _ask_messages(self, value: str) -> None:
        self.has_messages = self.command(Cmd.SETUP_MSG_RING) != wire.STATUS_FAILED

    def _ask_calls(self, value: str) -> None:
        self.has_calls = self.config.calls and self.command(Cmd.SETUP_REQCALLTHRESHOLD) != wire.STATUS_FAILED

    def _use_calls(self, value: str) -> None:
        if self.has_calls:
            self.set_calls(True)

    def _setup_rings(self, value: str) -> None:
        rings = self._make_rings() if self.rings is None else self.rings
        self.rings = rings
        rings.clear()
        self._told(Cmd.SETUP_RINGS, rings.arguments(), 0, "PVS-V-024")
        rings.check_set_up()
        self.active = True

    def _make_rings(self) -> Rings:
        config = self.config
        usual = MANY_PAGES if self.targets > FEW else FEW_PAGES
        return Rings(
            self.memory,
            self.complain,
            req_pages=config.req_pages or usual,
            cmp_pages=config.cmp_pages or usual,
            msg_pages=config.msg_pages,
            scattered=config.scattered,
        )

    def _setup_messages(self, value: str) -> None:
        rings = self.rings
        assert rings is not None
        asked = any("?MSG" in step for step in self.profile.bring_up)
        if rings.messages is None or (asked and not self.has_messages):
            return
        argument = rings.message_arguments()
        self._told(Cmd.SETUP_MSG_RING, argument, len(argument) // 4, "PVS-V-028")
        if asked or rings.state[MSG_LOG2]:
            rings.check_messages_set_up()

    def _use_interrupts(self, value: str) -> None:
        self.intr = best_interrupts(self.facts(), self.config.intr)
        set_interrupts(self.port, self.facts(), self.intr)

    def _reset_first(self, value: str) -> None:
        self.adapter_reset()

    def _read_status(self, value: str) -> None:
        self.pending()

    def _kick_others(self, value: str) -> None:
        self.set_reg(wire.REG_KICK_NON_RW_IO, 0)

    _verbs: dict[str, Callable[["Commands", str], None]] = {
        "MASK": _mask,
        "CONFIG": _ask_config,
        "TARGETS": _ask_targets,
        "RESET": _reset_first,
        "STATUS": _read_status,
        "?MSG": _ask_messages,
        "?CALLS": _ask_calls,
        "RINGS": _setup_rings,
        "MSG": _setup_messages,
        "CALLS": _use_calls,
        "IRQ": _use_interrupts,
        "KICK": _kick_others,
    }
