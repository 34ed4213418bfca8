"""A program that makes port calls with registers of its own choosing: run by tests as what a supervisor looks after.

Each argument is one call, "INSTRUCTION rax rbx rcx rdx rsi rdi rbp" with numbers in hexadecimal; "@N" is N bytes into a
buffer of a page, after which is one nobody may touch. The registers after each are a line on standard output, then the
buffer's first 16 bytes, in hexadecimal.
"""

import ctypes
import mmap
import sys

CODE = {"in": "ed", "out": "ef", "outsb": "f36e", "insb": "f36c", "cpuid": "0fa2", "int": "cd29", "byte": "ec"}
# load seven registers from [rdi], call, store them to [r15]; the callee-saved ones are kept
_BEFORE = bytes.fromhex(
    "53 55 4157 4989ff"  # push rbx, rbp, r15; mov r15, rdi
    "498b07 498b5f08 498b4f10 498b5718 498b7720 498b6f30 498b7f28"
)
_AFTER = bytes.fromhex("498907 49895f08 49894f10 49895718 49897720 49896f30 49897f28 415f 5d 5b c3")

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
area = libc.mmap(ctypes.c_void_p(0), 8192, 3, 0x22, -1, 0)  # read and write, private, anonymous
libc.mprotect(ctypes.c_void_p(area + 4096), 4096, 0)
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
for text in sys.argv[1:]:
    name, *words = text.split()
    page.seek(0)
    page.write(_BEFORE + bytes.fromhex(CODE[name]) + _AFTER)
    values = [area + int(word[1:], 16) if word[0] == "@" else int(word, 16) for word in words]
    registers = (ctypes.c_uint64 * 7)(*values)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(ctypes.addressof(ctypes.c_char.from_buffer(page)))(
        ctypes.addressof(registers)
    )
    print(" ".join(f"{value:x}" for value in registers), ctypes.string_at(area, 16).hex(), flush=True)
