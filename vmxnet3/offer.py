"""What a NIC tells drivers that ask: its address, its limits, what each version may use. Nothing here changes."""

from collections.abc import Callable
from dataclasses import dataclass

from vmxnet3.negotiation import Negotiation
from vmxnet3.versions import limits, max_capabilities
from vmxnet3.wire import DEVICE_ID, HASH_FUNC_TOEPLITZ, REVISION, Cmd

TS_SLOT = 64  # bytes per time stamp slot


@dataclass(frozen=True)
class Offer:
    """`queues`: the most (transmit, receive) queues, None for all the version has; slots in bytes; `timestamp_rate`: a
    packet in so many gets a time stamp, 0 for none; `disabled_offloads`: bit 0 TSO, bit 1 LRO.

    Raises `ValueError` for more queues than the version has.
    """

    mac: bytes
    version: int
    queues: tuple[int, int] | None = None
    tx_data_slot: int = 128
    rx_data_slot: int = 128
    timestamp_rate: int = 0
    disabled_offloads: int = 0

    def __post_init__(self) -> None:
        most = limits(self.version)
        tx, rx = self.most_queues
        if not (1 <= tx <= most.tx_queues and 1 <= rx <= most.rx_queues):
            raise ValueError(
                f"{tx} and {rx} queues: version {self.version} has 1 to {most.tx_queues} and {most.rx_queues}"
            )

    @property
    def most_queues(self) -> tuple[int, int]:
        return self.queues if self.queues is not None else limits(self.version)[:2]

    def answers(self, agreed: Negotiation) -> dict[int, Callable[[], int]]:
        """The commands whose answer needs nothing but this and what was agreed."""
        low, high = int.from_bytes(self.mac[:4], "little"), int.from_bytes(self.mac[4:], "little")
        tx, rx = self.most_queues
        stamp = TS_SLOT if self.timestamp_rate else 0
        always = {
            Cmd.GET_PERM_MAC_LO: low,
            Cmd.GET_PERM_MAC_HI: high,
            Cmd.GET_DID_LO: DEVICE_ID,
            Cmd.GET_DID_HI: REVISION,
            Cmd.GET_DEV_EXTRA_INFO: 0,
            Cmd.GET_CONF_INTR: 0,  # any interrupt type, automatic masks
            Cmd.GET_ADAPTIVE_RING_INFO: 1,
            Cmd.GET_MAX_QUEUES_CONF: tx | rx << 8,
            Cmd.GET_RSS_HASH_FUNC: HASH_FUNC_TOEPLITZ,
            Cmd.GET_TSRING_DESC_SIZE: stamp | stamp << 16,
            Cmd.GET_DISABLED_OFFLOADS: self.disabled_offloads,
        }
        return {
            **{command: constant(value) for command, value in always.items()},
            Cmd.GET_TXDATA_DESC_SIZE: lambda: (
                self.tx_data_slot | (self.rx_data_slot << 16 if agreed.version >= 9 else 0)
            ),
            Cmd.GET_MAX_CAPABILITIES: lambda: max_capabilities(agreed.version),
            Cmd.GET_DCR0_REG: lambda: int(agreed.caps),
        }


def constant(value: int) -> Callable[[], int]:
    return lambda: value
