# The programs of sg3_utils find in a disk what it is, and do with it what it can do.
#   pv_disk=0 (target)  pv_blocks=... (512 bytes each)
# modules: vmw_pvscsi sd_mod sg
# programs: sg_inq sg_vpd sg_readcap sg_modes sg_luns sg_opcodes sg_unmap sg_write_same sg_compare_and_write sg_persist
# programs: sg_sync sg_turs sg_reset sg_requests sg_get_lba_status sg_verify sg_logs
. /disk.sh

standards() {
	tells "SAM-5" sg_inq -d "$disk" && also "SPC-4" && also "SBC-3" && also "version=0x06" && also "CmdQue=1" &&
	also "Vendor identification: VMware" && also "Product revision level: 2.0"
}
pages() {
	tells "Unit serial number" sg_vpd "$disk" && also "Device identification" && also "Extended inquiry data" &&
	also "Block limits" && also "Block device characteristics" && also "Logical block provisioning"
}
one_name() { # the serial number is in both designators, and in the name Linux made of them
	tells "serial number: [0-9a-f]\{16\}" sg_vpd -p sn "$disk" || return
	local serial=$(sed -n 's/.*serial number: //p' /tmp/told)
	tells "0x$serial" sg_vpd -p di "$disk" && tells "^t10.VMware .*$serial$" cat "$device/wwid"
}
limits() { # what Linux works with is what the pages say
	tells "Maximum unmap LBA count: 0x100000" sg_vpd -p bl "$disk" && also "compare and write length: 0x80" &&
	also "Optimal unmap granularity: 0x8" && tells "^536870912$" cat "/sys/class/block/$dev/queue/discard_max_hw_bytes"
}
thin() {
	tells "LBPU=1" sg_vpd -p lbpv "$disk" && also "LBPWS=1" && also "LBPRZ=0x1" && also "thin provisioned"
}
capacity() {
	tells "Number of logical blocks=$pv_blocks" sg_readcap "$disk" && also "Logical block length=512" &&
	tells "Number of logical blocks=$pv_blocks" sg_readcap -l "$disk" && also "lbpme=1, lbprz=1"
}
modes() {
	tells "WP=0, CAPPID=0, DpoFua=1" sg_modes "$disk" && also "Read-Write error recovery" && also "Caching" &&
	also "Informational exceptions" && also "08 12 04"
}
cache() { # KIND BYTE: Linux has it changed by MODE SELECT
	echo "$1" > "$(ls "$device"/scsi_disk/*/cache_type)" && tells "08 12 $2" sg_modes "$disk"
}
luns() {
	tells "implies 1 lun entry" sg_luns "$disk"
}
opcodes() {
	tells "42 .*Unmap" sg_opcodes "$disk" && also "89 .*Compare and write" && also "9e *12 .*Get LBA status" &&
	tells "is supported \[conforming" sg_opcodes -o 0x42 "$disk" && tells "is NOT supported" sg_opcodes -o 0xa4 "$disk"
}
noise() { # into pages 0 to 15
	put 0 16 < /tmp/noise && tells "mapped" sg_get_lba_status --lba=0 "$disk"
}
unmap() {
	noise && sg_unmap --force --lba=8 --num=16 "$disk" && zeros 1 2 &&
	tells "\[1\] LBA: 0x8 .*deallocated" sg_get_lba_status --lba=8 "$disk" && get 3 13 > /tmp/rest &&
	tail -c +12289 /tmp/noise | cmp - /tmp/rest
}
beyond() {
	fails 22 "LBA out of range" sg_unmap --force --lba="$pv_blocks" --num=1 "$disk"
}
write_same() { # one block again and again; then zeros in both ways
	noise && head -c 512 /tmp/noise > /tmp/block && sg_write_same --10 --lba=8 --num=8 --in=/tmp/block "$disk" &&
	get 1 1 > /tmp/page && for n in 1 2 3 4 5 6 7 8; do cat /tmp/block; done | cmp - /tmp/page &&
	sg_write_same --16 --unmap --lba=8 --num=8 --xferlen=512 "$disk" && zeros 1 1 && noise &&
	sg_write_same --16 --ndob --lba=16 --num=8 "$disk" && zeros 2 1
}
compare_and_write() { # what is there is replaced by zeros; then it is not there any more
	noise && head -c 512 /tmp/noise | cat - /dev/zero | head -c 1024 > /tmp/both &&
	sg_compare_and_write --in=/tmp/both --lba=0 --num=1 --xferlen=1024 "$disk" && get 0 1 | head -c 512 > /tmp/is &&
	head -c 512 /dev/zero | cmp - /tmp/is &&
	fails 14 "Miscompare at byte offset: 0" sg_compare_and_write --in=/tmp/both --lba=0 --num=1 --xferlen=1024 "$disk"
}
persist() {
	tells "NO registered" sg_persist --in -k "$disk" &&
	sg_persist --out --register --param-sark=123abc "$disk" && tells "0x123abc" sg_persist --in -k "$disk" &&
	sg_persist --out --reserve --param-rk=123abc --prout-type=1 "$disk" &&
	tells "Write Exclusive" sg_persist --in -r "$disk" && also "Key=0x123abc" &&
	tells "Reservation holder" sg_persist --in -s "$disk" &&
	fails 24 "Reservation conflict" sg_persist --out --release --param-rk=999 --prout-type=1 "$disk" &&
	sg_persist --out --clear --param-rk=123abc "$disk" && tells "NO registered" sg_persist --in -k "$disk"
}
sync_turs() {
	sg_sync "$disk" && sg_sync --16 --lba=8 --count=8 "$disk" &&
	fails 22 "out of range" sg_sync --lba="$pv_blocks" --count=1 "$disk" && tells "with 0 errors" sg_turs -l -n 20 "$disk"
}
verify() {
	sg_verify --lba=0 --count=128 "$disk" && fails 22 "out of range" sg_verify --lba="$pv_blocks" --count=1 "$disk"
}
logs() {
	tells "Supported log pages" sg_logs "$disk"
}
reset_device() { # the next to ask is told
	sg_reset -d -N "$disk" && tells "Bus device reset function occurred" sg_requests "$disk" &&
	tells "No additional sense" sg_requests "$disk"
}
reset_at_work() { # reads find what was written, however often the disk is reset meanwhile
	local n
	noise || return
	(for n in $(seq 100); do get 0 16 | cmp - /tmp/noise || exit 1; done) &
	for n in 1 2 3 4 5; do
		sg_reset -d -N "$disk" || return
	done
	wait $!
}

plan 23
head -c 65536 /dev/urandom > /tmp/noise
check adapter adapter
check disk disk "${pv_disk:-0}"
check standards standards
check pages pages
check one_name one_name
check limits limits
check thin thin
check capacity capacity
check modes modes
check write_through cache "write through" 00
check write_back cache "write back" 04
check luns luns
check opcodes opcodes
check unmap unmap
check beyond beyond
check write_same write_same
check compare_and_write compare_and_write
check persist persist
check sync sync_turs
check verify verify
check logs logs
check reset_device reset_device
check reset_at_work reset_at_work
