"""What a display asks of the guest, by way of the host behind its ports."""

from threading import Lock

from tests.conformance.vmtools.rig import Rig
from vmtools.boot import screens

TWO = [(0, 0, 800, 600), (800, 0, 640, 480)]


def test_monitors_for_the_program_that_arranges_them() -> None:
    """As soon as there is one; and nothing is asked of it that no display has."""
    rig, turn = Rig(), Lock()
    service, tell = rig.service(), screens(rig.host, turn)
    early = tell(TWO)
    for line in ("tools.capability.resolution_server toolbox 1", "tools.capability.display_topology_set 2"):
        service.rpc.call(line)
    told, wrong = tell(TWO), tell([(0, 0, 0, 600)])
    service.settle()

    assert (early, told, wrong, turn.locked()) == (False, True, False, False)
    assert service.seen[-1] == b"DisplayTopology_Set 2 , 0 0 800 600 , 800 0 640 480"
