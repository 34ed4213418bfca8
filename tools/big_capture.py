"""Make a capture of any length from the real one: its frames again and again, the stamps going on.

Usage: python tools/big_capture.py 1024 big.pcapng        megabytes (2**20), file; a name ending in .pcap gives ns pcap
"""

import argparse
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from vmxnet3.captures.capture import Captured, CaptureReader
from vmxnet3.captures.pcapng import PcapngWriter

REAL = Path(__file__).resolve().parent.parent / "tests" / "data" / "lan.pcapng"
SECOND = 1_000_000_000  # ns


def real_frames(path: Path = REAL) -> list[Captured]:
    with path.open("rb") as file:
        return [frame for batch in CaptureReader(file, name=str(path)).batches() for frame in batch]


def rounds(frames: list[Captured]) -> Iterator[list[tuple[int, bytes]]]:
    """(stamp, data) of all frames, for ever; each round begins a microsecond after the one before has ended."""
    length = frames[-1][0] - frames[0][0] + 1000
    shift = 0
    while True:
        yield [(frame[0] + shift, frame[1]) for frame in frames]
        shift += length


def write_pcapng(file: BinaryIO, least: int) -> int:
    """At least `least` bytes of pcapng, whole rounds of the real capture; the number of frames."""
    writer = PcapngWriter(file, comment="the real capture, repeated")
    interface = writer.add_interface("lan0")
    for batch in rounds(real_frames()):
        if file.tell() >= least:
            break
        writer.write_batch(interface, batch)
    return writer.frames


def write_pcap(file: BinaryIO, least: int) -> int:
    """The same as pcap with ns stamps."""
    file.write(struct.pack("<IHHIIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1))
    head = struct.Struct("<IIII").pack
    count = 0
    for batch in rounds(real_frames()):
        if file.tell() >= least:
            break
        pieces = (head(stamp // SECOND, stamp % SECOND, len(data), len(data)) + data for stamp, data in batch)
        file.write(b"".join(pieces))
        count += len(batch)
    return count


def main() -> int:
    parser = argparse.ArgumentParser(description="Make a capture of any length out of the real one.")
    parser.add_argument("megabytes", type=int)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    out: Path = arguments.out
    write = write_pcap if out.suffix == ".pcap" else write_pcapng
    try:
        with out.open("wb") as file:
            count = write(file, arguments.megabytes << 20)
            size = file.tell()
    except OSError as error:
        print(f"big_capture: {error}; give a file that can be written", file=sys.stderr)
        return 2
    print(f"{out}: {count} frames, {size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
