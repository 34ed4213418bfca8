"""`pvdev replay` as a whole process: its rate beside tcpreplay's, its memory on a large capture.

tcpreplay sends with --topspeed onto an interface nobody reads, in a network namespace of its own; it neither checks nor
compares anything, so it is a bound, not an equal.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

REPO = Path(__file__).parents[2]
LINKS = (  # an interface that swallows frames: where the kernel has no dummy, one end of a veth pair
    "ip link add sink type dummy 2>/dev/null || ip link add sink type veth peer name drain && ip link set drain up"
)


def big_capture(megabytes: int, folder: str) -> Path:
    """A capture of that size, made of the real one's frames."""
    path = Path(folder) / f"{megabytes}.pcapng"
    subprocess.run(
        [sys.executable, REPO / "tools/big_capture.py", str(megabytes), path], check=True, capture_output=True
    )
    return path


MEASURED = """
import atexit, sys
from pathlib import Path
from pvdev.cli import main
atexit.register(lambda: print(Path("/proc/self/status").read_text(), file=sys.stderr))
main(sys.argv[1:])
"""  # VmHWM, not getrusage: a child's ru_maxrss begins with what its parent had


def replay(path: Path, *options: str) -> tuple[dict[str, float], int]:
    """(the JSON result, peak resident kilobytes) of one `pvdev replay`."""
    command = [sys.executable, "-c", MEASURED, "replay", "--json", *options, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, check=False)
    assert done.returncode == 0, done.stderr
    facts, peak = json.loads(done.stdout), re.search(r"VmHWM:\s*(\d+) kB", done.stderr)
    assert peak
    assert facts["intact"]
    return facts, int(peak[1])


def tcpreplay(path: Path) -> float | None:
    """Frames a second of tcpreplay, or None where it cannot be run."""
    if not shutil.which("tcpreplay") or not shutil.which("unshare"):
        return None
    script = f"{LINKS}; ip link set sink up && tcpreplay --topspeed -i sink {path}"
    done = subprocess.run(["unshare", "-rn", "sh", "-c", script], capture_output=True, text=True, check=False)
    rated = re.search(r"Rated:.*, ([0-9.]+) pps", done.stdout + done.stderr)
    return float(rated[1]) if rated else None


def main() -> None:
    print("replay: whole processes")
    with tempfile.TemporaryDirectory() as folder:
        path = big_capture(100, folder)
        ours = {
            name: median(replay(path, *options)[0]["frames_per_second"] for _ in range(3))
            for name, options in {"receive": (), "transmit": ("--tx",), "vfio-user": ("--via", "vfio-user")}.items()
        }
        theirs = [rate for rate in (tcpreplay(path) for _ in range(3)) if rate]
        for name, rate in ours.items():
            beside = f"ratio to tcpreplay --topspeed {rate / median(theirs):.2f}" if theirs else "no tcpreplay here"
            print(f"  {name:9} {rate:10,.0f} frames/s, {beside}")
        small, large = big_capture(10, folder), big_capture(1000, folder)
        slow, _ = replay(small)
        fast, kilobytes = replay(large)
        ratio = fast["frames_per_second"] / slow["frames_per_second"]
        print(f"  1 GB: {kilobytes / 1024:.0f} MiB resident, rate {ratio:.2f} of a 10 MB capture's")


if __name__ == "__main__":
    main()
