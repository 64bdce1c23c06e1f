# make demo   the main job on a tiny data set, in a fresh run folder
# make test   the rings, ruff and the tests: two processes side by side, then those that start Ray
# make docs   the site, in build/site; a broken link is an error
# make lint   the same without the tests, plus formatting and types
#
# Each sets up .venv once, and again when pyproject.toml or constraints.txt change: what a user needs, and for all but
# the demo what contributors need too.

PYTHON ?= python3
BIN := .venv/bin
RUNTIME := .venv/.ready
DEVELOPMENT := .venv/.ready-test

.PHONY: demo test docs lint clean

demo: $(RUNTIME)
	$(BIN)/nas-search --space coatnet --budget 4.2GFLOPs --data digits --out runs/demo-$$(date +%Y%m%d-%H%M%S)

test: $(DEVELOPMENT)
	$(BIN)/lint-imports --no-logo
	$(BIN)/ruff check
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not ray"
	$(BIN)/python -m pytest -m "ray and not slow"

docs: $(DEVELOPMENT)
	$(BIN)/mkdocs build

lint: $(DEVELOPMENT)
	$(BIN)/lint-imports --no-logo
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python

$(RUNTIME): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -e '.[onnx]' -c constraints.txt
	touch $@

$(DEVELOPMENT): $(RUNTIME)
	$(BIN)/python -m pip install -q -e '.[test]' -c constraints.txt
	touch $@

clean:
	rm -rf .venv
