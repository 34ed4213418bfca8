"""A pyusb program finds VMware's virtual mouse, with nothing plugged in and no rights needed.

pip install 'pvdev[usb]'
python examples/usb_mouse.py
"""

import usb.core

from svga.usb.backend import Backend
from svga.usb.bus import Bus
from svga.usb.personas import PERSONAS
from svga.usb.pointer import HidPointer


def main() -> None:
    bus = Bus()
    hand = bus.plug(HidPointer(PERSONAS["mouse"]))

    device = usb.core.find(idVendor=0x0E0F, backend=Backend(bus))  # as in any pyusb program
    device.set_configuration()
    print(f"{device.idVendor:04x}:{device.idProduct:04x} {device.product}")

    hand.move(3, -4)
    hand.move(0, 0, buttons=1)
    hand.wheel(1)
    for _ in range(2):
        buttons, dx, dy, wheel = device.read(0x81, 8).tobytes()
        print(f"buttons {buttons:#04x}, moved {dx:#04x} {dy:#04x}, wheel {wheel}")


if __name__ == "__main__":
    main()
