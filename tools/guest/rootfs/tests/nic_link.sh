# The host pulls the cable, puts it back and changes the speed while streams run (pair.sh).
#   pv_times=3 pv_speed=25000 pv_bytes=1000000 (per stream)
# The near NIC's link goes down on event down, up on event up, to the new speed on event speed. Fact streams: how many
# ran meanwhile, all of them whole.
. /pair.sh
times=${pv_times:-3} speed=${pv_speed:-25000} bytes=${pv_bytes:-1000000}

keep_streaming() { # one after another until told to stop
	local streams=0
	until [ -e /tmp/enough ]; do
		stream_out "$far4" || return
		streams=$((streams + 1))
	done
	fact streams $streams
}
carrier_is() {
	[ "$(cat "/sys/class/net/$near/carrier")" = "$1" ]
}
speed_is() {
	[ "$(cat "/sys/class/net/$near/speed")" = "$1" ] && ethtool "$near" | grep "Speed: $1Mb/s"
}
changes() {
	cat "/sys/class/net/$near/carrier_changes"
}
disturbed() {
	local before=$(changes) done=0
	keep_streaming &
	while [ $done -lt "$times" ]; do
		event down
		wait_for 10 carrier_is 0 || return
		event up
		wait_for 10 carrier_is 1 || return
		done=$((done + 1))
	done
	event speed
	wait_for 10 speed_is "$speed"
	local status=$?
	touch /tmp/enough
	wait $! && [ $(($(changes) - before)) = $((2 * times)) ] && return $status
}

plan 5
pair 0 eth0 eth1
check wire wire
check speed speed_is 10000
check disturbed disturbed
check traffic traffic
check dmesg no_complaints
