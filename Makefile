# Every target sets up what it needs: a virtual environment in .venv, and for guests a kit in the user's cache folder.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CAPTURE := tests/data/lan.pcapng
WORKERS := -n 2 --dist loadscope --no-loadscope-reorder

.PHONY: demo test check lint bench bench-guest guest rules conformance judge clean

demo: $(VENV)/ready  ## replay a real capture through the emulated NIC into a driver, on both transports
	$(BIN)/pvdev replay $(CAPTURE)
	$(BIN)/pvdev replay $(CAPTURE) --via vfio-user
	$(BIN)/pvdev replay $(CAPTURE) --tx
	$(BIN)/pvdev replay $(CAPTURE) --mark "tcp every 10: csum=bad"

test: $(VENV)/dev guest  ## everything, real guests included
	$(BIN)/pytest $(WORKERS) $(PYTEST_ARGS)

check: lint  ## lint, unit and conformance tests
	$(BIN)/pytest -q $(WORKERS) tests/unit tests/conformance

lint: $(VENV)/dev  ## format, lint, strict types, import rules, rule page
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/rules_page.py --check

bench: $(VENV)/dev  ## the benchmarks, as ratios
	$(BIN)/python -m tests.bench

bench-guest: $(VENV)/dev guest  ## the same guest on our device and on QEMU's own, in turn
	$(BIN)/python -m tests.bench.bench_guest

guest: $(VENV)/dev  ## QEMU and a Linux kernel for the guest tests, unpacked without root; goes on without
	@cd tools && ../$(BIN)/python -m guest fetch || test -z "$(PVDEV_REQUIRE)"

rules: $(VENV)/dev  ## print docs/RULES.md anew
	$(BIN)/python tools/rules_page.py

conformance: $(VENV)/dev guest  ## run the conformance suites on our models and on QEMU's devices, print docs/CONFORMANCE.md
	$(BIN)/python tools/conformance_page.py

judge: $(VENV)/dev  ## have libiscsi's iscsi-test-cu judge the SCSI target, print docs/JUDGE.md
	$(BIN)/python tools/judge_page.py

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "pvdev needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/dev: $(VENV)/ready pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@
