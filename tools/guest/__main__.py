"""`python -m guest`: fetch the kit, show it, run guest tests by hand."""

import argparse
import sys
from collections.abc import Sequence

from guest.cache import KitError, Say
from guest.cloudinit import find_cloud_init
from guest.initramfs import ROOTFS
from guest.kit import find_kit
from guest.ktap import GuestFailed
from guest.openvmtools import find_tools
from guest.storage import find_storage
from guest.vm import Vm, default_accel

OWN_NIC = "vmxnet3,netdev=own{0},mac=52:54:00:12:34:{0:02x}"  # QEMU's own device, all of them on one hub


def main(words: Sequence[str] | None = None) -> int:
    """Exit status: 0 fine, 1 a guest test failed, 2 the kit cannot be had, 130 interrupted."""
    options = _parser().parse_args(words)
    try:
        return int(options.do(options))
    except KitError as error:
        print(f"guest: {error}", file=sys.stderr)
        return 2
    except GuestFailed as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m guest", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("fetch", help="fetch what this machine lacks into the cache").set_defaults(do=_fetch)
    commands.add_parser("show", help="show what the kit is made of").set_defaults(do=_show)
    run = commands.add_parser("run", help="boot and run test scripts", epilog=f"tests: {', '.join(_tests())}")
    run.add_argument("test", nargs="+", choices=_tests(), metavar="TEST")
    run.add_argument("--nics", type=int, default=0, help="so many of QEMU's own vmxnet3, wired to each other")
    run.add_argument("--device", action="append", default=[], help="a further -device of QEMU, short or as JSON")
    run.add_argument("--param", action="append", default=[], metavar="KEY=VALUE", help="pv_KEY in the scripts")
    run.add_argument("--extra", action="append", default=[], metavar="WORD", help="a further word for QEMU")
    run.add_argument("--deadline", type=float, default=120.0, metavar="SECONDS")
    run.add_argument("--smp", type=int, default=1)
    run.set_defaults(do=_run)
    return parser


def _tests() -> list[str]:
    return sorted(path.stem for path in (ROOTFS / "tests").glob("*.sh"))


def _fetch(options: argparse.Namespace) -> int:
    say: Say = lambda line: print(line, flush=True)  # noqa: E731
    kit, storage = find_kit(fetch=True, say=say), find_storage(fetch=True, say=say)
    tools, cloud = find_tools(fetch=True, say=say), find_cloud_init(fetch=True, say=say)
    parts = f"programs for disks: {storage}", f"open-vm-tools: {tools}", f"cloud-init: {cloud}"
    print(*kit.describe(), *parts, sep="\n")
    return 0


def _show(options: argparse.Namespace) -> int:
    kit = find_kit()
    print(*kit.describe(), f"accelerator: {default_accel(kit)}", sep="\n")
    return 0


def _run(options: argparse.Namespace) -> int:
    extra, devices = list(options.extra), list(options.device)
    for number in range(options.nics):
        extra += ["-netdev", f"hubport,id=own{number},hubid=0"]
        devices.append(OWN_NIC.format(number))
    report = Vm(
        find_kit(fetch=True, say=print),
        options.test,
        devices=devices,
        extra=extra,
        params=dict(pair.split("=", 1) for pair in options.param),
        smp=options.smp,
        deadline_s=options.deadline,
        on_line=lambda line: print(line, flush=True),
    ).run()
    report.check()
    print(f"{len(report.results)} results, all ok, in {report.seconds:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
