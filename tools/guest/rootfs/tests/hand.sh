# A viewer's hand moves QEMU's tablet until Linux's VMMouse driver is there, the VMMouse until it goes, the tablet again.
# Events tablet, vmmouse, again: the host points, clicks; on vmmouse it types too. Facts of those names: what came of it.
#   pv_tablet=N pv_vmmouse=N pv_again=N   how many reports that makes
# modules: psmouse xhci_pci usbhid hid_generic evdev
tablet="QEMU QEMU USB Tablet" keyboard="QEMU QEMU USB Keyboard" vmmouse="VirtualPS/2 VMware VMMouse:abs"

load() {
	local name
	for name in evdev xhci_pci usbhid hid_generic; do modprobe $name || return; done
	wait_for 20 usb range "$tablet" && wait_for 20 usb range "$keyboard"
}
driver() {
	modprobe psmouse && wait_for 20 usb range "$vmmouse"
}
seen() { # EVENT DEVICE COUNT
	usb events "$2" "$3" 30 "$1" > /tmp/seen || return
	fact "$1" "$(tr '\n' ';' < /tmp/seen)"
}

plan 8
check load load
check tablet seen tablet "$tablet" "$pv_tablet"
check driver driver
usb events "$keyboard" 2 60 typing > /tmp/keys &
check vmmouse seen vmmouse "$vmmouse" "$pv_vmmouse"
check keys wait $!
fact keys "$(tr '\n' ';' < /tmp/keys)"
check let_go rmmod psmouse
check again seen again "$tablet" "$pv_again"
check dmesg no_complaints
