"""The guest kit for every test that boots a real kernel."""

import os

import pytest

pytest.register_assert_rewrite("pvscsi.conform.rig", "pvscsi.conform.inside")  # before any test imports them

from guest.cache import KitError  # noqa: E402
from guest.kit import Kit, find_kit  # noqa: E402


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For several workers (`make test`): guests come first, all with the same one, as each wants a machine for itself;
    the tests of a file stay together.
    """
    for item in items:
        guest = item.get_closest_marker("guest") is not None
        item.add_marker(pytest.mark.xdist_group("guests" if guest else item.nodeid.partition("::")[0]))
    items.sort(key=lambda item: item.get_closest_marker("guest") is None)


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
