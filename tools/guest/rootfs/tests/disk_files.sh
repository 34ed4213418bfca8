# A file system is made on a disk, filled, trimmed, filled anew, checked; another boot finds it as it was left.
#   pv_disk=0 (target)  pv_last=63 (another disk, at the last place firmware looks at)  pv_digest=... (of that boot)
# modules: vmw_pvscsi sd_mod ext4 crc32c_generic
# programs: mkfs.ext4 e2fsck
. /disk.sh

fill() { # all this guest is made of, and files of noise and of holes
	cp -a /bin /lib /tests /init /mnt && dd if=/dev/urandom of=/mnt/noise bs=64k count=128 &&
	dd if=/dev/urandom of=/mnt/sparse bs=4k count=1 seek=5000 && sync
}
tree() { # the digest of all files
	(cd /mnt && digest) > /tmp/digest && cat /tmp/digest
}
same() {
	tree && [ "$(cat /tmp/digest)" = "$1" ]
}
replaced() { # half of the files go away, their blocks are given back, and are used anew
	rm -r /mnt/lib && sync && fstrim -v /mnt && cp -a /lib /mnt && sync
}

[ "$pv_digest" ] && plan 7 || plan 13
mkdir /mnt
check adapter adapter
check last disk "${pv_last:-63}"
check disk disk "${pv_disk:-0}"
if [ "$pv_digest" ]; then
	check mount mount -o ro "$disk" /mnt
	check same same "$pv_digest"
	check umount umount /mnt
else
	check mkfs mkfs.ext4 -q "$disk"
	check mount mount "$disk" /mnt
	check fill fill
	check tree tree
	fact digest "$(cat /tmp/digest)"
	check umount umount /mnt
	check remount mount "$disk" /mnt
	check replaced replaced
	check same same "$(cat /tmp/digest)"
	check unmount umount /mnt
fi
check clean e2fsck -f -n "$disk"
