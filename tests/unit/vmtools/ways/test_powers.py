"""Which programs are kept from shutting the machine down."""

import pytest

from vmtools.ways.powers import refused


@pytest.mark.parametrize(
    ("path", "executable", "words"),
    [
        ("/sbin/shutdown", "/usr/bin/systemctl", ["/sbin/shutdown", "-h", "now"]),
        ("/sbin/shutdown", "/bin/sh", ["/bin/sh", "/sbin/shutdown"]),
        ("/usr/bin/systemctl", "/usr/bin/systemctl", ["systemctl", "--force", "poweroff"]),
        ("/sbin/init", "/usr/lib/systemd/systemd", ["init", "0"]),
        ("/bin/busybox", "/bin/busybox", ["busybox", "reboot"]),
        ("/bin/reboot", "/bin/busybox", ["reboot"]),
    ],
)
def test_what_shuts_down_is_refused(path: str, executable: str, words: list[str]) -> None:
    assert refused(path, executable, words)


@pytest.mark.parametrize(
    ("path", "executable", "words"),
    [
        ("/bin/cat", "/usr/bin/cat", ["cat", "/sbin/shutdown"]),
        ("/usr/bin/systemctl", "/usr/bin/systemctl", ["systemctl", "is-active", "poweroff.target"]),
        ("/bin/busybox", "/bin/busybox", ["busybox", "ls"]),
        ("", "", []),
    ],
)
def test_what_does_not_is_not(path: str, executable: str, words: list[str]) -> None:
    assert not refused(path, executable, words)
