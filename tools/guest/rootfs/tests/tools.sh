# The host side of VMware Tools: the kernel, ordinary programs, the daemon and the balloon find it behind their ports.
# modules: vmw_balloon ptp_vmw

guestinfo() { # as an ordinary user: guestinfo COMMAND KEY [VALUE]
	su user -c "vmware-rpctool '$1 guestinfo.$2${3+ $3}'"
}
available() {
	awk '/MemAvailable/ { print $2 }' /proc/meminfo
}
said() {
	[ "$(guestinfo info-get "$1")" = "$2" ]
}
both_ways() {
	long=$(head -c 45000 /dev/urandom | base64 -w 0) # 60000 characters
	guestinfo info-set long "$long" && said long "$long"
}
balloon() { # balloon STEP: the host sets its target, and says when the driver has got there
	event "$1"
	check "$1" await "$1" 60
	value "$1_kb" "$(available)"
}

plan 12
mkdir -p /var/log
echo 'user:x:1000:1000::/tmp:/bin/sh' > /etc/passwd
ip link set lo up
check hypervisor sh -c "dmesg | grep -q 'Hypervisor detected: VMware'"
check clock sh -c "dmesg | grep -q 'TSC freq read from hypervisor'"
check virtual vmware-checkvm
check variable said x 'from the host'
check back guestinfo info-set from.guest 6.12
check long both_ways
check unknown sh -c "! vmware-rpctool frobnicate"
fact hosttime "$(vmware-toolbox-cmd stat hosttime)"

printf '[logging]\nlog = false\n[guestinfo]\npoll-interval = 1\n' > /etc/vmware-tools/tools.conf
vmtoolsd &
event daemon
check daemon await daemon-fine 60
kill -TERM $!
wait $!
fact daemon $?

modprobe ptp_vmw
check ptp wait_for 5 test -c /dev/ptp0
fact ptp "$(clock /dev/ptp0)"
event ptp

dd if=/dev/zero of=/tmp/once bs=1M count=200 2> /dev/null # so that this machine has given the guest memory to take away
rm /tmp/once
modprobe vmw_balloon
value before_kb "$(available)"
balloon inflated
balloon deflated
balloon small
