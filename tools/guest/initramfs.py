"""The guest's root file system: a newc archive of busybox, a few tools, the modules, the test programs and scripts.

Left unpacked on purpose: the kernel would spend longer inflating it than QEMU does copying it.
"""

import hashlib
import stat
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from guest.cache import KitError, new_file
from guest.kit import PROGRAMS, Kit, find_program
from guest.modules import ModuleTree, modules_dep
from guest.modules import __file__ as modules_file
from guest.programs import compile_program, program_names
from pvdev.qemu import cache_dir

ROOTFS = Path(__file__).parent / "rootfs"
MODULES = ("vmxnet3", "8021q", "geneve", "vxlan", "pktgen")
FOLDERS = ("dev", "proc", "sys", "tmp", "run", "run/netns", "bin", "lib", "lib64", "tests", "etc")
LIBRARIES = (
    *("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib64", "lib64"),
    "usr/lib/x86_64-linux-gnu/ceph",  # where fio's come from, which name no folder of their own to the loader
)
LOADERS = ("lib64/ld-linux-x86-64.so.2", "usr/lib64/ld-linux-x86-64.so.2")


@dataclass(frozen=True)
class Entry:
    """One thing in the archive; `mode` holds the file type too, `rdev` is (major, minor)."""

    name: str
    mode: int
    data: bytes = b""
    rdev: tuple[int, int] = (0, 0)


def folder(name: str) -> Entry:
    return Entry(name, stat.S_IFDIR | 0o755)


def file(name: str, data: bytes, mode: int = 0o644) -> Entry:
    return Entry(name, stat.S_IFREG | mode, data)


def link(name: str, target: str) -> Entry:
    return Entry(name, stat.S_IFLNK | 0o777, target.encode())


def device(name: str, major: int, minor: int) -> Entry:
    return Entry(name, stat.S_IFCHR | 0o600, rdev=(major, minor))


def cpio(entries: Iterable[Entry]) -> bytes:
    """A newc archive: entries sorted by name, owned by root, time 0, so that the same input gives the same bytes.

    Ref: Linux Documentation/driver-api/early-userspace/buffer-format.rst.
    """
    out = bytearray()
    ordered = sorted(entries, key=lambda entry: entry.name)
    for inode, entry in enumerate([*ordered, Entry("TRAILER!!!", 0)], 1):
        name = entry.name.encode() + b"\0"
        links = 2 if stat.S_ISDIR(entry.mode) else 1
        fields = (inode, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, *entry.rdev, len(name), 0)
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        out += bytes(-len(out) % 4)
        out += entry.data
        out += bytes(-len(out) % 4)
    return bytes(out)


def build(kit: Kit, modules: Sequence[str] = MODULES, files: Mapping[str, bytes] | None = None) -> Path:
    """The archive for a kit, from the cache when nothing it is made of has changed.

    `modules` are loaded by name from a script (`modprobe NAME`) or by init (`pvdev.load=`); `files` adds executables,
    scripts or data: path in the guest -> content. Raises KitError.
    """
    programs = {name: compile_program(name) for name in program_names()}
    own = {
        path.relative_to(ROOTFS).as_posix(): path.read_bytes() for path in sorted(ROOTFS.rglob("*")) if path.is_file()
    }
    own |= files or {}
    key = hashlib.sha256(repr((kit.release, kit.modules, kit.userland, tuple(modules), programs)).encode())
    for source in (__file__, modules_file):
        key.update(Path(source).read_bytes())
    for name, data in own.items():
        key.update(f"{name}\0{len(data)}\0".encode() + data)
    target = cache_dir() / "build" / f"initramfs-{key.hexdigest()[:16]}.cpio"
    if target.exists():
        return target
    entries = [*(folder(name) for name in FOLDERS), device("dev/console", 5, 1), link("var/run", "../run")]
    entries += _applets(kit.userland)
    entries += [file(name, data, 0o755) for name, data in own.items()]
    entries += [file(f"bin/{name}", path.read_bytes(), 0o755) for name, path in programs.items()]
    entries += _tools(kit.userland)  # last: its C library is the one that fits its loader
    entries += _modules(kit, modules)
    return new_file(target, cpio(_with_folders(entries)))


def _applets(root: Path) -> list[Entry]:
    """busybox's names, all of them links."""
    busybox = find_program(root, "busybox")
    if busybox is None:
        raise KitError(f"no busybox below {root}: run `python -m guest fetch` in tools/")
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True, timeout=30).stdout.split()
    return [link(f"bin/{name}", "busybox") for name in applets]


def _tools(root: Path) -> list[Entry]:
    """busybox and the real tools with their libraries in /lib (init sets LD_LIBRARY_PATH)."""
    entries: dict[str, Entry] = {}
    for name in PROGRAMS:
        path = find_program(root, name)
        if path is None:
            raise KitError(f"no {name} below {root}: run `python -m guest fetch` in tools/")
        entries[f"bin/{name}"] = file(f"bin/{name}", path.read_bytes(), 0o755)
        for library in libraries(root, path):
            entries[f"lib/{library.name}"] = file(f"lib/{library.name}", library.read_bytes(), 0o755)
    if (loader := _loader(root)) is not None:
        entries[LOADERS[0]] = file(LOADERS[0], loader.read_bytes(), 0o755)
    return list(entries.values())


def _loader(root: Path) -> Path | None:
    return next((path for name in LOADERS if (path := root / name).exists()), None)


def libraries(root: Path, program: Path) -> list[Path]:
    """The shared libraries a program asks for, as the root's own dynamic loader finds them; none for a static one."""
    loader = _loader(root)
    if loader is None:
        return []
    paths = ":".join(str(root / name) for name in LIBRARIES)
    if subprocess.run([loader, "--verify", program], capture_output=True, timeout=30).returncode == 1:
        return []
    listed = subprocess.run(
        [loader, "--library-path", paths, "--list", program], capture_output=True, text=True, timeout=30
    )
    found = [line.split(" => ")[1].split(" (")[0] for line in listed.stdout.splitlines() if " => " in line]
    if listed.returncode:
        raise KitError(f"{program} misses a shared library: remove {root} and run `python -m guest fetch` in tools/")
    return [Path(path) for path in found if path.startswith("/")]


def _modules(kit: Kit, names: Sequence[str]) -> list[Entry]:
    modules = ModuleTree(kit.modules).closure(names)
    base = f"lib/modules/{kit.release}"
    entries = [file(f"{base}/{module.name}.ko", module.image) for module in modules]
    return [*entries, file(f"{base}/modules.dep", modules_dep(modules).encode())]


def _with_folders(entries: Iterable[Entry]) -> list[Entry]:
    """The entries, each name once (the last one wins), with every folder above them."""
    table = {entry.name: entry for entry in entries}
    for name in list(table):
        for above in Path(name).parents:
            if (text := above.as_posix()) != "." and text not in table:
                table[text] = folder(text)
    return [replace(entry, name=name) for name, entry in table.items()]
