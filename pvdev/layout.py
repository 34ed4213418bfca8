"""Wire layouts, declared once: the only reader of `struct` format strings in the kit.

A layout is read at two speeds: `decode` and `encode` for tests, drivers and traces; `struct`, `mask` and
`shift` as plain objects for the ring loops. Everything is little-endian, but for what says `order=">"`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from struct import Struct, calcsize

_ARRAY = re.compile(r"(\d*)([a-zA-Z])")


def bits(**widths: int) -> tuple[tuple[str, int], ...]:
    """The bit fields of one integer, lowest first: name -> width in bits. They must fill the integer."""
    return tuple(widths.items())


FieldSpec = tuple[str, str] | tuple[str, str, tuple[tuple[str, int], ...]]


@dataclass(eq=False)
class Layout:
    """A C structure: `fields` are (name, struct code[, bits(...)]) in order; an empty name is padding.

    Raises `ValueError` when the bytes do not add up to `size` or the bits not to their integer. `ref` names the
    structure in the public header whose spellings are used.
    """

    name: str
    size: int
    fields: Sequence[FieldSpec]
    ref: str = ""
    order: str = "<"
    struct: Struct = field(init=False)
    offset: Mapping[str, int] = field(init=False)
    mask: Mapping[str, int] = field(init=False)  # bit field name -> mask within its integer
    shift: Mapping[str, int] = field(init=False)  # bit field name -> lowest bit within its integer

    def __post_init__(self) -> None:
        code, offset, mask, shift = self.order, {}, {}, {}
        for spec in self.fields:
            name, fmt = spec[0], spec[1]
            if name:
                offset[name] = calcsize(code)
            code += fmt if name else f"{calcsize('<' + fmt)}x"
            if len(spec) == 3:
                at = 0
                for bit_name, width in spec[2]:
                    mask[bit_name], shift[bit_name] = ((1 << width) - 1) << at, at
                    at += width
                if at != 8 * calcsize("<" + fmt):
                    raise ValueError(f"{self.name}.{name}: {at} bits declared in {fmt!r}")
        self.struct = Struct(code)
        if self.struct.size != self.size:
            raise ValueError(f"{self.name}: fields take {self.struct.size} bytes, declared {self.size}")
        self.offset, self.mask, self.shift = offset, mask, shift

    def decode(self, buf: bytes | bytearray | memoryview, at: int = 0) -> dict[str, int | bytes | tuple[int, ...]]:
        """Every named field at byte `at` of `buf`; bit fields under their own names, arrays as tuples."""
        values = list(self.struct.unpack_from(buf, at))
        out: dict[str, int | bytes | tuple[int, ...]] = {}
        for spec in self.fields:
            name, fmt = spec[0], spec[1]
            if not name:
                continue
            count, code = self._shape(fmt)
            if code == "s" or count == 1:
                value = values.pop(0)
            else:
                value, values = tuple(values[:count]), values[count:]
            if len(spec) == 3:
                for bit_name, _ in spec[2]:
                    out[bit_name] = (value & self.mask[bit_name]) >> self.shift[bit_name]
            else:
                out[name] = value
        return out

    def numbers(self, buf: bytes | bytearray | memoryview, at: int = 0) -> dict[str, int]:
        """Like `decode`, integers only: byte strings are left out, arrays appear as name0, name1 ..."""
        out: dict[str, int] = {}
        for name, value in self.decode(buf, at).items():
            if isinstance(value, int):
                out[name] = value
            elif isinstance(value, tuple):
                out.update({f"{name}{i}": item for i, item in enumerate(value)})
        return out

    def encode(self, **values: int | bytes | Sequence[int]) -> bytes:
        """The bytes of one structure; fields not given are zero. Raises `ValueError` for a name it does not have."""
        flat: list[int | bytes] = []
        for spec in self.fields:
            name, fmt = spec[0], spec[1]
            if not name:
                continue
            count, code = self._shape(fmt)
            if len(spec) == 3:
                word = 0
                for bit_name, width in spec[2]:
                    value = values.pop(bit_name, 0)
                    if not isinstance(value, int) or value >> width:
                        raise ValueError(f"{self.name}.{bit_name}: {value!r} does not fit {width} bits")
                    word |= value << self.shift[bit_name]
                flat.append(word)
            elif code == "s":
                flat.append(values.pop(name, b""))  # type: ignore[arg-type]
            elif count == 1:
                flat.append(values.pop(name, 0))  # type: ignore[arg-type]
            else:
                given = tuple(values.pop(name, ()))  # type: ignore[arg-type]
                flat += (*given, *(0,) * (count - len(given)))
        if values:
            raise ValueError(f"{self.name} has no field {', '.join(sorted(values))}")
        return self.struct.pack(*flat)

    @staticmethod
    def _shape(fmt: str) -> tuple[int, str]:
        match = _ARRAY.fullmatch(fmt)
        if match is None:
            raise ValueError(f"one struct code per field, got {fmt!r}")
        return int(match[1] or 1), match[2]
