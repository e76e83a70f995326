# SPDX-License-Identifier: Apache-2.0
# make            ./nswrap
# make check      unit tests, corpus replay, end-to-end tests (scripts/test does all of the set-up)
# make lint       warnings as errors with gcc and clang, clang-tidy, clang-format, cppcheck
# make asan       everything again under AddressSanitizer and UBSan
# make fuzz       every fuzz target, FUZZ_SECONDS each
# make bench      side by side with slirp4netns, pasta, rootlesskit and bubblewrap
# V=1 shows the commands.

PREFIX  ?= /usr/local
DESTDIR ?=
CC      ?= cc
BUILD   ?= build
PROGRAM ?= nswrap
CFLAGS  ?= -O2 -g
V       ?= 0
FUZZ_SECONDS ?= 600

Q = $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-6s %s\n' $(1) $(2))

VERSION  := $(shell sed -n 's/^\#define NSWRAP_VERSION "\(.*\)"/\1/p' src/version.h)
PACKAGES := slirp libseccomp libcap jansson
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla
HARDEN   ?= -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
LINK_HARDEN ?= -pie -Wl,-z,relro,-z,now
NS_CFLAGS := -std=gnu17 -D_GNU_SOURCE -Isrc $(WARNINGS) $(HARDEN) $(shell pkg-config --cflags $(PACKAGES))
LIBS     := $(shell pkg-config --libs $(PACKAGES))

LIB_SRC  := $(sort $(filter-out src/main.c,$(shell find src -name '*.c')))
LIB_OBJ  := $(LIB_SRC:%.c=$(BUILD)/%.o)
UNIT_SRC := $(sort $(wildcard tests/unit/test_*.c))
UNIT_BIN := $(UNIT_SRC:%.c=$(BUILD)/%)
FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))
# the corpus replay: the same targets with a plain main() instead of libFuzzer
REPLAY_BIN := $(FUZZ_SRC:tests/fuzz/fuzz_%.c=$(BUILD)/tests/fuzz/replay_%)

all: $(PROGRAM)

$(PROGRAM): $(BUILD)/src/main.o $(BUILD)/libnswrap.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK_HARDEN) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/libnswrap.a: $(LIB_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/%.o: %.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(NS_CFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o $(BUILD)/libnswrap.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK_HARDEN) $(LDFLAGS) -o $@ $^ $(LIBS) -lcmocka

$(BUILD)/tests/fuzz/replay_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/replay.o $(BUILD)/libnswrap.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK_HARDEN) $(LDFLAGS) -o $@ $^ $(LIBS)

unit: $(UNIT_BIN)
	$(Q)set -e; for t in $(UNIT_BIN); do echo "  TEST   $${t##*/}"; ./$$t; done

.PHONY: all unit
.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
