"""Debian packages without root and without touching the system.

apt runs with folders of its own and an empty package status, so a request brings its whole dependency closure, libc
included. Signatures and checksums are checked by apt itself against the machine's debian-archive-keyring; `dpkg-deb -x`
unpacks. Of the machine's apt configuration only the mirror, the proxy and the other `Acquire` options are taken over.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from guest.cache import KitError, Say

SUITES = ("trixie", "trixie-updates", "trixie-backports")
BACKPORTS = "trixie-backports"
KEYRINGS = tuple(Path("/usr/share/keyrings") / f"debian-archive-keyring.{kind}" for kind in ("pgp", "gpg"))
DEBIAN_SUITE = re.compile(
    r"(buster|bullseye|bookworm|trixie|forky|duke|sid|oldstable|stable|testing|unstable)(-updates|-backports)?"
)
LEFT_OUT = ("doc", "info", "lintian", "locale", "man")  # folders of /usr/share nobody here reads
TIMEOUT_S = 1800


@dataclass(frozen=True)
class Package:
    """One package file apt knows: `name`, `version` with its epoch, `arch`."""

    name: str
    version: str
    arch: str

    @property
    def file(self) -> str:
        """The name apt stores it under."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.arch}.deb"


def parse_simulation(text: str) -> list[Package]:
    """The packages `apt-get -s install` would install: its `Inst NAME (VERSION ORIGIN [ARCH])` lines."""
    return [Package(*match) for match in re.findall(r"^Inst (\S+) \((\S+) .*?\[(\w+)\]\)", text, re.MULTILINE)]


def pick_mirror(targets: str) -> str | None:
    """The Debian mirror among `URI|SUITE|LABEL` lines of `apt-get indextargets`, or None if there is none."""
    best: dict[str, int] = {}
    for line in targets.splitlines():
        uri, suite, label = line.split("|")
        if DEBIAN_SUITE.fullmatch(suite):
            score = 2 * (label == "Debian") + (urlsplit(uri).path.strip("/").split("/")[-1] == "debian")
            best[uri] = max(score, best.get(uri, 0))
    return max(best, key=lambda uri: best[uri]) if best else None


def acquire_options(dump: str) -> list[str]:
    """What of `apt-config dump` a private apt needs to reach the same mirror: proxies, timeouts, date checks."""
    wanted = re.compile(r'Acquire::(?!IndexTargets|Changelogs|CompressionTypes|Languages|cdrom)[^ ]+ ".+";')
    return [line for line in dump.splitlines() if wanted.fullmatch(line)]


class Apt:
    """A private apt below `home`. Construction checks the machine; `update` must come before anything else."""

    def __init__(self, home: Path, say: Say) -> None:
        """Raises KitError when apt, the keyring or a Debian mirror is missing."""
        for program in ("apt-get", "apt-cache", "apt-config", "dpkg-deb"):
            if shutil.which(program) is None:
                raise KitError(
                    f"no {program} to fetch the guest kit with: install QEMU >= 10.1 and name a kernel in PVDEV_KERNEL"
                )
        keyring = next((path for path in KEYRINGS if path.exists()), None)
        if keyring is None:
            raise KitError("Debian's archive keys are missing: apt install debian-archive-keyring")
        self.home, self.say = home, say
        self.archives = home / "cache" / "archives"
        for folder in (home / "state" / "lists" / "partial", self.archives / "partial"):
            folder.mkdir(parents=True, exist_ok=True)
        (home / "status").touch()
        self.env = {name: value for name, value in os.environ.items() if name != "APT_CONFIG"} | {"LC_ALL": "C"}
        mirror = self._mirror()
        (home / "debian.sources").write_text(
            f"Types: deb\nURIs: {mirror}\nSuites: {' '.join(SUITES)}\nComponents: main\nSigned-By: {keyring}\n"
        )
        self._configure()

    def update(self) -> None:
        """Fetch and verify the package lists, about 10 MB."""
        self.say(f"apt: package lists of {', '.join(SUITES)}")
        self._run("apt-get", "-q", "update", "-o", "APT::Update::Error-Mode=any")

    def closure(self, packages: Sequence[str], backports: bool) -> list[Package]:
        """Download `packages` with everything they depend on; from the backports where they have it, if asked."""
        install = [
            "install",
            "-y",
            "-q",
            "--no-install-recommends",
            *(("-t", BACKPORTS) if backports else ()),
            *packages,
        ]
        found = parse_simulation(self._run("apt-get", "-s", *install))
        self.say(f"apt: {len(found)} packages for {', '.join(packages)}")
        self._run("apt-get", "--download-only", *install)
        return found

    def download(self, name: str) -> Package:
        """Download one package alone."""
        shown = self._run("apt-cache", "show", "--no-all-versions", name)
        package = Package(name, _field(shown, "Version"), _field(shown, "Architecture"))
        self.say(f"apt: {name}, {int(_field(shown, 'Size')) // 1_000_000} MB")
        self._run("apt-get", "-q", "download", f"{name}={package.version}", cwd=self.archives)
        return package

    def dependency(self, name: str, pattern: str) -> str:
        """The first dependency of a package whose name matches; raises KitError when there is none."""
        shown = self._run("apt-cache", "show", "--no-all-versions", name)
        for wanted in re.split(r"[,|]\s*", _field(shown, "Depends")):
            if re.fullmatch(pattern, bare := wanted.split(" ")[0]):
                return bare
        raise KitError(f"package {name} of {SUITES[0]} does not depend on {pattern}; name a kernel in PVDEV_KERNEL")

    def unpack(self, packages: Sequence[Package], root: Path) -> None:
        """Unpack downloaded packages over each other into `root`, less their documentation."""
        for package in packages:
            self._run("dpkg-deb", "-x", str(self.archives / package.file), str(root))
        for name in LEFT_OUT:
            shutil.rmtree(root / "usr" / "share" / name, ignore_errors=True)

    def _mirror(self) -> str:
        if named := os.environ.get("PVDEV_DEBIAN_MIRROR"):
            return named
        mirror = pick_mirror(self._run("apt-get", "indextargets", "--format", "$(REPO_URI)|$(RELEASE)|$(LABEL)"))
        if mirror is None:
            raise KitError(
                "apt here knows no Debian mirror: name one in PVDEV_DEBIAN_MIRROR, or set PVDEV_QEMU and PVDEV_KERNEL"
            )
        return mirror

    def _configure(self) -> None:
        home = self.home
        own = {
            "Dir::State": home / "state",
            "Dir::State::status": home / "status",
            "Dir::Cache": home / "cache",
            "Dir::Log": home / "log",
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::parts": "/dev/null",
            "Dir::Etc::sourcelist": home / "debian.sources",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "APT::Architecture": "amd64",
            "APT::Sandbox::User": "root",  # the cache folder is the caller's own; apt's user may not enter it
            "Acquire::Languages": "none",
            "Acquire::GzipIndexes": "true",
            "Acquire::Retries": "3",
        }
        lines = acquire_options(self._run("apt-config", "dump"))
        lines += [f'{name} "{value}";' for name, value in own.items()]
        lines.append('APT::Architectures { "amd64"; };')
        config = home / "apt.conf"
        config.write_text("\n".join(lines) + "\n")
        self.env["APT_CONFIG"] = str(config)

    def _run(self, *command: str, cwd: Path | None = None) -> str:
        try:
            done = subprocess.run(
                command,
                env=self.env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            raise KitError(
                f"{command[0]} did not finish in {TIMEOUT_S} s; run it again, what was fetched is kept"
            ) from None
        if done.returncode:
            complaints = [line for line in done.stderr.splitlines() if line.startswith(("E:", "dpkg-deb: error"))]
            why = (complaints or done.stderr.splitlines() or [f"exit status {done.returncode}"])[0]
            raise KitError(f"{command[0]} could not fetch the guest kit: {why}; check the network and run it again")
        return done.stdout


def _field(record: str, name: str) -> str:
    found = re.search(rf"^{name}: (.*)$", record, re.MULTILINE)
    if found is None:
        raise KitError(f"apt's record has no {name}: {record[:60]!r}")
    return found[1]
