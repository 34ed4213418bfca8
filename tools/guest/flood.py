"""Flood a UNIX datagram socket with one frame, from a process of its own so that nobody's interpreter lock slows it.

python flood.py REMOTE HEX-FRAME SECONDS
"""

import socket
import subprocess
import sys
import time
from pathlib import Path

QUEUE = 64  # frames between two looks at the clock


def start_flood(remote: Path, frame: bytes, seconds: float) -> "subprocess.Popen[str]":
    """The running flood; it prints how many frames went. It ends by itself when the time is over or the socket gone."""
    command = [sys.executable, __file__, str(remote), frame.hex(), str(seconds)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)


def flood(remote: str, frame: bytes, seconds: float) -> int:
    """Send as fast as the far end takes them; returns how many."""
    sent, end = 0, time.monotonic() + seconds
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.settimeout(1.0)
        out.connect(remote)
        while time.monotonic() < end:
            try:
                for _ in range(QUEUE):
                    out.send(frame)
                    sent += 1
            except TimeoutError:
                continue  # a guest that receives nothing for a second
            except OSError:
                break
    return sent


if __name__ == "__main__":
    print(flood(sys.argv[1], bytes.fromhex(sys.argv[2]), float(sys.argv[3])))
