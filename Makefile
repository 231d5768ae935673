# One target a job. Everything runs from the virtual environment in .venv, which `make` builds from hash-checked pins.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: demo test test-node node-packages lint incidents layouts modules soak fuzz bench crds clean help
help:            ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/'

$(READY): requirements/dev.txt pyproject.toml lab/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	@echo "[venv] installing the pinned dependencies into $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . -e ./lab
	@$(BIN)/python -m pip check --disable-pip-version-check
	@touch $@

demo: $(READY)   ## the main job, end to end, on real parts (KEEP=1 leaves it running, MESH=higress for Higress)
	@$(BIN)/pluginrelease demo $(if $(KEEP),--keep) $(if $(MESH),--mesh $(MESH))

test: $(READY)   ## core, edges against real servers, passes against the lab; all but tests/node
	@$(BIN)/python -m pytest --ignore=tests/node
	@echo "[test] without tests/node, whose lab has a real node: make test-node"

test-node: $(READY)  ## image and chart on a real node, and gateways that are pods on it; as root
	@$(BIN)/python -m pluginrelease_lab.node
	@$(BIN)/python -m pytest tests/node

node-packages: $(READY)  ## install what test-node needs from Debian: containerd, runc, CNI, iptables, buildah, debootstrap
	@$(BIN)/python -m pluginrelease_lab.node --install

lint: $(READY)   ## ruff, mypy --strict, import-linter
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy --strict
	@$(BIN)/lint-imports

incidents: $(READY)  ## the incident book: real failures on a real lab, with bare Istio and with a release
	@$(BIN)/python -m tests.incidents

layouts: $(READY)  ## every image layout and source on a real gateway, each first inspected; writes docs/layouts.md
	@$(BIN)/python -m tests.layouts

modules: $(READY)  ## every odd module on real Envoys of four releases, each first inspected; writes docs/modules.md
	@$(BIN)/python -m tests.modules

soak: $(READY)   ## changes under load, every request counted; the operator killed at each of its writes
	@$(BIN)/python -m tests.soak

fuzz: $(READY)   ## the inspection under atheris, guided by coverage (FUZZ_SECONDS=600)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/fuzz.txt
	@$(BIN)/python -m pip check --disable-pip-version-check
	@$(BIN)/python -m tests.fuzz $(or $(FUZZ_SECONDS),600)

bench: $(READY)  ## from apply to served, from a bad apply to put right, the look at 500 gateway pods, a pull of 50 MB
	@$(BIN)/python -m bench

crds: $(READY)   ## write crds/, the chart's copy, docs/api.md and docs/reasons.md from the models
	@$(BIN)/pluginrelease crd --write

clean:           ## the virtual environment and tool caches of this checkout
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
