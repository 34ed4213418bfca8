# The kernel's own driver is removed and comes again; before that, each of its eight display units has shown something:
# the vmwgfx of 6.12 cancels a timer of every unit, which a unit that never waited for a frame has not set up.
#   pv_seed=N   of the pictures     pv_sizes=640x480,...   modes to set after that
# modules: vmwgfx

unload() { # the console goes back to being a dummy, and nobody has the driver any more
	for console in /sys/class/vtconsole/vtcon*; do
		case $(cat "$console/name") in *"frame buffer"*) echo 0 > "$console/bind" ;; esac
	done
	modprobe -r vmwgfx && [ ! -e /dev/dri/card0 ] && [ ! -e /dev/fb0 ]
}

plan 8
check load modprobe vmwgfx
check card wait_for 10 test -c /dev/dri/card0
check monitors picture monitors "$pv_seed"
check unload unload
event unloaded
check unseen await unloaded 30
check again modprobe vmwgfx
check card_again wait_for 10 test -c /dev/dri/card0
check picture_drm picture drm "$pv_sizes" "$pv_seed"
fact unit "$(dmesg | sed -n 's/.*\] \([A-Z][A-Za-z ]*\) display unit initialized.*/\1/p' | tail -n 1)"
fact times "$(dmesg | grep -c 'display unit initialized')"
