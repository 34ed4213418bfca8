# The host pulls the cable, puts it back and changes the speed while a stream runs (pair.sh).
#   pv_bytes=3000000 pv_speed=25000
# On event running the host does so, then sends `changed`. Fact carrier_changes: how often the carrier came or went.
. /pair.sh
bytes=${pv_bytes:-3000000}

changes() {
	cat "/sys/class/net/$near/carrier_changes"
}
disturbed() { # one stream after another until the host is done, each of them whole
	before=$(changes)
	rm -f /tmp/changed
	event running
	{ await changed 40; echo $? > /tmp/changed; } &
	local streams=0
	until [ -e /tmp/changed ]; do
		stream_out "$far4" || return
		streams=$((streams + 1))
	done
	wait $!
	fact streams $streams
	fact carrier_changes $(($(changes) - before))
	[ "$(cat /tmp/changed)" = 0 ]
}
speed_is() {
	ethtool "$near" | grep "Speed: $1Mb/s" && [ "$(cat "/sys/class/net/$near/speed")" = "$1" ]
}

plan 6
pair 0 eth0 eth1
check wire wire
check speed speed_is 10000
check disturbed disturbed
check new_speed wait_for 5 speed_is "${pv_speed:-25000}"
check traffic traffic
check dmesg no_complaints
