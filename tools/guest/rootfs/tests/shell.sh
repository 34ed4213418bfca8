# A shell on the guest's screen, its keyboard a viewer's; it ends with the shell (`exit`).
# modules: vmwgfx xhci_pci usbhid hid_generic evdev

shell() {
	setsid sh -c 'export PS1="# "; exec sh -i < /dev/tty1 > /dev/tty1 2>&1'
}

plan 3
check load sh -c 'for name in vmwgfx xhci_pci usbhid hid_generic evdev; do modprobe $name || exit 1; done'
check fb wait_for 10 test -c /dev/fb0
event shell
check shell shell
