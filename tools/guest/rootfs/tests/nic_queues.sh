# Receive side scaling and many queues: the driver's own account of where 10,000 flows went, before and after the table
# was changed while they run, and a reflector that makes every queue send.
#   pv_nics=1 pv_processors=2 (left online once the driver has its queues) pv_flows=10000 pv_echoes=2000 pv_source=MAC
#   pv_fields_from=0 (NICs from this number on hash over UDP ports)
# Events ethN-flows-1, ethN-flows-2: send that NIC all flows; ethN-echo: send datagrams to port 7 of 192.0.2.1.
# Facts ethN_table1, ethN_table2; ethN_rx1, ethN_rx2, ethN_tx: packets per queue; key.
nics=${pv_nics:-1} processors=${pv_processors:-2} flows=${pv_flows:-10000} echoes=${pv_echoes:-2000}
source=${pv_source:-02:00:00:00:00:fe} host=192.0.2.2 many=198.18.0.0/15

load() { # a queue pair for each processor that is online now; then only a few stay so
	modprobe vmxnet3 && wait_for 5 test -e "/sys/class/net/eth$((nics - 1))" || return
	queues=$(ls -d /sys/class/net/eth0/queues/rx-* | wc -l)
	local processor
	for processor in /sys/devices/system/cpu/cpu[0-9]*; do
		[ "${processor##*cpu}" -lt "$processors" ] || echo 0 > "$processor/online" || return
	done
	fact queues "$queues"
	fact online "$(cat /sys/devices/system/cpu/online)"
}
per_queue() { # IFACE COUNTER: its values, queue by queue
	ethtool -S "$1" | awk -F: -v name="$2" '{ gsub(/^ +| +$/, "", $1) } $1 == name { sub(/ /, "", $2); printf "%s%s", between, $2; between = "," }'
}
table() { # IFACE
	ethtool -x "$1" | sed -n 's/^ *[0-9]*: *\([0-9 ]*\)$/\1/p' | tr -s ' \n' ','
}
fields() { # IFACE: hash over the ports of UDP too, where the driver lets itself be told
	[ "${1#eth}" -lt "${pv_fields_from:-0}" ] || {
		ethtool -N "$1" rx-flow-hash udp4 sdfn && ethtool -N "$1" rx-flow-hash udp6 sdfn
	}
}
take_flows() { # IFACE ROUND: every one to the queue, and with the hash, it says of itself
	fact key "$(tr -d : < /proc/sys/net/core/netdev_rss_key)" # all drivers share it; made when the first NIC comes up
	fact "$1_table$2" "$(table "$1")"
	seen count "$1" "$queues" "$source" "$flows" 60 "$1-flows-$2"
	local status=$?
	fact "$1_rx$2" "$(per_queue "$1" "ucast pkts rx")"
	return $status
}
change_table() { # IFACE: uneven, and one queue left out
	local weights=0 queue=1
	while [ $queue -lt "$queues" ]; do
		weights="$weights $((1 + queue % 3))"
		queue=$((queue + 1))
	done
	ethtool -X "$1" weight $weights
}
echoes() { # IFACE
	ip addr replace 192.0.2.1/24 dev "$1" && ip neigh replace $host lladdr "$source" dev "$1" &&
	ip route replace $many via $host dev "$1" && reflect 7 "$echoes" 60 "$1-echo" &&
	fact "$1_tx" "$(per_queue "$1" "ucast pkts tx")" && fact "$1_rx3" "$(per_queue "$1" "ucast pkts rx")" &&
	ip addr flush dev "$1" scope global
}

plan $((2 + 6 * nics))
check load load
nic=0
while [ $nic -lt "$nics" ]; do
	check "eth$nic.ready" nic_ready "eth$nic"
	check "eth$nic.fields" fields "eth$nic"
	check "eth$nic.flows" take_flows "eth$nic" 1
	check "eth$nic.change" change_table "eth$nic"
	check "eth$nic.flows_again" take_flows "eth$nic" 2
	check "eth$nic.echoes" echoes "eth$nic"
	nic=$((nic + 1))
done
check dmesg no_complaints
