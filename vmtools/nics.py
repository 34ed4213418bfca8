"""What a guest says of its network: the three forms it has been said in.

Ref: open-vm-tools lib/guestRpc/nicinfo.x (versions 2 and 3); lib/include/guestInfo.h (version 1, a C structure).
"""

import ipaddress
from dataclasses import dataclass, field
from struct import Struct

from vmtools.xdr import Reader, XdrError

NICS_MAX, ADDRESSES_MAX, ADDRESSES_MAX_V2, ROUTES_MAX = 16, 2048, 64, 100
SERVERS_MAX, SUFFIXES_MAX, NAME_MAX, SETTINGS_MAX = 16, 10, 255, 16384
UNKNOWN, IPV4, IPV6, IPV4Z, IPV6Z, DNS = 0, 1, 2, 3, 4, 16  # InetAddressType
ORIGINS = {1: "other", 2: "manual", 4: "dhcp", 5: "linklayer", 6: "random"}
NO_METRIC = 0xFFFF_FFFF


@dataclass(frozen=True)
class Address:
    """`ip` as text; `prefix` in bits; `origin`: how it came about, "" when that was not said."""

    ip: str
    prefix: int = 0
    origin: str = ""


@dataclass(frozen=True)
class Nic:
    mac: str
    addresses: tuple[Address, ...] = ()


@dataclass(frozen=True)
class Route:
    """`to` with its prefix; `nic`: index into the NICs."""

    to: str
    prefix: int
    via: str
    nic: int
    metric: int | None


@dataclass(frozen=True)
class Network:
    """All a guest says. `name`, `domain`, `servers`, `search`: of its resolver."""

    nics: tuple[Nic, ...] = ()
    routes: tuple[Route, ...] = ()
    name: str = ""
    domain: str = ""
    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = field(default=())


def decode(data: bytes) -> Network:
    """GuestNicProto of version 2 or 3. Raises `XdrError` for anything else, and for what follows it."""
    reader = Reader(data)
    version = reader.enum(2, 3)
    if not reader.boolean():
        reader.end()
        return Network()
    network = _body_2(reader) if version == 2 else _body_3(reader)
    reader.end()
    return network


def _body_2(reader: Reader) -> Network:
    def address() -> Address:
        reader.enum(0, 1)
        dhcp = reader.boolean()
        ip, mask = reader.chars(64), reader.chars(64)
        return Address(ip, _prefix(mask), "dhcp" if dhcp else "")

    def nic() -> Nic:
        return Nic(reader.chars(18), tuple(reader.array(ADDRESSES_MAX_V2, address)))

    return Network(tuple(reader.array(NICS_MAX, nic)))


def _prefix(mask: str) -> int:
    """Bits of a mask in text, or of a prefix in text."""
    if mask.isdecimal() and len(mask) <= 3:
        return min(int(mask), 128)
    try:
        return int(ipaddress.ip_address(mask)).bit_count()
    except ValueError:
        return 0


def _body_3(reader: Reader) -> Network:
    def typed() -> str:
        kind = reader.enum(UNKNOWN, IPV4, IPV6, IPV4Z, IPV6Z, DNS)
        data = reader.opaque(NAME_MAX)
        if kind == DNS:
            return data.decode("utf-8", "replace")
        length = {IPV4: 4, IPV6: 16, IPV4Z: 4, IPV6Z: 16}.get(kind)
        if length is None:
            return data.hex()
        if len(data) < length:
            raise XdrError(f"an address of {len(data)} bytes")
        text = str(ipaddress.ip_address(data[:length]))
        zone = int.from_bytes(data[length : length + 4], "big")
        return f"{text}%{zone}" if kind in (IPV4Z, IPV6Z) else text

    def address() -> Address:
        ip, prefix = typed(), reader.u32()
        origin = reader.optional(reader.u32)
        reader.optional(reader.u32)  # its state
        return Address(ip, prefix, ORIGINS.get(origin, "other") if origin is not None else "")

    def dns() -> tuple[str, str, tuple[str, ...], tuple[str, ...]]:
        host = reader.optional(lambda: reader.text(NAME_MAX)) or ""
        domain = reader.optional(lambda: reader.text(NAME_MAX)) or ""
        servers = tuple(reader.array(SERVERS_MAX, typed))
        return host, domain, servers, tuple(reader.array(SUFFIXES_MAX, lambda: reader.text(NAME_MAX)))

    def wins() -> tuple[str, str]:
        return typed(), typed()

    def dhcp() -> tuple[bool, bytes]:
        return reader.boolean(), reader.opaque(SETTINGS_MAX)

    def ends() -> tuple[str, str, tuple[str, ...], tuple[str, ...]] | None:
        """The four options that close a NIC and the whole."""
        found = reader.optional(dns)
        reader.optional(wins)
        reader.optional(dhcp)
        reader.optional(dhcp)
        return found

    def nic() -> Nic:
        mac, addresses = reader.text(18), tuple(reader.array(ADDRESSES_MAX, address))
        ends()
        return Nic(mac, addresses)

    def route() -> Route:
        to, prefix = typed(), reader.u32()
        via = reader.optional(typed) or ""
        index = reader.u32()
        reader.u32()  # its type
        metric = reader.u32()
        return Route(to, prefix, via, index, None if metric == NO_METRIC else metric)

    nics, routes = tuple(reader.array(NICS_MAX, nic)), tuple(reader.array(ROUTES_MAX, route))
    resolver = ends() or ("", "", (), ())
    return Network(nics, routes, *resolver)


V1_ENTRY = Struct("<I19s128sx")  # GuestInfo V1's NicEntry: numIPs, MAC, 8 addresses of 16 bytes
V1_SIZE = 4 + NICS_MAX * V1_ENTRY.size


def decode_v1(data: bytes) -> Network:
    """The C structure of old tools: what it does not use is not looked at. Raises `XdrError`."""
    if len(data) < V1_SIZE:
        raise XdrError(f"{len(data)} of {V1_SIZE} bytes")
    count, out = int.from_bytes(data[:4], "little"), []
    if count > NICS_MAX:
        raise XdrError(f"{count} NICs")
    for n in range(count):
        ips, mac, text = V1_ENTRY.unpack_from(data, 4 + n * V1_ENTRY.size)
        if ips > 8:
            raise XdrError(f"{ips} addresses")
        found = [text[16 * i : 16 * i + 16].partition(b"\0")[0].decode("ascii", "replace") for i in range(ips)]
        out.append(Nic(mac.partition(b"\0")[0].decode("ascii", "replace"), tuple(map(Address, found))))
    return Network(tuple(out))
