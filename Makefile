# sluice: `make` builds ./sluice and the library; `make demo` shows it; `make test` tests it. `make help` lists all.

BUILD ?= build
ROOT := $(BUILD)
SAN ?=
CC = cc
AR = ar
PYTHON ?= python3
PREFIX ?= /usr/local
INTEROP_CASES ?= 480
BUDGET_CASES ?= 240

WARNINGS = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla
CFLAGS ?= -O2 -g
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE $(WARNINGS) -fvisibility=hidden -fPIC -pthread -I. $(CFLAGS)
ALL_LDFLAGS = -pthread $(LDFLAGS)
LIBS = -luring -lblosc -lyaml -lzstd -llz4 -ldeflate -lsnappy -lz -lm
# One test reads the corpus's configuration with it; the program reads JSON itself (engine/format/json.h).
TEST_LIBS = -ljson-c

# A BUILD of the command line would win over one that is only set here, and mix sanitized objects with plain ones.
ifeq ($(SAN),address)
ALL_CFLAGS += -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
ALL_LDFLAGS += -fsanitize=address,undefined
override BUILD := $(ROOT)/asan
else ifeq ($(SAN),undefined)
ALL_CFLAGS += -fsanitize=undefined -fno-sanitize-recover=undefined
ALL_LDFLAGS += -fsanitize=undefined
override BUILD := $(ROOT)/ubsan
else ifeq ($(SAN),thread)
ALL_CFLAGS += -fsanitize=thread -fno-omit-frame-pointer
ALL_LDFLAGS += -fsanitize=thread
override BUILD := $(ROOT)/tsan
TSAN = TSAN_OPTIONS=suppressions=tests/tools/tsan.supp
else ifeq ($(SAN),fuzz)
ALL_CFLAGS += -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
# Long chunks are encoded as they come; short ones find as much.
ALL_CFLAGS += -DAPPENDED_RAW_BYTES_LEAST=65536
ALL_LDFLAGS += -fsanitize=fuzzer,address,undefined
override BUILD := $(ROOT)/fuzz
else ifneq ($(SAN),)
$(error SAN=$(SAN): address, undefined or thread)
endif

SOURCES = $(wildcard engine/*/*.c planner/*.c dsl/*.c)
LIB_OBJECTS = $(patsubst %.c,$(BUILD)/%.o,$(filter-out dsl/main.c,$(SOURCES)))
UNITS = $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*.c))
UNIT_TESTS = $(addprefix $(BUILD)/tests/unit/,$(UNITS))
FUZZ_TARGETS = $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SECONDS ?= 30
REPLAYS = $(addprefix $(BUILD)/tests/fuzz/,$(FUZZ_TARGETS))
FAULT_TESTS = $(BUILD)/tests/fault/test_faults
FAULT_SLUICE = $(BUILD)/tests/fault/sluice
BENCHES = $(patsubst %.c,$(BUILD)/%,$(wildcard bench/*.c))
GENERATE = $(ROOT)/bench/generate
VENV = $(ROOT)/venv
JUDGE = $(VENV)/bin/python
JUDGE_READY = $(VENV)/ready
# Arrays that other implementations wrote, where they are at hand; without them those tests are skipped, aloud.
SLUICE_CORPUS ?= $(abspath $(wildcard ../shared/corpus))
ifneq ($(SLUICE_CORPUS),)
export SLUICE_CORPUS
endif
TALLY = $(PYTHON) tests/tools/tally.py

.PHONY: all help deps test-deps unit fault fault-threads fault-uring fuzz fuzz-or-skip fuzzers test test-long test-san test-run interop golden golden-check tidy bench benches demo static shared install clean
.SECONDARY:
.DELETE_ON_ERROR:

all: $(BUILD)/sluice
ifeq ($(SAN),)
all: sluice
endif

help:                  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | \
	    while IFS='	' read -r name what; do printf '  make %-10s %s\n' "$$name" "$$what"; done
	@echo '  SAN=address|undefined|thread  builds and tests with a sanitizer, in build/asan, build/ubsan or build/tsan'
	@echo '  CC= CFLAGS= BUILD= PYTHON=    as usual'

deps:                  ## install the libraries and tools that are missing (apt; elsewhere says what to install)
	@tests/tools/deps.sh install
test-deps:             ## install what some tests are skipped without: xfs, FUSE, strace (apt)
	@tests/tools/deps.sh tests

# ---- the program and the library ----

# A missing library is named before the compiler meets it.
$(ROOT)/.libraries: tests/tools/deps.sh
	@mkdir -p $(@D)
	@CC="$(CC)" tests/tools/deps.sh check
	@touch $@

$(BUILD)/%.o: %.c | $(ROOT)/.libraries
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/libsluice.a: $(LIB_OBJECTS)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/sluice: $(BUILD)/dsl/main.o $(BUILD)/libsluice.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

sluice: $(ROOT)/sluice
	@ln -sf $(ROOT)/sluice sluice

static: $(ROOT)/static/sluice  ## build/static/sluice, which needs nothing of the machine it runs on
$(ROOT)/static/sluice: $(BUILD)/dsl/main.o $(BUILD)/libsluice.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -static -o $@ $^ $(LIBS) -lstdc++ -lm

# Only what sluice.h marks is visible; everything else is hidden by -fvisibility=hidden.
shared: $(ROOT)/libsluice.so   ## build/libsluice.so
$(ROOT)/libsluice.so: $(LIB_OBJECTS)
	$(CC) $(ALL_LDFLAGS) -shared -Wl,-soname,libsluice.so.0 -Wl,--no-undefined -o $@ $^ $(LIBS)

install: $(ROOT)/sluice $(ROOT)/libsluice.so  ## into PREFIX=/usr/local (DESTDIR is honoured)
	@install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib $(DESTDIR)$(PREFIX)/include
	@install -d $(DESTDIR)$(PREFIX)/share/sluice/pipelines
	@install -m 755 $(ROOT)/sluice $(DESTDIR)$(PREFIX)/bin/sluice
	@install -m 755 $(ROOT)/libsluice.so $(DESTDIR)$(PREFIX)/lib/libsluice.so.0
	@ln -sf libsluice.so.0 $(DESTDIR)$(PREFIX)/lib/libsluice.so
	@install -m 644 dsl/sluice.h $(DESTDIR)$(PREFIX)/include/sluice.h
	@install -m 644 LICENSE README.md $(DESTDIR)$(PREFIX)/share/sluice
	@install -m 644 $(wildcard pipelines/*.yaml) $(DESTDIR)$(PREFIX)/share/sluice/pipelines
	@echo "installed in $(DESTDIR)$(PREFIX): bin/sluice, lib/libsluice.so, include/sluice.h, share/sluice"

# ---- tests ----

test:                  ## everything that is quick: unit, fault, tidy, golden, run, interop (about eight minutes)
	@$(MAKE) --no-print-directory all $(GENERATE) $(JUDGE_READY)
	@$(TALLY) \
	    'unit=$(MAKE) --no-print-directory -k -O unit' \
	    'fault=$(MAKE) --no-print-directory -k -O fault' \
	    'tidy=$(MAKE) --no-print-directory tidy' \
	    'golden=$(MAKE) --no-print-directory golden-check' \
	    'run=$(MAKE) --no-print-directory -k -O test-run' \
	    'interop=$(MAKE) --no-print-directory interop' $(MORE_PARTS)

# With -j2, about an hour on two quiet cores.
test-long:             ## the same, long: thousands of random cases, every call failing once, kills, fuzzing (-j2: about an hour)
	@SLUICE_KILLS=240 SLUICE_FAULTS_EVERY=1 SLUICE_LONG=1 $(MAKE) --no-print-directory test INTEROP_CASES=4000 \
	    BUDGET_CASES=1000 FUZZ_SECONDS=45 'MORE_PARTS="fuzz=$(MAKE) --no-print-directory fuzz-or-skip"'

# Every test is a target: -j runs several at once, -k goes on after one that fails, -O keeps the words of each together.
UNIT_RUNS = $(addsuffix .ran,$(UNIT_TESTS) $(REPLAYS))
unit: $(UNIT_RUNS)
$(UNIT_RUNS): %.ran: %
	@$(TSAN) $*
.PHONY: $(UNIT_RUNS)

# The targets of tests/fuzz without a fuzzer play their seeds, in `unit`; with one they look for more.
fuzz:                  ## libFuzzer on all that reads what others wrote, FUZZ_SECONDS=30 each (needs clang)
	@tests/tools/deps.sh fuzz
	@$(MAKE) --no-print-directory -s SAN=fuzz CC=clang fuzzers
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tests/tools/fuzz.sh $(ROOT)/fuzz $(FUZZ_TARGETS)
fuzzers: $(REPLAYS)
fuzz-or-skip:
	@if command -v clang > /dev/null; then $(MAKE) --no-print-directory fuzz; else \
	    echo 'skipped fuzz: there is no clang'; echo 'fuzz: 0 passed, 0 failed, 1 skipped'; fi

# The example pipelines, with calls that are made to fail; with -j, both back ends at once.
fault: fault-threads fault-uring
fault-threads fault-uring: fault-%: $(FAULT_TESTS)
	@$(FAULT_TESTS) --io $*

# Whole pipelines: exit codes, damaged inputs, full disks, signals, memory limits.
RUNS = $(patsubst tests/run/%.py,%,$(wildcard tests/run/test_*.py))
RUN_RUNS = $(patsubst %,tests/run/%.py.ran,$(RUNS))
test-run: $(RUN_RUNS)
$(RUN_RUNS): %.ran: $(BUILD)/sluice $(FAULT_SLUICE) $(GENERATE) $(JUDGE_READY)
	@SLUICE=$(BUILD)/sluice SLUICE_SAN=$(SAN) SLUICE_FAULTY=$(FAULT_SLUICE) $(JUDGE) $*
.PHONY: $(RUN_RUNS)

# Other implementations as judges.
interop: $(BUILD)/sluice $(JUDGE_READY)
	@status=0; SLUICE=$(BUILD)/sluice SLUICE_SAN=$(SAN) $(JUDGE) tests/interop/interop.py --cases $(INTEROP_CASES) || status=1; \
	    SLUICE=$(BUILD)/sluice SLUICE_SAN=$(SAN) $(JUDGE) tests/interop/budgets.py --cases $(BUDGET_CASES) || status=1; \
	    SLUICE=$(BUILD)/sluice SLUICE_SAN=$(SAN) $(JUDGE) tests/interop/corpus.py || status=1; exit $$status

# What the address sanitizer would only slow down (disks, memory limits, hundreds of deaths), and what runs threads.
RUNS_ASAN = $(filter-out test_real_faults test_power_cut test_cgroup test_budget test_kills,$(RUNS))
UNITS_TSAN = $(addprefix test_,carry exec io io_cached io_choice parts passes ranges report resume scan slices sparse store)
RUNS_TSAN = $(addprefix test_,damage pipelines same_bytes stops verify)

test-san:              ## unit, run and some interop tests under the address, undefined and thread sanitizers
	@$(MAKE) --no-print-directory $(GENERATE) $(JUDGE_READY)
	@$(MAKE) --no-print-directory SAN=address all
	@$(MAKE) --no-print-directory SAN=thread all
	@$(TALLY) \
	    'unit-asan=$(MAKE) --no-print-directory -k -O SAN=address unit' \
	    'fault-asan=$(MAKE) --no-print-directory -k -O SAN=address fault' \
	    'run-asan=$(MAKE) --no-print-directory -k -O SAN=address "RUNS=$(RUNS_ASAN)" test-run' \
	    'interop-asan=$(MAKE) --no-print-directory SAN=address INTEROP_CASES=60 BUDGET_CASES=30 interop' \
	    'unit-tsan=$(MAKE) --no-print-directory -k -O SAN=thread "UNITS=$(UNITS_TSAN)" REPLAYS= unit' \
	    'run-tsan=$(MAKE) --no-print-directory -k -O SAN=thread "RUNS=$(RUNS_TSAN)" test-run' \
	    'interop-tsan=$(MAKE) --no-print-directory SAN=thread INTEROP_CASES=40 BUDGET_CASES=20 interop'

tidy:                  ## the rules of the tree: layers, sizes, banned functions, headers that stand alone
	@CC="$(CC)" CFLAGS="$(ALL_CFLAGS)" $(PYTHON) tests/tools/tidy.py

golden-check: $(BUILD)/sluice
	@$(PYTHON) tests/golden/run.py --sluice $(BUILD)/sluice
golden: $(BUILD)/sluice  ## rewrite the expected messages of tests/golden (read the diff)
	@$(PYTHON) tests/golden/run.py --sluice $(BUILD)/sluice --refresh

$(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o $(BUILD)/libsluice.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS) $(TEST_LIBS)

$(BUILD)/tests/fuzz/%: $(BUILD)/tests/fuzz/%.o $(if $(filter fuzz,$(SAN)),,$(BUILD)/tests/fuzz/replay.o) $(BUILD)/libsluice.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

# Programs in which the n-th call of a kind can be made to fail (tests/fault/faults.h): the same objects, other links.
FAULT_WRAPS = malloc calloc realloc aligned_alloc free strdup strndup vasprintf asprintf open_memstream realpath fdopen \
    fopen fdopendir readdir mmap eventfd memfd_create pthread_create
FAULT_LDFLAGS = $(addprefix -Wl$(COMMA)--wrap=,$(FAULT_WRAPS))
COMMA = ,
$(FAULT_TESTS): $(BUILD)/tests/fault/test_faults.o $(BUILD)/tests/fault/faults.o $(BUILD)/libsluice.a
$(FAULT_SLUICE): $(BUILD)/dsl/main.o $(BUILD)/tests/fault/faults.o $(BUILD)/libsluice.a
$(FAULT_TESTS) $(FAULT_SLUICE):
	$(CC) $(ALL_LDFLAGS) $(FAULT_LDFLAGS) -o $@ $^ $(LIBS)

$(JUDGE_READY): tests/requirements.txt
	@tests/tools/venv.sh $(PYTHON) $(VENV) tests/requirements.txt

# ---- benchmarks and the demo ----

$(BUILD)/bench/generate: $(BUILD)/bench/generate.o
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lblosc -lm
$(BUILD)/bench/%: $(BUILD)/bench/%.o $(BUILD)/libsluice.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

benches: $(BENCHES)
bench: $(BUILD)/sluice $(GENERATE)  ## sluice and its peers on the same work (bench/README.md says how to get the peers)
	@$(PYTHON) bench/run.py

demo:                  ## installs what is missing, builds, rechunks 1 GB inside 64 MiB, is killed and goes on, and shows it
	@echo 'building ... (all in all about a minute, and up to 2 GB of disk in $(ROOT)/demo)'
	@tests/tools/deps.sh install
	@$(MAKE) --no-print-directory -s all $(GENERATE)
	@ROOT=$(ROOT) tests/tools/demo.sh

clean:                 ## remove what was built (the Python environment too)
	rm -rf $(ROOT) sluice

-include $(patsubst %.c,$(BUILD)/%.d,$(SOURCES) $(wildcard tests/unit/*.c tests/fault/*.c tests/fuzz/*.c bench/*.c))
