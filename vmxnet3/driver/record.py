"""A structure both sides see, field by field; stores are single and aligned, as a compiler makes them."""

from collections.abc import Sequence
from typing import Literal

from pvdev.layout import Layout

_CELLS: dict[str, tuple[Literal["B", "H", "I", "Q"], int]] = {
    "s": ("B", 1),
    "B": ("B", 1),
    "H": ("H", 2),
    "I": ("I", 4),
    "Q": ("Q", 8),
}


class Record:
    """A structure in shared memory: `record["mtu"] = 1500`."""

    def __init__(self, layout: Layout, view: memoryview) -> None:
        self.layout, self.view = layout, view
        self._codes = {spec[0]: spec[1] for spec in layout.fields}

    def cell(self, name: str) -> memoryview:
        """A field as a memoryview of its own, one element per array element."""
        at, code = self.layout.offset[name], self._codes[name]
        cast, size = _CELLS[code[-1]]
        return self.view[at : at + int(code[:-1] or 1) * size].cast(cast)

    def __getitem__(self, name: str) -> int:
        return int(self.cell(name)[0])

    def __setitem__(self, name: str, value: int) -> None:
        self.cell(name)[0] = value

    def all(self, name: str) -> list[int]:
        """Every element of an array field."""
        return self.cell(name).tolist()

    def put(self, name: str, values: Sequence[int]) -> None:
        """The first elements of an array field."""
        cell = self.cell(name)
        for i, value in enumerate(values):
            cell[i] = value

    def fill(self, **values: int | bytes | Sequence[int]) -> None:
        """The whole structure anew; fields not given are zero."""
        self.view[: self.layout.size] = self.layout.encode(**values)
