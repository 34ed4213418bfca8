# Pointers and a keyboard attached by USB/IP: Linux's own HID drivers find them, and its input layer tells what hands do.
#   pv_host=10.0.2.2 pv_port=3240     the server: a mouse is 1-1 there, a tablet 1-2, another mouse 1-3, a keyboard 1-4
#   pv_mouse=N pv_tablet=N ...        how many reports each makes, on event mouse, tablet, other, keys
#   pv_again=N                        and the mouse, attached anew, on event again
# Facts mouse.N, tablet.N, other.N, keys.N, again.N: what came of each. Event gone: the mouse was taken off; the host sends `free` when its
# server knows; event pull: it is to pull the tablet.
# modules: vhci_hcd usbhid hid_generic evdev
mouse="VMware VMware Virtual USB Mouse" tablet="QEMU QEMU USB Tablet" other="QEMU QEMU USB Mouse"
keyboard="QEMU QEMU USB Keyboard"
vhci=/sys/devices/platform/vhci_hcd.0

network() {
	nic_ready eth0 && ip address add 10.0.2.15/24 dev eth0
}
modules() {
	for each in vhci_hcd usbhid hid_generic evdev; do modprobe $each || return; done
}
attach() { # BUSID SLOT
	usb attach "$pv_host" "$pv_port" "$1" "$2"
}
bound() { # VENDOR:PRODUCT
	ls -d "/sys/bus/hid/drivers/hid-generic/0003:$1."*
}
here() { # NAME
	usb range "$1"
}
gone() { # NAME
	! usb range "$1"
}
seen() { # NAME COUNT EVENT
	local number=0 line
	usb events "$1" "$2" 30 "$3" > /tmp/seen || return
	while read -r line; do
		fact "$3.$number" "$line"
		number=$((number + 1))
	done < /tmp/seen
}
detach() { # SLOT
	echo "$1" > $vhci/detach
}
told() { # NAME LETTER: a line of /proc/bus/input/devices
	awk -v name="N: Name=\"$1\"" -v head="B: $2=" '$0 == name { mine = 1 } /^$/ { mine = 0 } mine && index($0, head) == 1 { print substr($0, length(head) + 1) }' /proc/bus/input/devices
}

plan 24
check network network
check modules modules
check mouse attach 1-1 0
check tablet attach 1-2 1
check other attach 1-3 2
check keyboard attach 1-4 3
check mouse_bound wait_for 20 bound 0E0F:0003
check tablet_bound wait_for 20 bound 0627:0001
check mouse_here wait_for 10 here "$mouse"
check tablet_here wait_for 10 here "$tablet"
check other_here wait_for 10 here "$other"
check keyboard_here wait_for 10 here "$keyboard"
fact buttons "$(told "$mouse" KEY)"
fact axes "$(told "$mouse" REL)"
fact range "$(usb range "$tablet")"
check mouse_seen seen "$mouse" "$pv_mouse" mouse
check tablet_seen seen "$tablet" "$pv_tablet" tablet
check other_seen seen "$other" "$pv_other" other
check keys_seen seen "$keyboard" "$pv_keys" keys
event pull
check tablet_gone wait_for 10 gone "$tablet"
check detach detach 0
check mouse_gone wait_for 10 gone "$mouse"
event gone
check free await free 20
check again attach 1-1 0
check again_here wait_for 20 here "$mouse"
check again_seen seen "$mouse" "$pv_again" again
check dmesg no_complaints
