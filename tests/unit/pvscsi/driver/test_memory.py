"""Pieces and pages, and what is watched around them."""

from pvscsi.driver.memory import Memory, addresses
from tests.unit.pvscsi.driver.puppet import Puppet


def watched(puppet: Puppet) -> tuple[Memory, list[str]]:
    seen: list[str] = []
    return Memory(puppet, lambda rule, what: seen.append(rule)), seen


def test_pages_lie_in_no_order(puppet: Puppet) -> None:
    memory, _ = watched(puppet)

    found = addresses(memory.pages(8))

    assert found != sorted(found)
    assert min(abs(a - b) for a in found for b in found if a != b) == 2


def test_pages_in_a_row(puppet: Puppet) -> None:
    memory, _ = watched(puppet)

    found = addresses(memory.pages(8, scattered=False))

    assert found == list(range(found[0], found[0] + 8))


def test_a_write_behind_a_piece_is_seen_when_it_is_given_back(puppet: Puppet) -> None:
    memory, seen = watched(puppet)
    piece = memory.take(100)
    puppet.memory(piece.address + 100, 1)[0] = 0

    memory.audit()
    memory.give(piece)

    assert seen == ["PVS-V-066", "PVS-V-066"]


def test_a_write_to_a_page_between_is_seen(puppet: Puppet) -> None:
    memory, seen = watched(puppet)
    page = memory.pages(1)[0]
    puppet.page(page.ppn + 1)[4095] = 0

    memory.audit()

    assert seen == ["PVS-V-054"]


def test_release_gives_all_back(puppet: Puppet) -> None:
    memory, _ = watched(puppet)
    memory.take(100)
    memory.pages(4)
    memory.pages(4, scattered=False)

    memory.release()

    assert puppet.arena.alloc(32 << 20).address == 0x10_0000
