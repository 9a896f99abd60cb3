# Everything a reader or a developer runs; `make` alone lists it.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install test soak book book-fast accept look lab data data-full train benchmark reproduce trials lint format \
	lock audit clean wires wires-reduced crystals crystals-reduced line line-reduced

PYTHON ?= python3
DATA ?= data/reduced
BIN := .venv/bin
INSTALLED := .venv/.installed
TOOLS := .venv/tools/bin
RUN := _build/.run
BUILT := _build/.built

# Notebook cells that call `mlnegf` find the one of this checkout.
export PATH := $(CURDIR)/$(BIN):$(PATH)

# Pages are run by nbval, which is a test of each; what they put out is kept for the build, which runs none again.
# They run from nothing: neither the cache nor Sphinx notices a change in mlnegf/, and Sphinx keeps pages that failed.
PAGES = $(BIN)/python -m pytest book/*.ipynb -p tests.pages --nbval-lax --nbval-current-env \
	--nbval-cell-timeout=1200 -n 2 --dist loadscope
CODE = $(shell find mlnegf book/*.ipynb book/results -type f -not -name '*.pyc')
TEXT = $(wildcard book/*.md book/*.bib book/_static/* book/_ext/* book/images/*) CHANGELOG.md _config.yml _toc.yml

# Two processes with one thread each beat two that fight over the cores.
test book book-fast accept data data-full benchmark reproduce wires wires-reduced crystals crystals-reduced: export OMP_NUM_THREADS := 1
test book book-fast accept data data-full benchmark reproduce wires wires-reduced crystals crystals-reduced: export OPENBLAS_NUM_THREADS := 1
test book book-fast accept data data-full benchmark reproduce wires wires-reduced crystals crystals-reduced: export MKL_NUM_THREADS := 1

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

# The registry's torch for Linux brings packages for GPUs; set PIP_EXTRA_INDEX_URL as in README.md for the CPU build.
install: $(INSTALLED)  ## make .venv with the locked packages and mlnegf itself

# Every file is compared with its checksum in the lock; torch comes from more than one place, see docs/decisions/24.
$(INSTALLED): requirements.lock requirements-torch.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet -r requirements-torch.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

test: install lint  ## check style and types, run the tests and every notebook of the book
	$(BIN)/python -m pytest tests --ignore tests/browser -n 2 --dist loadscope --cov=mlnegf --cov-fail-under=90
	$(MAKE) $(RUN)

soak: install  ## kill runs 20 times in every way, and solve 500 random devices in one process (an hour)
	MLNEGF_SOAK=20 $(BIN)/python -m pytest tests/test_faults.py -n 2 -q
	$(BIN)/python benchmarks/soak.py --output data/soak.json

$(RUN): $(INSTALLED) $(CODE) tests/pages.py $(wildcard tests/printed/*)
	rm -rf _build
	$(PAGES)
	touch $@

book: install $(BUILT)  ## run the notebooks, unless a test just did, and build the book into _build/html

$(BUILT): $(RUN) $(TEXT)
	rm -rf _build/html _build/.doctrees
	$(BIN)/jupyter-book build . -W --keep-going
	touch $@

book-fast: install  ## for authors: rebuild what changed, and run only pages whose code changed
	$(BIN)/jupyter-book build .

accept: install  ## run the notebooks and put the numbers they print on record in tests/printed
	rm -rf _build
	$(PAGES) --accept-numbers
	touch $(RUN)

look: book  ## open every built page in Chromium, without a network, and leave pictures in _build/screenshots
	timeout 900 $(BIN)/python -m pytest tests/browser

lab: install  ## open the book in JupyterLab, for this machine alone and behind a token
	$(BIN)/jupyter lab --ServerApp.ip=127.0.0.1 --notebook-dir=book --LabApp.default_url=/lab/tree/index.ipynb

data: install  ## generate the reduced data set (half a minute)
	$(BIN)/mlnegf generate --design reduced --output data/reduced

data-full: install  ## generate the data of the shipped weights (two to three core hours; resumes where it stopped)
	$(BIN)/mlnegf generate --design nanosheets --output data/nanosheets

train: install  ## train the networks on DATA (default data/reduced)
	$(BIN)/mlnegf train --data '$(DATA)' --output data/weights --epochs 40 --learning-rate 1.5e-3

benchmark: install  ## compare guesses and schemes on held-out cases, and time them side by side
	$(BIN)/mlnegf benchmark --data '$(DATA)' --weights data/weights/start.safetensors --output data/benchmark.json --figure data/benchmark.png
	$(BIN)/python benchmarks/solve.py

reproduce: data-full  ## from nothing to the shipped weights and what they are worth (hours; resumes where it stopped)
	$(BIN)/mlnegf train --data data/nanosheets --output data/weights --epochs 40 --learning-rate 1.5e-3 --voters 3
	$(BIN)/mlnegf benchmark --data data/nanosheets --weights data/weights/start.safetensors --output data/unseen.json --figure data/unseen.png --guesses semiclassical,previous,learned --schemes auto,newton --parts unseen_device,outside

wires: install  ## pull wires of atoms, learn their conductance, predict long ones (three hours; resumes where it stopped)
	$(BIN)/mlnegf wires --kind compact --output data/wires/compact
	$(BIN)/mlnegf wires --kind full --output data/wires/full
	$(BIN)/python benchmarks/neural_potential.py --data data/wires --output data/neural_potential.json
	$(BIN)/python benchmarks/wires.py --data data/wires --output data/wires.json
	$(BIN)/python benchmarks/wire_density.py --data data/wires --output data/wire_density.json

wires-reduced: install  ## the same with eight pulls and two (some minutes)
	$(BIN)/mlnegf wires --kind compact --count 8 --output data/wires-reduced/compact
	$(BIN)/mlnegf wires --kind full --count 2 --output data/wires-reduced/full
	$(BIN)/python benchmarks/wires.py --data data/wires-reduced --output data/wires-reduced/wires.json --epochs 2 --seeds 2

crystals: install  ## fit form factors, learn aluminium's local density of states (two hours; resumes where it stopped)
	$(BIN)/python benchmarks/form_factors.py --data data/form_factors --output data/form_factors.json
	$(BIN)/python benchmarks/local_density.py --data data/aluminium --output data/local_density.json

crystals-reduced: install  ## the same with few solutions, lessons and atoms (some minutes)
	$(BIN)/python benchmarks/form_factors.py --data data/form_factors-reduced --output data/form_factors-reduced.json --solutions 4 --seeds 1
	$(BIN)/python benchmarks/local_density.py --data data/aluminium-reduced --output data/local_density-reduced.json --epochs 1 --seeds 2 --largest 32

line: install  ## electrons on a line, operators, networks that are told an equation (three hours; resumes where it stopped)
	$(BIN)/python benchmarks/kohn_sham.py --data data/kohn_sham --output data/kohn_sham.json
	$(BIN)/python benchmarks/electron_dynamics.py --data data/dynamics --output data/electron_dynamics.json
	$(BIN)/mlnegf generate --design benchmarks/designs/sheets.toml --output data/sheets
	$(BIN)/python benchmarks/operator_start.py --data data/sheets --output data/operator_start.json

line-reduced: install  ## the same with few epochs, steps and seeds (some minutes)
	$(BIN)/python benchmarks/kohn_sham.py --data data/kohn_sham-reduced --output data/kohn_sham-reduced.json --epochs 5 --seeds 1 --molecules 1
	$(BIN)/python benchmarks/electron_dynamics.py --data data/dynamics-reduced --output data/electron_dynamics-reduced.json --steps 80 --evaluations 3 --seeds 1

trials: install  ## time the solver and try it on 300 random devices (hours; resumes where it stopped)
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/robustness.py --output data/robustness.jsonl

lint: install  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict mlnegf

format: install  ## put the code in the project's style and strip the notebooks
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/nbstripout book/*.ipynb

$(TOOLS)/pip-compile $(TOOLS)/pip-audit &:
	$(PYTHON) -m venv .venv/tools
	$(TOOLS)/pip install --quiet pip-tools pip-audit

lock: install $(TOOLS)/pip-compile  ## write the versions now in .venv, with checksums of their files, to requirements.lock
	$(BIN)/pip freeze --exclude-editable | grep -v '^torch==' > .venv/pins.in
	$(TOOLS)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-annotate --no-header \
		--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --output-file requirements.lock .venv/pins.in
	sed -i '/^#/d;/^$$/d' requirements.lock

audit: install $(TOOLS)/pip-audit  ## ask PyPI for known holes in the locked packages
	$(TOOLS)/pip-audit --require-hashes --disable-pip -r requirements.lock

clean:  ## remove what make made, except .venv and data
	rm -rf _build .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find mlnegf tests book -name __pycache__ -prune -exec rm -rf {} +
