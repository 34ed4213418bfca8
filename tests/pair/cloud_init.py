"""Run by cloud-init's own Python: its VMware data source, and what it has found, as JSON.

All it is told beforehand is what firmware would say of the machine: a program of this one cannot change that.
"""

import json
import sys

from cloudinit import dmi, helpers, settings
from cloudinit.sources import DataSourceVMware


def main(folder: str) -> None:
    dmi.read_dmi_data = lambda key: "VMware Virtual Platform"
    paths = helpers.Paths({"cloud_dir": f"{folder}/cloud", "run_dir": f"{folder}/run", "templates_dir": folder})
    source = DataSourceVMware.DataSourceVMware(settings.CFG_BUILTIN, None, paths)
    found = source._get_data()  # what `get_data` does, but for files below /run
    text = {name: getattr(source, f"{name}_raw") for name in ("userdata", "vendordata")}
    text = {name: data.decode() if isinstance(data, bytes) else data for name, data in text.items()}
    names = ("instance-id", "local-hostname")
    print(json.dumps({"found": found, **{name: source.metadata.get(name) for name in names}, **text}))


main(sys.argv[1])
