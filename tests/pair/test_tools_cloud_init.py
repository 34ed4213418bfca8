"""An unmodified cloud-init finds what a host leaves for it, under the supervisor."""

import json
import os
from pathlib import Path

import pytest
from guest.cache import KitError
from guest.cloudinit import find_cloud_init, python_of

from tests.netns import lack
from tests.pair.test_tools_supervisor import Tools
from vmtools.cloud import seed

PROBE = str(Path(__file__).parent / "cloud_init.py")
METADATA = "instance-id: i-0123\nlocal-hostname: web-1\n"
USERDATA = "#cloud-config\npackages: [nginx]"  # without an end of line: cloud-init strips text of it


@pytest.fixture(scope="module")
def cloud_init() -> Path:
    """Its folder, fetched if need be, as `guest_kit` is."""
    try:
        return find_cloud_init(fetch=os.environ.get("PVDEV_FETCH") != "0")
    except KitError as error:
        lack(str(error))
        raise


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["", "base64", "gzip+base64"])
def test_cloud_init_reads_metadata_and_userdata(
    cloud_init: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    words, environment = python_of(cloud_init)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    tools = Tools(tmp_path)
    seed(tools.host.variables, encoding=encoding, metadata=METADATA, userdata=USERDATA)

    assert tools.run(*words, PROBE, str(tmp_path)) == 0
    found = json.loads(tools.out.splitlines()[-1])

    assert found == {
        "found": True,
        "instance-id": "i-0123",
        "local-hostname": "web-1",
        "userdata": USERDATA,
        "vendordata": None,
    }
    assert not list(tools.host.rules)
