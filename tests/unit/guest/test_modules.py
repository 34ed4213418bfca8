import lzma
from pathlib import Path

import pytest
from guest.cache import KitError
from guest.modules import Module, ModuleTree, module_name, modules_dep, needs, resolve

TREE = {"8021q": ("garp", "mrp"), "garp": ("stp", "llc"), "mrp": (), "stp": ("llc",), "llc": (), "vmxnet3": ()}


def load(name: str) -> Module | None:
    return None if name == "af_packet" else Module(name, b"", TREE[name])


def names(modules: list[Module]) -> list[str]:
    return [module.name for module in modules]


def test_resolve_loads_what_is_needed_first() -> None:
    assert names(resolve(["8021q", "vmxnet3"], load)) == ["llc", "stp", "garp", "mrp", "8021q", "vmxnet3"]


def test_resolve_leaves_out_what_is_built_in() -> None:
    assert names(resolve(["af_packet", "llc"], load)) == ["llc"]


def test_resolve_survives_a_loop() -> None:
    loop = {"a": Module("a", b"", ("b",)), "b": Module("b", b"", ("a",))}

    assert sorted(names(resolve(["a"], loop.get))) == ["a", "b"]


def test_modules_dep_lists_every_level() -> None:
    text = modules_dep(resolve(["8021q"], load))

    assert text.splitlines()[-1] == "8021q.ko: mrp.ko garp.ko stp.ko llc.ko"
    assert text.splitlines()[0] == "llc.ko:"


def test_modules_dep_has_what_a_module_needs_behind_it() -> None:
    """Also where a need is met by way of another first, as with Linux 6.12's display drivers."""
    tree = {"top": ("low", "helper"), "low": ("base",), "helper": ("base", "low", "kit"), "kit": ("base",), "base": ()}

    text = modules_dep(resolve(["top"], lambda name: Module(name, b"", tree[name])))

    assert text.splitlines()[-1] == "top.ko: helper.ko kit.ko low.ko base.ko"


def test_names_and_needs() -> None:
    assert module_name("kernel/net/bridge/br-netfilter.ko.xz") == "br_netfilter"
    assert needs(b"x\0license=GPL\0depends=garp,mrp-x\0name=8021q\0") == ("garp", "mrp_x")
    assert needs(b"\0depends=\0") == ()
    assert needs(b"nothing") == ()


def test_tree_reads_packed_modules(tmp_path: Path) -> None:
    (tmp_path / "kernel/net").mkdir(parents=True)
    (tmp_path / "kernel/net/top-one.ko.xz").write_bytes(lzma.compress(b"\0depends=low,fixed\0"))
    (tmp_path / "kernel/net/low.ko").write_bytes(b"\0depends=\0")
    (tmp_path / "modules.builtin").write_text("kernel/net/fixed.ko\n")

    found = ModuleTree(tmp_path).closure(["top-one"])

    assert found == [Module("low", b"\0depends=\0", ()), Module("top_one", b"\0depends=low,fixed\0", ("low", "fixed"))]


def test_unknown_module_is_named(tmp_path: Path) -> None:
    with pytest.raises(KitError, match="has no module nosuch"):
        ModuleTree(tmp_path).closure(["nosuch"])
