#!/bin/sh
# A TAP interface for `pvdev --port tap:NAME`, behind NAT or on a bridge; `down` takes back what `up` did.
#
#   sudo examples/tap.sh nat up tap0 192.0.2.1/24     # guests: an address of that network, gateway 192.0.2.1
#   sudo examples/tap.sh bridge up tap0 br0 eth1      # guests: on eth1's network (eth1 must have no address itself)
#   pvdev serve vmxnet3 --socket /tmp/nic --port tap:tap0
#   sudo examples/tap.sh nat down tap0
#   sudo examples/tap.sh bridge down tap0 br0 eth1
#
# The TAP belongs to the user who called sudo, so that pvdev itself needs no root. Needs ip, and nft for NAT.
set -eu

usage() {
	sed -n 's/^#   //p' "$0" >&2
	exit 2
}

die() {
	echo "tap.sh: $1" >&2
	exit 1
}

[ $# -ge 3 ] || usage
mode=$1 what=$2 tap=$3
table=pvdev_$(printf %s "$tap" | tr -c 'A-Za-z0-9_' _)
forward=/proc/sys/net/ipv4/ip_forward

make_tap() {
	ip tuntap add "$tap" mode tap user "${SUDO_USER:-root}"
	trap 'ip link del "$tap"' EXIT # until all else is done
}

case $mode,$what,$# in
nat,up,4)
	address=$4
	case $address in */*) ;; *) die "$address: give it with its prefix, like 192.0.2.1/24" ;; esac
	command -v nft >/dev/null || die "nft is missing: apt install nftables"
	make_tap
	ip addr add "$address" dev "$tap"
	ip link set "$tap" up
	nft -f - <<-RULES
		table ip $table {
			chain out {
				type nat hook postrouting priority 100;
				ip saddr $address oifname != "$tap" masquerade
			}
		}
	RULES
	ip link set "$tap" alias "pvdev: forwarding was $(cat $forward)" # the note `down` reads
	echo 1 >$forward
	trap - EXIT
	;;
nat,down,3)
	nft delete table ip "$table"
	before=$(ip link show dev "$tap" | sed -n 's/.*pvdev: forwarding was \([01]\).*/\1/p')
	[ -z "$before" ] || echo "$before" >$forward
	ip link del "$tap"
	;;
bridge,up,5)
	bridge=$4 uplink=$5
	[ -z "$(ip -4 addr show dev "$uplink")" ] || die "$uplink has an address: on a bridge it would be lost; move it first"
	make_tap
	ip link show dev "$bridge" >/dev/null 2>&1 || ip link add "$bridge" type bridge
	for each in "$tap" "$uplink"; do ip link set "$each" master "$bridge"; done
	for each in "$tap" "$uplink" "$bridge"; do ip link set "$each" up; done
	trap - EXIT
	;;
bridge,down,5)
	bridge=$4 uplink=$5
	ip link del "$tap"
	ip link set "$uplink" nomaster
	ip link del "$bridge"
	;;
*) usage ;;
esac
