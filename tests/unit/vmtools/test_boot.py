"""What a display asks of the guest, by way of the host behind its ports."""

from threading import Lock

from tests.conformance.vmtools.rig import Rig
from vmtools.boot import adds, screens
from vmtools.frame import Frame
from vmtools.wire import BDOOR_MAGIC, Cmd

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


def test_a_device_adds_to_the_backdoor_port_and_takes_nothing_from_it() -> None:
    host, asked = Rig().host, []
    add = adds(host, Lock())
    add({39: lambda frame: asked.append(frame.rbx), Cmd.GETVERSION: lambda frame: asked.append(-1)})
    add({39: lambda frame: asked.append(-2)})
    for command in (39, Cmd.GETVERSION):
        host.low(Frame(rax=BDOOR_MAGIC, rbx=4, rcx=command), 0)

    assert asked == [4]
