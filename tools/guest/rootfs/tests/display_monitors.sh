# The kernel's own driver, its monitors arranged as the host asks, which is told as VMware's tools are told.
#   pv_seed=N   of the pictures
# modules: vmwgfx

plan 3
check load modprobe vmwgfx
check card wait_for 10 test -c /dev/dri/card0
check monitors picture monitors "$pv_seed"
fact unit "$(dmesg | sed -n 's/.*\] \([A-Z][A-Za-z ]*\) display unit initialized.*/\1/p' | tail -n 1)"
