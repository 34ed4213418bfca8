"""What a supervised program may not do to this machine, and how it is kept from it.

The kernel keeps it from most: freezing file systems, setting the clock, rebooting, loading modules, port access all
need capabilities, and only those that a daemon needs for its files and its users are left, with no way to get others
back. What is left is asking another process to shut the machine down, which an ordinary user may on many: programs that
ask so end at once, with success, and are told of.

Ref: capabilities(7), prctl(2), PR_SET_NO_NEW_PRIVS; systemctl(1).
"""

import ctypes
from pathlib import PurePath

_KEPT = (0, 1, 2, 3, 4, 6, 7, 10)  # CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID SETGID SETUID NET_BIND_SERVICE
_CAP_LAST = 63
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL = 24, 38, 47, 4
_VERSION_3 = 0x20080522  # of the capget and capset structures

_ALWAYS = {"shutdown", "halt", "poweroff", "reboot", "telinit", "hwclock", "rtcwake", "pm-suspend", "pm-hibernate"}
_VERBS = {
    "poweroff",
    "reboot",
    "halt",
    "kexec",
    "soft-reboot",
    "exit",
    "rescue",
    "emergency",
    "suspend",
    "hibernate",
    "hybrid-sleep",
    "suspend-then-hibernate",
    "sleep",
    "isolate",
}
_BY_VERB = {"systemctl": _VERBS, "loginctl": _VERBS, "init": {"0", "1", "6"}, "busybox": _ALWAYS}


def drop() -> None:
    """In the program's process, before it is one: only `_KEPT` capabilities are left, for good. Raises `OSError`."""
    libc = ctypes.CDLL(None, use_errno=True)

    def done(result: int, what: str) -> None:
        if result:
            raise OSError(ctypes.get_errno(), what)

    done(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    libc.prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL, 0, 0, 0)  # there may be none
    for capability in range(_CAP_LAST + 1):
        if capability not in _KEPT:
            libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # refused to those who have nothing to lose
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable: low halves, then high halves
    done(libc.capget(header, data), "capget")
    kept = sum(1 << capability for capability in _KEPT)
    for i in range(6):
        data[i] &= kept if i < 2 else 0
    done(libc.capset(header, data), "capset")


def refused(path: str, executable: str, words: list[str]) -> bool:
    """Whether a program that has just been started, as `path`, by argument list `words`, would shut down, suspend or
    re-time the machine. `executable`: what the kernel loaded, behind links."""
    names = {PurePath(path).name, PurePath(executable).name}
    if names & _ALWAYS:
        return True
    verbs: set[str] = set().union(*(_BY_VERB.get(name, set()) for name in names))
    return any(word in verbs for word in words[1:])
