# How many frames per second the NIC receives while the host floods it, from event flood-start to event flood-stop.
#   pv_nic=eth0 pv_seconds=5 pv_settle=1 (seconds of flood before the count begins)
nic=${pv_nic:-eth0} seconds=${pv_seconds:-5}
statistics=/sys/class/net/$nic/statistics

sample() { # sets $frames and $bytes and, in hundredths of a second, $time
	read -r frames < "$statistics/rx_packets"
	read -r bytes < "$statistics/rx_bytes"
	read -r time _ < /proc/uptime
	time=${time%.*}${time#*.}
}
measure() {
	event flood-start
	sleep "${pv_settle:-1}"
	sample
	local frames0=$frames bytes0=$bytes time0=$time
	sleep "$seconds"
	sample
	event flood-stop
	value rx_pps $(((frames - frames0) * 100 / (time - time0)))
	value rx_bytes_per_s $(((bytes - bytes0) * 100 / (time - time0)))
	[ "$frames" -gt "$frames0" ]
}

plan 3
check ready nic_ready "$nic"
check measure measure
check dmesg no_complaints
