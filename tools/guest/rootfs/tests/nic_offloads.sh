# TCP with a real stack outside, in every combination of TSO, LRO and receive checksums.
#   pv_nic=eth0 pv_bytes=100000 (per stream) pv_port=6000 pv_here4=192.0.2.2 pv_here6=fd00:2::2
#   pv_host4=192.0.2.1 pv_host6=fd00:2::1
# The host serves `stream` on pv_port and the next 15, one connection each, seeds as the ports; on event
# stream-PORT-ADDRESS it sends to that port here.
nic=${pv_nic:-eth0} bytes=${pv_bytes:-100000} port=${pv_port:-6000}
host4=${pv_host4:-192.0.2.1} host6=${pv_host6:-fd00:2::1} here4=${pv_here4:-192.0.2.2} here6=${pv_here6:-fd00:2::2}
. /streams.sh

ready() {
	nic_ready "$nic" && ip addr replace "$here4/24" dev "$nic" && ip addr replace "$here6/64" dev "$nic" nodad &&
	ping -n -q -c 1 -W 5 "$host4" && ping -n -q -c 1 -W 5 "$host6"
}
is() { # FEATURE on|off
	ethtool -k "$nic" | grep -q "^$1: $2\$"
}
choose() { # TSO LRO RX: Linux has no LRO without receive checksums
	lro=$2
	[ "$3" = on ] || lro=off
	ethtool -K "$nic" tso "$1" rx "$3" && ethtool -K "$nic" lro $lro &&
	is tcp-segmentation-offload "$1" && is rx-checksumming "$3" && is large-receive-offload $lro
}
outs() {
	send_out "$host4" && send_out "$host6"
}
ins() {
	take_in "$here4" && take_in "$here6"
}

plan 26
check ready ready
for tso in on off; do
	for merge in on off; do
		for rx in on off; do
			name=tso_$tso.lro_$merge.rx_$rx
			check $name choose $tso $merge $rx
			check $name.out counted "$nic" "TSO pkts tx" $tso outs
			check $name.in counted "$nic" "LRO pkts rx" $lro ins
		done
	done
done
check dmesg no_complaints
