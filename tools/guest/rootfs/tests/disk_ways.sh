# The driver is loaded again with each of its parameters; each time the disks hold what was written before.
#   pv_disks=0,1 (targets, of one adapter or of several)
# modules: vmw_pvscsi sd_mod
. /disk.sh
IFS=,
set -- ${pv_disks:-0,1}
unset IFS

all() { # COMMAND...: for every disk
	local target
	for target in $targets; do
		disk "$target" && "$@" || return
	done
}
fill() {
	head -c 1048576 /dev/urandom > "/tmp/held$target" && put 0 256 < "/tmp/held$target"
}
holds() {
	get 0 256 | cmp - "/tmp/held$target"
}
loaded() { # PARAMETER=VALUE...
	rmmod vmw_pvscsi && ! ls -d /sys/bus/scsi/devices/*:0:*:0 2>/dev/null && adapter "$@" && all holds && all fill && all holds
}
interrupts() { # KIND PARAMETER=VALUE...
	local kind=$1
	shift
	loaded "$@" && grep vmw_pvscsi /proc/interrupts && ! grep vmw_pvscsi /proc/interrupts | grep -v "$kind"
}
ring() { # of one page: it is full again and again
	loaded ring_pages=1 && said "req/cmp/msg rings: 1/1/1 pages"
}

plan 8
targets=$*
check adapter adapter
check fill all fill
check again loaded
check msi interrupts PCI-MSI- disable_msix=1
check intx interrupts IO-APIC disable_msix=1 disable_msi=1
check ring ring
check plain loaded use_req_threshold=0 use_msg=0
check one_by_one loaded cmd_per_lun=1
