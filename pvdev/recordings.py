"""Recordings as a user names them: the file, and the bytes that tell what it is."""

import io
import sys
from pathlib import Path

from pvdev.errors import ConfigError
from pvdev.spec import split

HEAD = 4096  # bytes that tell what a file is
PACKED = {b"\x1f\x8b": "gzip: gunzip", b"\x28\xb5": "zstd: unzstd", b"\xfd7": "xz: unxz", b"BZ": "bzip2: bunzip2"}


def read_head(path: str) -> bytes:
    """The first bytes of a file ("-": standard input), which whoever plays it reads again. Raises `ConfigError`."""
    try:
        if path == "-":
            stdin = sys.stdin.buffer
            return stdin.peek(HEAD)[:HEAD] if isinstance(stdin, io.BufferedReader) else b""
        with Path(path).open("rb") as file:
            if file.seekable():
                return file.read(HEAD)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be opened: {error.strerror}; give a recording") from error
    raise ConfigError(f"{path}: a pipe cannot be read twice, to see what it is and to play it; give it as `- < {path}`")


def path_of(text: str) -> str:
    """The file in `FILE,key=value,…`; one of just that name wins."""
    return text if Path(text).exists() else split(text)[0]
