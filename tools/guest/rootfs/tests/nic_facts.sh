# What the driver makes of frames whose completions say something odd: phase after phase, the host sending each one's
# frames on event PHASE.go.
#   pv_nic=eth0 pv_queues=2 pv_source=MAC pv_phases=NAME:COUNT,NAME:COUNT... (COUNT: how many of them the stack gets)
# Facts PHASE.N: a line of `seen` for each frame, in no order; PHASE.COUNTER: by how much counters grew.
# Phase `lost` has two frames the host sends one by one, on lost.go and lost.next; event PHASE.seen: its frames have come.
nic=${pv_nic:-eth0} queues=${pv_queues:-2} source=${pv_source:-02:00:00:00:00:fe}

ready() { # nothing of the guest's own may wake the queues, nor look at checksums
	echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6
	echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6
	modprobe 8021q && nic_ready "$nic" && ethtool -K "$nic" gro off
}
vlan() {
	ip link add link "$nic" name vlan100 type vlan id 100 && ip link set vlan100 up
}
no_vlan() { # the interface had LRO switched off
	ip link del vlan100 && ethtool -K "$nic" lro on
}
counters() { # lines NAME VALUE
	ethtool -S "$nic" | awk -F: '{ gsub(/^ +/, "", $1); gsub(/ /, "_", $1); sum[$1] += $2 } END { for (name in sum) print name, sum[name] }'
	[ ! -e /sys/class/net/vlan100 ] || echo "vlan100 $(cat /sys/class/net/vlan100/statistics/rx_packets)"
	awk -v nic="$nic-rxtx" '$NF ~ nic { sum += $2 + $3 } END { print "interrupts", sum + 0 }' /proc/interrupts
}
grown() { # PHASE: facts for what grew
	counters > /tmp/after
	awk 'NR == FNR { before[$1] = $2; next } $2 != before[$1] { print $1, $2 - before[$1] }' /tmp/before /tmp/after |
	while read -r name by; do fact "$1.$name" "$by"; done
}
tell() { # PHASE: what was seen, as facts
	local number=0 line
	while read -r line; do
		fact "$1.$number" "$line"
		number=$((number + 1))
	done < /tmp/seen
}
phase() { # NAME COUNT
	[ "$1" != tag ] || vlan || return
	counters > /tmp/before
	seen list "$nic" "$queues" "$source" "$2" 30 "$1.go" > /tmp/seen &
	[ "$1" != lost ] || lost || return
	wait $! && event "$1.seen"
	local status=$?
	tell "$1"
	grown "$1"
	[ "$1" != tag ] || no_vlan || return
	return $status
}
in_ring() { # N: so many more frames than at the start of the phase are in the ring
	[ "$(stat_of "$nic" "ucast pkts rx")" = $(($(sed -n 's/^ucast_pkts_rx //p' /tmp/before) + $1)) ]
}
lost() { # the first lies in the ring and nobody says so, until the second
	wait_for 10 in_ring 1 && sleep 0.5 && [ ! -s /tmp/seen ] && event lost.next
}

list=$(echo "$pv_phases" | tr , ' ')
plan $(($(echo "$list" | wc -w) + 2))
check ready ready
fact kk "$(ethtool -k $nic | grep -e receive-off | tr "\n" ";")"
for each in $list; do
	check "${each%:*}" phase "${each%:*}" "${each#*:}"
done
check dmesg no_complaints
