"""The part of libnbd that we use, by its C interface.

libnbd's own Python module is made for the one Python of a distribution and is on no package index, so a virtual
environment does not see it. The shared library is the same for every Python, and its interface is kept stable.

Ref: libnbd(3), libnbd.h 1.10 and newer.
"""

import ctypes
from collections.abc import Callable
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_uint, c_uint32, c_uint64, c_void_p
from typing import Any

from pvdev.errors import ConfigError

SONAME = "libnbd.so.0"
FLAG_FUA = 1
STATE_HOLE = 1
DIRECTION_READ, DIRECTION_WRITE = 1, 2
SIZE_MAXIMUM = 2  # of nbd_get_block_size
SHUTDOWN_ABANDON_PENDING = 0x10000


class _Completion(ctypes.Structure):
    """nbd_completion_callback, always empty: we ask for what is completed."""

    _fields_ = (("callback", c_void_p), ("user_data", c_void_p), ("free", c_void_p))


_ExtentFunction = ctypes.CFUNCTYPE(c_int, c_void_p, c_char_p, c_uint64, POINTER(c_uint32), c_size_t, POINTER(c_int))


class _Extent(ctypes.Structure):
    """nbd_extent_callback"""

    _fields_ = (("callback", _ExtentFunction), ("user_data", c_void_p), ("free", c_void_p))


_PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "create": (c_void_p, ()),
    "close": (None, (c_void_p,)),
    "get_error": (c_char_p, ()),
    "get_errno": (c_int, ()),
    "add_meta_context": (c_int, (c_void_p, c_char_p)),
    "aio_connect_uri": (c_int, (c_void_p, c_char_p)),
    "aio_is_connecting": (c_int, (c_void_p,)),
    "aio_is_ready": (c_int, (c_void_p,)),
    "aio_is_processing": (c_int, (c_void_p,)),
    "poll": (c_int, (c_void_p, c_int)),
    "get_size": (c_int64, (c_void_p,)),
    "get_block_size": (c_int64, (c_void_p, c_int)),
    "is_read_only": (c_int, (c_void_p,)),
    "is_rotational": (c_int, (c_void_p,)),
    "can_flush": (c_int, (c_void_p,)),
    "can_fua": (c_int, (c_void_p,)),
    "can_trim": (c_int, (c_void_p,)),
    "can_zero": (c_int, (c_void_p,)),
    "can_fast_zero": (c_int, (c_void_p,)),
    "can_meta_context": (c_int, (c_void_p, c_char_p)),
    "aio_pread": (c_int64, (c_void_p, c_void_p, c_size_t, c_uint64, _Completion, c_uint32)),
    "aio_pwrite": (c_int64, (c_void_p, c_void_p, c_size_t, c_uint64, _Completion, c_uint32)),
    "aio_flush": (c_int64, (c_void_p, _Completion, c_uint32)),
    "aio_trim": (c_int64, (c_void_p, c_uint64, c_uint64, _Completion, c_uint32)),
    "aio_zero": (c_int64, (c_void_p, c_uint64, c_uint64, _Completion, c_uint32)),
    "aio_block_status": (c_int64, (c_void_p, c_uint64, c_uint64, _Extent, _Completion, c_uint32)),
    "aio_get_fd": (c_int, (c_void_p,)),
    "aio_get_direction": (c_uint, (c_void_p,)),
    "aio_notify_read": (c_int, (c_void_p,)),
    "aio_notify_write": (c_int, (c_void_p,)),
    "aio_peek_command_completed": (c_int64, (c_void_p,)),
    "aio_command_completed": (c_int, (c_void_p, c_uint64)),
    "shutdown": (c_int, (c_void_p, c_uint32)),
}
_NONE = _Completion()


class NbdError(Exception):
    """libnbd refused or failed something. `errno` is 0 if it has none."""

    def __init__(self, text: str, errno: int) -> None:
        super().__init__(text)
        self.errno = errno


def load(soname: str = SONAME) -> ctypes.CDLL:
    """The library with its prototypes declared. ConfigError when it is not installed."""
    try:
        library = ctypes.CDLL(soname)
    except OSError:
        raise ConfigError("nbd: libnbd is missing; apt-get install libnbd0, or dnf install libnbd") from None
    for name, (result, arguments) in _PROTOTYPES.items():
        function = getattr(library, f"nbd_{name}")
        function.restype, function.argtypes = result, arguments
    return library


class Handle:
    """One connection. Every call raises NbdError where the C function reports an error."""

    def __init__(self) -> None:
        self._library = load()
        self._handle: int | None = self._library.nbd_create()
        self._extents: list[object] = []  # functions libnbd may still call

    def call(self, name: str, *arguments: Any) -> int:
        """nbd_`name`(handle, ...), its result."""
        result: int = getattr(self._library, f"nbd_{name}")(self._handle, *arguments)
        if result == -1:
            raise NbdError(
                (self._library.nbd_get_error() or b"").decode(errors="replace"), self._library.nbd_get_errno()
            )
        return result

    def pread(self, address: int, length: int, offset: int) -> int:
        return self.call("aio_pread", address, length, offset, _NONE, 0)

    def pwrite(self, address: int, length: int, offset: int, flags: int) -> int:
        return self.call("aio_pwrite", address, length, offset, _NONE, flags)

    def flush(self) -> int:
        return self.call("aio_flush", _NONE, 0)

    def trim(self, length: int, offset: int) -> int:
        return self.call("aio_trim", length, offset, _NONE, 0)

    def zero(self, length: int, offset: int) -> int:
        return self.call("aio_zero", length, offset, _NONE, 0)

    def block_status(self, length: int, offset: int, found: Callable[[list[int]], None]) -> int:
        """`found` gets lengths and flags in turn, for base:allocation."""

        def extent(_data: int, _context: bytes, _offset: int, entries: Any, count: int, _error: Any) -> int:
            found(entries[:count])
            return 0

        function = _ExtentFunction(extent)
        self._extents.append(function)
        return self.call("aio_block_status", length, offset, _Extent(function), _NONE, 0)

    def close(self) -> None:
        if self._handle is not None:
            self._library.nbd_close(self._handle)
            self._handle = None
            self._extents.clear()
