# Suspend to RAM with each way to wake a NIC by its frames, and traffic after each waking.
#   pv_nic=eth0 pv_ways=gau (as for `ethtool -s IFACE wol`) pv_address=192.0.2.1 pv_count=500 (frames each way) pv_seed=1
#   pv_target=MAC
# The guest must be one that `sleeps` (Vm). Event sleep-WAY: it is about to; the host wakes it. Event awake-WAY: frames of
# programs/frames.c are about to come out, then are wanted (seed + 1), on event ready-WAY.
nic=${pv_nic:-eth0} ways=${pv_ways:-gau} address=${pv_address:-192.0.2.1} count=${pv_count:-500} seed=${pv_seed:-1}
lpc=/sys/bus/pci/devices/0000:00:1f.0/config

ready() {
	nic_ready "$nic" && ip addr replace "$address/24" dev "$nic"
}
armed() { # WAY
	ethtool -s "$nic" wol "$1" && ethtool "$nic" | grep "Wake-on: $1\$"
}
suspend() { # WAY: waking resets the machine, and QEMU forgets where its bridge had the power registers
	dd if=$lpc of=/tmp/lpc bs=4 skip=16 count=2 && event "sleep-$1" && echo mem > /sys/power/state
	local status=$?
	dd if=/tmp/lpc of=$lpc bs=4 seek=16 conv=notrunc && return $status
}
awake() { # WAY
	wait_for 5 has 1 "/sys/class/net/$nic/carrier" && event "awake-$1" &&
	frames send "$nic" "$count" 60,1514 "$seed" "${pv_target:-ff:ff:ff:ff:ff:ff}" 30 &&
	frames recv "$nic" "$count" $((seed + 1)) 30 "ready-$1"
}

plan $((2 + 3 * ${#ways}))
check ready ready
left=$ways
while [ -n "$left" ]; do
	way=${left%"${left#?}"} left=${left#?}
	check "$way.armed" armed "$way"
	check "$way.suspend" suspend "$way"
	check "$way.awake" awake "$way"
done
check dmesg no_complaints
