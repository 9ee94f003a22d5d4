# Thin wrappers around `tmplbuild` and the development tools. `make` alone shows what there is.

DIST   ?=
ARCH   ?=
CACHE  ?=
MIRROR ?=
V      ?=
PYTHON ?= python3
PREFIX ?= /usr/local
# init scripts are looked for in /etc alone
INITDIR ?= $(if $(filter /usr /usr/local,$(PREFIX)),/etc/init.d,$(PREFIX)/etc/init.d)

VENV := .venv
BIN  := $(VENV)/bin
PIP  := $(BIN)/python -m pip --disable-pip-version-check -qq

.PHONY: help template test check bench docs install clean
.DEFAULT_GOAL := help

help: ## show this
	@echo "make template DIST=debian-12   build the template, or bring it up to date (as root)"
	@echo "     DIST='debian-*' (all that match)  ARCH=amd64,arm64  CACHE=DIR (template cache)  MIRROR=URL"
	@echo "     V=1 (show commands' output)"
	@echo
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/make \1|\2/p' Makefile | grep -v '^make template' \
	    | while IFS='|' read -r target text; do printf '%-31s%s\n' "$$target" "$$text"; done

template: $(VENV)/.ready ## build a template
	@$(BIN)/tmplbuild build $(foreach name,$(or $(DIST),$(error DIST is missing: make template DIST=debian-12)),'$(name)') \
	    $(if $(ARCH),--arch '$(ARCH)') $(if $(CACHE),--cache '$(CACHE)') \
	    $(if $(MIRROR),--mirror '$(MIRROR)') $(if $(V),-v)

test: $(VENV)/.dev ## run all tests (as root: also those that boot containers); T=PATH for some
	@sh tests/install-debian-packages
	@$(if $(T),true,$(BIN)/python -m pytest -q -n auto tests/unit)
	@$(BIN)/python -m pytest --durations=15 $(or $(T),-n 2 --dist loadfile tests/component tests/live)

check: $(VENV)/.dev ## lint, types and unit tests; what a commit must pass
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q -n auto tests/unit

bench: $(VENV)/.dev ## measure against other tools, side by side (as root, long)
	@sh tests/install-debian-packages
	@status=0; for file in benchmarks/*.py; do \
	    case $$file in */ratio.py|*/__init__.py) continue;; esac; \
	    echo "== $$file"; $(BIN)/python $$file || status=1; done; exit $$status

docs: $(VENV)/.dev ## write the generated pages anew
	@$(BIN)/python docs/manpage.py > docs/tmplbuild.1.new && mv docs/tmplbuild.1.new docs/tmplbuild.1

install: ## install below PREFIX (/usr/local), in a Python environment of its own
	@sh .ci/ensure-venv $(PYTHON)
	@$(PYTHON) -m venv $(PREFIX)/lib/tmplbuild
	@$(PREFIX)/lib/tmplbuild/bin/python -m pip --disable-pip-version-check -qq install .
	@install -d $(PREFIX)/bin && ln -sfn ../lib/tmplbuild/bin/tmplbuild $(PREFIX)/bin/tmplbuild
	@for to in bash:bash-completion/completions/tmplbuild zsh:zsh/site-functions/_tmplbuild \
	    fish:fish/vendor_completions.d/tmplbuild.fish; do \
	    file=$(PREFIX)/share/$${to#*:}; install -d $${file%/*} && \
	    $(PREFIX)/bin/tmplbuild completion $${to%%:*} > $$file || exit; done
	@install -D -m 644 docs/tmplbuild.1 $(PREFIX)/share/man/man1/tmplbuild.1
	@install -d $(PREFIX)/lib/systemd/system $(INITDIR)
	@sed 's|@BIN@|$(PREFIX)/bin|' contrib/tmplbuild-ve.service > $(PREFIX)/lib/systemd/system/tmplbuild-ve.service
	@sed 's|@BIN@|$(PREFIX)/bin|' contrib/tmplbuild-ve.init > $(INITDIR)/tmplbuild-ve && chmod 755 $(INITDIR)/tmplbuild-ve
	@sed 's|@BIN@|$(PREFIX)/bin|' contrib/tmplbuild-nightly.service > $(PREFIX)/lib/systemd/system/tmplbuild-nightly.service
	@install -m 644 contrib/tmplbuild-nightly.timer $(PREFIX)/lib/systemd/system/tmplbuild-nightly.timer
	@install -D -m 644 contrib/tmplbuild.toml $(PREFIX)/share/doc/tmplbuild/examples/tmplbuild.toml
	@install -D -m 644 contrib/tmplbuild.cron $(PREFIX)/share/doc/tmplbuild/examples/tmplbuild.cron

clean: ## remove .venv and all that tests and tools wrote in the checkout
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are newer than pyproject.toml when the environment is up to date: then nothing is run.
$(BIN)/python:
	@sh .ci/ensure-venv $(PYTHON)
	@$(PYTHON) -m venv --clear $(VENV)

$(VENV)/.ready: pyproject.toml | $(BIN)/python
	@echo "setting up $(VENV) (once)" >&2
	@$(PIP) install --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "setting up $(VENV) with the development tools (once)" >&2
	@$(PIP) install --editable '.[dev]'
	@touch $@ $(VENV)/.ready
