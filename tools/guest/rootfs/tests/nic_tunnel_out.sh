# TCP inside VXLAN to a real stack outside, without and with outer checksums, the NICs segmenting what is inside.
#   pv_nics=1 pv_bytes=200000 (per stream) pv_port=6000
# NIC n is 192.0.(2+n).2, the host there .1; inside the tunnel, VNI 42+n, 198.51.(100+n).2 and fd00:(77+n)::2.
# The host serves `stream` on 4 ports for each NIC, from pv_port on; on event stream-PORT-ADDRESS it sends to that port.
nics=${pv_nics:-1} bytes=${pv_bytes:-200000} port=${pv_port:-6000}
. /streams.sh

wire() { # NUMBER
	nic_ready "eth$1" && ip addr replace "192.0.$((2 + $1)).2/24" dev "eth$1" && ping -n -q -c 1 -W 5 "192.0.$((2 + $1)).1"
}
tunnel() { # NUMBER WORD...
	local number=$1
	shift
	ip link add tun0 type vxlan id $((42 + number)) dstport 4789 remote "192.0.$((2 + number)).1" "$@" &&
	ip link set tun0 mtu 1430 up && ip addr replace "198.51.$((100 + number)).2/24" dev tun0 &&
	ip addr replace "fd00:$((77 + number))::2/64" dev tun0 nodad && ping -n -q -c 1 -W 5 "198.51.$((100 + number)).1"
}
outs() { # NUMBER
	send_out "198.51.$((100 + $1)).1" && send_out "fd00:$((77 + $1))::1"
}
ins() { # NUMBER
	take_in "198.51.$((100 + $1)).2" && take_in "fd00:$((77 + $1))::2"
}
used() { # NUMBER WORD...
	tunnel "$@" && counted "eth$1" "TSO pkts tx" on outs "$1" && ins "$1"
	local status=$?
	ip link del tun0
	return $status
}

plan $((2 + 3 * nics))
check module modprobe vxlan
nic=0
while [ $nic -lt "$nics" ]; do
	check "eth$nic.wire" wire $nic
	check "eth$nic.without_checksum" used $nic noudpcsum
	check "eth$nic.with_checksum" used $nic udpcsum
	nic=$((nic + 1))
done
check dmesg no_complaints
