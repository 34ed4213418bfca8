# Files are written to ext4 on several disks, each made durable and then reported, until the power is cut.
#   pv_targets=0,1
# modules: vmw_pvscsi sd_mod ext4 crc32c_generic
# programs: mkfs.ext4
. /power.sh

ready() { # TARGET
	disk "$1" && mkfs.ext4 -q "$disk" && mkdir "/mnt$1" && mount "$disk" "/mnt$1" && sync
}
load() { # TARGET: after a while old files go; a file is reported when it is durable, and before it is removed
	local number=0
	while content "$1" $number > "/tmp/$1" && dd if="/tmp/$1" of="/mnt$1/$number" bs=64k conv=fsync status=none; do
		event "kept-$1-$number"
		if [ $((number % 3)) = 2 ] && [ $number -gt 20 ]; then
			event "gone-$1-$((number - 20))" && rm "/mnt$1/$((number - 20))"
		fi
		number=$((number + 1))
	done
}

targets=$(echo "$pv_targets" | tr ',' ' ')
check adapter adapter
for target in $targets; do
	check "disk-$target" ready "$target"
done
for target in $targets; do
	load "$target" &
done
wait
