# Every target makes .venv with what it needs first. Settings are given as in
#   make run SOURCE=my_reviews.csv LABELS=2000
# and are documented in docs/data.md.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
# A file's tests stay in one process; torch would start a thread a core in each.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile

.PHONY: help run notebooks evaluate train research export release serve bench loadtest test test-all
.DEFAULT_GOAL := help

help:  ## list the targets
	@awk -F ':.*##  *' '/^[a-z-]+:.*##/ {printf "make %-13s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(INSTALLED)  ## notebooks 01 to 05 in order: fine-tuned, evaluated, exported
	@$(BIN)/python scripts/run_notebooks.py 01 02 03 04 05

notebooks: $(INSTALLED)  ## all notebooks there are
	@$(BIN)/python scripts/run_notebooks.py

evaluate: $(INSTALLED)  ## after run, what notebook 04b shows; ALSO=embedded: on those reviews too
	@$(BIN)/pip install --quiet -c requirements.txt -e ".[evaluate]"
	@$(BIN)/python scripts/evaluate.py $(if $(ALSO),--also $(ALSO))

train: $(INSTALLED)  ## fine-tuning alone; FLAGS="--epochs 4"; PROCESSES=2: by two that share each batch
	@$(if $(PROCESSES),$(BIN)/torchrun --standalone --nproc-per-node $(PROCESSES),$(BIN)/python) \
	    scripts/train.py $(FLAGS)

research: $(INSTALLED)  ## EXPERIMENT=tapt: one of the research, notebook 07
	@$(BIN)/python scripts/research.py $(or $(EXPERIMENT),$(error give EXPERIMENT, such as tapt: scripts/research.py --help lists them))

export: $(INSTALLED)  ## the trained model as a folder and a zip
	@$(BIN)/python scripts/model-export.py

release: $(INSTALLED)  ## RUN=imdb-minilm: that run's model becomes artifacts/model
	@$(BIN)/python scripts/model-export.py --release --run $(or $(RUN),$(error give RUN=imdb-minilm or another run))

serve: $(INSTALLED)  ## the released model behind a JSON API, and a page: http://127.0.0.1:8000
	@$(BIN)/python scripts/flask-deployment.py

bench: $(INSTALLED)  ## speeds of training and of predicting, side by side (half an hour on two cores)
	@$(BIN)/python scripts/bench.py

loadtest: $(INSTALLED)  ## the service under load, beside a naive route (seven minutes)
	@$(BIN)/python scripts/loadtest.py

test: $(INSTALLED)  ## the tests, without the slow ones
	@$(PYTEST)

test-all: $(INSTALLED)  ## all tests: the Hub's protocol, the service and every notebook too
	@$(BIN)/pip install --quiet -c requirements.txt -e ".[test,ray,evaluate,export]"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo
	@$(PYTEST) -m ""

$(INSTALLED): requirements.txt requirements-embedded.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) \
	    else "Python 3.11, 3.12 or 3.13 is needed, %s is %d.%d: make PYTHON=python3.11 ..." \
	    % (sys.executable, *v))'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -r requirements.txt
	$(BIN)/pip install --quiet --no-deps -r requirements-embedded.txt
	$(BIN)/pip install --quiet --no-deps -e .
	@touch $@
