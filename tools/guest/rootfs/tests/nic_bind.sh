# The kernel's own driver finds the NIC, binds it and brings it up.
#   pv_nic=eth0
nic=${pv_nic:-eth0}

driver_is() {
	ethtool -i "$nic"
	ethtool -i "$nic" | grep -q "^driver: $1\$"
}
no_carrier() {
	! grep -q 1 "/sys/class/net/$nic/carrier" 2>/dev/null
}

plan 9
check load modprobe vmxnet3
check present wait_for 5 test -e "/sys/class/net/$nic"
check driver driver_is vmxnet3
check up ip link set "$nic" up
check carrier wait_for 5 has 1 "/sys/class/net/$nic/carrier"
check down ip link set "$nic" down
check no_carrier no_carrier
check up_again nic_ready "$nic"
check dmesg no_complaints
fact mac "$(cat "/sys/class/net/$nic/address")"
fact speed "$(cat "/sys/class/net/$nic/speed")"
fact interrupts "$(grep -c "$nic" /proc/interrupts) vectors: $(grep -m 1 "$nic" /proc/interrupts | awk '{ print $(NF-1), $(NF-2) }')"
fact bus "$(ethtool -i "$nic" | sed -n 's/^bus-info: //p')"
