# A guest that shares its host's memory with another: what it has available at each step of the host's.
# modules: vmw_balloon

available() {
	awk '/MemAvailable/ { print $2 }' /proc/meminfo
}

plan 3
check balloon modprobe vmw_balloon
value alone_kb "$(available)"
event ready
check shared await shared 60
value shared_kb "$(available)"
event seen
check moved await moved 60
value moved_kb "$(available)"
