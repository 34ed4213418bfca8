import subprocess
import zlib
from pathlib import Path

import pytest
from guest.frames import (
    DgramPeer,
    arp_reply,
    byte_table,
    digest,
    echo_reply,
    mac,
    make_frames,
    unpadded,
)

GUEST, HOST = mac("52:54:00:12:34:56"), mac("02:00:00:00:00:01")
US, THEM = bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2])


def test_byte_table_by_hand() -> None:
    # x1 = 1442695040888963407 = 0x14057B7EF767814F; x2 = x1 * 6364136223846793005 + x1 mod 2^64, 0x1A08EE1184BA6D32
    assert byte_table(0, 2) == bytes([0x14, 0x1A])


def test_frame_by_hand() -> None:
    first, second = make_frames(2, [60, 64], 0, GUEST, HOST)
    table = byte_table(0)

    assert first == GUEST + HOST + bytes.fromhex("88b5 00000000 003c") + table[:40]
    assert second[:20] == GUEST + HOST + bytes.fromhex("88b5 00000001 0040")
    assert second[20:] == table[0x9E37 : 0x9E37 + 44]  # 2654435761 >> 16


def test_digest_depends_on_order() -> None:
    frames = list(make_frames(3, [60], 1, GUEST, HOST))

    assert digest([]) == "cbf29ce484222325"
    assert digest(frames) != digest(reversed(frames))
    assert digest(frames[:1]) == f"{(0xCBF29CE484222325 ^ zlib.crc32(frames[0])) * 0x100000001B3 % 2**64:016x}"


def test_padding_is_taken_off() -> None:
    short = next(make_frames(1, [30], 1, GUEST, HOST))
    full = next(make_frames(1, [61], 1, GUEST, HOST))

    assert unpadded(short.ljust(60, b"\0")) == short
    assert unpadded(full) == full


def test_peer_sends_and_collects(tmp_path: Path) -> None:
    frames = list(make_frames(5, [60, 1514], 1, GUEST, HOST))
    with DgramPeer(tmp_path / "a", tmp_path / "b") as one, DgramPeer(tmp_path / "b", tmp_path / "a") as two:
        sent = one.send([frames[0], b"\xff" * 12 + b"\x86\xdd" + bytes(46), *frames[1:]])
        got = two.collect(5, 5.0)
        nothing = two.receive(0.01)

    assert (sent, got, nothing) == (6, frames, None)
    assert list(tmp_path.iterdir()) == []


def test_arp_reply() -> None:
    body = bytes.fromhex("0001 0800 0604 0001") + GUEST + THEM + bytes(6) + US
    request = b"\xff" * 6 + GUEST + b"\x08\x06" + body

    assert arp_reply(request, US, HOST) == (
        GUEST + HOST + bytes.fromhex("0806 0001 0800 0604 0002") + HOST + US + GUEST + THEM + bytes(18)
    )
    assert arp_reply(request, THEM, HOST) is None


def checksum(data: bytes) -> int:
    total = sum(int.from_bytes(data[n : n + 2], "big") for n in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


@pytest.mark.parametrize("number", [0, 1, 0xF7FF, 0xFFFF])
def test_echo_reply_keeps_the_checksums_right(number: int) -> None:
    echo = bytes([8, 0, 0, 0]) + number.to_bytes(2, "big") + b"\0\1abcdefgh"
    echo = echo[:2] + checksum(echo).to_bytes(2, "big") + echo[4:]
    ip = bytes.fromhex("4500 0024 0001 4000 4001 0000") + THEM + US
    ip = ip[:10] + checksum(ip).to_bytes(2, "big") + ip[12:]

    reply = echo_reply(HOST + GUEST + b"\x08\x00" + ip + echo, US, HOST)

    assert reply is not None
    assert reply[:14] == GUEST + HOST + b"\x08\x00"
    assert (checksum(reply[14:34]), checksum(reply[34:])) == (0, 0)
    assert reply[26:34] == US + THEM
    assert (reply[34], reply[38:]) == (0, echo[4:])


@pytest.mark.slow
def test_c_table_and_crc_are_the_same(tmp_path: Path) -> None:
    programs = Path(__file__).parents[3] / "tools/guest/programs"
    source = tmp_path / "twin.c"
    source.write_text(
        '#include "common.h"\nint main(void) { static uint8_t t[1000]; (void)deadline; (void)event; (void)number;'
        ' (void)die; fill_table(t, 1000, 12345); printf("%08x", crc32(0, t, 1000)); return 0; }\n'
    )
    subprocess.run(["cc", "-I", str(programs), "-o", str(tmp_path / "twin"), str(source)], check=True)

    said = subprocess.run([tmp_path / "twin"], capture_output=True, text=True, check=True).stdout

    assert said == f"{zlib.crc32(byte_table(12345, 1000)):08x}"
