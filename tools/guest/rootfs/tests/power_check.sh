# Disks whose power was cut: every file reported to be durable is whole, and the file system in order.
#   pv_targets=0,1; /kept/TARGET: the numbers of the disk it was then and of its files, a line each
# modules: vmw_pvscsi sd_mod ext4 crc32c_generic
# programs: e2fsck
. /power.sh

whole() { # TARGET
	local was number broken=0
	disk "$1" && mount "$disk" /mnt || return
	while read -r was number; do
		content "$was" "$number" | cmp - "/mnt/$number" || broken=$((broken + 1))
	done < "/kept/$1"
	umount /mnt && [ $broken = 0 ]
}
clean() { # TARGET
	disk "$1" && e2fsck -f -n "$disk"
}

targets=$(echo "$pv_targets" | tr ',' ' ')
mkdir /mnt
check adapter adapter
for target in $targets; do
	check "whole-$target" whole "$target"
	check "clean-$target" clean "$target"
done
