# How many frames per second the NIC transmits: the kernel's packet generator for some seconds.
#   pv_nic=eth0 pv_size=60 (bytes without FCS) pv_seconds=5 pv_clone=0 (clone_skb) pv_target=MAC
nic=${pv_nic:-eth0} size=${pv_size:-60} seconds=${pv_seconds:-5}
proc=/proc/net/pktgen

generate() {
	modprobe pktgen && echo "add_device $nic" > $proc/kpktgend_0 || return
	local word
	for word in "count 0" "delay 0" "pkt_size $size" "clone_skb ${pv_clone:-0}" "dst_mac ${pv_target:-02:00:00:00:00:01}" \
		"dst 192.0.2.1" "src_min 192.0.2.2" "src_max 192.0.2.2"; do
		echo "$word" > "$proc/$nic" || return
	done
	echo start > $proc/pgctrl &
	sleep "$seconds"
	echo stop > $proc/pgctrl
	wait $!
	cat "$proc/$nic"
	local pps=$(sed -n 's/^ *\([0-9]*\)pps.*/\1/p' "$proc/$nic")
	[ "${pps:-0}" -gt 0 ] && value "tx_pps_$size" "$pps" &&
	value "tx_frames_$size" "$(sed -n 's/^ *pkts-sofar: \([0-9]*\).*/\1/p' "$proc/$nic")"
}

plan 3
check ready nic_ready "$nic"
check generate generate
check dmesg no_complaints
