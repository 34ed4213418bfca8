from pvdev.trace import Recorder


def test_events_are_kept_in_order() -> None:
    recorder = Recorder()

    recorder("tx.batch", queue=1, frames=3)
    recorder("rx.batch")

    assert list(recorder.events) == [("tx.batch", {"queue": 1, "frames": 3}), ("rx.batch", {})]
    assert recorder.points() == ["tx.batch", "rx.batch"]


def test_only_the_last_events_are_kept() -> None:
    recorder = Recorder(limit=3)

    for n in range(10):
        recorder("point", n=n)

    assert [facts["n"] for _, facts in recorder.events] == [7, 8, 9]
