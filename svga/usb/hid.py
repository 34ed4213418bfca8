"""A USB device of class HID: control requests, and when it reports. Pure: time is an argument.

What it reports is its subclass's: `svga.usb.pointer`, `svga.usb.keyboard`.

Ref: USB 2.0 chapter 9; HID 1.11, chapter 7.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum

from pvdev.rules import RuleLog
from svga.rules import RULES
from svga.usb import wire
from svga.usb.personas import CONFIGURATION_VALUE, INPUT_ENDPOINT, Persona
from svga.usb.wire import HidRequest, Kind, Protocol, ReportType, Request

IDLE_NS = 4_000_000  # a unit of SET_IDLE


class Refusal(Enum):
    """NAK: nothing now, ask again. STALL: never."""

    NAK = "nak"
    STALL = "stall"


STALL, NAK = Refusal.STALL, Refusal.NAK
Answer = bytes | Refusal


class HidDevice(ABC):
    """One device. Hands call `point`, `move`, `wheel` or `key`, which answer whether it took it; a host `control` and
    `interrupt`. A subclass overrides those it has, and says what is reported: `_next`, `_still`, `_forget`.

    `rules`: a log to share with other devices of the same guest.
    """

    def __init__(self, persona: Persona, rules: RuleLog | None = None) -> None:
        self.persona = persona
        self.rules = rules if rules is not None else RuleLog(RULES)
        self.address = 0
        self.lights = 0  # of a keyboard, as its host last set them
        self._handlers: dict[tuple[int, int], Callable[[int, int, int, bytes], Answer]] = {
            (wire.STANDARD_DEVICE | wire.IN, Request.GET_STATUS): self._device_status,
            (wire.STANDARD_INTERFACE | wire.IN, Request.GET_STATUS): self._interface_status,
            (wire.STANDARD_ENDPOINT | wire.IN, Request.GET_STATUS): self._endpoint_status,
            (wire.STANDARD_ENDPOINT, Request.CLEAR_FEATURE): self._go_on,
            (wire.STANDARD_ENDPOINT, Request.SET_FEATURE): self._halt,
            (wire.STANDARD_DEVICE, Request.SET_ADDRESS): self._set_address,
            (wire.STANDARD_DEVICE | wire.IN, Request.GET_DESCRIPTOR): self._descriptor,
            (wire.STANDARD_INTERFACE | wire.IN, Request.GET_DESCRIPTOR): self._hid_descriptor,
            (wire.STANDARD_DEVICE | wire.IN, Request.GET_CONFIGURATION): self._get_configuration,
            (wire.STANDARD_DEVICE, Request.SET_CONFIGURATION): self._set_configuration,
            (wire.STANDARD_INTERFACE | wire.IN, Request.GET_INTERFACE): self._get_interface,
            (wire.STANDARD_INTERFACE, Request.SET_INTERFACE): self._set_interface,
            (wire.CLASS_INTERFACE | wire.IN, HidRequest.GET_REPORT): self._get_report,
            (wire.CLASS_INTERFACE, HidRequest.SET_REPORT): self._set_report,
            (wire.CLASS_INTERFACE | wire.IN, HidRequest.GET_IDLE): self._get_idle,
            (wire.CLASS_INTERFACE, HidRequest.SET_IDLE): self._set_idle,
        }
        if persona.boot:
            self._handlers[wire.CLASS_INTERFACE | wire.IN, HidRequest.GET_PROTOCOL] = self._get_protocol
            self._handlers[wire.CLASS_INTERFACE, HidRequest.SET_PROTOCOL] = self._set_protocol
        self.reset()

    def reset(self) -> None:
        """A reset of the port: no address, not configured, nothing to report."""
        self.address = 0
        self._configure(0)

    def _configure(self, value: int) -> None:
        self.configuration, self.protocol, self.idle = value, Protocol.REPORT, 0
        self.halted, self._told_ns = False, 0
        self.lights = 0
        self._forget()

    # -- hands -----------------------------------------------------------------------------------------------------

    @property
    def top(self) -> int:
        """What `point` counts to; 0: this cannot be somewhere."""
        return self.persona.top

    def point(self, x: int, y: int, buttons: int | None = None) -> bool:
        """The pointer is there, each 0 to `top` over the whole desktop (`svga.aim`). `buttons`: 1 left, 2 right, 4
        middle, and on; None: as before. False, here as below: it cannot, or no host has configured it."""
        return False

    def move(self, dx: int, dy: int, buttons: int | None = None) -> bool:
        """It moved by so many steps to the right and down."""
        return False

    def wheel(self, steps: int, *, buttons: int | None = None) -> bool:
        """The wheel turned; up is positive."""
        return False

    def key(self, code: int, down: bool) -> bool:
        """A key, by its XT scan code (set 1; an extended one with 0x80 added)."""
        return False

    # -- what a subclass reports -----------------------------------------------------------------------------------

    @abstractmethod
    def _next(self) -> bytes | None:
        """The next report; None: nothing happened."""

    @abstractmethod
    def _still(self) -> bytes:
        """A report of how things are."""

    @abstractmethod
    def _forget(self) -> None:
        """Nothing happened, and nothing is down."""

    # -- reports ---------------------------------------------------------------------------------------------------

    def interrupt(self, endpoint: int, now_ns: int) -> Answer:
        """What the endpoint at this address answers a look of the host's: a report, NAK, or STALL."""
        if endpoint != INPUT_ENDPOINT or not self.configuration or self.halted:
            return STALL
        report = self._next()
        if report is None:
            due = self.due()
            if due is None or now_ns < due:
                return NAK
            report = self._still()
        self._told_ns = now_ns
        return report

    def due(self) -> int | None:
        """When a report comes although nothing has happened (SET_IDLE), in ns; None: never."""
        return self._told_ns + self.idle * IDLE_NS if self.idle and self.configuration else None

    # -- control requests ------------------------------------------------------------------------------------------

    def control(self, setup: bytes, data: bytes = b"") -> Answer:
        """Answer a control request: `setup` its 8 bytes, `data` what the host sends with it. The answer is what the
        device sends, wLength bytes at most (none where the host sends), or STALL."""
        kind, request, value, index, length = wire.SETUP.struct.unpack(setup)
        handler = self._handlers.get((kind, request))
        if handler is None:
            return STALL
        if not kind & wire.IN and len(data) < length:
            return STALL
        answer = handler(value, index, length, data)
        return answer[:length] if isinstance(answer, bytes) else answer

    def _here(self, index: int) -> bool:
        """Whether that is the one interface, and it is in use."""
        if self.configuration and index == 0:
            return True
        self.rules.note("SVG-D-067", f"{self.persona.name} interface", index)
        return False

    def _device_status(self, value: int, index: int, length: int, data: bytes) -> Answer:
        return bytes((bool(self.persona.attributes & wire.SELF_POWERED), 0))

    def _interface_status(self, value: int, index: int, length: int, data: bytes) -> Answer:
        return b"\0\0" if self._here(index) else STALL

    def _endpoint_status(self, value: int, index: int, length: int, data: bytes) -> Answer:
        if index & 0x7F == 0:
            return b"\0\0"
        return bytes((self.halted, 0)) if self._there(index) else STALL

    def _there(self, index: int) -> bool:
        """Whether that is the endpoint of reports, and it is in use."""
        if self.configuration and index == INPUT_ENDPOINT:
            return True
        self.rules.note("SVG-D-067", f"{self.persona.name} endpoint", index)
        return False

    def _halt(self, value: int, index: int, length: int, data: bytes) -> Answer:
        return self._set_halted(value, index, True)

    def _go_on(self, value: int, index: int, length: int, data: bytes) -> Answer:
        return self._set_halted(value, index, False)

    def _set_halted(self, value: int, index: int, halted: bool) -> Answer:
        if value != wire.ENDPOINT_HALT or not self._there(index):
            return STALL
        self.halted = halted
        return b""

    def _set_address(self, value: int, index: int, length: int, data: bytes) -> Answer:
        if value > wire.ADDRESS_MOST:
            return STALL
        self.address = value
        return b""

    def _descriptor(self, value: int, index: int, length: int, data: bytes) -> Answer:
        kind, number = divmod(value, 256)
        if kind == Kind.STRING:
            return self.persona.string(number) or STALL
        if number == 0 and kind == Kind.DEVICE:
            return self.persona.device
        if number == 0 and kind == Kind.CONFIGURATION:
            return self.persona.configuration
        return STALL  # asking is how a host finds out what is not there

    def _hid_descriptor(self, value: int, index: int, length: int, data: bytes) -> Answer:
        if index == 0 and value == Kind.HID << 8:
            return self.persona.hid
        if index == 0 and value == Kind.REPORT << 8:
            return self.persona.report
        return STALL

    def _get_configuration(self, value: int, index: int, length: int, data: bytes) -> Answer:
        return bytes((self.configuration,))

    def _set_configuration(self, value: int, index: int, length: int, data: bytes) -> Answer:
        if value & 0xFF not in (0, CONFIGURATION_VALUE):
            self.rules.note("SVG-D-067", f"{self.persona.name} configuration", value)
            return STALL
        self._configure(value & 0xFF)
        return b""

    def _get_interface(self, value: int, index: int, length: int, data: bytes) -> Answer:
        return b"\0" if self._here(index) else STALL

    def _set_interface(self, value: int, index: int, length: int, data: bytes) -> Answer:
        if not self._here(index) or value:
            return STALL
        self.halted = False
        return b""

    def _get_report(self, value: int, index: int, length: int, data: bytes) -> Answer:
        """How things are now; it takes nothing away from the endpoint."""
        if not self._here(index):
            return STALL
        if value == ReportType.OUTPUT << 8 and self.persona.output:
            return bytes((self.lights,))
        return self._still() if value == ReportType.INPUT << 8 else STALL

    def _set_report(self, value: int, index: int, length: int, data: bytes) -> Answer:
        """Lights, where there are any. A report of its own kind is taken and changes nothing, as HID 1.11 allows."""
        if not self._here(index):
            return STALL
        output = value == ReportType.OUTPUT << 8 and self.persona.output
        if length > (output or self.persona.size):
            self.rules.note("SVG-D-068", self.persona.name, length)
            return STALL
        if output:
            self.lights = data[0] if length else 0
            return b""
        return b"" if value == ReportType.INPUT << 8 else STALL

    def _get_idle(self, value: int, index: int, length: int, data: bytes) -> Answer:
        return bytes((self.idle,)) if self._here(index) and not value & 0xFF else STALL

    def _set_idle(self, value: int, index: int, length: int, data: bytes) -> Answer:
        if not self._here(index) or value & 0xFF:
            return STALL
        self.idle = value >> 8
        return b""

    def _get_protocol(self, value: int, index: int, length: int, data: bytes) -> Answer:
        return bytes((self.protocol,)) if self._here(index) else STALL

    def _set_protocol(self, value: int, index: int, length: int, data: bytes) -> Answer:
        if not self._here(index) or value not in tuple(Protocol):
            return STALL
        self.protocol = Protocol(value)
        return b""
