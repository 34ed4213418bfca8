"""Duties of the host, VMT-V-001 to 011 and 057: the commands of the low-bandwidth port."""

import pytest

from tests.conformance.vmtools.rig import SECOND, Rig
from vmtools.backdoor import Machine, RemovableDevice
from vmtools.driver import clock
from vmtools.driver.ports import RUBBISH, Ports
from vmtools.frame import REGISTERS, Frame
from vmtools.wire import BDOOR_MAGIC, CMD_MAX, KERNEL_ONLY, MASK32, MASK64, RETIRED, Cmd, Product

WALL = 1_800_000_000


def unchanged(ports: Ports, frame: Frame, *but: str, command: int, ebx: int = 0) -> None:
    """Every register but those is as it was before the call, upper halves included."""
    before = ports.frame(rbx=ebx, rcx=command, rdx=0x5658, rbp=0x1234_5678)
    kept = [name for name in REGISTERS if name not in but]
    assert [getattr(frame, name) for name in kept] == [getattr(before, name) for name in kept]


def test_VMT_V_001_GETVERSION(rig: Rig) -> None:
    frame = rig.ports.low(Cmd.GETVERSION, ~BDOOR_MAGIC & MASK32)

    assert (frame.rax, frame.rbx, frame.rcx) == (6, BDOOR_MAGIC, Product.SCALABLE_SERVER)
    unchanged(rig.ports, frame, "rax", "rbx", "rcx", command=Cmd.GETVERSION)


@pytest.mark.parametrize("magic", [0, BDOOR_MAGIC ^ 1, 0x456C6D6F, MASK32])
def test_VMT_V_002_a_wrong_magic_is_an_empty_port(rig: Rig, magic: int) -> None:
    frame = rig.ports.frame(rax=magic, rcx=Cmd.GETVERSION, rdx=0x5658)
    before = frame.values()

    rig.host.low(frame, 0)

    assert frame.rax == MASK32
    assert frame.values()[1:] == before[1:]


@pytest.mark.parametrize("command", [0, *sorted(RETIRED), 16, 25, 101, CMD_MAX + 1, 0x100 | Cmd.GETVERSION, 0xFFFF])
def test_VMT_V_003_unknown_commands_leave_everything(rig: Rig, command: int) -> None:
    """The command is 16 bits wide: 0x10A is no GETVERSION."""
    frame = rig.ports.low(command, 0x55)

    assert frame.rax == MASK32
    unchanged(rig.ports, frame, "rax", command=command, ebx=0x55)


@pytest.mark.parametrize("command", sorted(KERNEL_ONLY))
def test_VMT_V_003_what_is_for_kernels_programs_do_not_get(rig: Rig, command: int) -> None:
    frame = rig.ports.low(command)

    assert frame.rax == MASK32
    unchanged(rig.ports, frame, "rax", command=command)


def test_VMT_V_004_GETHWVERSION(rig: Rig) -> None:
    frame = rig.ports.low(Cmd.GETHWVERSION)

    assert (frame.rax, frame.rbx) == (21, BDOOR_MAGIC)


@pytest.mark.parametrize("command", [Cmd.GETTIMEFULL, Cmd.GETTIMEFULL_WITH_LAG])
def test_VMT_V_005_full_time(rig: Rig, command: int) -> None:
    rig.host.clock.lag_us = 3
    rig.ports.now_ns = SECOND * 3 // 2

    frame = rig.ports.low(command)

    assert frame.rax & MASK32 == BDOOR_MAGIC
    assert (frame.rsi << 32 | frame.rdx, frame.rbx) == (WALL + 1, 500_000)
    assert frame.rcx == {Cmd.GETTIMEFULL: 1_000_003, Cmd.GETTIMEFULL_WITH_LAG: 1_000_000}[Cmd(command)]
    assert frame.rdi == {Cmd.GETTIMEFULL: RUBBISH, Cmd.GETTIMEFULL_WITH_LAG: 3}[Cmd(command)]


def test_VMT_V_005_seconds_of_more_than_32_bits(rig: Rig) -> None:
    rig.host.clock.set((1 << 33) * SECOND, 0)

    reading = clock.read(rig.ports)

    assert reading is not None
    assert reading.seconds == 1 << 33


def test_VMT_V_006_GETTIME(rig: Rig) -> None:
    rig.ports.now_ns = SECOND * 5 // 4

    frame = rig.ports.low(Cmd.GETTIME)

    assert (frame.rax, frame.rbx, frame.rcx) == (WALL + 1, 250_000, 1_000_000)


def test_VMT_V_007_time_goes_forward(rig: Rig) -> None:
    """Not even when the clock is found to be fast and told to slow down."""
    host, readings = rig.host, []
    host.clock.drift(1_000_000, 0)
    for step in range(100):
        rig.ports.now_ns = step * 10_000_000
        if step == 50:
            host.clock.drift(-1_000_000, rig.ports.now_ns)
        readings.append(clock.read(rig.ports))

    times = [(reading.seconds, reading.us) for reading in readings if reading is not None]

    assert len(times) == 100
    assert times == sorted(times)


def test_VMT_V_007_but_when_it_is_set(rig: Rig) -> None:
    before = clock.read(rig.ports)
    rig.host.clock.set((WALL - 3600) * SECOND, 0)

    after = clock.read(rig.ports)

    assert before is not None
    assert after is not None
    assert before.seconds - after.seconds == 3600


def test_VMT_V_008_GETHZ() -> None:
    rig = Rig(machine=Machine(tsc_hz=5_000_000_000, bus_hz=66_000_000))

    frame = rig.kernel.low(Cmd.GETHZ, MASK32)

    assert (frame.rbx << 32 | frame.rax, frame.rcx) == (5_000_000_000, 66_000_000)


def test_VMT_V_008_GETHZ_unsupported(rig: Rig) -> None:
    assert rig.kernel.low(Cmd.GETHZ, MASK32).rbx & MASK32 == MASK32


@pytest.mark.parametrize("address", [1, 0x10_0000])
def test_VMT_V_009_no_steal_clock(rig: Rig, address: int) -> None:
    before = bytes(rig.memory[: 2 << 20])

    frame = rig.kernel.low(Cmd.STEALCLOCK, edi=address)

    assert frame.rax == MASK32
    assert rig.memory[: 2 << 20] == before
    rig.assert_clean()


@pytest.mark.parametrize("x2apic", [False, True])
def test_VMT_V_010_GET_VCPU_INFO(x2apic: bool) -> None:
    rig = Rig(machine=Machine(x2apic=x2apic))

    assert rig.kernel.low(Cmd.GET_VCPU_INFO).rax == 8 * x2apic


def test_VMT_V_011_PRECISIONCLOCK(rig: Rig) -> None:
    rig.kernel.now_ns = 123_456_789

    frame = rig.kernel.low(Cmd.PRECISIONCLOCK)

    assert frame.rax == 0
    assert frame.rbx << 32 | frame.rcx == WALL * SECOND + 123_456_789


@pytest.mark.parametrize("sub", [1, 2, 3, 0xFFFF])
def test_VMT_V_011_a_guest_does_not_set_the_clock(rig: Rig, sub: int) -> None:
    assert rig.kernel.low(Cmd.PRECISIONCLOCK, sub=sub).rax == MASK32


def test_VMT_V_057_removable_devices() -> None:
    rig = Rig(machine=Machine(devices=[RemovableDevice("ide1:0", uid=7), RemovableDevice("floppy0", connected=False)]))

    def words(number: int) -> list[tuple[int, int]]:
        frames = [rig.ports.low(Cmd.GETDEVICELISTELEMENT, number << 16 | at) for at in range(0, 44, 4)]
        return [(frame.rax, frame.rbx & MASK32) for frame in frames]

    image = b"".join(word.to_bytes(4, "little") for _, word in words(1)[:10])

    assert [ok for ok, _ in words(1)] == [1] * 10 + [0]
    assert image == b"floppy0".ljust(36, b"\0") + bytes(4)
    assert [ok for ok, _ in words(2)] == [0] * 11
    assert rig.ports.low(Cmd.TOGGLEDEVICE, 0x8000_0001).rax == 1
    assert [device.connected for device in rig.host.machine.devices] == [True, True]
    assert rig.ports.low(Cmd.TOGGLEDEVICE, 0x8000_0002).rax == 0


def test_what_else_a_machine_says() -> None:
    machine = Machine(memory=3 << 30, uuid=bytes(range(16)), pointer=(3, 4), absolute=True, screen=(800, 600))
    ports = Rig(machine=machine).ports

    uuid = ports.low(Cmd.GETUUID)

    assert ports.low(Cmd.GETMHZ).rax == 2000
    assert ports.low(Cmd.GETMEMSIZE).rax == 3072
    assert b"".join(word.to_bytes(4, "little") for word in uuid.values()[:4]) == bytes(range(16))
    assert ports.low(Cmd.GETPTRLOCATION).rax == 3 << 16 | 4
    assert ports.low(Cmd.ISMOUSEABSOLUTE).rax == 1
    assert ports.low(Cmd.GETSCREENSIZE).rax == 800 << 16 | 600


def test_another_device_plugs_in(rig: Rig) -> None:
    def answer(frame: Frame, now_ns: int) -> None:
        frame.rax = 0x3442554A

    rig.host.backdoor.handlers[39] = answer

    assert rig.ports.low(39).rax == 0x3442554A


def test_numbers_are_as_wide_as_registers() -> None:
    frame = Rig().kernel.low(Cmd.GETVERSION)

    assert all(0 <= value <= MASK64 for value in frame.values())
