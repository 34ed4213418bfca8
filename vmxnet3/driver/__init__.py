"""The VMXNET3 reference driver, a second witness: it shares names and numbers (`wire`) with the model, nothing else."""

from pvdev.pci_driver import PciFacts
from vmxnet3.driver.commands import Link, MemRegion, Scheme
from vmxnet3.driver.common import DeviceBroke, RingFull
from vmxnet3.driver.config import Config, Rss
from vmxnet3.driver.driver import Driver
from vmxnet3.driver.offloads import Csum, Encap, Tso, TxD, describe
from vmxnet3.driver.received import Lro, Received
from vmxnet3.driver.record import Record
from vmxnet3.driver.steps import KNOWN_VERSIONS
from vmxnet3.driver.wake import WakeFilter, arp_filter, station_filter

__all__ = [
    "KNOWN_VERSIONS",
    "Config",
    "Csum",
    "DeviceBroke",
    "Driver",
    "Encap",
    "Link",
    "Lro",
    "MemRegion",
    "PciFacts",
    "Received",
    "Record",
    "RingFull",
    "Rss",
    "Scheme",
    "Tso",
    "TxD",
    "WakeFilter",
    "arp_filter",
    "describe",
    "station_filter",
]
