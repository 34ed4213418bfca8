# A disk comes and goes while it is read, again and again; another one, under load all the time, does not notice.
#   pv_disk=0 (target under load)  pv_plugged=5 (target that comes and goes)  pv_times=50
# The host plugs it in on event `plug`, pulls it out on event `pull`.
# modules: vmw_pvscsi sd_mod
. /disk.sh
plugged=${pv_plugged:-5} times=${pv_times:-50}

load() { # writes and reads back, until told to stop
	local round=0
	while [ ! -e /tmp/stop ]; do
		round=$((round + 1))
		put 0 16 < /tmp/noise && get 0 16 | cmp - /tmp/noise || return
	done
	echo $round > /tmp/rounds
}
readers() { # four, as long as the disk lasts
	local n
	for n in 1 2 3 4; do
		while dd if="$disk" of=/dev/null bs=65536 iflag=direct; do :; done 2>/dev/null &
	done
}
once() {
	event plug && disk "$plugged" && readers && event pull && wait_for 20 is_gone "$plugged" && wait_gone
}
wait_gone() { # the readers have all come to an end, each with the disk's
	local pid
	for pid in $(jobs -p); do
		[ "$pid" = "$loader" ] || wait "$pid"
	done
	return 0
}
all_times() {
	local n=0
	while [ $n -lt "$times" ]; do
		n=$((n + 1))
		once || { echo "the ${n}th time"; return 1; }
	done
}
loaded() {
	touch /tmp/stop && wait "$loader" && cat /tmp/rounds && [ "$(cat /tmp/rounds)" -gt "$times" ]
}
idle() {
	cat "/sys/class/block/$dev/inflight" && [ "$(awk '{ print $1 + $2 }' "/sys/class/block/$dev/inflight")" = 0 ]
}

plan 6
head -c 65536 /dev/urandom > /tmp/noise
check adapter adapter
check disk disk "${pv_disk:-0}"
load > /tmp/load 2>&1 &
loader=$!
check plugged all_times
check disk_again disk "${pv_disk:-0}"
check loaded loaded
check idle idle
