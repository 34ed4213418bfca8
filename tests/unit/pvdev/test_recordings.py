import io
import os
import sys
from pathlib import Path

import pytest

from pvdev.errors import ConfigError
from pvdev.recordings import HEAD, path_of, read_head


def test_the_head_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(range(200)) * 50)

    assert read_head(str(tmp_path / "x")) == (bytes(range(200)) * 50)[:HEAD]


def test_standard_input_is_looked_at_and_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(b"fio version 3 iolog\n"))))

    assert read_head("-") == b"fio version 3 iolog\n"
    assert sys.stdin.buffer.read() == b"fio version 3 iolog\n"


def test_a_pipe_is_told_how_to_come(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)

    with pytest.raises(ConfigError, match=r"a pipe cannot be read twice.* give it as `- < "):
        read_head(str(path))
    os.close(writer)


@pytest.mark.parametrize("path", ["/nowhere", "/", "/proc/self/mem"])
def test_what_cannot_be_read_is_one_line(path: str) -> None:
    with pytest.raises(ConfigError, match=f"{path}: cannot be opened: "):
        read_head(path)


def test_options_behind_a_comma_are_no_part_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a,b").touch()

    assert path_of("lan.pcap,queue=1,mark=all: err") == "lan.pcap"
    assert path_of("a,,b,queue=1") == "a,b"
    assert path_of(str(tmp_path / "a,b")) == str(tmp_path / "a,b")
    assert path_of("-") == "-"
