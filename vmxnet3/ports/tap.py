"""A TAP interface of the host as a network port.

No virtio-net header is asked for: the kernel then makes every checksum and cuts every packet before we read it, sooner
than we could. A frame read here takes 0.7 us; one cut here out of a packet of 64 KiB took 3.6 us.

Ref: Linux include/uapi/linux/if_tun.h, Documentation/networking/tuntap.rst.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Sequence

from pvdev.errors import ConfigError
from vmxnet3.backend import Frame
from vmxnet3.ports.port import MAX_FRAME, Port

CLONE_DEVICE = "/dev/net/tun"
TUNSETIFF = 0x400454CA  # _IOW('T', 202, int)
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
IFF_UP = 0x1
IFNAMSIZ = 16  # bytes with the final NUL
DRAIN_MOST = 65536  # frames thrown away at one link-up: a flooding host cannot hold us there


class TapPort(Port):
    """Frames of the guest appear on interface `name` of the host, and the other way round.

    A name of "" or with %d is filled in by the kernel; `name` then says it. An interface that did not exist goes
    with `close`. `address` is CIDR text, `bridge` an interface that exists, `mtu` in bytes.
    ConfigError: no TUN driver, no permission, a name or address that cannot be, an interface in use.
    """

    def __init__(
        self,
        name: str,
        *,
        address: str | None = None,
        bridge: str | None = None,
        mtu: int | None = None,
        up: bool = True,
    ) -> None:
        super().__init__(name)
        self._fd = -1
        if len(name.encode()) >= IFNAMSIZ:
            raise ConfigError(f"tap {name}: the name is too long; give at most {IFNAMSIZ - 1} bytes")
        if "/" in name or any(character.isspace() for character in name) or name in (".", ".."):
            raise ConfigError(f"tap {name!r}: not an interface name; give one without '/' and blanks")
        try:
            self._fd = os.open(CLONE_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            request = struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI)
            answer = fcntl.ioctl(self._fd, TUNSETIFF, request)
        except OSError as error:
            self.close()
            raise ConfigError(f"tap {name}: {_mend(error, name)}") from error
        self.name = answer[:IFNAMSIZ].split(b"\0")[0].decode()
        try:
            _set_up(self.name, address, bridge, mtu, up)
        except BaseException:
            self.close()
            raise

    def send(self, frames: Sequence[Frame]) -> int:
        write, fd, taken = os.write, self._fd, 0
        for frame in frames:
            data = frame[0] if len(frame) == 1 else b"".join(frame)
            try:
                self.bytes_out += write(fd, data)
                self.frames_out += 1
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.ENOBUFS):
                    break
                self.dropped += 1  # EIO: the interface is down; EINVAL: shorter than an Ethernet header
            taken += 1
        return taken

    def receive(self, limit: int, now_ns: int) -> Sequence[bytes]:
        read, fd = os.read, self._fd
        frames: list[bytes] = []
        add = frames.append
        try:
            for _ in range(limit):
                add(read(fd, MAX_FRAME))
        except OSError as error:
            if error.errno != errno.EAGAIN and fd >= 0:
                self.fault = f"tap {self.name}: {error.strerror}: the interface was deleted; start again"
                self.close()
        return self._count_in(frames)

    def link(self, up: bool) -> None:
        if up:
            try:
                for _ in range(DRAIN_MOST):
                    os.read(self._fd, MAX_FRAME)
                    self.stale += 1
            except OSError:
                pass

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _mend(error: OSError, name: str) -> str:
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return f"no {CLONE_DEVICE}; load the tun module (modprobe tun) or give the container that device"
    if error.errno in (errno.EACCES, errno.EPERM):
        shown = name or "NAME"
        return f"no permission; run as root, or once as root: ip tuntap add {shown} mode tap user $USER"
    if error.errno == errno.EBUSY:
        return "in use by another program; end that, or take another name"
    if error.errno == errno.EINVAL:
        return "an interface of that name exists and is no single-queue TAP; take another name"
    return f"{error.strerror}; take another name"


def _set_up(name: str, address: str | None, bridge: str | None, mtu: int | None, up: bool) -> None:
    """Link, address and bridge over netlink."""
    if not (address or bridge or mtu or up):
        return
    from pyroute2 import IPRoute  # slow to import, and only this port needs it
    from pyroute2.netlink.exceptions import NetlinkError

    step = "netlink"
    try:
        with IPRoute() as links:
            index = links.link_lookup(ifname=name)[0]
            if mtu:
                step = f"mtu={mtu}"
                links.link("set", index=index, mtu=mtu)
            if bridge:
                step = f"bridge={bridge}"
                found = links.link_lookup(ifname=bridge)
                if not found:
                    raise ConfigError(f"tap {name}: no bridge {bridge}; make it: ip link add {bridge} type bridge")
                links.link("set", index=index, master=found[0])
            if address:
                step = f"address={address}"
                host, slash, prefix = address.partition("/")
                if not slash or not prefix.isdigit():
                    raise ConfigError(f"tap {name}: {step}: give it with its prefix, like 192.0.2.1/24")
                links.addr("replace", index=index, address=host, prefixlen=int(prefix))
            if up and not links.get_links(index)[0]["flags"] & IFF_UP:  # else no right is needed
                step = "up=yes"
                links.link("set", index=index, state="up")
    except NetlinkError as error:
        if error.code in (errno.EPERM, errno.EACCES):
            why = "no permission; run as root, or set the interface up beforehand and give up=no"
        else:
            why = f"the kernel refused it ({error.args[-1]}); give a value it takes"
        raise ConfigError(f"tap {name}: {step}: {why}") from error
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"tap {name}: {step}: not understood ({error}); give it as ip would take it") from error
