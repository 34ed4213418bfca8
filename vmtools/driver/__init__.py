"""A reference guest: what a program of the tools and a kernel's balloon do, written from their side alone."""
