"""CONFIG pages: what an adapter says of itself, its phys and its devices.

Ref: VMware's pvscsi_defs.h (layouts); Linux pvscsi_get_max_targets and OpenBSD's vmwpvs (which page is read, and how
its header tells success).
"""

from collections.abc import Container

from pvscsi.wire import (
    ADDRESS_BUSTARGET,
    ADDRESS_CONTROLLER,
    ADDRESS_PHY,
    CONFIG_CONTROLLER,
    CONFIG_DEVICE,
    CONFIG_HEADER,
    CONFIG_PAGE_CONTROLLER,
    CONFIG_PAGE_DEVICE,
    CONFIG_PAGE_PHY,
    CONFIG_PHY,
    HostStatus,
)

WWN = 0x5000_C290_0000_0000  # VMware's company id; the low bits are the adapter's and the phy's number
SAS = 1  # attachedDeviceType
CHECK_CONDITION = 2
FAILED = CONFIG_HEADER.encode(hostStatus=HostStatus.INVPARAM, scsiStatus=CHECK_CONDITION)


def _text(words: str, length: int) -> bytes:
    """UTF-16, zero padded to `length` bytes."""
    return words.encode("utf-16-le").ljust(length, b"\0")


def page(number: int, address: int, *, phys: int, present: Container[int]) -> bytes | None:
    """The whole page `number` for `address` (type in the upper 32 bits, value in the lower); None: there is no such.

    `phys`: how many targets the adapter has places for; `present`: those with a device.
    """
    kind, value = address >> 32, address & 0xFFFF_FFFF
    if (number, kind) == (CONFIG_PAGE_CONTROLLER, ADDRESS_CONTROLLER):
        return _with_header(
            CONFIG_CONTROLLER.encode(
                nodeWWN=WWN,
                manufacturer=_text("VMware, Inc.", 128),
                serialNumber=_text("pvdev", 128),
                hwVersion=_text("2", 64),
                firmwareVersion=_text("1.0", 64),
                numPhys=phys,
                useConsecutivePhyWWNs=1,
            ),
            number,
        )
    if (number, kind) == (CONFIG_PAGE_PHY, ADDRESS_PHY) and value < phys:
        return _with_header(
            CONFIG_PHY.encode(
                phyWWN=WWN + 1 + value,
                attachedDeviceWWN=_device_wwn(value) if value in present else 0,
                attachedDeviceType=SAS if value in present else 0,
            ),
            number,
        )
    if (number, kind) == (CONFIG_PAGE_DEVICE, ADDRESS_BUSTARGET) and value in present:
        return _with_header(
            CONFIG_DEVICE.encode(deviceWWN=_device_wwn(value), phyWWN=WWN + 1 + value, phyNum=value, target=value),
            number,
        )
    return None


def _device_wwn(target: int) -> int:
    return WWN + 0x1_0000 + target


def _with_header(body: bytes, number: int) -> bytes:
    return CONFIG_HEADER.encode(pageNum=number, numDwords=len(body) // 4) + body[CONFIG_HEADER.size :]
