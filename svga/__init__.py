"""SVGA II, the display (PCI 15ad:0405, 15ad:0406). Not built yet: the room is kept for it."""
