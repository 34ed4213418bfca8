# What a test script (tests/NAME.sh) has at hand. Descriptor 3 is the console out, 4 the console in.
# A script says `plan N`, then runs N checks; ending early, or with another number of checks, fails it.

checks=0 failed=0 planned=

# busybox's shell takes its own applets before anything in PATH; these two are to be the real ones
ip() {
	/bin/ip "$@"
}
ping() {
	/bin/ping "$@"
}

# plan N: so many checks are to come
plan() {
	planned=$1
	echo "  1..$1" >&3
}

# diag TEXT...: a remark that belongs to the next result
diag() {
	echo "  # $*" >&3
}

# check NAME COMMAND...: one result; what the command printed is shown when it fails
check() {
	local name=$1 status line
	shift
	checks=$((checks + 1))
	"$@" > /tmp/check.out 2>&1
	status=$?
	if [ $status = 0 ]; then
		echo "  ok $checks $name" >&3
		return 0
	fi
	failed=$((failed + 1))
	diag "exit status $status: $*"
	tail -n 40 /tmp/check.out | while read -r line; do diag "$line"; done
	echo "  not ok $checks $name" >&3
	return 1
}

# finish: the end of every script (run.sh calls it)
finish() {
	[ -n "$planned" ] || plan $checks
	[ "$failed" = 0 ] && [ "$checks" = "$planned" ]
	exit
}

# now: seconds since boot, in $seconds
now() {
	read -r seconds _ < /proc/uptime
	seconds=${seconds%.*}
}

# wait_for SECONDS COMMAND...: until the command is true; what it printed last is shown if it never is
wait_for() {
	local end seconds
	now
	end=$((seconds + $1))
	shift
	until "$@" > /tmp/wait.out 2>&1; do
		now
		[ "$seconds" -lt $end ] || { cat /tmp/wait.out; return 1; }
		sleep 0.1
	done
}

# event NAME: tell the host, now
event() {
	echo "PVDEV-EVENT $1" >&3
}

# await NAME [SECONDS]: until the host has sent that line; other lines are dropped
await() {
	local line
	while read -r -t "${2:-30}" line <&4; do
		[ "$line" != "$1" ] || return 0
	done
	return 1
}

# value KEY NUMBER, fact KEY TEXT...: a measurement, a finding, for the host's report
value() {
	echo "PVDEV-VALUE $1 $2" >&3
}
fact() {
	echo "PVDEV-FACT $*" >&3
}

# has WORD FILE: the file has the text
has() {
	grep -q -e "$1" "$2"
}

# stat_of IFACE NAME: an ethtool -S counter, summed over all queues and lines of that name
stat_of() {
	ethtool -S "$1" | awk -F: -v name="$2" '{ gsub(/^ +| +$/, "", $1) } $1 == name { sum += $2 } END { print sum + 0 }'
}

# no_complaints: the kernel has said nothing of level warning or worse since this script began
no_complaints() {
	! dmesg -r | sed -n '/pvdev: test/h; /pvdev: test/!H; ${ x; p }' | grep '^<[0-4]>' | grep -v -f /etc/harmless
}

# nic_ready IFACE: the driver is loaded, the NIC there, up and with a carrier
nic_ready() {
	modprobe vmxnet3 &&
	wait_for 5 test -e "/sys/class/net/$1" &&
	ip link set "$1" up &&
	wait_for 5 has 1 "/sys/class/net/$1/carrier"
}
