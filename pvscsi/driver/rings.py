"""The driver's side of the three rings and of the page they are counted on.

Every index the device owns is checked against what it may be before it is used.
Ref: Linux drivers/scsi/vmw_pvscsi.c (order of loads and stores, the test for room).
"""

from collections.abc import Iterator, Sequence

from pvdev.layout import Layout
from pvscsi import wire
from pvscsi.driver.common import MASK, Complain
from pvscsi.driver.memory import Memory, Piece, addresses

Completion = tuple[int, int, int, int, int, int]  # of wire.COMPLETION, in order

_WORD = {name: at // 4 for name, at in wire.RINGS_STATE.offset.items()}
REQ_PROD, REQ_CONS, REQ_LOG2 = _WORD["reqProdIdx"], _WORD["reqConsIdx"], _WORD["reqNumEntriesLog2"]
CMP_PROD, CMP_CONS, CMP_LOG2 = _WORD["cmpProdIdx"], _WORD["cmpConsIdx"], _WORD["cmpNumEntriesLog2"]
MSG_PROD, MSG_CONS, MSG_LOG2 = _WORD["msgProdIdx"], _WORD["msgConsIdx"], _WORD["msgNumEntriesLog2"]
THRESHOLD = _WORD["reqCallThreshold"]
_PADS = (slice(THRESHOLD + 1, MSG_PROD), slice(MSG_LOG2 + 1, wire.PAGE // 4))  # words nobody writes
UNWRITTEN = b"\x5a" * wire.COMPLETION.size  # what a completion slot holds until the device fills it


class PageRing:
    """Cells on pages that need not lie in a row."""

    def __init__(self, pages: Sequence[Piece], layout: Layout) -> None:
        self.pages, self.cell = pages, layout.size
        self.per_page = wire.PAGE // layout.size
        self.entries = self.per_page * len(pages)

    @property
    def log2(self) -> int:
        return self.entries.bit_length() - 1

    def spans(self, index: int, count: int) -> Iterator[memoryview]:
        """The memory of `count` cells from `index` on, page by page."""
        while count > 0:
            page, at = divmod(index & self.entries - 1, self.per_page)
            step = min(count, self.per_page - at)
            yield self.pages[page].view[at * self.cell : (at + step) * self.cell]
            index, count = index + step, count - step

    def read(self, index: int, count: int) -> bytes:
        return b"".join(map(bytes, self.spans(index, count)))

    def write(self, index: int, data: bytes) -> None:
        """Store whole cells."""
        at = 0
        for span in self.spans(index, len(data) // self.cell):
            span[:] = data[at : at + len(span)]
            at += len(span)


class Rings:
    """State page, request and completion ring; the message ring when `msg_pages` says so."""

    def __init__(
        self,
        memory: Memory,
        complain: Complain,
        *,
        req_pages: int,
        cmp_pages: int,
        msg_pages: int,
        scattered: bool = True,
    ) -> None:
        self._complain = complain
        self.page = memory.pages(1)[0]
        self.state = self.page.view.cast("I")
        self.requests = PageRing(memory.pages(req_pages, scattered=scattered), wire.REQUEST)
        self.completions = PageRing(memory.pages(cmp_pages, scattered=scattered), wire.COMPLETION)
        self.messages = PageRing(memory.pages(msg_pages, scattered=scattered), wire.MESSAGE) if msg_pages else None
        self.clear()

    def clear(self) -> None:
        """As before SETUP_RINGS: the state page zeroed, nothing in any ring."""
        self.page.view[:] = bytes(wire.PAGE)
        self.req_prod = self.cmp_cons = self.msg_cons = 0  # what we stored
        self._req_cons = 0  # what we saw last
        self._shadow = bytearray(self.requests.entries * wire.REQUEST.size)  # what we put into the request ring
        self.requests.write(0, bytes(self._shadow))
        self.completions.write(0, UNWRITTEN * self.completions.entries)
        self.told = False  # the message ring was set up

    def preset(self, index: int) -> None:
        """As if `index` requests, completions and messages had passed already; the device has to be told, too."""
        self.req_prod = self._req_cons = self.cmp_cons = index
        words = [REQ_PROD, REQ_CONS, CMP_PROD, CMP_CONS]
        if self.told:
            self.msg_cons = index
            words += [MSG_PROD, MSG_CONS]
        for word in words:
            self.state[word] = index

    def arguments(self) -> bytes:
        """Of SETUP_RINGS."""
        return wire.SETUP_RINGS.encode(
            reqRingNumPages=len(self.requests.pages),
            cmpRingNumPages=len(self.completions.pages),
            ringsStatePPN=self.page.ppn,
            reqRingPPNs=addresses(self.requests.pages),
            cmpRingPPNs=addresses(self.completions.pages),
        )

    def message_arguments(self) -> bytes:
        """Of SETUP_MSG_RING."""
        assert self.messages is not None
        return wire.SETUP_MSG_RING.encode(numPages=len(self.messages.pages), ringPPNs=addresses(self.messages.pages))

    def check_set_up(self) -> None:
        """What SETUP_RINGS must have left in the state page."""
        state = self.state
        sizes, wanted = (state[REQ_LOG2], state[CMP_LOG2]), (self.requests.log2, self.completions.log2)
        if sizes != wanted:
            self._complain("PVS-V-024", f"log2 of the rings' entries: {sizes}, not {wanted}")
        indices = [state[word] for word in (REQ_PROD, REQ_CONS, CMP_PROD, CMP_CONS)]
        if any(indices):
            self._complain("PVS-V-024", f"indices of new rings: {indices}")

    def check_messages_set_up(self) -> None:
        """What SETUP_MSG_RING must have left there."""
        assert self.messages is not None
        state = self.state
        if state[MSG_LOG2] != self.messages.log2 or state[MSG_PROD] or state[MSG_CONS]:
            found = [state[word] for word in (MSG_PROD, MSG_CONS, MSG_LOG2)]
            self._complain("PVS-V-028", f"message indices and log2 {found}, not 0, 0, {self.messages.log2}")
        self.told = True

    # -- requests ------------------------------------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """Requests that may still be published: no more are out than the ring has entries, finished ones included."""
        return self.requests.entries - (self.req_prod - self.cmp_cons & MASK)

    @property
    def waiting(self) -> int:
        """Published requests the device has not fetched."""
        return self.req_prod - self.state[REQ_CONS] & MASK

    def put(self, descriptors: bytes) -> None:
        """Store whole descriptors behind the last ones; nobody is told yet. More than `room` is the caller's fault."""
        ring = self.requests
        count, at = len(descriptors) // ring.cell, (self.req_prod & ring.entries - 1) * ring.cell
        ring.write(self.req_prod, descriptors)
        head = min(len(descriptors), len(self._shadow) - at)
        self._shadow[at : at + head] = descriptors[:head]
        self._shadow[: len(descriptors) - head] = descriptors[head:]
        self.req_prod = self.req_prod + count & MASK

    def publish(self) -> None:
        """reqProdIdx covers all that was put."""
        self.state[REQ_PROD] = self.req_prod

    @property
    def done(self) -> int:
        """Completions that are there."""
        return self.state[CMP_PROD] - self.cmp_cons & MASK

    # -- completions ---------------------------------------------------------------------------------------------------

    def take(self, limit: int | None = None) -> list[Completion]:
        """Completions that are there, at most `limit`, oldest first; their slots are the device's again."""
        return list(wire.COMPLETION.struct.iter_unpack(self.take_raw(limit)))

    def take_raw(self, limit: int | None = None) -> bytes:
        """The same as they stand in the ring, one behind the other."""
        self.check_indices()
        ring, cons = self.completions, self.cmp_cons
        count = self.state[CMP_PROD] - cons & MASK
        if count > ring.entries:
            self._complain("PVS-V-058", f"cmpProdIdx is {count} ahead in a ring of {ring.entries}")
            return b""
        if limit is not None:
            count = min(count, limit)
        if not count:
            return b""
        data = ring.read(cons, count)
        if UNWRITTEN in data:
            at = data.index(UNWRITTEN)
            if at % ring.cell == 0:
                self._complain("PVS-V-059", f"completion {cons + at // ring.cell} was published before it was written")
        ring.write(cons, UNWRITTEN * count)
        self.cmp_cons = cons + count & MASK
        self.state[CMP_CONS] = self.cmp_cons
        return data

    def take_messages(self) -> list[bytes]:
        """Messages that are there; their slots are the device's again."""
        ring = self.messages
        if ring is None or not self.told:
            return []
        count = self.state[MSG_PROD] - self.msg_cons & MASK
        if count > ring.entries:
            self._complain("PVS-V-099", f"msgProdIdx is {count} ahead in a ring of {ring.entries}")
            return []
        data = ring.read(self.msg_cons, count)
        if count:
            self.msg_cons = self.msg_cons + count & MASK
            self.state[MSG_CONS] = self.msg_cons
        return [data[at : at + ring.cell] for at in range(0, len(data), ring.cell)]

    # -- what the device must leave alone ------------------------------------------------------------------------------

    def check_indices(self) -> None:
        """Ours are as we stored them, and reqConsIdx is where it can be."""
        state = self.state
        ours = (self.cmp_cons, self.msg_cons)
        found = (state[CMP_CONS], state[MSG_CONS])
        if found != ours:
            self._complain("PVS-V-052", f"cmpConsIdx and msgConsIdx are {found}; the driver stored {ours}")
        cons = state[REQ_CONS]
        if cons - self._req_cons & MASK > self.req_prod - self._req_cons & MASK:
            self._complain("PVS-V-051", f"reqConsIdx is {cons}: it was {self._req_cons}, reqProdIdx {self.req_prod}")
        else:
            self._req_cons = cons

    def audit(self) -> None:
        """Request ring, unused words of the state page."""
        self.check_indices()
        if self.requests.read(0, self.requests.entries) != self._shadow:
            self._complain("PVS-V-052", "the request ring was written")
        if any(any(self.state[pad]) for pad in _PADS):
            self._complain("PVS-V-052", "words of the state page that are nobody's were written")
