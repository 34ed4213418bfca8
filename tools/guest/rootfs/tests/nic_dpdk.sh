# DPDK's testpmd with its own driver on every NIC: what comes in goes back, stations swapped.
#   pv_nics=1 pv_queues=2
# It runs until the host says `done`. The guest needs guest.dpdk's files and module uio_pci_generic.
nics=$(grep -l 0x07b0 /sys/bus/pci/devices/*/device)
queues=${pv_queues:-2}

bind() { # DPDK drives through UIO what the kernel leaves alone
	modprobe uio_pci_generic || return
	local nic
	for nic in $nics; do
		nic=${nic%/device}
		echo uio_pci_generic > "$nic/driver_override" && echo "${nic##*/}" > /sys/bus/pci/drivers_probe &&
		[ -e "/sys/bus/pci/drivers/uio_pci_generic/${nic##*/}" ] || return
		allow="$allow -a ${nic##*/}"
	done
}
huge_pages() {
	echo 128 > /proc/sys/vm/nr_hugepages && mkdir -p /dev/hugepages && mount -t hugetlbfs none /dev/hugepages &&
	[ "$(sed -n 's/^HugePages_Free: *//p' /proc/meminfo)" = 128 ]
}
forward() { # DPDK insists on nobody else being able to write where its drivers lie
	chmod 755 / /lib /lib/pmd && mkfifo /tmp/stop || return
	testpmd -l 0,1 -d /lib/pmd/net-vmxnet3.so -d /lib/pmd/mempool-ring.so $allow -- --total-num-mbufs=8192 \
		--forward-mode=macswap --port-topology=loop --rxq="$queues" --txq="$queues" --rss-ip --auto-start < /tmp/stop > /tmp/testpmd 2>&1 &
	exec 5> /tmp/stop
	await "done" 40
	local status=$?
	echo >&5
	wait $! && return $status
}
nothing_lost() {
	cat /tmp/testpmd
	local line
	for line in RX-packets TX-packets; do # the last of them is over all ports
		fact "$line" "$(sed -n "s/.*$line: *\([0-9]*\).*/\1/p" /tmp/testpmd | tail -n 1)"
	done
	! grep -i -e 'rx-dropped: *[1-9]' -e 'tx-dropped: *[1-9]' /tmp/testpmd
}

plan 5
check bind bind
check huge_pages huge_pages
check forward forward
check nothing_lost nothing_lost
check dmesg no_complaints
