# TCP inside UDP tunnels between two NICs wired to each other: Geneve and VXLAN, over IPv4 and IPv6, with and without an
# outer checksum, the NICs segmenting and checking what is inside.
#   pv_nics=4 (in pairs: eth0 to eth1, eth2 to eth3) pv_bytes=200000 (per stream)
. /pair.sh
nics=${pv_nics:-4} bytes=${pv_bytes:-200000}
inner4=203.0.113.1 infar4=203.0.113.2 inner6=fd00:77::1 infar6=fd00:77::2

tunnel() { # KIND 4|6 WORD...: a device tun0 at both ends; WORDs say what is done with outer checksums
	local kind=$1 over=$2 remote=$far4 back=$near4 details="id 42"
	shift 2
	[ "$over" = 4 ] || { remote=$far6 back=$near6; }
	[ "$kind" = geneve ] || details="id 42 dstport 4789"
	ip link add tun0 type $kind $details remote $remote "$@" && there ip link add tun0 type $kind $details remote $back "$@" &&
	ip link set tun0 mtu 1430 up && there ip link set tun0 mtu 1430 up && # what fits over IPv6
	ip addr replace $inner4/24 dev tun0 && ip addr replace $inner6/64 dev tun0 nodad &&
	there ip addr replace $infar4/24 dev tun0 && there ip addr replace $infar6/64 dev tun0 nodad &&
	pings $infar4 && pings $infar6
}
streams() { # both ways, both IP versions inside; the near NIC segments what it sends, merges what it receives
	tso_used stream_out $infar4 && tso_used stream_out $infar6 && stream_in $inner4 && stream_in $inner6
}
used() { # KIND OVER WORD...
	tunnel "$@" && streams
	local status=$?
	ip link del tun0
	there ip link del tun0
	return $status
}
offloads_on() {
	ethtool -k "$near" > /tmp/features
	has '^tx-udp_tnl-segmentation: on' /tmp/features && has '^tx-udp_tnl-csum-segmentation: on' /tmp/features
}

plan $((2 + nics / 2 * 8))
check modules modprobe -a geneve vxlan
nic=0
while [ $nic -lt "$nics" ]; do
	pair $((nic / 2)) "eth$nic" "eth$((nic + 1))"
	check "eth$nic.wire" wire
	check "eth$nic.offloads_on" offloads_on
	for kind in geneve vxlan; do
		check "eth$nic.$kind.over_ipv4" used $kind 4 noudpcsum
		check "eth$nic.$kind.over_ipv4_with_checksum" used $kind 4 udpcsum
		check "eth$nic.$kind.over_ipv6_with_checksum" used $kind 6 udp6zerocsumrx
	done
	nic=$((nic + 2))
done
check dmesg no_complaints
