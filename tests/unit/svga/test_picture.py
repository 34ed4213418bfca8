"""What viewers see of a picture that changes under them."""

from svga.display import Area, Copy, Cursor, Damage, Monitor, Rows, Watch
from svga.picture import Shown

ROWS = Rows((memoryview(bytearray(16)),), 2, 2, 8, 32)


def shown(*monitors: tuple[int, Area]) -> Shown:
    picture = Shown()
    picture.arrange = lambda: [(Monitor(n, area), ROWS) for n, area in monitors]
    picture.stale()
    picture.settle()
    return picture


def test_a_new_viewer_looks_at_everything() -> None:
    picture, watch = shown((0, Area(0, 0, 64, 64))), Watch()
    picture.watch(watch)

    assert watch.take() == Damage(layout=True, cursor=True)
    assert not watch.take()


def test_the_desktop_begins_at_0() -> None:
    picture = shown((1, Area(-100, 50, 10, 10)), (2, Area(-90, 40, 20, 20)))

    assert [monitor.area for monitor in picture.monitors] == [Area(0, 10, 10, 10), Area(10, 0, 20, 20)]
    assert (picture.rows(1), picture.rows(0)) == (ROWS, None)


def test_marks_are_clipped_to_the_desktop() -> None:
    picture, watch = shown((0, Area(0, 0, 65, 65))), Watch()
    picture.watch(watch)
    watch.take()
    picture.mark(Area(-500, -500, 501, 501))
    picture.mark(Area(64, 64, 1 << 31, 1 << 31))
    picture.mark(Area(65, 0, 5, 5))

    assert watch.take().tiles == {(0, 0), (1, 1)}


def test_copies_are_told_of_while_nothing_else_is() -> None:
    picture, watch = shown((0, Area(-8, 0, 200, 200))), Watch()
    picture.watch(watch)
    watch.take()
    picture.copied(Area(0, 0, 8, 8), 10, 20)
    clean = watch.take()
    picture.mark(Area(0, 0, 1, 1))
    picture.copied(Area(100, 100, 8, 8), 0, 0)
    dirty = watch.take()
    picture.copied(Area(100, 100, 8, 8), 190, 100)
    outside = watch.take()

    assert clean.copies == [Copy(Area(8, 0, 8, 8), 10, 20)]
    assert (dirty.copies, dirty.tiles) == ([], {(0, 0), (1, 1)})
    assert (outside.copies, outside.tiles) == ([], {(1, 1)})


def test_pixels_elsewhere_are_another_serial_and_damage() -> None:
    picture, watch = shown((0, Area(0, 0, 65, 65))), Watch()
    picture.watch(watch)
    watch.take()
    serial = picture.serial
    picture.stale()
    picture.settle()
    damage = watch.take()

    assert picture.serial == serial + 1
    assert (damage.layout, damage.tiles) == (False, {(0, 0), (1, 0), (0, 1), (1, 1)})


def test_a_viewer_is_woken_once_until_it_looks() -> None:
    woken: list[int] = []
    picture, watch = shown((0, Area(0, 0, 65, 65))), Watch(lambda: woken.append(1))
    end = picture.watch(watch)
    watch.take()
    for _ in range(3):
        picture.mark(Area(0, 0, 1, 1))
    first = len(woken)
    watch.take()
    picture.point(Cursor(5, 5, True))
    picture.point(Cursor(5, 5, True))
    end()
    picture.mark(Area(0, 0, 1, 1))

    assert (first, len(woken)) == (1, 2)
    assert watch.take() == Damage(cursor=True)
    assert not picture.watched


def test_nobody_can_be_asked_for_a_layout() -> None:
    assert not shown((0, Area(0, 0, 64, 64))).ask([Area(0, 0, 800, 600)])


def test_copies_nobody_takes_become_marks() -> None:
    picture, watch = shown((0, Area(0, 0, 200, 200))), Watch()
    picture.watch(watch)
    watch.take()
    for _ in range(1000):
        picture.copied(Area(0, 0, 8, 8), 10, 20)
    damage = watch.take()

    assert len(damage.copies) == 256
    assert damage.tiles == {(0, 0)}


def test_a_mark_between_monitors_far_apart_costs_nothing() -> None:
    """A guest may put one a billion pixels away from the other."""
    far = Area(1 << 30, 1 << 30, 64, 64)
    picture, watch = shown((0, Area(0, 0, 64, 64)), (1, far)), Watch()
    picture.watch(watch)
    watch.take()
    picture.stale()
    picture.settle()
    flipped = watch.take()
    picture.mark(Area(0, 0, 1 << 31, 1 << 31))
    marked = watch.take()

    assert flipped.tiles == {(0, 0), (1 << 24, 1 << 24)}
    assert (marked.tiles, marked.layout) == (set(), True)
