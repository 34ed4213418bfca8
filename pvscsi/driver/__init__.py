"""The PVSCSI reference driver, a second witness: it shares names and numbers (`wire`) with the model, nothing else."""

from pvdev.pci_driver import PciFacts
from pvscsi.driver.batch import Batch
from pvscsi.driver.commands import ConfigPage
from pvscsi.driver.common import DeviceBroke, RingFull
from pvscsi.driver.config import Config
from pvscsi.driver.data import Shape, even, spread
from pvscsi.driver.driver import Driver, Message
from pvscsi.driver.profiles import PROFILES
from pvscsi.driver.request import Request, Sense
from pvscsi.driver.scsi import Capacity, CommandFailed, Disk
from pvscsi.driver.slots import Done, Slots

__all__ = [
    "PROFILES",
    "Batch",
    "Capacity",
    "CommandFailed",
    "Config",
    "ConfigPage",
    "DeviceBroke",
    "Disk",
    "Done",
    "Driver",
    "Message",
    "PciFacts",
    "Request",
    "RingFull",
    "Sense",
    "Shape",
    "Slots",
    "even",
    "spread",
]
