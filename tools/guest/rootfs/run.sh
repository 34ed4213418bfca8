# Run one test: run.sh NAME
. /lib.sh
echo "pvdev: test $1" > /dev/kmsg
. "/tests/$1.sh"
finish
