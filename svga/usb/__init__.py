"""USB pointers: models, a bus they are plugged in to, and ways to them: pyusb, USB/IP."""
