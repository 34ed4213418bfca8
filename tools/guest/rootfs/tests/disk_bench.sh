# How fast an empty disk is, by fio: transfers per second of 4 KiB at random places, bytes per second of 256 KiB in a row.
#   pv_disk=0 (target)  pv_seconds=3 (of each)  pv_ways=randread-32,... (which; all)
# modules: vmw_pvscsi sd_mod
# programs: fio
. /disk.sh

ways=${pv_ways:-randread-32,randwrite-32,randread-1,randwrite-1,read-8,write-8}

# way RW-DEPTH: in fio's terse output a read's bandwidth (KiB/s) and transfers per second are 7th and 8th, a write's 48th
# and 49th
way() {
	local rw=${1%-*} depth=${1#*-} size=4k
	case $rw in read | write) size=256k ;; esac
	local before=$(interrupts)
	fio --name=x --filename="$disk" --direct=1 --ioengine=libaio --rw="$rw" --bs=$size --iodepth="$depth" --size=512m \
		--time_based --ramp_time=1 --runtime="${pv_seconds:-3}" --norandommap --randrepeat=0 --minimal > /tmp/fio.out || return
	awk -F ';' -v name="$1" '{
		at = name ~ /read/ ? 7 : 48
		if (name ~ /^rand/) print "PVDEV-VALUE " name " " $(at + 1); else print "PVDEV-VALUE " name " " $at * 1024
	}' /tmp/fio.out >&3
	echo "PVDEV-VALUE $1-interrupts $(($(interrupts) - before))" >&3
}
interrupts() {
	awk '/vmw_pvscsi/ { for (i = 2; $i ~ /^[0-9]+$/; i++) n += $i } END { print n + 0 }' /proc/interrupts
}

plan $((2 + $(echo "$ways" | tr ',' ' ' | wc -w)))
check adapter adapter
check disk disk "${pv_disk:-0}"
for each in $(echo "$ways" | tr ',' ' '); do
	check "$each" way "$each"
done
