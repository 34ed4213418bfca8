"""Variables in a file: read when a host starts, written when they have changed. The file is whole at any time.

JSON, a name each: its text, or {"base64": ...} for what is none.
"""

import base64
import binascii
import json
from pathlib import Path

from pvdev.errors import ConfigError
from vmtools.host import Host
from vmtools.variables import good_key

PAUSE_NS = 1_000_000_000  # between two writes


def read(path: Path) -> dict[str, bytes]:
    """The variables in a file; none when there is no file yet. Raises `ConfigError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {getattr(error, 'strerror', None) or 'it is no text'}") from error
    try:
        values = {str(key): _bytes(value) for key, value in json.loads(text).items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, binascii.Error) as error:
        raise ConfigError(f"{path} holds no variables: name it otherwise, or remove it") from error
    if bad := next((key for key in values if not good_key(key)), None):
        raise ConfigError(f"{path}: {bad!r} names no variable")
    return values


def _bytes(value: str | dict[str, str]) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    return base64.b64decode(value["base64"], validate=True)


def text_of(values: dict[str, bytes]) -> str:
    """The text of a file."""
    shown: dict[str, str | dict[str, str]] = {}
    for key, value in sorted(values.items()):
        try:
            shown[key] = value.decode("utf-8")
        except UnicodeDecodeError:
            shown[key] = {"base64": base64.b64encode(value).decode()}
    return json.dumps(shown, indent=1, ensure_ascii=True) + "\n"


class Kept:
    """Keeps a host's variables in the file at `path`. `close` at the end. Raises `ConfigError` where it cannot."""

    def __init__(self, path: Path, host: Host) -> None:
        self._path, self._variables = path, host.variables
        self._dirty, self._next_ns = False, 0
        self.fault: str | None = None  # why it could not be written
        for key, value in read(path).items():
            if key not in host.variables:  # what the command line says goes first
                host.variables[key] = value
        host.variables.on_change.append(self._changed)
        host.watches.append(self._tick)
        self._write()
        if self.fault is not None:
            raise ConfigError(self.fault)

    def close(self) -> None:
        if self._dirty:
            self._write()

    def _changed(self, key: str, value: bytes | None) -> None:
        self._dirty = True

    def _tick(self, now_ns: int) -> int | None:
        if not self._dirty:
            return None
        if now_ns >= self._next_ns:
            self._next_ns = now_ns + PAUSE_NS
            self._write()
        return self._next_ns

    def _write(self) -> None:
        self._dirty = False
        beside = self._path.with_name(self._path.name + ".new")
        try:
            beside.write_text(text_of(dict(self._variables.items())), encoding="utf-8", errors="surrogateescape")
            beside.replace(self._path)
        except OSError as error:
            self.fault = f"{self._path}: {error.strerror}"
