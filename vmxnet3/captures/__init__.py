"""Capture files as streams of frames: reading, writing, when each is due, and the facts marked on them."""
