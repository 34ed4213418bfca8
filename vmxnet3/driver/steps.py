"""Running the steps `profiles` writes down: the register accesses of a driver's bring-up and close."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from pvdev.errors import ConfigError
from vmxnet3 import wire, wire_args
from vmxnet3.driver.commands import DriverCommands, Link
from vmxnet3.wire import Cap, Cmd, RssField

KNOWN_VERSIONS = tuple(range(1, 10))
_REGISTERS = {"UVRS": wire.REG_UVRS, "ICR": wire.REG_ICR, "ECR": wire.REG_ECR}
_TCP_FIELDS = RssField.TCPIP4 | RssField.TCPIP6


class DriverSteps(DriverCommands):
    """A driver that follows its profile."""

    def run(self, steps: Iterable[str]) -> None:
        """Do register accesses as `profiles` writes them down."""
        for step in steps:
            when, colon, what = step.partition(": ")
            if colon and not all(self._holds(word) for word in when.split()):
                continue
            verb, _, rest = (what if colon else step).partition(" ")
            name, _, value = rest.partition(" ")
            self._verbs[verb](self, name, value)

    def _holds(self, word: str) -> bool:
        if word == "rss":
            return self.config.rss is not None
        if word == "fields":
            return self.config.rss_fields is not None
        return self.version >= int(word.removeprefix("v"))

    def _do_read(self, name: str, value: str) -> None:
        if name == "MAC":
            self.mac = self.get_mac()
        elif name == "VRRS":
            self.offered = self.reg(wire.REG_VRRS)
        elif name == "DCR":
            self.dcr = Cap(self.reg(wire.REG_DCR))
        elif name == "PTCR":
            self.ptcr = Cap(self.reg(wire.REG_PTCR))
        else:
            self.reg(_REGISTERS[name])

    def _do_write(self, name: str, value: str) -> None:
        if name == "MAC":
            self.set_mac(self.mac)
        elif name == "DSA":
            self.set_dsa(0 if value else None)
        elif name == "RXPROD":
            for q, queue in enumerate(self.rx):
                for reg, ring in zip(self.bells[1:], queue.rings, strict=True):
                    self.set_reg(reg + 8 * q, 0 if value else ring.fill, wire.BAR_PT)
        elif name == "VRRS":
            self.version = self._choose()
            self.forget()
            self.set_reg(wire.REG_VRRS, 1 << self.version - 1)
        elif name == "DCR":
            self._ask(large_bar_only=value == "bar")
        else:
            self.set_reg(wire.REG_UVRS, 1)

    def _ask(self, *, large_bar_only: bool) -> None:
        """DCR: what the config or else the profile wants of what there is."""
        wanted = self.config.caps
        if wanted is None:
            wanted = self.profile.caps & self.dcr
            if not self.ptcr & Cap.ERROR:
                wanted &= self.ptcr
        if not large_bar_only:
            self.ask_caps(wanted)
        elif wanted & Cap.LARGE_BAR:
            self.ask_caps(Cap.LARGE_BAR)

    def _do_command(self, name: str, value: str) -> None:
        with self._prepared(name):
            self.command_only(Cmd[name])

    def _do_ask(self, name: str, value: str) -> None:
        with self._prepared(name):
            answer = self.command(Cmd[name])
        if name in self._heard:
            self._heard[name](self, answer)
        elif name == "GET_LINK":
            self.link = Link(bool(answer & 1), answer >> 16)
        elif name == "GET_PERM_MAC_LO":
            self.mac = answer.to_bytes(4, "little") + self.mac[4:]
        elif name == "GET_PERM_MAC_HI":
            self.mac = self.mac[:4] + (answer & 0xFFFF).to_bytes(2, "little")
        elif name in ("QUIESCE_DEV", "RESET_DEV") and answer:
            self._complain("VMX-V-006", f"{name} answered {answer:#x}")

    @contextmanager
    def _prepared(self, name: str) -> Iterator[None]:
        """What a step's command carries or points at, for as long as it runs."""
        if name == "UPDATE_RX_MODE":
            self.shared["rxMode"] = int(self.config.rx_mode)
        elif name == "SET_RSS_FIELDS":
            fields = self.config.rss_fields
            self.carry(int(_TCP_FIELDS if fields is None else fields).to_bytes(4, "little"))
        elif name == "SET_RING_BUFFER_SIZE":
            self.carry(self.ring_buffer_sizes())
        elif name in ("GET_COALESCE", "REGISTER_MEMREGS"):
            size = wire_args.COALESCE_SCHEME.size
            with self.pointing(bytes(size) if name == "GET_COALESCE" else self.mem_regs()):
                yield
            return
        yield

    def _do_imr(self, name: str, value: str) -> None:
        (self.mask_all if name == "1" else self.unmask_all)()

    def _do_enable(self, name: str, value: str) -> None:
        self.intr_conf["intrCtrl"] = 0

    def _do_disable(self, name: str, value: str) -> None:
        self.intr_conf["intrCtrl"] = 1

    def _do_post(self, name: str, value: str) -> None:
        for queue in self.rx:
            queue.refill()

    _verbs: dict[str, Callable[["DriverSteps", str, str], None]] = {
        "R": _do_read,
        "W": _do_write,
        "C": _do_command,
        "C+": _do_ask,
        "IMR": _do_imr,
        "ENABLE": _do_enable,
        "DISABLE": _do_disable,
        "RX": _do_post,
    }

    _heard: dict[str, Callable[["DriverSteps", int], object]] = {
        "GET_TXDATA_DESC_SIZE": DriverCommands.know_slots,
        "GET_TSRING_DESC_SIZE": DriverCommands.know_stamps,
        "GET_DCR0_REG": DriverCommands.know_caps,
        "GET_MAX_QUEUES_CONF": DriverCommands.know_queues,
        "GET_RSS_FIELDS": DriverCommands.know_fields,
        "GET_DISABLED_OFFLOADS": DriverCommands.know_disabled,
    }

    def _choose(self) -> int:
        """The highest version both sides know. Raises `ConfigError`."""
        if not self.offered & 1 or self.offered & self.offered + 1:
            self._complain("VMX-V-003", f"VRRS {self.offered:#x} is not a run of ones from bit 0")
        known = [v for v in KNOWN_VERSIONS if v <= self.profile.newest]
        wanted = [self.config.version] if self.config.version else known
        common = [v for v in wanted if self.offered >> v - 1 & 1]
        if not common:
            raise ConfigError(f"the device offers versions {self.offered:#b}, this driver wants {wanted}")
        return max(common)
