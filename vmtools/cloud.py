"""What cloud-init's VMware data source looks for in guestinfo.

Ref: cloud-init cloudinit/sources/DataSourceVMware.py (keys and encodings).
"""

import base64
import gzip

from vmtools.variables import Variables

ENCODINGS = ("", "base64", "gzip+base64")


def seed(variables: Variables, *, encoding: str = "base64", **data: str | bytes) -> None:
    """Leave `metadata`, `userdata`, `vendordata` for cloud-init. Raises `ValueError` for other names or encodings."""
    if encoding not in ENCODINGS:
        raise ValueError(f"encoding {encoding!r}: one of {', '.join(map(repr, ENCODINGS))}")
    for name, value in data.items():
        if name not in ("metadata", "userdata", "vendordata"):
            raise ValueError(f"{name!r}: metadata, userdata or vendordata")
        plain = value.encode() if isinstance(value, str) else value
        if encoding.startswith("gzip"):
            plain = gzip.compress(plain, mtime=0)
        variables[name] = base64.b64encode(plain) if encoding else plain
        if encoding:
            variables[f"{name}.encoding"] = encoding
        elif f"{name}.encoding" in variables:
            del variables[f"{name}.encoding"]
