"""Drivers in the field that disagree with the letter: what each is known to do.

A rule a driver is known to break is recorded all the same, marked as known, and fails no strict run. Sources: the
drivers' code, as docs/RULES.md names them with each rule.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Profile:
    """One driver. `known`: rule number -> why it is harmless there. Several in turn, as firmware and an operating
    system: `a | b`."""

    name: str
    known: dict[str, str] = field(default_factory=dict)

    def __or__(self, other: "Profile") -> "Profile":
        return Profile(f"{self.name}, {other.name}", {**self.known, **other.known})


_ONE_KICK = "it has one kick for all requests"
_NO_NAME = "it has one request out at a time, and calls it 0"
_OUT = "it sends DIR_TODEVICE with requests without data"
_BOTH_BITS = "it acknowledges both completion bits"
_LEAVES = "it never resets the adapter"

PROFILES = {
    profile.name: profile
    for profile in (
        Profile("letter"),
        Profile("linux"),
        Profile("freebsd", {"PVS-D-062": "it resets an adapter that hangs and leaves it at that"}),
        Profile("netbsd", {"PVS-D-062": "it resets an adapter that hangs and leaves it at that"}),
        Profile(
            "openbsd",
            {
                "PVS-D-008": _LEAVES,
                "PVS-D-015": "it sets up rings over those firmware left",
                "PVS-D-025": _ONE_KICK,
                "PVS-D-029": "it marks the upper half of its contexts",
                "PVS-D-061": _LEAVES,
            },
        ),
        Profile(
            "illumos",
            {
                "PVS-D-007": "it takes a message ring for granted",
                "PVS-D-058": "it frees a context when ABORT_CMD returns",
            },
        ),
        Profile("ovmf", {"PVS-D-025": _ONE_KICK, "PVS-D-028": _NO_NAME, "PVS-D-034": _OUT, "PVS-D-053": _BOTH_BITS}),
        Profile(
            "seabios",
            {
                "PVS-D-025": _ONE_KICK,
                "PVS-D-028": _NO_NAME,
                "PVS-D-034": _OUT,
                "PVS-D-046": "it says 16 of every CDB",
                "PVS-D-053": _BOTH_BITS,
                "PVS-D-061": _LEAVES,
            },
        ),
    )
}
LETTER = PROFILES["letter"]
