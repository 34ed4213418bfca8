"""SVGA II and SVGA3, the display (PCI 15ad:0405, 15ad:0406)."""
