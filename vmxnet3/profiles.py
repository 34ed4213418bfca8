"""Drivers in the field that disagree with the letter: what each is known to do, and what the device does for it.

A rule a driver is known to break is recorded all the same, marked as known, and fails no strict run. Sources: the
drivers' code, as docs/RULES.md names them with each rule.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Profile:
    """One driver. `known`: rule number -> why it is harmless there. `empty_vlan_table_passes`: a VLAN table of zeros
    filters nothing, because this driver never fills it."""

    name: str
    known: dict[str, str] = field(default_factory=dict)
    empty_vlan_table_passes: bool = False


_RINGS_ALWAYS = "it rings for every buffer, asked for or not"

PROFILES = {
    profile.name: profile
    for profile in (
        Profile("letter"),
        Profile(
            "linux",
            {
                "VMX-D-030": "it stops its transmit queues only after QUIESCE: another processor may still ring",
                "VMX-D-034": "its XDP transmit path rings the small doorbell page",
                "VMX-D-050": "an MTU below 106 makes its HEAD buffers shorter than 128 bytes (version 7 and newer)",
                "VMX-D-065": "it suspends without QUIESCE",
            },
        ),
        Profile(
            "freebsd",
            {
                "VMX-D-014": "it announces two vectors with one",
                "VMX-D-037": "it spreads a packet over up to 32 descriptors",
                "VMX-D-038": "it asks for one completion for several packets",
                "VMX-D-053": _RINGS_ALWAYS,
            },
            empty_vlan_table_passes=True,
        ),
        Profile(
            "openbsd",
            {"VMX-D-030": "it writes RXPROD = 0 before ACTIVATE", "VMX-D-053": _RINGS_ALWAYS},
            empty_vlan_table_passes=True,
        ),
        Profile(
            "dpdk",
            {
                "VMX-D-006": "it registers memory regions with every version",
                "VMX-D-009": "it updates features and VLAN table before there is a shared area",
                "VMX-D-055": "it polls, and leaves vectors masked",
            },
        ),
        Profile("ipxe", {"VMX-D-017": "it has no ring 1", "VMX-D-053": _RINGS_ALWAYS}),
        Profile(
            "vpp",
            {
                "VMX-D-019": "its receive completion ring is as long as one of the rings it serves",
                "VMX-D-031": "it rings without the distance between doorbells",
                "VMX-D-053": _RINGS_ALWAYS,
            },
        ),
        Profile("solaris", {"VMX-D-032": "it writes the transmit ring's size into a receive doorbell"}),
    )
}
LETTER = PROFILES["letter"]
