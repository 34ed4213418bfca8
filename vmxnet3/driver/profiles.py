"""How drivers in the field talk to the device: the order of their register accesses, and the numbers they pick.

Steps: `R name` and `W name` a register (MAC, DSA and RXPROD stand for both halves or all queues; `W x 0` writes
zero), `C name` a command, `C+ name` a command whose result is read, `IMR 0|1` every vector, `ENABLE` and `DISABLE`
the DISABLE_ALL bit in memory, `RX` the posting of receive buffers. `v7: step` is for versions from 7 on, `rss: step`
for drivers that hash, `fields: step` for those told what to hash; `v4 rss: step` needs both. `W DCR` asks for
capabilities, `W DCR bar` for LARGE_BAR alone. What commands point at or carry is made for them.
Ref: Linux drivers/net/vmxnet3/vmxnet3_drv.c; FreeBSD sys/dev/vmware/vmxnet3/if_vmx.c; OpenBSD sys/dev/pci/if_vmx.c;
iPXE src/drivers/net/vmxnet3.c; DPDK drivers/net/vmxnet3/vmxnet3_ethdev.c; VPP src/plugins/vmxnet3/vmxnet3.c.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vmxnet3.wire import Cap, Feature, RxMode

Steps = tuple[str, ...]

_VERSION: Steps = ("R VRRS", "W VRRS", "R UVRS", "W UVRS")
_PERM_MAC: Steps = ("C+ GET_PERM_MAC_LO", "C+ GET_PERM_MAC_HI")
_CAPS: Steps = ("v7: R DCR", "v7: R PTCR", "v7: W DCR", "v7: C+ GET_DCR0_REG")
_SLOTS: Steps = ("v3: C+ GET_TXDATA_DESC_SIZE", "v9: C+ GET_TSRING_DESC_SIZE")
_TUNNEL_CAPS = (
    Cap.GENEVE_CHECKSUM_OFFLOAD
    | Cap.GENEVE_TSO
    | Cap.VXLAN_CHECKSUM_OFFLOAD
    | Cap.VXLAN_TSO
    | Cap.GENEVE_OUTER_CHECKSUM_OFFLOAD
    | Cap.VXLAN_OUTER_CHECKSUM_OFFLOAD
)
_ORDERED = ~(Cap.OOORX_COMP | Cap.ERROR)  # everything but completions out of order, which this driver cannot follow


@dataclass(frozen=True)
class Profile:
    """One driver's habits. `config` overrides fields of `driver.Config`; ACTIVATE itself is always read back.

    Steps run in this order: `probe` once, then for each "interface up" `sizes`, the laying out of memory, `before`,
    ACTIVATE, `after`.
    """

    name: str
    probe: Steps
    newest: int  # the highest version it knows
    before: Steps
    after: Steps
    close: Steps
    sizes: Steps = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    caps: Cap = _ORDERED  # what it asks for of what is offered
    rx_data_ring: bool = False  # small packets come through a data ring (version 3)
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
            newest=9,
            probe=(
                *_VERSION,
                *_CAPS,
                "v6: C+ GET_MAX_QUEUES_CONF",
                "v9: C+ GET_DISABLED_OFFLOADS",
                "C+ GET_CONF_INTR",
                "R MAC",
                "C+ GET_LINK",
            ),
            sizes=_SLOTS,
            before=("W MAC", "W DSA"),
            after=("v4 fields: C+ SET_RSS_FIELDS", "v4: C+ GET_RSS_FIELDS", "ENABLE", "IMR 0"),
            close=("IMR 1", "C+ QUIESCE_DEV", "C+ RESET_DEV"),
        ),
        Profile(
            "linux",
            newest=9,
            probe=(
                *_VERSION,
                "v7: R DCR",
                "v7: R PTCR",
                "v7: W DCR bar",
                "v7: C+ GET_DCR0_REG",
                "v6: C+ GET_MAX_QUEUES_CONF",
                "v9: C+ GET_DISABLED_OFFLOADS",
                "v7: W DCR",
                "v7: C+ GET_DCR0_REG",
                "C+ GET_CONF_INTR",
                "R MAC",
                "C+ GET_LINK",
            ),
            sizes=_SLOTS,
            before=("W MAC", "W DSA"),
            after=(
                "v7: C SET_RING_BUFFER_SIZE",
                "v3: C GET_COALESCE",
                "v4 fields: C SET_RSS_FIELDS",
                "v4: C+ GET_RSS_FIELDS",
                "W RXPROD",
                "C UPDATE_RX_MODE",
                "C UPDATE_VLAN_FILTERS",
                "C UPDATE_MAC_FILTERS",
                "C+ GET_LINK",
                "IMR 0",
                "ENABLE",
            ),
            close=("C QUIESCE_DEV", "DISABLE", "IMR 1"),
            config={"mod_level": 8, "bodies": None},
            caps=_TUNNEL_CAPS | Cap.LARGE_BAR,
            rx_data_ring=True,
            late_mode=True,
        ),
        Profile(
            "dpdk",
            newest=7,
            probe=(
                *_VERSION,
                "v7: C+ GET_MAX_CAPABILITIES",
                *_CAPS,
                "v6: C+ GET_MAX_QUEUES_CONF",
                "R MAC",
                "C QUIESCE_DEV",
                "v3: C+ GET_TXDATA_DESC_SIZE",
            ),
            before=(
                "C+ GET_CONF_INTR",
                "C GET_STATS",
                "C UPDATE_FEATURE",
                "C UPDATE_VLAN_FILTERS",
                "W MAC",
                "W DSA",
            ),
            after=(
                "C+ REGISTER_MEMREGS",
                "v4 rss: C+ SET_RSS_FIELDS",
                "RX",
                "v7: C SET_RING_BUFFER_SIZE",
                "C UPDATE_RX_MODE",
                "C+ GET_LINK",
                "ENABLE",
                "IMR 0",
            ),
            close=("DISABLE", "IMR 1", "C QUIESCE_DEV", "W DSA 0", "C RESET_DEV"),
            config={"vectors": "event_first"},
            caps=_ORDERED & ~Cap.LARGE_BAR,
            rx_data_ring=True,
            posts_late=True,
        ),
        Profile(
            "freebsd",
            newest=1,
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
            newest=2,
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
            newest=1,
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
            newest=3,
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
