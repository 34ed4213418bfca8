"""A program for `bench_tools`: makes so many GETVERSION calls and looks at the answers, unless it is told "bare"."""

import ctypes
import mmap
import sys

# rdi: how many; returns rbx of the last. push rbx; 1: mov eax,magic; xor ebx,ebx; mov ecx,10; mov edx,0x5658; in eax,dx
# dec rdi; jnz 1b; mov rax,rbx; pop rbx; ret
CODE = bytes.fromhex("53 b868584d56 31db b90a000000 ba58560000 ed 48ffcf 75e9 4889d8 5b c3")

count, way = int(sys.argv[1]), sys.argv[2]
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(CODE)
run = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
sys.exit(0 if run(count) == 0x564D5868 or way == "bare" else 1)
