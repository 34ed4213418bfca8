"""The numbers a reference driver is brought up with."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """`req_pages`, `cmp_pages`, `msg_pages`: pages of each ring; None: 8, or 32 with more than 16 targets; no
    `msg_pages`: no message ring. `intr`: the best interrupt wanted. `sense`: bytes of a request's sense buffer.
    `calls`: the request call threshold is used where there is one. `scattered`: ring pages lie in no order.
    """

    req_pages: int | None = None
    cmp_pages: int | None = None
    msg_pages: int = 1
    intr: str = "msix"
    sense: int = 96
    calls: bool = True
    scattered: bool = True
