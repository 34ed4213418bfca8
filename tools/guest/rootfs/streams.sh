# Streams to and from the host, which serves some on ports from $port on, and sends one on event stream-PORT-ADDRESS.

listening_here() {
	grep -q ":$(printf %04X "$port") .* 0A " /proc/net/tcp6
}
send_out() { # ADDRESS: to the host's next port
	stream send "$1" $port "$bytes" $port 60
	local status=$?
	port=$((port + 1))
	return $status
}
take_in() { # ADDRESS of ours; a port the host has served is free here
	stream serve $port "$bytes" $port 60 &
	wait_for 5 listening_here && event "stream-$port-$1" && wait $!
}
counted() { # IFACE COUNTER on|off COMMAND...: the command succeeds, and the counter grows just when it should
	local nic=$1 name=$2 wanted=$3 before after
	shift 3
	before=$(stat_of "$nic" "$name")
	"$@" || return
	after=$(stat_of "$nic" "$name")
	echo "$nic: $name: before $before, after $after; $wanted was asked for"
	if [ "$wanted" = on ]; then [ "$after" -gt "$before" ]; else [ "$after" = "$before" ]; fi
}
