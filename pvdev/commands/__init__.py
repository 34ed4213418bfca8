"""The commands of `pvdev`, one module each; each has a click command called `command`."""
