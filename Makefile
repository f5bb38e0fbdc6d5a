# make run    a server at http://localhost:8080, with nothing on the machine but Python
# make cluster  three nodes with Redis on this machine; shows which serves which room, and kills them on command
# make test   lint, types, unit, scenario and browser tests; installs what they need
# make quick  lint, types and the tests that need neither a browser nor another process, in less than a minute
# make check  lint, types and the order of imports
# one test    .venv/bin/pytest tests/rooms/test_room.py -k part_of_its_name
# make docs   regenerates the generated documents
# make fuzz   looks for inputs that break a parser, SECONDS=60 in all
# make fuzz-cost  looks for the inputs that cost most CPU time, SECONDS=60 in all
# make sanitize  the tests of the C part, and a differential fuzzer, with it under ASan and UBSan
# make show   a whole meeting on air while its worker is killed, with its figures
# make bench  what forwarding costs, beside other servers doing the same
# make soak   people who come and go for DURATION seconds (600), the same while each packet is accounted for, a million
#             reliable messages at ten per cent loss, ten thousand of browsers', hundreds of screen shares on one
#             connection, schedules of cluster faults, an hour of media at two per cent in simulated time, and each scenario
#             with all its seeds
# make clean  removes what the others made

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8080
RTMP_PORT ?= 1935
PYTEST_ARGS ?=
SECONDS ?= 60
BROWSERS ?= 2
WORKERS ?= 3

# Where the environment forbids bytecode, each process would compile the code and rewrite the assertions of all tests.
export PYTHONDONTWRITEBYTECODE :=

BIN := $(VENV)/bin
NATIVE := $(wildcard sfu/transport/native_src/*)
NODE := build/node
TSC := $(NODE)/node_modules/.bin/tsc
TYPESCRIPT := typescript@5.9

PROGRAMS := chromium=chromium chromium-headless-shell=chromium-headless-shell? firefox-esr=firefox-esr? ffmpeg=ffmpeg node=nodejs \
  npm=npm promtool=prometheus? amtool=prometheus-alertmanager? turnserver=coturn? redis-server=redis-server? \
  faketime=faketime? nginx=nginx-light? \
  haproxy=haproxy? WebKitWebDriver=webkit2gtk-driver? Xvfb=xvfb?
# What WebKitGTK plays with, by one file of each package.
plugin = $(firstword $(wildcard /usr/lib/*/gstreamer-1.0/$(1)) $(1))=$(2)?
PROGRAMS += $(call plugin,libgstplayback.so,gstreamer1.0-plugins-base) $(call plugin,libgstisomp4.so,gstreamer1.0-plugins-good) \
  $(call plugin,libgstvideoparsersbad.so,gstreamer1.0-plugins-bad) $(call plugin,libgstlibav.so,gstreamer1.0-libav)
NOTO := /usr/share/fonts/truetype/noto/NotoSansArabic-Regular.ttf=fonts-noto-core? \
  /usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc=fonts-noto-cjk?
PROGRAMS += $(firstword $(wildcard /usr/lib/*/girepository-1.0/GstRtspServer-1.0.typelib) GstRtspServer)=gir1.2-gst-rtsp-server-1.0?
PROGRAMS += $(firstword $(wildcard /usr/lib/*/gio/modules/libgiognutls.so) libgiognutls.so)=glib-networking?
GSTREAMER := $(patsubst %,gst-launch-1.0=gstreamer1.0-%?,tools plugins-base plugins-good plugins-bad plugins-ugly libav)
BENCH_PROGRAMS := chromium=chromium? janus=janus? ffmpeg=ffmpeg? $(GSTREAMER)

# Browser tests in parallel, then the files of the others. Tests with the marker quiet measure pauses and rates, and run at the end:
# browser tests that use half a processor two at a time; those of egress, which wait most of the time, beside each other; the one
# that keeps all processors busy alone.
PARALLEL = $(BIN)/pytest -q --dist loadfile
QUIET = $(shell grep -rl "pytest.mark.quiet" tests --include "test_*.py")
LIGHT := $(addprefix tests/web/test_,frames.py capture_stall.py watch.py)
LOUD := tests/egress/test_busy_machine.py
# pytest fails if PYTEST_ARGS select no test of a stage.
MAYBE_NONE = $(if $(PYTEST_ARGS),|| [ $$? -eq 5 ])
# Tests that use no browser and start no process of their own.
QUICK := $(addprefix tests/,auth bandwidth forwarding resources mixer rooms rtp sdp signaling telemetry transport)

.PHONY: run cluster test stages browser-tests other-tests light-browser-tests quiet-browser-tests \
  quiet-tests loud-tests tools programs quick lint check web-check docs fuzz fuzz-cost sanitize show bench soak clean
.DELETE_ON_ERROR:

run: $(VENV)/.installed
	@echo "aiosfu: http://localhost:$(PORT)"
	@$(BIN)/sfu serve --port $(PORT) --set rtc.tcp_port=7881 --set ingest.rtmp_port=$(RTMP_PORT) --demo

cluster: $(VENV)/.installed-test
	@.ci/packages redis-server=redis-server
	@$(BIN)/python -m tests.cluster.demo --port $(PORT)

test:
	@.ci/stage "make test" $(MAKE) --no-print-directory stages

stages:
	@.ci/stage installation $(MAKE) --no-print-directory -j2 $(VENV)/.installed-test tools
	@.ci/stage check $(MAKE) --no-print-directory -j2 --output-sync lint web-check
	@failed=0; for tests in browser-tests other-tests light-browser-tests quiet-browser-tests quiet-tests loud-tests; do \
	  $(MAKE) --no-print-directory $$tests || failed=1; \
	done; exit $$failed

browser-tests:
	@.ci/stage "browser tests" $(BIN)/pytest -q --dist worksteal -m "not quiet" -n $(BROWSERS) $(PYTEST_ARGS) tests/web $(MAYBE_NONE)

other-tests:
	@.ci/stage "other tests" $(PARALLEL) -m "not quiet" -n $(WORKERS) --no-loadscope-reorder $(PYTEST_ARGS) tests \
	  --ignore tests/web $(MAYBE_NONE)

light-browser-tests:
	@.ci/stage "light quiet browser tests" $(BIN)/pytest -q -m quiet -n 2 --dist worksteal $(PYTEST_ARGS) $(LIGHT) $(MAYBE_NONE)

quiet-browser-tests:
	@.ci/stage "quiet browser tests" $(BIN)/pytest -q -m quiet $(PYTEST_ARGS) \
	  $(filter-out $(LIGHT),$(filter tests/web/%,$(QUIET))) $(MAYBE_NONE)

quiet-tests:
	@.ci/stage "quiet tests" $(BIN)/pytest -q -m quiet -n 4 $(PYTEST_ARGS) $(filter-out tests/web/% $(LOUD),$(QUIET)) $(MAYBE_NONE)

loud-tests:
	@.ci/stage "loud tests" $(BIN)/pytest -q -m quiet $(PYTEST_ARGS) $(LOUD) $(MAYBE_NONE)

tools: programs
	@$(MAKE) --no-print-directory $(TSC)

programs:
	@.ci/packages $(PROGRAMS) $(NOTO)

quick: $(VENV)/.installed-test
	@.ci/stage check $(MAKE) --no-print-directory check
	@.ci/stage "unit tests" $(PARALLEL) -m "not quiet" -n 2 $(QUICK)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

check: lint
	$(BIN)/pytest -q tests/test_architecture.py

docs: $(VENV)/.installed-test
	@$(BIN)/python -m tests.documents

web-check: $(TSC)
	$(TSC) --project web/tsconfig.json --noEmit
	node --test tests/web/unit

fuzz: $(VENV)/.installed-test
	$(BIN)/python -m tests.fuzz $(SECONDS)

fuzz-cost: $(VENV)/.installed-test
	$(BIN)/python -m tests.fuzz.cost $(SECONDS)

sanitize: $(VENV)/.installed-test
	$(BIN)/python -m tests.fuzz.sanitized $(SECONDS)

bench: $(VENV)/.installed-test
	@.ci/packages $(BENCH_PROGRAMS)
	$(BIN)/python -m tests.bench

soak: $(VENV)/.installed-test
	CHURN_SECONDS=$(or $(DURATION),600) $(BIN)/pytest tests/attacks/test_faults.py tests/attacks/test_ledger.py
	SCHEDULES=10000 $(BIN)/pytest tests/cluster/test_model.py tests/rooms/mirror/test_model.py
	SCTP_MESSAGES=1000000 $(BIN)/pytest tests/transport/test_sctp_loss.py
	BROWSER_MESSAGES=10000 $(BIN)/pytest tests/web/test_messages.py
	SHARES=210 $(BIN)/pytest tests/web/test_long.py
	MIX_SECONDS=3600 $(BIN)/pytest tests/egress/test_length.py
	SEEDS=all $(BIN)/pytest tests/scenarios

show: $(VENV)/.installed-test
	SHOW=1 $(BIN)/pytest -rxs tests/web/test_show.py

clean:
	rm -rf build dist $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find sfu tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: Python 3.11 or newer is needed, and $(PYTHON) is missing or older: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "make: Python cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

# The stamps make every later start instant; a changed pyproject.toml or C part installs again.
$(VENV)/.installed: pyproject.toml $(NATIVE) | $(BIN)/python
	@echo "make: installing into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[perf]'
	@touch $@

$(VENV)/.installed-test: pyproject.toml $(NATIVE) | $(BIN)/python
	@echo "make: installing into $(VENV), with what the tests need"
	@.ci/install $(BIN) --editable '.[perf,test]'
	@touch $@ $(VENV)/.installed

$(TSC):
	@.ci/packages node=nodejs npm=npm
	@mkdir -p $(NODE)
	@npm install --prefix $(NODE) --silent --no-audit --no-fund $(TYPESCRIPT)
	@touch $@
