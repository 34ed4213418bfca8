"""Reading captures, as ratios: against scapy's raw readers and against reading the same bytes from the file.

python -m tests.bench.bench_capture [MEGABYTES]       default 64; with 1024 it shows that a long capture costs no more
Resident memory is that of a fresh process which reads the long capture.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from scapy.utils import RawPcapNgReader, RawPcapReader

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from big_capture import write_pcap, write_pcapng

from vmxnet3.captures.capture import CHUNK, CaptureReader

ROUNDS = 5
SMALL = 10 << 20  # bytes
SCAPY_LEAST = 2.0  # our reader must be at least this many times as fast as scapy's raw one
MEMORY_MOST = 150  # MiB
CHILD = """
import re, sys
from pathlib import Path
from vmxnet3.captures.capture import CaptureReader
with open(sys.argv[1], "rb", buffering=0) as file:
    frames = sum(len(batch) for batch in CaptureReader(file).batches())
print(frames, int(re.search("VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""


def ours(path: Path) -> int:
    with path.open("rb", buffering=0) as file:
        return sum(len(batch) for batch in CaptureReader(file).batches())


def scapys(path: Path) -> int:
    reader = RawPcapReader if path.suffix == ".pcap" else RawPcapNgReader
    with reader(str(path)) as frames:
        return sum(1 for _ in frames)


def plain(path: Path) -> int:
    with path.open("rb", buffering=0) as file:
        return sum(1 for _ in iter(lambda: file.read(CHUNK), b""))


def per_frame(ways: dict[str, tuple[Callable[[Path], int], Path]], frames: dict[Path, int]) -> dict[str, float]:
    """Median processor time for each way (ns a frame); the ways take turns, so that all see the same machine."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, (way, path) in ways.items():
            start = time.process_time_ns()
            count = way(path)
            taken[name].append((time.process_time_ns() - start) / frames[path])
            assert way is plain or count == frames[path], f"{name}: {count} frames of {frames[path]}"
    return {name: statistics.median(each) for name, each in taken.items()}


def main() -> int:
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for suffix, write in ((".pcap", write_pcap), (".pcapng", write_pcapng)):
            small, long = Path(folder, "small" + suffix), Path(folder, "long" + suffix)
            frames = {}
            for path, size in ((small, SMALL), (long, megabytes << 20)):
                with path.open("wb") as file:
                    frames[path] = write(file, size)
            cost = per_frame(
                {"ours": (ours, small), "scapy": (scapys, small), "file": (plain, small), "long": (ours, long)}, frames
            )
            child = subprocess.run([sys.executable, "-c", CHILD, str(long)], capture_output=True, text=True, check=True)
            count, memory = map(int, child.stdout.split())
            assert count == frames[long]
            print(
                f"{suffix[1:]:7} {1e9 / cost['ours']:9,.0f} frames/s; {cost['scapy'] / cost['ours']:.1f} x scapy's raw "
                f"reader, {cost['ours'] / cost['file']:.1f} x the time of reading the file; {megabytes} MB take "
                f"{cost['long'] / cost['ours']:.2f} x the time per frame of 10 MB, {memory} MiB resident"
            )
            failed |= cost["scapy"] / cost["ours"] < SCAPY_LEAST or memory > MEMORY_MOST
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
