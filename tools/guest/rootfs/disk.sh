# Disks of PVSCSI adapters, by the number of their target.

# adapter [PARAMETER=VALUE...]: load its driver and those of what may be behind it, and wait for the host
adapter() {
	local module
	for module in sd_mod sr_mod sg ext4 isofs crc32c_generic; do
		[ ! -e "/lib/modules/$(uname -r)/$module.ko" ] || modprobe "$module" || return
	done
	modprobe vmw_pvscsi "$@" && wait_for 10 has vmw_pvscsi /sys/class/scsi_host/host*/proc_name
}
# node TARGET: the name of its block device, sda or sr0; false while there is none
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
# disk TARGET: wait for it; its name is in $dev, its path in $disk, its SCSI device's folder in $device
disk() {
	wait_for 20 is_there "$1" && dev=$(node "$1") && disk=/dev/$dev && device=/sys/class/block/$dev/device
}
# said TEXT: the kernel has, since power-on
said() {
	dmesg | grep -q -e "$1"
}
# tells TEXT COMMAND...: it succeeds and says TEXT;  fails STATUS TEXT COMMAND...: it fails like that
tells() {
	fails 0 "$@"
}
fails() {
	local wanted=$1 text=$2 status
	shift 2
	"$@" > /tmp/told 2>&1
	status=$?
	cat /tmp/told
	echo "exit status $status, $wanted was expected, with: $text"
	[ $status = "$wanted" ] && has "$text" /tmp/told
}
# also TEXT: the last `tells` or `fails` said this too
also() {
	echo "expected, too: $1"
	has "$1" /tmp/told
}
# get PAGE PAGES, put PAGE PAGES: 4096 bytes each of $disk, past all caches, to standard output, from standard input
get() {
	through if="$disk" skip "$1" "$2" iflag=direct
}
put() {
	through of="$disk" seek "$1" "$2" iflag=fullblock oflag=direct conv=notrunc
}
through() { # 64 KiB at once where all is even
	local file=$1 to=$2 at=$3 count=$4 size=4096
	shift 4
	[ $(((at | count) % 16)) != 0 ] || { size=65536; at=$((at / 16)); count=$((count / 16)); }
	dd "$file" bs=$size "$to=$at" count=$count status=none "$@"
}
# zeros PAGE PAGES: they read so
zeros() {
	get "$1" "$2" > /tmp/zeros && head -c $((4096 * $2)) /dev/zero | cmp - /tmp/zeros
}
# digest: of all files below the working directory, names and contents
digest() {
	find . -type f | sort | xargs sha256sum | sha256sum | cut -d ' ' -f 1
}
