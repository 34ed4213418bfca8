# What the guest whose power is cut and the one that looks afterwards agree on: a file is known by its disk and number.
. /disk.sh

# content DISK NUMBER: what is in it; /noise is the same in all of these guests
content() {
	echo "$1 $2" && dd if=/noise bs=512 skip=$(($2 * 37 % 1500)) count=$(($2 * 53 % 200 + 1)) status=none
}
