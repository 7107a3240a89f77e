# isoloss: `make demo` measures a gain from nothing; `make test` and `make check` guard it.
#
# Needs Python >= 3.11 with pip and venv. Everything else is installed into .venv at the versions of constraints.txt.
# On Linux, PyPI's default torch brings several GB of CUDA along. To take the CPU build instead:
#     make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
PYTHON ?= python3
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
STUDY ?= studies/quickstart.toml
TORCH_FROM := $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX),)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-faults test-page fuzz check format install clean bench-gpu

demo: $(VENV)/lab  ## measure the gain of the quickstart, write reports/quickstart/report.html
	$(BIN)/isoloss run $(STUDY)

test: $(VENV)/dev  ## the tests in two processes, but for the long faults of test-faults
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-faults: $(VENV)/dev  ## processes killed by the hundred, full disks, clocks, versions: what was lost and doubled
	$(BIN)/python -m pytest -v -n 2 --dist worksteal -m "faults or not faults" tests/faults tests/test_resume.py tests/test_ray.py tests/test_slurm.py

check: $(VENV)/dev  ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

FUZZ_INPUTS ?= 1000000
fuzz: $(VENV)/dev  ## spoilt inputs for every reader, half an hour on two cores; prints its seed
	$(BIN)/python -m fuzz --inputs $(FUZZ_INPUTS)

test-page: $(VENV)/dev  ## the report in Debian's Chromium, with axe-core from npm where npm is
	command -v npm >/dev/null && npm install --silent --no-save --no-package-lock --prefix tests axe-core@4.14.1 || true
	$(BIN)/python -m pytest tests/test_page.py tests/test_serve_page.py tests/test_atlas_page.py tests/test_report.py -rs

bench-gpu: $(VENV)/lab  ## the bars that need a GPU; says so where there is none
	$(BIN)/python benchmarks/speed/gpu.py

format: $(VENV)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(VENV)/dev  ## everything, for development

$(VENV)/lab: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'isoloss needs Python 3.11 or later')"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt $(TORCH_FROM) torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[lab]'
	touch $@

$(VENV)/dev: $(VENV)/lab
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[lab,dev]'
	touch $@

clean:  ## remove the environment and caches, never a ledger or a report
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
