"""The remote console: what a display shows, to VNC clients and browsers; and their pointers and keyboards."""
