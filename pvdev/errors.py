"""The exception types of the whole kit: who is to blame, nothing else."""


class PvdevError(Exception):
    """Anything this kit raises on purpose. The message is one line a user can act on."""


class GuestFault(PvdevError):
    """The driver broke a device rule at a place where the model cannot go on with this piece of work.

    The model turns it into a recorded violation; it never leaves the model.
    """

    def __init__(self, rule: str, what: str, value: int) -> None:
        super().__init__(f"{rule}: {what} (got {value:#x})")
        self.rule, self.what, self.value = rule, what, value


class PeerError(PvdevError):
    """The other end of a transport broke its protocol, or is gone."""


class BackendError(PvdevError):
    """The host failed the device: a disk, a socket, a file."""


class ConfigError(PvdevError):
    """The caller asked for something that cannot be: one clear line with the mend; exit code 2."""
