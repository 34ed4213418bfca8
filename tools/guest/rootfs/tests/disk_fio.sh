# Two writers at once, 64 deep: writes, reads and trims at random places, all that is read being checked.
#   pv_disk=0 (target)  pv_seconds=60
# modules: vmw_pvscsi sd_mod
# programs: fio
. /disk.sh

job() { # the second one writes to nothing but what it has just trimmed
	cat <<- END
		[global]
		filename=$disk
		direct=1
		ioengine=libaio
		iodepth=64
		verify=crc32c
		verify_fatal=1
		verify_backlog=512
		time_based
		runtime=${pv_seconds:-60}
		[trimmed]
		rw=randtrimwrite
		bs=16k
		size=64m
		[mixed]
		rw=randrw
		bs=4k
		offset=64m
		size=64m
	END
}
fio_runs() {
	job > /tmp/job && fio --output=/tmp/fio.out /tmp/job
	local status=$?
	tail -n 60 /tmp/fio.out
	[ $status = 0 ] && [ "$(grep -c 'err= 0' /tmp/fio.out)" = 2 ]
}
trimmed() { # the disk was asked to discard; 12th of Documentation/block/stat.rst
	cat "/sys/class/block/$dev/stat" && [ "$(awk '{ print $12 }' "/sys/class/block/$dev/stat")" -gt 0 ]
}
idle() {
	cat "/sys/class/block/$dev/inflight" && [ "$(awk '{ print $1 + $2 }' "/sys/class/block/$dev/inflight")" = 0 ]
}

plan 6
check adapter adapter
check disk disk "${pv_disk:-0}"
check fio fio_runs
check trimmed trimmed
check idle idle
check dmesg no_complaints
awk '{ print "PVDEV-VALUE reads " $1 "\nPVDEV-VALUE writes " $5 "\nPVDEV-VALUE trims " $12 }' "/sys/class/block/$dev/stat" >&3
