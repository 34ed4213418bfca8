# The kernel's own driver finds the adapter, binds it and uses all it offers; a disk is written and read.
#   pv_disk=0 (target)
# modules: vmw_pvscsi sd_mod
. /disk.sh

msix() {
	grep vmw_pvscsi /proc/interrupts && grep vmw_pvscsi /proc/interrupts | grep -q PCI-MSIX
}
queue() { # deeper than the 1 of a disk without command queueing
	cat "$device/queue_depth" && [ "$(cat "$device/queue_depth")" -gt 1 ]
}
round_trip() {
	head -c 1048576 /dev/urandom > /tmp/noise && put 256 256 < /tmp/noise && get 256 256 | cmp - /tmp/noise
}

plan 8
check adapter adapter
check msix msix
check targets said "max_id: 65"
check rings said "rev 2, req/cmp/msg rings: 32/32/1 pages"
check threshold said "driver-based request coalescing enabled"
check disk disk "${pv_disk:-0}"
check queue queue
check round_trip round_trip
fact name "$(cat "$device/vendor" "$device/model" "$device/rev" | tr -s ' \n' ' ')"
fact blocks "$(cat "/sys/class/block/$dev/size")"
