import random

from pvscsi.block.overlay import Extent, Overlay


def put(overlay: Overlay, start: int, data: bytes | int, serial: int = 1) -> None:
    """`data` as a number: so many zeros."""
    if isinstance(data, int):
        overlay.put(Extent(start, start + data, serial, None))
    else:
        overlay.put(Extent(start, start + len(data), serial, memoryview(data)))


def shown(overlay: Overlay, start: int = 0, end: int = 100) -> list[tuple[int, bytes | int, int]]:
    return [
        (piece.start, piece.end - piece.start if piece.data is None else bytes(piece.data), piece.serial)
        for piece in overlay.over(start, end)
    ]


def test_the_latest_hides_what_was_there() -> None:
    overlay = Overlay()
    put(overlay, 10, b"abcdefgh", 1)
    put(overlay, 12, b"XY", 2)
    put(overlay, 16, 4, 3)

    assert shown(overlay) == [(10, b"ab", 1), (12, b"XY", 2), (14, b"ef", 1), (16, 4, 3)]
    assert overlay.held == 6


def test_a_range_is_cut_to_size() -> None:
    overlay = Overlay()
    put(overlay, 10, b"abcdefgh")

    assert shown(overlay, 12, 15) == [(12, b"cde", 1)]
    assert shown(overlay, 0, 10) == []
    assert shown(overlay, 18, 30) == []


def test_drop_takes_whole_extents_that_match() -> None:
    overlay = Overlay()
    put(overlay, 0, b"aaaa", 1)
    put(overlay, 10, b"bbbb", 2)
    put(overlay, 20, b"cccc", 1)

    overlay.drop(lambda piece: piece.serial == 1, 8, 40)
    assert shown(overlay) == [(0, b"aaaa", 1), (10, b"bbbb", 2)]
    overlay.drop(lambda piece: True)
    assert (len(overlay), overlay.held) == (0, 0)


def test_it_is_what_a_bytearray_would_be() -> None:
    rng = random.Random(1)
    overlay, model, known = Overlay(), bytearray(200), bytearray(200)
    for serial in range(2000):
        start = rng.randrange(190)
        length = rng.randrange(1, 200 - start)
        data = rng.randbytes(length)
        zeros = serial % 5 == 0
        put(overlay, start, length if zeros else data, serial)
        model[start : start + length] = bytes(length) if zeros else data
        known[start : start + length] = b"\1" * length
        low, high = sorted((rng.randrange(201), rng.randrange(201)))
        found, covered = bytearray(200), bytearray(200)
        at = low
        for piece in overlay.over(low, high):
            assert at <= piece.start < piece.end <= high
            at = piece.end
            covered[piece.start : piece.end] = b"\1" * (at - piece.start)
            found[piece.start : piece.end] = bytes(at - piece.start) if piece.data is None else piece.data
        assert covered[low:high] == known[low:high]
        assert all(a == b for a, b, c in zip(found[low:high], model[low:high], known[low:high], strict=True) if c)
    assert overlay.held == sum(piece.end - piece.start for piece in overlay if piece.data is not None)
