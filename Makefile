# make demo    the whole job on real images: train, evaluate, export, serve, predict
# make test    the tests (those marked slow apart) and the checks
# make check   format, lint, types, imports
# make docs    the site, in build/docs: open build/docs/index.html
# make parity  the networks against other people's, in an environment of its own (.venv-parity)
# make engines and make beam set up what the slow tests of other engines and of batch scoring need
# make notebooks   every notebook again, in English and in Chinese, keeping what it prints and draws
# Each sets up .venv first, once; nothing here needs root.

PYTHON ?= $(firstword $(foreach each,python3.11 python3.12 python3.13 python3,$(shell command -v $(each))))
BIN := .venv/bin
# The tests' processes: each has TensorFlow to itself, which seldom keeps two processors at work.
PROCESSES ?= 2
NEEDED_KB := 4000000

.PHONY: setup demo test test-slow parity parity-setup engines beam docs docs-setup notebooks check format clean

setup: .venv/.installed

.venv/.installed: setup.cfg serving/setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
		|| { echo "Python 3.11, 3.12 or 3.13 is needed; found $(or $(shell $(PYTHON) --version 2>&1),none). Name one: make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@free=$$(df -Pk . | awk 'NR==2 {print $$4}'); test -d .venv || test "$$free" -ge $(NEEDED_KB) \
		|| { echo "The set-up needs 4 GB of disk; $$((free / 1024)) MB are free here." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv \
		|| { echo "The virtual environment could not be made: is the disk full, or Python's venv module missing (Debian: apt-get install python3-venv)?" >&2; exit 1; }
	@echo "Installing into .venv, about 600 MB to download ..."
	@$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e ./serving -e '.[test,dev]' \
		|| { echo "The packages could not be installed: see the line above (no network, or a full disk?), then make again." >&2; exit 1; }
	@touch $@

demo: setup
	@$(BIN)/python examples/demo.py

test: setup check
	$(BIN)/python -m pytest -m "not slow" -n $(PROCESSES) --dist loadfile

test-slow: setup
	$(BIN)/python -m pytest -m slow -n $(PROCESSES) --dist load tests/test_notebooks.py
	$(BIN)/python -m pytest -m slow -n $(PROCESSES) --dist loadfile --ignore tests/test_notebooks.py

parity: parity-setup
	.venv-parity/bin/python -m pytest -s tests/parity

parity-setup: .venv-parity/.installed

.venv-parity/.installed: tests/parity/requirements.txt
	@test -x .venv-parity/bin/python || $(PYTHON) -m venv .venv-parity
	@.venv-parity/bin/pip install --disable-pip-version-check -q --no-deps -r $<
	@touch $@

engines: .venv-engines/.installed

.venv-engines/.installed: tests/engines/requirements.txt
	@test -x .venv-engines/bin/python || $(PYTHON) -m venv .venv-engines
	@.venv-engines/bin/pip install --disable-pip-version-check -q -r $<
	@touch $@

beam: .venv-beam/.installed

.venv-beam/.installed: serving/beam/requirements.txt
	@test -x .venv-beam/bin/python || $(PYTHON) -m venv .venv-beam
	@.venv-beam/bin/pip install --disable-pip-version-check -q -r $<
	@touch $@

docs: docs-setup
	.venv-docs/bin/python -m sphinx -E -W --keep-going -q -b html -c docs -d build/docs-doctrees . build/docs

docs-setup: .venv-docs/.installed

.venv-docs/.installed: docs/requirements.txt
	@test -x .venv-docs/bin/python || $(PYTHON) -m venv .venv-docs
	@.venv-docs/bin/pip install --disable-pip-version-check -q --no-deps -r $<
	@touch $@

notebooks: setup
	$(BIN)/python notebooks/run.py notebooks/[0-9]_*.ipynb

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_imports.py

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf demo build dist *.egg-info serving/build serving/*.egg-info .pytest_cache .mypy_cache .ruff_cache
