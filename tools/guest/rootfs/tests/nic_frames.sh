# Frames of known content each way. The host takes what is sent, and sends the same kind on event rx-ready.
#   pv_nic=eth0 pv_count=20000 pv_sizes=60,64,... pv_seed=1 (out), seed + 1 (in) pv_target=MAC pv_seconds=60 each way
nic=${pv_nic:-eth0} count=${pv_count:-20000} seed=${pv_seed:-1} seconds=${pv_seconds:-60}
sizes=${pv_sizes:-60,64,65,128,590,1000,1513,1514}
target=${pv_target:-ff:ff:ff:ff:ff:ff}

transmit() {
	frames send "$nic" "$count" "$sizes" "$seed" "$target" "$seconds" > /tmp/sent || return
	fact tx_digest "$(sed 's/.*digest \([0-9a-f]*\).*/\1/' /tmp/sent)"
}
receive() {
	frames recv "$nic" "$count" $((seed + 1)) "$seconds" rx-ready > /tmp/received
	local status=$?
	cat /tmp/received
	fact rx_digest "$(sed 's/.*digest \([0-9a-f]*\).*/\1/' /tmp/received)"
	return $status
}

plan 4
check ready nic_ready "$nic"
check transmit transmit
check receive receive
check dmesg no_complaints
