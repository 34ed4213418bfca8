# One of several guests that share a host's memory: what the balloon's driver gives away, and has back.
# modules: vmw_balloon

available() {
	awk '/MemAvailable/ { print $2 }' /proc/meminfo
}
used() { # used MIB: so that the host has given this memory, and can see what becomes of it
	yes | head -c 1m > /tmp/chunk && for _ in $(seq "$1"); do cat /tmp/chunk; done > /tmp/once && rm /tmp/once
}
balloon() { # balloon STEP: the host shares anew, and says when this guest's driver has got there
	event "$1"
	check "$1" await "$1" 60
	value "$1_kb" "$(available)"
}

plan 5
echo 100000 > /proc/sys/vm/percpu_pagelist_high_fraction # what is free on a processor's own list is not counted
check used used 150
modprobe vmw_balloon
value before_kb "$(available)"
balloon scarce
balloon uneven
balloon plenty
check again used 150
