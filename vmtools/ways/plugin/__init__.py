"""A QEMU guest's port instructions: a small plugin in C carries them out of QEMU, a `Carrier` has them answered."""
