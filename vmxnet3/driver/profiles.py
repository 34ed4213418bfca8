"""How drivers in the field talk to the device: the order of their register accesses, and the numbers they pick.

Steps: `R name` and `W name` a register (MAC, DSA and RXPROD stand for both halves or all queues; `W x 0` writes
zero), `C name` a command, `C+ name` a command whose result is read, `IMR 0|1` every vector, `ENABLE` and `DISABLE`
the DISABLE_ALL bit in memory, `RX` the posting of receive buffers.
Ref: Linux drivers/net/vmxnet3/vmxnet3_drv.c; FreeBSD sys/dev/vmware/vmxnet3/if_vmx.c; OpenBSD sys/dev/pci/if_vmx.c;
iPXE src/drivers/net/vmxnet3.c; DPDK drivers/net/vmxnet3/vmxnet3_ethdev.c; VPP src/plugins/vmxnet3/vmxnet3.c.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vmxnet3.wire import Feature, RxMode

Steps = tuple[str, ...]

_VERSION: Steps = ("R VRRS", "W VRRS", "R UVRS", "W UVRS")
_PERM_MAC: Steps = ("C+ GET_PERM_MAC_LO", "C+ GET_PERM_MAC_HI")


@dataclass(frozen=True)
class Profile:
    """One driver's habits. `config` overrides fields of `driver.Config`; ACTIVATE itself is always read back."""

    name: str
    probe: Steps
    before: Steps
    after: Steps
    close: Steps
    config: Mapping[str, Any] = field(default_factory=dict)
    tx_bell: str = "threshold"  # or "always"
    rx_bell: str = "asked"  # RXPROD only when updateRxProd says so, every 16; or "always"
    txd_max: int = 16  # descriptors per packet without TSO
    fill: int | None = None  # receive buffers posted in ring 0; None: all but one
    posts_late: bool = False  # receive buffers are posted after ACTIVATE
    late_mode: bool = False  # rxMode is 0 at ACTIVATE and told by UPDATE_RX_MODE


_UP = RxMode.UCAST | RxMode.BCAST

PROFILES = {
    p.name: p
    for p in (
        Profile(
            "plain",
            probe=(*_VERSION, "C+ GET_CONF_INTR", "R MAC", "C+ GET_LINK"),
            before=("W MAC", "W DSA"),
            after=("ENABLE", "IMR 0"),
            close=("IMR 1", "C+ QUIESCE_DEV", "C+ RESET_DEV"),
        ),
        Profile(
            "linux",
            probe=(*_VERSION, "C+ GET_CONF_INTR", "R MAC", "C+ GET_LINK"),
            before=("W MAC", "W DSA"),
            after=(
                "W RXPROD",
                "C UPDATE_RX_MODE",
                "C UPDATE_VLAN_FILTERS",
                "C UPDATE_MAC_FILTERS",
                "C+ GET_LINK",
                "IMR 0",
                "ENABLE",
            ),
            close=("C QUIESCE_DEV", "DISABLE", "IMR 1"),
            config={"mod_level": 8},
            late_mode=True,
        ),
        Profile(
            "dpdk",
            probe=(*_VERSION, "R MAC", "C QUIESCE_DEV"),
            before=(
                "C+ GET_CONF_INTR",
                "C GET_STATS",
                "C UPDATE_FEATURE",
                "C UPDATE_VLAN_FILTERS",
                "W MAC",
                "W DSA",
            ),
            after=("C+ REGISTER_MEMREGS", "RX", "C UPDATE_RX_MODE", "C+ GET_LINK", "ENABLE", "IMR 0"),
            close=("DISABLE", "IMR 1", "C QUIESCE_DEV", "W DSA 0", "C RESET_DEV"),
            config={"vectors": "event_first"},
            posts_late=True,
        ),
        Profile(
            "freebsd",
            probe=(*_VERSION, "C+ GET_CONF_INTR", *_PERM_MAC),
            before=("W MAC", "W DSA"),
            after=(
                "W RXPROD 0",
                "C UPDATE_MAC_FILTERS",
                "C UPDATE_RX_MODE",
                "C UPDATE_VLAN_FILTERS",
                "C+ GET_LINK",
                "RX",
                "W RXPROD",
                "ENABLE",
                "IMR 0",
            ),
            close=("C QUIESCE_DEV", "C RESET_DEV"),
            config={"vectors": "freebsd", "head_size": 2048},
            late_mode=True,
            tx_bell="always",
            rx_bell="always",
            txd_max=32,
            posts_late=True,
        ),
        Profile(
            "openbsd",
            probe=(*_VERSION, "C+ GET_CONF_INTR", "W DSA", *_PERM_MAC, "W MAC", "C+ GET_LINK"),
            before=("IMR 1", "C QUIESCE_DEV", "W RXPROD 0"),
            after=("C UPDATE_FEATURE", "C UPDATE_MAC_FILTERS", "C UPDATE_RX_MODE", "C+ GET_LINK", "ENABLE", "IMR 0"),
            close=("DISABLE", "IMR 1", "C QUIESCE_DEV"),
            config={"vectors": "event_first", "head_size": 2048},
            late_mode=True,
            tx_bell="always",
            txd_max=8,
        ),
        Profile(
            "ipxe",
            probe=("R VRRS", "R UVRS", "W VRRS", "W UVRS", "C+ RESET_DEV", *_PERM_MAC, "C+ GET_LINK"),
            before=("W MAC", "W DSA"),
            after=("W RXPROD",),
            close=("C+ QUIESCE_DEV", "C+ RESET_DEV"),
            config={
                "intr": "intx",
                "tx_ring": 32,
                "rx_ring0": 32,
                "rx_ring1": 0,
                "head_size": 1522,
                "config_mtu": 1522,
                "features": Feature(0),
                "rx_mode": _UP | RxMode.ALL_MULTI,
                "tx_data_ring": False,
                "disable_all": True,
            },
            tx_bell="always",
            rx_bell="always",
            txd_max=1,
            fill=8,
        ),
        Profile(
            "vpp",
            probe=(
                "C+ QUIESCE_DEV",
                "C+ RESET_DEV",
                *_VERSION,
                "C+ GET_LINK",
                "R MAC",
                "W DSA",
            ),
            before=("W MAC",),
            after=("IMR 1", "RX", "C+ GET_LINK", "ENABLE", "IMR 0"),
            close=("C QUIESCE_DEV", "C RESET_DEV"),
            config={"auto_mask": False, "config_mtu": 1522, "rx_mode": _UP | RxMode.MCAST | RxMode.PROMISC},
            tx_bell="always",
            posts_late=True,
        ),
    )
}
