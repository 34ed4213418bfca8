"""Who a logical unit says it is: names and numbers that stay the same from run to run."""

from dataclasses import dataclass
from hashlib import sha256

_NAA_LOCAL = 3  # locally assigned: nobody's company id is borrowed


@dataclass(frozen=True)
class Identity:
    """`serial` is ASCII; `naa` has eight bytes. Vendor, product and revision are cut or padded to 8, 16 and 4."""

    serial: str
    naa: bytes
    vendor: str = "VMware"
    product: str = "Virtual disk"
    revision: str = "2.0"

    @classmethod
    def of(cls, name: str, *, serial: str | None = None, product: str = "Virtual disk") -> "Identity":
        """Worked out from a name, so that the same disk is found again. `serial` instead of the one worked out."""
        digest = sha256(name.encode()).digest()
        naa = bytes((_NAA_LOCAL << 4 | digest[0] & 0xF,)) + digest[1:8]
        return cls(naa.hex() if serial is None else serial, naa, product=product)

    @property
    def ascii_vendor(self) -> bytes:
        return _padded(self.vendor, 8)

    @property
    def ascii_product(self) -> bytes:
        return _padded(self.product, 16)

    @property
    def ascii_revision(self) -> bytes:
        return _padded(self.revision, 4)

    @property
    def ascii_serial(self) -> bytes:
        """At most 64 bytes."""
        return self.serial.encode("ascii", "replace")[:64]


def _padded(text: str, size: int) -> bytes:
    return text.encode("ascii", "replace")[:size].ljust(size)
