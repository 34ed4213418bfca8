from guest.apt import Package, acquire_options, parse_simulation, pick_mirror

SIMULATION = """\
Reading package lists...
Inst libc6 (2.41-12+deb13u4 Debian:13.2/stable [amd64])
Inst qemu-system-x86 (1:11.1.3+ds-1~bpo13+1 Debian Backports:stable-backports [amd64]) []
Inst seabios (1.17.0-1~bpo13+1 Debian Backports:stable-backports [all])
Conf libc6 (2.41-12+deb13u4 Debian:13.2/stable [amd64])
"""


def test_parse_simulation() -> None:
    found = parse_simulation(SIMULATION)

    assert [package.name for package in found] == ["libc6", "qemu-system-x86", "seabios"]
    assert found[1] == Package("qemu-system-x86", "1:11.1.3+ds-1~bpo13+1", "amd64")
    assert found[1].file == "qemu-system-x86_1%3a11.1.3+ds-1~bpo13+1_amd64.deb"


def test_mirror_is_the_one_of_debian_itself() -> None:
    targets = """\
http://mirror.example/debian-security/|bookworm-security|Debian-Security
http://other.example/packages/|bookworm|Other
http://mirror.example/debian/|bookworm|Debian
http://mirror.example/debian/|bookworm-updates|Debian"""

    assert pick_mirror(targets) == "http://mirror.example/debian/"


def test_mirror_before_the_first_update() -> None:
    targets = "http://a.example/tools/|bookworm|$(LABEL)\nhttp://b.example/debian/|bookworm|$(LABEL)"

    assert pick_mirror(targets) == "http://b.example/debian/"


def test_no_mirror_on_another_distribution() -> None:
    assert pick_mirror("http://mirror.example/ubuntu/|noble|Ubuntu") is None
    assert pick_mirror("") is None


def test_only_what_reaches_the_mirror_is_taken_over() -> None:
    dump = """\
Acquire "";
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::Check-Valid-Until "false";
Acquire::IndexTargets::deb::Packages::MetaKey "x";
Acquire::Changelogs::URI "y";
DPkg::Post-Invoke:: "rm -f /var/cache/apt/archives/*.deb";"""

    assert acquire_options(dump) == [
        'Acquire::http::Proxy "http://proxy.example:3128";',
        'Acquire::Check-Valid-Until "false";',
    ]
