from pvscsi.scsi.tray import MediaEvent, Tray


def test_the_latest_event_is_told_once() -> None:
    tray = Tray()
    assert tray.take() is MediaEvent.NONE

    tray.opened()
    tray.changed(present=True)

    assert [tray.take(), tray.take()] == [MediaEvent.NEW_MEDIA, MediaEvent.NONE]


def test_what_lies_in_it_is_out_of_reach_while_it_is_open() -> None:
    tray = Tray()
    tray.opened()
    assert (tray.open, tray.take()) == (True, MediaEvent.REMOVAL)

    tray.changed(present=False)
    assert (tray.open, tray.take()) == (False, MediaEvent.REMOVAL)


def test_a_reset_unlocks_and_keeps_the_door_where_it_is() -> None:
    tray = Tray()
    tray.locked_by |= {0, 1}
    tray.opened()
    tray.request()

    tray.reset()

    assert (tray.locked_by, tray.open, tray.take()) == (set(), True, MediaEvent.EJECT_REQUEST)
