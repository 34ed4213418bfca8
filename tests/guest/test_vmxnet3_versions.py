"""Linux 6.12 on every device version we offer, in one boot: what its driver makes of each, and traffic on each."""

import re

import pytest
from guest.frames import digest, mac, make_frames
from guest.kit import Kit

from tests.guest.served import Host
from vmxnet3.device import VERSIONS

pytestmark = [pytest.mark.guest, pytest.mark.slow]

WIRED = ((1, 2), (3, 4), (5, 6), (7, 8), (9, 9))
PROCESSORS = 2
COUNT, SIZES = 2000, (60, 64, 65, 128, 590, 1000, 1513, 1514)


class Shown:
    """What ethtool said of one NIC, as facts of nic_matrix.sh."""

    def __init__(self, facts: dict[str, str], nic: str) -> None:
        self._facts, self._nic = facts, nic

    def __getitem__(self, letter: str) -> str:
        return self._facts[f"{self._nic}_{letter}"]

    def pairs(self, letter: str) -> list[tuple[str, str]]:
        """Its `name: value` lines in order; a name may come more than once."""
        found = (line.partition(":") for line in self[letter].split(";"))
        return [(name.strip(), value.strip()) for name, colon, value in found if colon]

    def features(self) -> dict[str, str]:
        return dict(self.pairs("k"))


@pytest.fixture(scope="module")
def versions() -> list[int]:
    return [version for wire in WIRED for version in wire]


def test_every_version_binds_and_carries_traffic(guest_kit: Kit, host: Host, versions: list[int]) -> None:
    for near, far in WIRED:
        host.wire(near, far)

    chosen: list[int] = []

    report = host.boot(
        guest_kit,
        "nic_matrix",
        params={"nics": len(versions)},
        smp=PROCESSORS,
        memory="1G",
        deadline_s=150.0,
        on_event=lambda name: chosen.extend(nic.version for nic in host.nics),
    ).check()

    assert chosen == versions
    assert {*versions} == {*range(1, VERSIONS + 1)}
    for n, version in enumerate(versions):
        shown = Shown(report.facts, f"eth{n}")
        check_identity(shown, version)
        check_features(shown, version)
        check_limits(shown, version)
        check_settings(shown, version)
        check_registers(shown, version)
        assert report.facts[f"eth{n}_frames"] == expected_digest(n)
    assert (report.dmesg, host.broken_rules()) == ([], [])


def expected_digest(n: int) -> str:
    """Even NICs send with seed 1 to the next one, odd ones with seed 2 to the one before."""
    there = n ^ 1
    addresses = [mac(f"02:00:00:00:00:{number + 1:02x}") for number in (there, n)]
    return digest(make_frames(COUNT, SIZES, 1 + n % 2, *addresses))


def check_identity(shown: Shown, version: int) -> None:
    assert shown["version"] == str(version)
    said = dict(shown.pairs("i"))
    assert (said["driver"], said["supports-statistics"], said["supports-register-dump"]) == ("vmxnet3", "yes", "yes")
    assert "software-receive" in shown["T"]
    troubles = (
        "pkts tx err",
        "pkts tx discard",
        "drv dropped tx total",
        "pkts rx OOB",
        "pkts rx err",
        "tx timeout count",
    )
    assert {value for name, value in shown.pairs("S") if name in troubles} == {"0"}


def check_features(shown: Shown, version: int) -> None:
    """Tunnel offloads from version 4 on; everything else at each."""
    features = shown.features()
    always = "rx-checksumming tx-checksumming scatter-gather tcp-segmentation-offload large-receive-offload"
    always += " rx-vlan-offload tx-vlan-offload receive-hashing"
    assert {name: features[name] for name in always.split()} == dict.fromkeys(always.split(), "on")
    assert features["rx-vlan-filter"] == "on [fixed]"
    tunnels = "on" if version >= 4 else "off [fixed]"
    assert features["tx-udp_tnl-segmentation"] == tunnels
    assert features["tx-udp_tnl-csum-segmentation"] == tunnels


def check_limits(shown: Shown, version: int) -> None:
    """Ring sizes; the receive data ring from version 3 on; the longer MTU from 6 on; a queue pair a processor."""
    maxima, _, current = shown["g"].partition("Current hardware settings")
    assert re.search(r"RX: *4096;RX Mini: *(\S*);RX Jumbo: *4096;TX: *4096;", maxima), maxima
    mini = [re.search(r"RX Mini: *([^;]*)", part)[1] for part in (maxima, current)]  # type: ignore[index]
    assert mini == (["2048", "128"] if version >= 3 else ["n/a", "n/a"])
    assert shown["max_mtu"] == ("9190" if version >= 6 else "9000")
    assert dict(shown.pairs("l"))["Combined"] == str(PROCESSORS)
    assert shown["S"].count("Tx Queue#") == shown["S"].count("Rx Queue#") == PROCESSORS


def check_settings(shown: Shown, version: int) -> None:
    """Coalescing (adaptive unless told) from version 3 on; hash fields to choose from 4 on; a table over all queues."""
    if version >= 3:
        assert "Adaptive RX: on" in shown["c"]
    else:
        assert "not supported" in shown["c"]
    if version >= 4:
        assert "IP SA" in shown["udp4"]
        assert "L4 bytes" not in shown["udp4"]
    else:
        assert "not supported" in shown["udp4"]
    table = [int(word) for row in re.findall(r"; *\d+: ([ \d]*)", shown["x"]) for word in row.split()]
    assert table == [n % PROCESSORS for n in range(128)]


def check_registers(shown: Shown, version: int) -> None:
    """The register dump: after one was chosen all versions are still offered, and nothing is pending."""
    registers = {name: int(value, 16) for name, value in re.findall(r"; *([A-Z]+)[^;]*?(0x[0-9a-f]+)(?=;)", shown["d"])}
    assert (registers["VRRS"], registers["UVRS"]) == ((1 << version) - 1, 1)
    assert (registers["ICR"], registers["ECR"]) == (0, 0)
