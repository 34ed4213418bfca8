"""vfio-user, both ends: `Server` lends device models to VMMs, `VfioUserPort` drives any vfio-user server."""

from pvdev.transport.vfio_user_client import CallFailed, CallTimeout, Client
from pvdev.transport.vfio_user_port import VfioUserPort, fresh_port
from pvdev.transport.vfio_user_rules import RULES
from pvdev.transport.vfio_user_server import RUNG, Endpoint, Polling, Server

__all__ = [
    "RULES",
    "RUNG",
    "CallFailed",
    "CallTimeout",
    "Client",
    "Endpoint",
    "Polling",
    "Server",
    "VfioUserPort",
    "fresh_port",
]
