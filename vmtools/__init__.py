"""The host side of VMware Tools. Not built yet: the room is kept for it."""
