# The kernel's own driver finds the display; text, pictures by fbdev and DRM, the driver removed and loaded again.
#   pv_sizes=640x480,...   modes to set    pv_seed=N   of the pictures    pv_reload=yes|no
# modules: vmwgfx

let_go() { # the text console holds the driver
	for console in /sys/class/vtconsole/vtcon*; do
		grep -q 'frame buffer' "$console/name" && echo 0 > "$console/bind"
	done
	return 0
}
text() {
	for n in 1 2 3 4 5 6 7 8; do echo "The quick brown fox jumps over the lazy dog, $n"; done > /dev/tty1
	event text
	await seen 30
}
last_said() { # the last word of the driver's that fits, shortened
	dmesg | sed -n "s/.*$1.*/\\1/p" | tail -n 1
}

if [ "$pv_reload" = yes ]; then plan 10; else plan 6; fi
check load modprobe vmwgfx
check fb wait_for 10 test -c /dev/fb0
check card wait_for 5 test -c /dev/dri/card0
check text text
check picture_fb picture fb "$pv_seed"
check picture_drm picture drm "$pv_sizes" "$pv_seed"
if [ "$pv_reload" = yes ]; then
	let_go
	check unload modprobe -r vmwgfx
	check again modprobe vmwgfx
	check fb_again wait_for 10 test -c /dev/fb0
	check picture_again picture fb "$((pv_seed + 1))"
fi
fact unit "$(last_said '\] \([A-Z][A-Za-z ]*\) display unit initialized')"
fact version "$(last_said 'Running on SVGA version \([0-9]*\)')"
fact buffers "$(last_said 'Using command buffers with \([A-Z]*\) pool')"
