"""Network ports from a line of text."""

from collections.abc import Callable

from pvdev.spec import Spec, parse
from vmxnet3.ports import pcap
from vmxnet3.ports.packet import PacketPort
from vmxnet3.ports.port import LoopbackPort, NullPort, Port
from vmxnet3.ports.switch import SwitchPort
from vmxnet3.ports.tap import TapPort
from vmxnet3.ports.tunnel import DgramPort, StreamPort

KINDS = {  # each kind of network port and the options it takes
    "null": (),
    "loopback": (),
    "pcap": pcap.OPTIONS,
    "tap": ("address", "bridge", "mtu", "up"),
    "dgram": ("peer",),
    "stream": ("listen",),
    "switch": (),
    "packet": ("promisc",),
}
MTU_LOW, MTU_HIGH = 68, 65521  # bytes; what Linux lets a TAP have


def open_port(text: str) -> Port:
    """The port that `text` names (`kind:argument,key=value`). ConfigError when it cannot be had, in one line."""
    spec = parse(text, KINDS, "network port")
    return _OPEN[spec.kind](spec)


def _open_tap(spec: Spec) -> Port:
    return TapPort(
        spec.argument,
        address=spec.text("address"),
        bridge=spec.text("bridge"),
        mtu=spec.integer("mtu", low=MTU_LOW, high=MTU_HIGH),
        up=spec.flag("up", True),
    )


_OPEN: dict[str, Callable[[Spec], Port]] = {
    "null": lambda spec: NullPort("null"),
    "loopback": lambda spec: LoopbackPort("loopback"),
    "pcap": pcap.open_pcap,
    "tap": _open_tap,
    "dgram": lambda spec: DgramPort(spec.argument, spec.text("peer") or ""),
    "stream": lambda spec: StreamPort(spec.argument, listen=spec.flag("listen")),
    "switch": lambda spec: SwitchPort(spec.argument),
    "packet": lambda spec: PacketPort(spec.argument, promisc=spec.flag("promisc", True)),
}
