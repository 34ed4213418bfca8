"""How much one command may ask for; what VPD page B0 says and what the commands hold to. In logical blocks."""

TRANSFER_BLOCKS_MAX = 0x1_0000  # one more than READ(10) can ask for
COMPARE_BLOCKS_MAX = 128
UNMAP_BLOCKS_MAX = 0x10_0000  # of all descriptors together
UNMAP_DESCRIPTORS_MAX = 256
WRITE_SAME_BLOCKS_MAX = 0x80_0000

CHUNK = 256 * 1024  # bytes of our own memory a command uses at a time
