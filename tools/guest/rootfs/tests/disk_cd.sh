# Discs in a CD drive: mounted, ejected from either side, others put in.
#   pv_drive=1 (target)  pv_empty=2 (a drive with nothing in it)  pv_a=... pv_b=... (what file HELLO of each disc says)
# The host does what it is asked for by events, and says `done`: press-locked, press, load-a, load-b.
# modules: vmw_pvscsi sr_mod isofs sg
# programs: sg_start sg_turs sg_inq
. /disk.sh

host() { # EVENT
	event "$1" && await "done"
}
disc() { # TEXT: what is in the drive says that, in a file and in one of many blocks
	mount -t iso9660 -o ro "$disk" /mnt && tells "^$1$" cat /mnt/HELLO && (cd /mnt && sha256sum -c SUMS)
	local status=$?
	umount /mnt && return $status
}
nothing() { # HOW: there is no disc to be reached, with the tray like that; a mount would close it
	fails 2 "Medium not present - tray $1" sg_turs -l -v "$disk"
}
locked() { # while it is mounted, nobody takes it out: neither a button nor a command
	mount -t iso9660 -o ro "$disk" /mnt && host press-locked && (cd /mnt && sha256sum -c SUMS) && umount /mnt
}

plan 17
mkdir /mnt
check adapter adapter
check empty_drive disk "${pv_empty:-2}"
check empty nothing closed
check drive disk "${pv_drive:-1}"
check inquiry tells "Virtual CD-ROM" sg_inq "$disk"
check first disc "$pv_a"
check locked locked
check eject sg_start --eject "$disk"
check ejected nothing open
check close sg_start --load "$disk"
check again disc "$pv_a"
check press host press
check pressed nothing open
check load_other host load-b
check other disc "$pv_b"
check swap host load-a
check swapped disc "$pv_a"
