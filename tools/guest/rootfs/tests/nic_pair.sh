# Two NICs wired to each other outside (pair.sh), through everything Linux can be told about a NIC.
#   pv_near=eth0 pv_far=eth1 pv_bytes=8000000 (per stream)
. /pair.sh
pair 0 "${pv_near:-eth0}" "${pv_far:-eth1}"
bytes=${pv_bytes:-8000000}
vnear4=198.51.100.1 vfar4=198.51.100.2 vnear6=fd00:64::1 vfar6=fd00:64::2

offloads_on() {
	ethtool -k "$near" > /tmp/features
	local name
	for name in tx-checksumming rx-checksumming tcp-segmentation-offload tx-tcp6-segmentation rx-vlan-offload tx-vlan-offload; do
		has "^[[:space:]]*$name: on" /tmp/features || { cat /tmp/features; return 1; }
	done
}
mtu() {
	ip link set "$near" mtu "$1" && there ip link set "$far" mtu "$1" && addresses
}
vlan() {
	modprobe 8021q && ip link add link "$near" name vlan100 type vlan id 100 &&
	there ip link add link "$far" name vlan100 type vlan id 100 &&
	ip link set vlan100 up && there ip link set vlan100 up &&
	ip addr replace "$vnear4/24" dev vlan100 && ip addr replace "$vnear6/64" dev vlan100 nodad &&
	there ip addr replace "$vfar4/24" dev vlan100 && there ip addr replace "$vfar6/64" dev vlan100 nodad
}
vlan_traffic() {
	traffic "$vfar4" "$vfar6" "$vnear6"
}
features() { # WORD...: ethtool -K on both, then traffic
	ethtool -K "$near" "$@" && there ethtool -K "$far" "$@" && addresses
}
bounce() {
	ip link set "$near" down && ip link set "$near" up && there ip link set "$far" down && addresses
}
rings() {
	ethtool -G "$near" rx "$1" tx "$2" && there ethtool -G "$far" rx "$1" tx "$2" && addresses &&
	ethtool -g "$near" && ethtool -g "$near" | sed -n '/^Current/,$p' | grep -q "^RX:[[:space:]]*$1\$"
}
channels() { # the driver may not let itself be told; what it says then must be just that
	ethtool -l "$near" || return
	if ethtool -L "$near" combined 1 > /tmp/channels 2>&1; then
		fact set_channels works
	else
		fact set_channels "$(tr '\n' ' ' < /tmp/channels)"
		grep -q -i -e 'not supported' -e 'no change' -e 'unmodified' -e 'exceeds maximum' /tmp/channels
	fi
}
mtu_most() { # what this version allows
	mtu "$(ip -d link show "$near" | sed -n 's/.* maxmtu \([0-9]*\).*/\1/p')" && pings "$far4" 8900 && tso_used traffic
}
coalesced() { # WORD...: ethtool -C on both, the first WORD and its value being shown afterwards, and traffic
	ethtool -C "$near" "$@" && there ethtool -C "$far" "$@" && shown="$(ethtool -c "$near")" || return
	case $1 in
	adaptive-rx) echo "$shown" | grep -q "Adaptive RX: $2 " ;;
	*) echo "$shown" | grep -q "^$1:[[:space:]]*$2\$" ;;
	esac && traffic
}
coalescing() { # from version 3 on: by depth, by rate, not at all, by the device's own judgement
	ethtool -c "$near" || return 0
	coalesced rx-frames 16 tx-frames 16 adaptive-rx off && coalesced rx-frames 0 tx-frames 0 rx-usecs 0 &&
	coalesced rx-usecs 200 && coalesced adaptive-rx on rx-usecs 0
}
data_ring() { # SIZE: of the slots for small frames, from version 3 on; 0 for none
	ethtool -g "$near" | grep -q 'RX Mini:[[:space:]]*n/a' && return
	ethtool -G "$near" rx-mini "$1" && there ethtool -G "$far" rx-mini "$1" && addresses && traffic &&
	ethtool -g "$near" | sed -n '/^Current/,$p' | grep -q "^RX Mini:[[:space:]]*$1\$"
}
reload() {
	ip link del vlan100 2>/dev/null
	rmmod vmxnet3 && [ ! -e "/sys/class/net/$near" ] && wire
}

plan 39
check wire wire
check ping4 pings "$far4"
check ping6 pings "$far6"
check ping_fragments pings "$far4" 8000
check offloads_on offloads_on
check tcp4_tso tso_used stream_out "$far4"
check tcp6_tso tso_used stream_out "$far6"
check tcp4_in stream_in "$near4"
check tcp6_in stream_in "$near6"
check mtu_9000 mtu 9000
check mtu_9000_ping ping -n -q -c 3 -i 0.05 -W 5 -M "do" -s 8900 "$far4"
check mtu_9000_traffic tso_used traffic
check mtu_most mtu_most
check mtu_1500 mtu 1500
check mtu_1500_traffic traffic
check vlan vlan
check vlan_traffic vlan_traffic
check vlan_offload_off features rxvlan off txvlan off
check vlan_offload_off_traffic vlan_traffic
check vlan_offload_on features rxvlan on txvlan on
check vlan_offload_on_traffic vlan_traffic
check down_up bounce
check down_up_traffic traffic
check rings_small rings 128 128
check rings_small_traffic traffic
check rings_large rings 1024 1024
check rings_large_traffic traffic
check data_ring_none data_ring 0
check data_ring_large data_ring 1536
check coalescing coalescing
check channels channels
check channels_traffic traffic
check checksum_tso_off features tx off rx off tso off
check checksum_tso_off_traffic traffic
check checksum_tso_on features tx on rx on tso on
check checksum_tso_on_traffic tso_used traffic
check reload reload
check reload_traffic traffic
check dmesg no_complaints
