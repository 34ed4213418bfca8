"""A tray with a door that can be locked, and the media events it makes (GET EVENT STATUS NOTIFICATION)."""

from enum import IntEnum


class MediaEvent(IntEnum):
    """Media class event codes of MMC."""

    NONE = 0
    EJECT_REQUEST = 1
    NEW_MEDIA = 2
    REMOVAL = 3


class Tray:
    """`open`: what lies in it cannot be reached. `locked_by`: every nexus that prevents removal."""

    def __init__(self) -> None:
        self.open = False
        self.locked_by: set[int] = set()
        self.event = MediaEvent.NONE

    def reset(self) -> None:
        """Nobody prevents removal."""
        self.locked_by.clear()

    def opened(self) -> None:
        """The medium is out of reach."""
        self.open, self.event = True, MediaEvent.REMOVAL

    def changed(self, *, present: bool) -> None:
        """Closed, with a medium in it or not."""
        self.open, self.event = False, MediaEvent.NEW_MEDIA if present else MediaEvent.REMOVAL

    def request(self) -> None:
        """Somebody wants the medium out while it is locked in."""
        self.event = MediaEvent.EJECT_REQUEST

    def take(self) -> MediaEvent:
        """The latest event, which is told by this."""
        event, self.event = self.event, MediaEvent.NONE
        return event
