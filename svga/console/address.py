"""What `--display` and `--hands` say, read and checked."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from pvdev import spec
from pvdev.errors import ConfigError
from svga.console import password

DISPLAYS = {"rfb": ("password",), "web": ("password", "novnc"), "png": ("rate", "most")}
HANDS = {"qmp": ()}
PORTS = {"rfb": 5900, "web": 6080}
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Address:
    """Where a display listens; `port` 0: wherever there is room."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def local(self) -> bool:
        """Whether nobody beyond this machine gets there."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse(text: str) -> spec.Spec:
    """A display. Raises `ConfigError`."""
    return spec.parse(text, DISPLAYS, "display")


def address(display: spec.Spec) -> Address:
    """Of "127.0.0.1:5900", ":5901", "5901", "[::1]:5900", "" its address. Raises `ConfigError`."""
    text = display.argument
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]]*?))??:?(\d{0,5})", text)
    port = int(found[3]) if found and found[3] else PORTS[display.kind]
    if found is None or port > 0xFFFF:
        raise ConfigError(f"{display.kind}: {text!r} is no address; write it like {LOOPBACK}:{PORTS[display.kind]}")
    return Address(found[1] or found[2] or LOOPBACK, port)


def secret(display: spec.Spec, where: Address) -> bytes | None:
    """The key of the password in the file the display names; None: no password. Raises `ConfigError`."""
    name = display.options.get("password")
    if name is None:
        if not where.local:
            raise ConfigError(
                f"{display.kind}: {where} is open to other machines; give password=FILE, its first line the password, "
                f"or listen at {LOOPBACK}"
            )
        return None
    try:
        lines = Path(name).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{display.kind}: password={name}: cannot be read: {error}") from None
    return password.key(lines[0] if lines else "")
