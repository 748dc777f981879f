# `make verify` and `make test` work on a fresh clone. They set up .venv themselves.

PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
SMOKE ?= fig3a fig4b
# Tests spend most of their time compiling, so compiled programs are cached and not optimised, and XLA's older and faster
# way of compiling fused operations is taken. (`verify`, `prove` and all runs have XLA's defaults.)
PYTEST := JAX_COMPILATION_CACHE_DIR="$(CURDIR)/.pytest_cache/programs" \
	JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0.05 JAX_DISABLE_MOST_OPTIMIZATIONS=1 \
	XLA_FLAGS="--xla_cpu_use_fusion_emitters=false $(XLA_FLAGS)" $(BIN)/python -m pytest

.PHONY: env verify test optimised slow faults prove environments smoke figures lint types bench clean

env: .venv/.complete

.venv/.complete: EXTRAS := all
.venv-environments/.complete: EXTRAS := all,environments
.venv/.complete .venv-environments/.complete: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, but $(PYTHON) is " + sys.version.split()[0] + "; set, for instance, PYTHON=python3.12.") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(@D)
	PIP_CONSTRAINT="$(CURDIR)/constraints.txt" $(@D)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[$(EXTRAS)]'
	@touch $@

verify: env
	$(BIN)/coala-eqx verify $(ARGS)

test: env
	$(PYTEST) -n 2 --dist worksteal $(ARGS)

# The same numbers from programs that XLA has optimised, as in runs.
optimised: env
	$(BIN)/python -m pytest -n 2 --dist worksteal tests/test_probabilities.py tests/test_hawk.py $(ARGS)

# Tests that take long and have a faster sibling in `make test`: more devices and processes, whole figures on grids.
slow: env
	$(PYTEST) -n 2 --dist worksteal -m slow $(ARGS)

faults: env
	$(PYTEST) tests/test_interruptions.py --kills 20 --timeout 0 $(ARGS)

prove: env
	$(BIN)/python -m pytest proofs_checks -n 2 --dist worksteal --hypothesis-profile deep --timeout 0 --summary prove.md $(ARGS)

# Outside environments need many packages, so these tests have a virtual environment of their own. `make test` skips them.
environments: .venv-environments/.complete
	$(<D)/bin/python -m pytest tests/test_environments.py tests/test_examples.py $(ARGS)

smoke: env
	for figure in $(SMOKE); do $(BIN)/python -m experiments $$figure --preset smoke --run-dir "$$(mktemp -d)/$$figure" || exit; done

figures: env
	$(BIN)/python -m paper_figs $(ARGS)

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: env
	$(BIN)/basedpyright

bench: env
	$(BIN)/coala-eqx bench $(ARGS)

clean:
	rm -rf .venv .venv-environments
