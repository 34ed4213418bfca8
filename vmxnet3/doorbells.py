"""BAR0: interrupt masks, and the doorbells in both of their places. Bells are hints; odd ones are noted."""

from collections.abc import Callable

from pvdev.regs import RegBlock
from vmxnet3.datapath import Datapath
from vmxnet3.function import pt_regs
from vmxnet3.negotiation import Negotiation
from vmxnet3.vectors import PATIENCE_NS, Vectors
from vmxnet3.wire import Cap


class Doorbells:
    """The registers of BAR0. `path` is the running data path, or None; `kicked` turns true when it was rung.

    `unread`: the answer of an ACTIVATE waits to be read; `refused`: it was a refusal. `stopped_ns`: when the driver was
    told that a queue stopped, until it asks which.
    """

    def __init__(self, agreed: Negotiation, vectors: Vectors, note: Callable[[str, str, int], None]) -> None:
        self._agreed, self._vectors, self._note = agreed, vectors, note
        self.block = RegBlock("BAR0", pt_regs(agreed.newest), (self,), note, "VMX-D-001")
        self.path: Datapath | None = None
        self.reset()

    def reset(self) -> None:
        """As after a PCI reset."""
        self.block.reset()
        self.kicked = self.unread = self.refused = False
        self.stopped_ns: int | None = None

    def _read_IMR(self, vector: int) -> int:
        return self._vectors.read(vector)

    def _write_IMR(self, vector: int, value: int) -> None:
        self._vectors.write(vector, value)

    def _write_TXPROD(self, queue: int, value: int) -> None:
        self._small("TXPROD", queue, value, tx=True)

    def _write_RXPROD(self, queue: int, value: int) -> None:
        self._small("RXPROD", queue, value)

    def _write_RXPROD2(self, queue: int, value: int) -> None:
        self._small("RXPROD2", queue, value, ring=1)

    def _write_LB_TXPROD(self, queue: int, value: int) -> None:
        self._large("TXPROD", queue, value, tx=True)

    def _write_LB_RXPROD(self, queue: int, value: int) -> None:
        self._large("RXPROD", queue, value)

    def _write_LB_RXPROD2(self, queue: int, value: int) -> None:
        self._large("RXPROD2", queue, value, ring=1)

    def _small(self, name: str, queue: int, value: int, *, tx: bool = False, ring: int = 0) -> None:
        self.block.values[name][queue] = value
        if self._agreed.caps & Cap.LARGE_BAR and self.path is not None:  # honoured all the same
            self._note("VMX-D-034", f"{name} {queue}", value)
        self._rung(f"{name} {queue}", queue, value, tx=tx, ring=ring)

    def _large(self, name: str, queue: int, value: int, *, tx: bool = False, ring: int = 0) -> None:
        if not self._agreed.caps & Cap.LARGE_BAR:
            self._note("VMX-D-034", f"{name} {queue} of LARGE_BAR", value)
            return
        self.block.values[f"LB_{name}"][queue] = value
        self._rung(f"{name} {queue}", queue, value, tx=tx, ring=ring)

    def _rung(self, place: str, queue: int, value: int, *, tx: bool, ring: int) -> None:
        path = self.path
        if self.unread or (self.refused and path is None):
            self._note("VMX-D-027", place, value)
            self.unread = False
        if path is None:
            self._note("VMX-D-030", place, value)
        elif path.bell(place, queue, value, tx=tx, ring=ring):
            self.kicked = True
            stopped = self.stopped_ns
            if tx and stopped is not None and path.queues.tx[queue].failed and path.now_ns - stopped >= PATIENCE_NS:
                self._note("VMX-D-058", place, value)
