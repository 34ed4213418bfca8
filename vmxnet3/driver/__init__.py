"""The VMXNET3 reference driver, a second witness: it shares names and numbers (`wire`) with the model, nothing else."""

from vmxnet3.driver.common import DeviceBroke, RingFull
from vmxnet3.driver.driver import Driver, Link
from vmxnet3.driver.memory import Config, Record, Rss
from vmxnet3.driver.pci import BAR_BASE, PciFacts
from vmxnet3.driver.rx import Received
from vmxnet3.driver.tx import Csum, Tso, TxD, describe

__all__ = [
    "BAR_BASE",
    "Config",
    "Csum",
    "DeviceBroke",
    "Driver",
    "Link",
    "PciFacts",
    "Received",
    "Record",
    "RingFull",
    "Rss",
    "Tso",
    "TxD",
    "describe",
]
