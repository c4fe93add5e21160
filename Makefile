# The commands of the course; `make` alone lists them. Each sets up what it needs at its first call, with no network later.
# make lab PYTHON=python3.12 says which Python to use; it is asked once, when .venv is made.
PYTHON ?= $(shell .venv/bin/python -V >/dev/null 2>&1 && echo .venv/bin/python || echo python3)
ARGS =
SETUP =

# .venv first on the PATH: notebooks and nbgrader start programs by name. The kernels of .venv win over a user's own.
inside = PATH="$$PWD/.venv/bin:$$PATH" JUPYTER_PREFER_ENV_PATH=1 .venv/bin/python
python = "$(PYTHON)"
setup = command -v $(python) >/dev/null || { \
	echo "There is no Python named $(PYTHON) here. Install Python 3.11 or newer," \
	"or say which: make lab PYTHON=python3.12" >&2; \
	exit 1; }; $(python) .ci/setup.py $(SETUP)
nbval = --nbval --nbval-current-env --nbval-cell-timeout=300 --nbval-sanitize-with=tests/nbval_sanitize.cfg

# a file at a time on each core, with one thread; the longest come first in the alphabet
two = -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help lab test course site notebooks bench lint clean distclean

help:
	@echo "make lab         open the course in JupyterLab      make lab ARGS=--no-browser, make lab PYTHON=python3.12"
	@echo "make test        the unit tests, then every notebook, its numbers compared"
	@echo "make course      what a teacher needs: nbgrader, and a course in build/course"
	@echo "make site        the course as pages to read without a network or to publish, in build/site"
	@echo "make notebooks   run every notebook afresh and store its outputs"
	@echo "make bench       one page: every speed beside a peer's      make bench ARGS=\"--only networks\""
	@echo "make lint        ruff over package, tests and notebooks"
	@echo "make clean       remove what was built, but for your assignments and your course; make distclean: the environment .venv too"

lab:
	@$(setup)
	@$(inside) -m inception_lessons assignments copy >/dev/null
	@root=; [ "$$(id -u)" != 0 ] || root=--allow-root; \
	$(inside) -m jupyterlab --ip=127.0.0.1 --ServerApp.root_dir="$$PWD" \
	--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb $$root $(ARGS)

test:
	@$(setup) --extras tests,parity,export,course,hub,site
	@OMP_NUM_THREADS=1 $(inside) -m pytest tests $(two) || \
	{ echo "make test: a unit test failed; the notebooks were not run." >&2; exit 1; }
	@$(inside) -m pytest $(nbval) notebooks/*.ipynb notebooks/assignments/*/*.ipynb || \
	{ echo "make test: the unit tests pass, a notebook fails." >&2; exit 1; }

course:
	@$(setup) --extras course
	@$(inside) -m inception_lessons assignments create build/course

site:
	@$(setup) --extras site
	@$(inside) .ci/site/build.py $(ARGS)

notebooks:
	@$(setup) --extras tests
	@$(inside) tests/execute_notebooks.py

bench:
	@$(setup) --extras tests,parity,export,course,hub
	@$(inside) tests/bench.py $(ARGS)

lint:
	@$(setup) --extras tests
	@$(inside) -m ruff check .

clean:
	rm -rf dist .pytest_cache .ruff_cache .hypothesis
	[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name assignments ! -name course -exec rm -rf {} +
	find . -name .venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv
