# Disks of one PVSCSI adapter, by the number of their target.

# adapter [PARAMETER=VALUE...]: load its driver and the drivers of what may be behind it; then wait until all was looked at
adapter() {
	local module
	for module in sd_mod sr_mod sg ext4 isofs crc32c_generic; do
		[ ! -e "/lib/modules/$(uname -r)/$module.ko" ] || modprobe "$module" || return
	done
	modprobe vmw_pvscsi "$@" && wait_for 10 scanned
}
# scanned: the host is there, and whoever looks for its targets has ended
scanned() {
	local host
	for host in /sys/class/scsi_host/host*; do
		[ "$(cat "$host/proc_name" 2>/dev/null)" != vmw_pvscsi ] || return 0
	done
	return 1
}
# node TARGET: the name of its block device, sda or sr0; nothing while there is none
node() {
	ls /sys/bus/scsi/devices/*:0:"$1":0/block 2>/dev/null
}
is_there() {
	local name
	name=$(node "$1") && [ -b "/dev/$name" ]
}
is_gone() {
	! ls -d /sys/bus/scsi/devices/*:0:"$1":0 2>/dev/null
}
# disk TARGET: wait for it; its path is in $disk
disk() {
	wait_for 10 is_there "$1" && disk=/dev/$(node "$1")
}
# said TEXT: the kernel has, since power-on
said() {
	dmesg | grep -q -e "$1"
}
# digest: of all below the working directory, names and contents
digest() {
	find . -type f | sort | xargs sha256sum | sha256sum | cut -d ' ' -f 1
}
