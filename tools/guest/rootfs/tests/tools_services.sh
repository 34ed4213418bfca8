# The services of an unmodified vmtoolsd in a guest with a disk and two NICs: what its host asks is done, one by one.
#   pv_ours, pv_other: the NICs' addresses
# modules: vmw_pvscsi sd_mod ext4 crc32c_generic vmxnet3 e1000e ptp_vmw
# programs: mkfs.ext4 e2fsck
. /disk.sh

conf=/etc/vmware-tools

ask() { # ask STEP: the host does it, and says when it is done
	event "$1"
	check "$1" await "$1" 60
}
program() { # program PATH: a script, of standard input
	mkdir -p "${1%/*}"
	{ echo '#!/bin/sh'; cat; } > "$1"
	chmod 755 "$1"
}

nic_of() {
	basename "$(dirname "$(grep -l "$1" /sys/class/net/*/address)")"
}
addressed() { # addressed NIC IPV4 IPV6: these and no other
	ip addr flush dev "$1" && ip addr add "$2/24" dev "$1" && ip addr add "$3/64" dev "$1" nodad
}
nics() {
	modprobe vmxnet3 && modprobe e1000e && wait_for 10 nic_of "$pv_ours" && wait_for 10 nic_of "$pv_other" &&
	ours=$(nic_of "$pv_ours") other=$(nic_of "$pv_other") &&
	ip link set "$ours" up && ip link set "$other" up &&
	addressed "$ours" 192.0.2.1 fd00:1::1 && addressed "$other" 198.51.100.1 fd00:2::1
}

large() { # as an ordinary user: all that fits comes, and as much as fits with its name goes
	local text
	text=$(su user -c 'vmware-rpctool "info-get guestinfo.large"') && echo "${#text} characters" &&
	[ ${#text} = 65536 ] && su user -c "vmware-rpctool 'info-set guestinfo.back $(echo "$text" | head -c "$pv_back")'"
}

file_system() {
	mkdir -p /mnt /copy && adapter && disk 0 && mkfs.ext4 -q "$disk" && mount "$disk" /mnt
}
writes() { # and never stops
	local number=0
	while head -c 300000 /dev/urandom | dd of="/mnt/busy$((number % 7))" conv=fsync status=none; do
		number=$((number + 1))
		echo $number > /tmp/written.new
		mv /tmp/written.new /tmp/written
	done
}
written() {
	cat /tmp/written
}
more_written() {
	local before
	before=$(written) && wait_for 20 more_than "$before"
}
more_than() {
	[ "$(written)" -gt "$1" ]
}
whole() { # the copy, without replay of its journal
	disk 1 && mount -t ext4 -o ro,noload "$disk" /copy && cmp /copy/marker /tmp/marker && umount /copy
}
no_hang() {
	! ps | grep -q '[s]leep 1001'
}

host_clock() { # e1000e has a clock, too
	modprobe ptp_vmw && ptp=/dev/$(basename "$(dirname "$(grep -l ptp_vmw /sys/class/ptp/*/clock_name)")") &&
	wait_for 5 test -c "$ptp"
}
ahead() { # the system's clock against the host's, ns
	echo $(($(clock) - $(clock "$ptp")))
}
nearly() { # nearly NS
	local off
	off=$(ahead) && echo "$off" && [ "${off#-}" -lt "$1" ]
}

plan 32
mkdir -p /var/log /usr/sbin /sbin
echo 'user:x:1000:1000::/tmp:/bin/sh' > /etc/passwd
ln -s /proc/mounts /etc/mtab
ip link set lo up
check nics nics
check disk file_system
check ptp host_clock

for operation in poweron poweroff suspend resume; do
	program "$conf/scripts/$operation-vm-default.d/tell" <<- 'END'
		echo "$1" >> /tmp/power
		[ ! -e /tmp/refuse ]
	END
done
program $conf/backupScripts.d/10-tell <<- 'END'
	[ "$1" != freeze ] || [ ! -e /tmp/hang ] || exec sleep 1001
	echo "$1" >> /tmp/backup
END
program /sbin/shutdown <<- 'END'
	echo "$*" >> /tmp/shutdown
END
printf '[logging]\nlog = false\n[guestinfo]\npoll-interval = 1\nstats-interval = 2\n' > $conf/tools.conf
vmtoolsd &
daemon=$!

ask started
ask addresses
check moved addressed "$ours" 192.0.2.77 fd00:1::77
ask moved-addresses
check large large

writes &
writer=$!
check writes wait_for 20 test -e /tmp/written
head -c 1000000 /dev/urandom > /tmp/marker
cp /tmp/marker /mnt/marker # and no sync
ask snapshot
check thawed more_written
fact backup "$(tr '\n' ' ' < /tmp/backup)"
ask attach
check present disk 1
check clean e2fsck -f -n "$disk"
check whole whole
touch /tmp/hang
ask hang
rm /tmp/hang
check killed wait_for 10 no_hang
check goes_on more_written

ask suspend
ask resume
touch /tmp/refuse
ask refused-reboot
rm /tmp/refuse
ask reboot
check rebooting wait_for 10 has '^-r now' /tmp/shutdown

kill -STOP $daemon
ask stopped
kill -CONT $daemon
ask continued

date -s "@$(($(date +%s) - 3600))"
ask behind
check behind nearly 2000000000
date -s "@$(($(date +%s) + 3600))"
ask ahead
check ahead nearly 2000000000
event skew
check skew await skew 60
value skewed_ns "$(ahead)"
check slewed wait_for 30 nearly 100000000
value slewed_ns "$(ahead)"

kill $writer
event halt # the daemon begins the end of this guest, nobody else
check halted wait_for 60 has '^-h now' /tmp/shutdown
fact power "$(tr '\n' ' ' < /tmp/power)"
