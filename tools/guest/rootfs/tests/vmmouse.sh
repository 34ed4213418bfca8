# Linux's own driver finds a VMMouse behind the backdoor port, and its input layer tells what hands do.
#   pv_abs=N pv_rel=N   how many packets of each kind the host queues, on event abs, rel
# Facts abs.N, rel.N: what came of each. Event off: the driver has let it go.
# modules: psmouse evdev
vmmouse="VirtualPS/2 VMware VMMouse"

here() {
	usb range "$vmmouse:abs" && usb range "$vmmouse:rel"
}
seen() { # KIND COUNT
	local number=0 line
	usb events "$vmmouse:$1" "$2" 30 "$1" > /tmp/seen || return
	while read -r line; do
		fact "$1.$number" "$line"
		number=$((number + 1))
	done < /tmp/seen
}
let_go() {
	rmmod psmouse
}

plan 7
check evdev modprobe evdev
check psmouse modprobe psmouse
check here wait_for 20 here
fact range "$(usb range "$vmmouse:abs")"
check abs seen abs "$pv_abs"
check rel seen rel "$pv_rel"
check let_go let_go
event off
check dmesg no_complaints
