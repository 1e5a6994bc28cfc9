# localblur: `make demo` and `make test` are the two commands a newcomer needs; both set up .venv by themselves.
PYTHON ?= python3
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
INSTALLED := $(VENV)/.installed

# the tests start hundreds of processes, which would compile every module again where keeping the result is switched off
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo demo-short test test-slow lint typing bench clean

$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test,dev]"
	touch $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/python examples/demo.py --output demo

demo-short: $(INSTALLED)
	$(BIN)/python examples/demo.py --output build/demo-short --short

TESTS := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal --durations 15

test: $(INSTALLED)
	$(TESTS) -m "not slow"

test-slow: $(INSTALLED)
	$(TESTS) -m slow

typing: $(INSTALLED)
	$(BIN)/python -c "import pathlib; root = pathlib.Path('build/typing/localblur'); root.mkdir(parents=True, exist_ok=True); [(root / name).symlink_to(pathlib.Path(name).resolve(), target_is_directory=True) for name in ('common', 'acquisition', 'alignment', 'datasets', 'training') if not (root / name).exists()]"

lint: typing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED)
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf build dist demo *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -type d -prune -exec rm -rf {} +
