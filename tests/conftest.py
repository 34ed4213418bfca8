"""The guest kit for every test that boots a real kernel."""

import os

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

pytest.register_assert_rewrite("pvscsi.conform.rig", "pvscsi.conform.inside")  # before any test imports them

from guest.cache import KitError  # noqa: E402
from guest.kit import Kit, find_kit  # noqa: E402

GUESTS = "tests/guest/"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Guests come first: they take longest."""
    items.sort(key=lambda item: not item.nodeid.startswith(GUESTS))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """For several workers (`make test`): all guests with the same one, as each wants a machine for itself; the tests of
    a file stay together.
    """

    class ByRoom(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return GUESTS if nodeid.startswith(GUESTS) else nodeid.partition("::")[0]

    return ByRoom(config, log)


@pytest.fixture(scope="session")
def guest_kit() -> Kit:
    """The kit, fetched if need be. Without one: a failure under PVDEV_REQUIRE=all, else a skip that says why.

    PVDEV_FETCH=0 uses only what is there already.
    """
    try:
        return find_kit(fetch=os.environ.get("PVDEV_FETCH") != "0")
    except KitError as error:
        if os.environ.get("PVDEV_REQUIRE") == "all":
            pytest.fail(f"PVDEV_REQUIRE=all, but: {error}")
        pytest.skip(str(error))
