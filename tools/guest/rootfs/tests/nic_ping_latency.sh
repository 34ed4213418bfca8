# Round trips to a host that answers pings: the median under steady pings, and of single ones after a pause.
#   pv_nic=eth0 pv_address=192.0.2.2/24 pv_peer=192.0.2.1 pv_pings=200 pv_interval=0.02 pv_singles=15 pv_pause=0.5
nic=${pv_nic:-eth0} peer=${pv_peer:-192.0.2.1}

median() { # of the round trips in ping's output, in microseconds
	sed -n 's/.* time=\([0-9.]*\) ms.*/\1/p' | sort -n | awk '{ v[NR] = $1 } END { print NR ? v[int((NR + 1) / 2)] * 1000 : 0 }'
}
steady() {
	ping -n -c "${pv_pings:-200}" -i "${pv_interval:-0.02}" -W 5 "$peer" > /tmp/steady || { cat /tmp/steady; return 1; }
	value ping_us "$(median < /tmp/steady)"
}
singles() {
	local left=${pv_singles:-15}
	: > /tmp/singles
	while [ "$left" -gt 0 ]; do
		sleep "${pv_pause:-0.5}"
		ping -n -c 1 -W 5 "$peer" >> /tmp/singles || { cat /tmp/singles; return 1; }
		left=$((left - 1))
	done
	value ping_idle_us "$(median < /tmp/singles)"
}
first() {
	event ping-start
	wait_for 10 ping -n -q -c 1 -W 1 "$peer"
}

plan 6
check ready nic_ready "$nic"
check address ip addr replace "${pv_address:-192.0.2.2/24}" dev "$nic"
check first first
check steady steady
check singles singles
check dmesg no_complaints
event ping-stop
