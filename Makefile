# One target a job. Everything runs from the virtual environment in .venv, which `make` builds from hash-checked pins.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: demo test test-core test-edges test-passes binaries passes test-node node-packages test-gitops lint incidents layouts modules trials soak kills false-alarms fuzz bench crds manifests dist clean help
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

test: $(READY)   ## core, edges against real servers, passes against the lab; all but tests/node and tests/gitops
	@$(BIN)/python -m pytest --ignore=tests/node --ignore=tests/gitops
	@echo "[test] without tests/node, whose lab has a real node: make test-node"
	@echo "[test] without tests/gitops, which needs Flux: make test-gitops"

test-core: $(READY)  ## of these what needs no program of the lab: core, controller
	@$(BIN)/python -m pytest tests/core tests/controller

test-passes: $(READY)  ## of these the passes against the lab
	@$(BIN)/python -m pytest tests/passes

test-edges: $(READY)  ## of these all others
	@$(BIN)/python -m pytest --ignore=tests/node --ignore=tests/gitops --ignore=tests/core --ignore=tests/controller --ignore=tests/passes

binaries: $(READY)  ## build the programs of the lab, ahead of time
	@$(BIN)/pluginrelease lab binaries

passes: $(READY)  ## 100,000 drawn sequences of changes, commands and faults, and what must hold of every pass (PASSES=100000)
	@PASSES=$(or $(PASSES),100000) $(BIN)/python -m pytest -q tests/core/test_passes_drawn.py

test-node: $(READY)  ## image and chart on a real node, and gateways that are pods on it; as root
	@$(BIN)/python -m pluginrelease_lab.node
	@$(BIN)/python -m pytest tests/node

node-packages: $(READY)  ## install what test-node needs from Debian: containerd, runc, CNI, iptables, buildah, debootstrap
	@$(BIN)/python -m pluginrelease_lab.node --install

test-gitops: $(READY)  ## docs/states.md, docs/flux.md, docs/argocd.md and the example repositories, with real Flux and Argo CD
	@$(BIN)/python -m pytest tests/gitops

lint: $(READY)   ## ruff, mypy --strict, import-linter, plain English
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy --strict
	@$(BIN)/lint-imports
	@$(BIN)/python -m tests.plain_english

incidents: $(READY)  ## the incident book: real failures on a real lab, with bare Istio and with a release
	@$(BIN)/python -m tests.incidents

layouts: $(READY)  ## every image layout and source on a real gateway, each first inspected; writes docs/layouts.md
	@$(BIN)/python -m tests.layouts

trials: $(READY)  ## every plugin of tests/trials/cases.py tried on a real Envoy; writes docs/try.md
	@$(BIN)/python -m tests.trials

modules: $(READY)  ## every odd module on real Envoys of four releases, each first inspected; writes docs/modules.md
	@$(BIN)/python -m tests.modules

soak: $(READY)   ## changes under load, every request counted; the operator killed at each of its writes
	@$(BIN)/python -m tests.soak

kills: $(READY)  ## the operator killed on both sides of each write to an object, with three entries, on real gateways
	@$(BIN)/python -m tests.soak kills --objects --random 0

false-alarms: $(READY)  ## good changes while gateways are killed, evicted and replaced; writes docs/false-alarms.md
	@$(BIN)/python -m tests.soak false-alarms

fuzz: $(READY)   ## the inspection under atheris, guided by coverage (FUZZ_SECONDS=600)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/fuzz.txt
	@$(BIN)/python -m pip check --disable-pip-version-check
	@$(BIN)/python -m tests.fuzz $(or $(FUZZ_SECONDS),600)

bench: $(READY)  ## from apply to served, from a bad apply to put right, the look at 500 gateway pods, a pull of 50 MB
	@$(BIN)/python -m bench

crds: $(READY)   ## write crds/, the chart's copy, docs/api.md and docs/reasons.md from the models
	@$(BIN)/pluginrelease crd --write

manifests: $(READY)  ## write what is made from the chart, from the scripts for Argo CD and from the Kustomize component
	@$(BIN)/python -m release.manifests

dist: $(READY)   ## the files of a release that need no registry: wheels, source archives, SBOM, install.yaml; in dist/
	@rm -rf dist
	@$(BIN)/python -m release.wheels dist
	@$(BIN)/python -m release.sbom dist/pluginrelease-operator.cdx.json
	@$(BIN)/python -m release.sbom --check dist/pluginrelease-operator.cdx.json
	@cp deploy/install.yaml dist/

clean:           ## the virtual environment and tool caches of this checkout
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
