"""`pvdev boot`: QEMU with a guest and devices of ours, its console on the terminal, a rule report at the end."""

import copy
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from pvdev import kinds, ui
from pvdev.errors import ConfigError
from pvdev.qemu import Qemu, device_arg, find_qemu, kvm_usable, machine_args

if TYPE_CHECKING:
    from pvdev.transport.vfio_user import Server

JOININGS = kinds.joinings()


def build_device(text: str) -> kinds.Built:
    """A device from one word list, the same words `pvdev serve` takes: "vmxnet3 --port tap:tap0"."""
    name, *words = shlex.split(text) or [""]
    kind = kinds.load(name)
    parser = click.Command(name, params=list(kind.params))
    return kind.build(parser.make_context(f"--device {name!r}", words).params)


def with_joinings(command: click.Command) -> click.Command:
    """An option for each thing that can join a guest, `--NAME`, and its own options as `--NAME-OPTION`."""
    at = next(i for i, param in enumerate(command.params) if param.name == "control")
    for name, joining in JOININGS.items():
        options: list[click.Parameter] = [click.Option([f"--{name}"], is_flag=True, help=joining.summary)]
        for param in joining.params:
            own = copy.copy(param)
            own.opts, own.name = [f"--{name}-{param.opts[0].lstrip('-')}"], f"{name}_{param.name}"
            options.append(own)
        command.params[at:at] = options
    return command


def join(
    given: Mapping[str, Any], qemu: Qemu, server: "Server", folder: Path, memory: str, owns: ExitStack
) -> dict[str, kinds.Joined]:
    """What the user wants in the guest beside devices, by name."""
    made = {}
    for name, joining in JOININGS.items():
        own = {param.name or "": given[f"{name}_{param.name}"] for param in joining.params}
        if given[name]:
            made[name] = joining.join(own, qemu, server, folder, memory)
            owns.enter_context(made[name].owns)
        elif any(own.values()):
            raise ConfigError(f"options of --{name} without --{name}: give it too")
    return made


def accelerators(wanted: str | None, given: Mapping[str, Any]) -> list[str]:
    """QEMU's words. Raises `ConfigError`: what joins the guest does not work with what is wanted.

    TCG runs all processors in one thread unless its options say otherwise: with several, a processor may see half of
    what another one's Linux patches of itself, and the guest ends now and then.
    """
    for name in filter(given.get, JOININGS):
        only = JOININGS[name].accel
        if only is not None and wanted is not None and wanted.partition(",")[0] != only:
            raise ConfigError(f"--{name} works with --accel {only} only, not with {wanted}: leave --accel out")
        wanted = wanted or only
    names = (wanted or ("kvm:tcg" if kvm_usable() else "tcg")).split(":")
    return [word for each in names for word in ("-accel", "tcg,thread=single" if each == "tcg" else each)]


def with_screen(devices: Sequence[str], displays: Sequence[str], monitor: Path) -> tuple[list[str], list[str]]:
    """(devices, words for QEMU): the first that has a screen, or a new one, is shown at `displays`.

    Its viewers' pointer and keys go by QEMU's monitor at `monitor` to a tablet and a keyboard on USB. Raises
    `ConfigError`.
    """
    out = list(devices)
    if not displays:
        return out, []
    screens = [name for name in kinds.names() if kinds.load(name).screen]
    number = next((n for n, text in enumerate(out) if (shlex.split(text) or [""])[0] in screens), len(out))
    if number == len(out):
        if not screens:
            raise ConfigError("no device here has a screen that --display could show")
        out.append(screens[0])
    shown = [word for display in displays for word in ("--display", display)]
    out[number] += " " + shlex.join([*shown, "--hands", f"qmp:{monitor}"])
    usb = ["-device", "qemu-xhci,id=pvdev-usb"]
    for name in ("usb-tablet", "usb-kbd"):
        usb += ["-device", f"{name},bus=pvdev-usb.0"]
    return out, ["-qmp", f"unix:{monitor},server=on,wait=off", *usb]


@click.command("boot", context_settings={"help_option_names": ["-h", "--help"], "ignore_unknown_options": True})
@click.option(
    "--device", "devices", multiple=True, help='a device with its options: "vmxnet3 --port loopback"; may be repeated'
)
@click.option(
    "--display",
    "displays",
    multiple=True,
    help="watch and use the guest's screen: rfb:ADDRESS for VNC clients, web:ADDRESS for browsers, png:FOLDER to "
    "record; may be repeated",
)
@click.option("--kernel", type=click.Path(exists=True, dir_okay=False), help="a Linux kernel image")
@click.option("--initrd", type=click.Path(exists=True, dir_okay=False), help="its initramfs")
@click.option("--append", default="console=ttyS0", show_default=True, help="the kernel's command line")
@click.option("--disk", type=click.Path(exists=True, dir_okay=False), help="a raw disk image to boot from")
@click.option("--iso", type=click.Path(exists=True, dir_okay=False), help="a CD image to boot from")
@click.option("--memory", default="1G", show_default=True, help="of the guest")
@click.option("--cpus", default=1, show_default=True, type=click.IntRange(1, 64))
@click.option(
    "--accel",
    help="QEMU's accelerators, tried in this order; tcg is one thread for all processors, as several can end a Linux "
    "guest: tcg,thread=multi for those  [default: kvm:tcg where KVM is usable, else tcg]",
)
@click.option("--control", type=click.Path(), help="a socket for `pvdev control` while the guest runs; mode 0600")
@click.option("--strict", is_flag=True, help="exit code 1 when a driver broke a rule")
@click.argument("more", nargs=-1, type=click.UNPROCESSED)
def boot(
    devices: tuple[str, ...],
    displays: tuple[str, ...],
    kernel: str | None,
    initrd: str | None,
    append: str,
    disk: str | None,
    iso: str | None,
    memory: str,
    cpus: int,
    accel: str | None,
    control: str | None,
    strict: bool,
    more: tuple[str, ...],
    **given: Any,
) -> int:
    """Start QEMU with devices of ours; MORE goes to QEMU as it is. Leave the console with Ctrl-A x."""
    if not (kernel or disk or iso):
        raise ConfigError("nothing to boot: give --kernel (with --initrd), --disk or --iso")
    if initrd and not kernel:
        raise ConfigError("--initrd needs --kernel")
    from pvdev.control import ControlSocket
    from pvdev.transport.vfio_user import Server

    qemu = find_qemu()
    args = accelerators(accel, given)
    args += ["-smp", str(cpus), "-cpu", "max", "-nographic", "-nodefaults", "-serial", "mon:stdio", "-no-reboot"]
    args += ["-kernel", kernel, "-append", append] if kernel else []
    args += ["-initrd", initrd] if initrd else []
    args += ["-drive", f"file={disk},format=raw,if=virtio"] if disk else []
    args += ["-cdrom", iso, "-boot", "d"] if iso else []
    with ExitStack() as owns:
        folder = Path(owns.enter_context(TemporaryDirectory(prefix="pvdev-")))
        server = Server(on_event=lambda line: print(f"pvdev: {line}", file=sys.stderr, flush=True))
        texts, words = with_screen(devices, displays, folder / "qmp.sock")
        args += words
        built = []
        for text in texts:
            built.append(build_device(text))
            owns.enter_context(built[-1].owns)
        for i, item in enumerate(built):
            item.device.name = f"{item.device.name}-{i}"
            server.add(item.device, folder / f"{i}.sock", watch=item.watch)
            args += ["-device", device_arg(folder / f"{i}.sock")]
        joined = join(given, qemu, server, folder, memory, owns)
        for each in joined.values():
            each.carry([(endpoint.device, endpoint.touch) for endpoint in server.endpoints])
            args += each.args
            for item in built:
                each.add(item.calls)
                if each.screens is not None:
                    item.on_wish(each.screens)
        machine = next((each.machine for each in joined.values()), machine_args(memory))
        if control is not None:
            controls = {item.device.name: item.controls for item in built}
            controls |= {name: each.controls for name, each in joined.items() if each.controls}
            owns.enter_context(ControlSocket(server, control, controls))
        with server.background():
            code = subprocess.run([*qemu.command, *machine, *args, *more], check=False).returncode
    for item in built:
        print(f"{item.device.name}: ", end="")
        ui.violations(item.device.rules)
        if fault := item.faults():
            print(f"{item.device.name}: {fault}", file=sys.stderr)
    failed = False
    for name, each in joined.items():
        print(f"{name}: ", end="")
        ui.violations(each.rules)
        if fault := each.faults():
            print(f"{name}: {fault}", file=sys.stderr)
            failed = True
    if code:
        print(f"pvdev: QEMU ended with code {code}", file=sys.stderr)
        return 1
    logs = [*(item.device.rules for item in built), *(each.rules for each in joined.values())]
    return 1 if failed or (strict and any(log.unknown() for log in logs)) else 0


command = with_joinings(boot)
