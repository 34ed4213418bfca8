# The kernel's own driver finds the display; text, and pictures by fbdev and DRM.
#   pv_sizes=640x480,...   modes to set    pv_seed=N   of the pictures
# modules: vmwgfx

text() {
	for n in 1 2 3 4 5 6 7 8; do echo "The quick brown fox jumps over the lazy dog, $n"; done > /dev/tty1
	event text
	await seen 30
}
last_said() { # the last word of the driver's that fits, shortened
	dmesg | sed -n "s/.*$1.*/\\1/p" | tail -n 1
}

plan 6
check load modprobe vmwgfx
check fb wait_for 10 test -c /dev/fb0
check card wait_for 5 test -c /dev/dri/card0
check text text
check picture_fb picture fb "$pv_seed"
check picture_drm picture drm "$pv_sizes" "$pv_seed"
fact unit "$(last_said '\] \([A-Z][A-Za-z ]*\) display unit initialized')"
fact version "$(last_said 'Running on SVGA version \([0-9]*\)')"
fact buffers "$(last_said 'Using command buffers with \([A-Z]*\) pool')"
