# sluice: `make` builds ./sluice and the library; `make demo` shows it; `make test` tests it. `make help` lists all.

BUILD ?= build
SAN ?=
CC = cc
AR = ar

PACKAGES = liburing blosc yaml-0.1 libzstd liblz4 libdeflate json-c zlib snappy
WARNINGS = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla
CFLAGS ?= -O2 -g
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE $(WARNINGS) -fvisibility=hidden -fPIC -pthread -I. $(CFLAGS)
ALL_LDFLAGS = -pthread $(LDFLAGS)
LIBS = -luring -lblosc -lyaml -lzstd -llz4 -ldeflate -ljson-c -lsnappy -lz -lm

ifeq ($(SAN),address)
ALL_CFLAGS += -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
ALL_LDFLAGS += -fsanitize=address,undefined
BUILD := $(BUILD)/asan
else ifeq ($(SAN),thread)
ALL_CFLAGS += -fsanitize=thread -fno-omit-frame-pointer
ALL_LDFLAGS += -fsanitize=thread
BUILD := $(BUILD)/tsan
endif

SOURCES = $(wildcard engine/*/*.c planner/*.c dsl/*.c)
LIB_OBJECTS = $(patsubst %.c,$(BUILD)/%.o,$(filter-out dsl/main.c,$(SOURCES)))
UNIT_TESTS = $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/test_*.c))

.PHONY: all unit clean
all: $(BUILD)/sluice

$(BUILD)/libsluice.a: $(LIB_OBJECTS)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/sluice: $(BUILD)/dsl/main.o $(BUILD)/libsluice.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o $(BUILD)/libsluice.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

unit: $(UNIT_TESTS)
	@for t in $(UNIT_TESTS); do $$t || exit 1; done

clean:
	rm -rf $(BUILD)

-include $(patsubst %.c,$(BUILD)/%.d,$(SOURCES) $(wildcard tests/unit/*.c))
