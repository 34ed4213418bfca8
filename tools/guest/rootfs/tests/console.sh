# A screen somebody watches and uses: a known picture, then what the input layer reports.
#   pv_seed=N   of the picture
# modules: vmwgfx xhci_pci usbhid hid_generic evdev

devices() { # a keyboard and a tablet on USB
	[ "$(grep -c 'QEMU QEMU USB' /proc/bus/input/devices)" -ge 2 ]
}

plan 6
check load modprobe vmwgfx
check fb wait_for 10 test -c /dev/fb0
check usb sh -c 'for name in xhci_pci usbhid hid_generic evdev; do modprobe $name || exit 1; done'
check devices wait_for 10 devices
check picture picture fb "$pv_seed"
check hands hands 2
