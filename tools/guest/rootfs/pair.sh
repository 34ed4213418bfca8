# Two NICs wired to each other outside; the far one lives in a network namespace, so that all traffic really passes.
# A script names them with `pair`, then `wire`s them; the rest is what can be done with a wired pair.

port=5000

# pair NUMBER NEAR FAR: the pair that is spoken of from now on
pair() {
	near=$2 far=$3 space=far$1
	near4=192.0.$((2 + $1)).1 far4=192.0.$((2 + $1)).2 near6=fd00:$((2 + $1))::1 far6=fd00:$((2 + $1))::2
}
there() {
	ip netns exec "$space" "$@"
}
wire() {
	nic_ready "$near" && nic_ready "$far" || return
	ip netns list | grep -q "$space" || ip netns add "$space" || return
	ip link set "$far" netns "$space" && there ip link set lo up && addresses
}
addresses() {
	ip link set "$near" up && there ip link set "$far" up &&
	wait_for 5 has 1 "/sys/class/net/$near/carrier" &&
	ip addr replace "$near4/24" dev "$near" && ip addr replace "$near6/64" dev "$near" nodad &&
	there ip addr replace "$far4/24" dev "$far" && there ip addr replace "$far6/64" dev "$far" nodad
}
listening() {
	there grep -q ":$(printf %04X "$port") .* 0A " /proc/net/tcp6
}
listening_here() {
	grep -q ":$(printf %04X "$port") .* 0A " /proc/net/tcp6
}
stream_out() { # ADDRESS: from here to there
	port=$((port + 1))
	there stream serve $port "$bytes" $port 60 &
	wait_for 5 listening && stream send "$1" $port "$bytes" $port 60 && wait $!
}
stream_in() { # ADDRESS: from there to here
	port=$((port + 1))
	stream serve $port "$bytes" $port 60 &
	wait_for 5 listening_here && there stream send "$1" $port "$bytes" $port 60 && wait $!
}
pings() { # ADDRESS [SIZE]
	ping -n -q -c 3 -i 0.05 -W 5 -s "${2:-56}" "$1"
}
traffic() { # everything once: ping and a stream each way, both IP versions
	pings "${1:-$far4}" && pings "${2:-$far6}" && stream_out "${1:-$far4}" && stream_in "${3:-$near6}"
}
grows() { # IFACE COUNTER COMMAND...: the command succeeds, and makes that counter grow
	local nic=$1 name=$2 before after
	shift 2
	before=$(stat_of "$nic" "$name")
	"$@" || return
	after=$(stat_of "$nic" "$name")
	echo "$nic: $name before $before, after $after"
	[ "$after" -gt "$before" ]
}
tso_used() { # COMMAND...: it makes the near NIC segment
	grows "$near" "TSO pkts tx" "$@"
}
