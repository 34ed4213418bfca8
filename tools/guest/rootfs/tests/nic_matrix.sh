# NICs wired in pairs, eth0 to eth1, eth2 to eth3 ...: what the driver makes of each, and traffic both ways on each.
#   pv_nics=10 pv_bytes=1000000 (per stream) pv_count=2000 (frames each way)
# Event bound: the driver has every NIC up. Facts ethN_KEY: version (as the driver says it), max_mtu, and what ethtool shows for each of its letters, lines as ';'.
. /pair.sh
nics=${pv_nics:-10} bytes=${pv_bytes:-1000000} count=${pv_count:-2000}
sizes=60,64,65,128,590,1000,1513,1514

load() { # the driver says the version only when debugged
	modprobe vmxnet3 'dyndbg=func vmxnet3_probe_device +p' && wait_for 5 test -e "/sys/class/net/eth$((nics - 1))"
}
lines() { # COMMAND...: its output in one line
	"$@" 2>&1 | tr '\t\n' ' ;'
}
inventory() { # IFACE, while it is up
	local letter bus=$(ethtool -i "$1" | sed -n 's/^bus-info: //p')
	fact "$1_version" "$(dmesg | sed -n "s/.*$bus: Using device version //p")"
	fact "$1_max_mtu" "$(ip -d link show "$1" | sed -n 's/.* maxmtu \([0-9]*\).*/\1/p')"
	fact "$1_interrupts" "$(grep "$1\>" /proc/interrupts | awk '{ print $NF "=" $(NF-1) "," $(NF-2) }' | tr '\n' ' ')"
	fact "$1_udp4" "$(lines ethtool -n "$1" rx-flow-hash udp4)"
	for letter in i k S x l g c d T; do
		fact "$1_$letter" "$(lines ethtool -$letter "$1")"
	done
	ethtool -i "$1" | grep '^driver: vmxnet3$' && nic_ready "$1"
}
all_up() {
	local nic
	for nic in /sys/class/net/eth*; do
		nic_ready "${nic##*/}" || return
	done
}
both_pings() {
	pings "$far4" && pings "$far6"
}
receiving() { # COMMAND...: run where the receiver is
	"$@" grep -q 88b5 /proc/net/packet
}
frames_out() {
	there frames recv "$far" "$count" 1 60 > /tmp/received &
	wait_for 5 receiving there || return
	frames send "$near" "$count" $sizes 1 "$(there cat "/sys/class/net/$far/address")" 60 && wait $! &&
	fact "${near}_frames" "$(sed 's/.*digest \([0-9a-f]*\).*/\1/' /tmp/received)"
}
frames_in() {
	frames recv "$near" "$count" 2 60 > /tmp/received &
	wait_for 5 receiving || return
	there frames send "$far" "$count" $sizes 2 "$(cat "/sys/class/net/$near/address")" 60 && wait $! &&
	fact "${far}_frames" "$(sed 's/.*digest \([0-9a-f]*\).*/\1/' /tmp/received)"
}
streams() { # both ways over both IP versions, segmented by each NIC that may
	stream_out "$far4" && stream_out "$far6" && stream_in "$near4" && stream_in "$near6" &&
	segmented "$near" && segmented "$far" there
}
segmented() { # IFACE [there]: it was, unless its TSO is off
	$2 ethtool -k "$1" > /tmp/features && $2 ethtool -S "$1" > /tmp/counters || return
	local packets=$(awk '/TSO pkts tx/ { sum += $NF } END { print sum + 0 }' /tmp/counters)
	echo "$1: $packets from TSO"
	if has '^tcp-segmentation-offload: on' /tmp/features; then [ "$packets" -gt 0 ]; else [ "$packets" = 0 ]; fi
}

plan $((3 + nics + nics / 2 * 5))
check load load
check up all_up
nic=0
while [ $nic -lt "$nics" ]; do
	check "eth${nic}" inventory "eth$nic"
	nic=$((nic + 1))
done
event bound
nic=0
while [ $nic -lt "$nics" ]; do
	pair $((nic / 2)) "eth$nic" "eth$((nic + 1))"
	check "eth${nic}.wire" wire
	check "eth${nic}.ping" both_pings
	check "eth${nic}.frames_out" frames_out
	check "eth${nic}.frames_in" frames_in
	check "eth${nic}.streams" streams
	nic=$((nic + 2))
done
check dmesg no_complaints
