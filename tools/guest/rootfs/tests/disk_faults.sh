# Disks whose backends fail, fill up, hang and go away: Linux is told what it is, and the others go on.
#   pv_good=0 (target under load)  pv_bad=1 (1 MiB + 4 KiB cannot be read or written)  pv_full=2 (no room past 8 MiB)
#   pv_hang=3 (one in 40 transfers is never done)  pv_stuck=4 (writes are never done)  pv_gone=5 (lost after 60 transfers)
# The host makes room on event `room`, and says `done`.
# modules: vmw_pvscsi sd_mod sg
# programs: sg_reset
. /disk.sh

load() { # writes and reads back, until told to stop
	while [ ! -e /tmp/stop ]; do
		put 0 16 < /tmp/noise && get 0 16 | cmp - /tmp/noise || return
		echo round
	done
}
goes_on() { # more rounds are done than were when it last was asked
	local before
	before=$(cat /tmp/before 2>/dev/null || echo 0)
	wait_for 20 more "$before" && wc -l < /tmp/load > /tmp/before
}
more() {
	[ "$(wc -l < /tmp/load)" -gt "$1" ] && kill -0 "$loader"
}
medium_error() { # just there and nowhere else; what comes before it is told apart
	disk "${pv_bad:-1}" && get 240 16 > /tmp/is && get 257 16 > /tmp/is && fails 1 "No data available" get 240 32 &&
	said "critical medium error, dev $dev, sector 2048" && said "Add. Sense: Unrecovered read error" &&
	fails 1 "Input/output error" put 256 1 < /tmp/noise && said "Add. Sense: Write error" && put 257 1 < /tmp/noise
}
full() {
	disk "${pv_full:-2}" && put 0 16 < /tmp/noise && fails 1 "No space left" put 4096 16 < /tmp/noise &&
	said "critical space allocation error, dev $dev" && get 0 16 | cmp - /tmp/noise
}
room() {
	event room && await "done" && put 4096 16 < /tmp/noise && get 4096 16 | cmp - /tmp/noise
}
forty() { # reads, one of which hangs
	local n
	for n in $(seq 40); do get $((16 * n)) 16 || return; done > /tmp/forty
}
aborted() { # it times out, is aborted and sent again
	disk "${pv_hang:-3}" && echo 1 > "$device/timeout" && forty && wc -c < /tmp/forty
}
in_flight() {
	[ "$(awk '{ print $1 + $2 }' "/sys/class/block/$dev/inflight")" = "$1" ]
}
stays_in_flight() { # one second long
	in_flight 1 && sleep 0.5 && in_flight 1 && sleep 0.5 && in_flight 1
}
rung() { # OPTION: what hangs ends by this step of Linux's ladder, and is sent again. Linux gives bus and host 10 s to settle
	echo 60 > "$device/timeout" && { forty & } && wait_for 20 stays_in_flight && sg_reset "$1" -N "$disk" && wait $!
}
stuck() { # it is given up after two tries
	disk "${pv_stuck:-4}" && echo 1 > "$device/timeout" && echo 1 > "$(ls "$device"/scsi_disk/*/max_retries)" &&
	get 0 1 > /tmp/is && fails 1 "Input/output error" put 0 1 < /tmp/noise && in_flight 0 && get 0 1 | cmp - /tmp/is
}
gone() {
	disk "${pv_gone:-5}" && ! { forty && forty; } && said "critical target error, dev $dev" && said "Add. Sense: Internal target failure"
}
all_well() {
	touch /tmp/stop && wait "$loader" && disk "${pv_good:-0}" && in_flight 0 && ! said "dev $dev, sector"
}

plan 15
head -c 65536 /dev/urandom > /tmp/noise
check adapter adapter
check disk disk "${pv_good:-0}"
load > /tmp/load 2>&1 &
loader=$!
check medium_error medium_error
check full full
check room room
check goes_on goes_on
check aborted aborted
check goes_on goes_on
check reset_device rung -d
check reset_bus rung -b
check reset_host rung -H
check stuck stuck
check gone gone
check goes_on goes_on
check all_well all_well
