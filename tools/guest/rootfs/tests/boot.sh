# The least a guest can do: the kit works.
plan 1
check kernel test -e /proc/version
fact kernel "$(uname -r)"
