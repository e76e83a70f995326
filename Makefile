# SPDX-License-Identifier: Apache-2.0
# make            ./nswrap and, where there are static libraries, ./nswrap-agent-MACHINE
# make check      unit tests, corpus replay, end-to-end tests (scripts/test does all of the set-up)
# make lint       warnings as errors with gcc and clang, clang-tidy, clang-format, cppcheck, the
#                 rules about files (scripts/check-tree), what no test names (scripts/check-tested)
# make asan       everything again under AddressSanitizer and UBSan
# make fuzz       every fuzz target, FUZZ_SECONDS each
# make bench      side by side with slirp4netns, pasta, rootlesskit and bubblewrap
# make agent-static   ./nswrap-agent-MACHINE, one static file for hosts of a mesh (MACHINE=aarch64: of
#                 another kind, with Debian's cross compiler)
# make dist deb rpm static   source, packages, and agent-static with its pages as a tarball, in build/
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
# make -s is silent: its letters stand together in the first word
silent = $(findstring s,$(firstword -$(MAKEFLAGS)))
say = $(if $(filter 1,$(V))$(silent),,@printf '  %-6s %s\n' $(1) $(2))

VERSION  := $(shell sed -n 's/^\#define NSWRAP_VERSION "\(.*\)"/\1/p' src/version.h)
PACKAGES := slirp glib-2.0 libseccomp libcap jansson yaml-0.1 libngtcp2
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla
HARDEN   ?= -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
LINK_HARDEN ?= -pie -Wl,-z,relro,-z,now
NS_CFLAGS := -std=gnu17 -D_GNU_SOURCE -Isrc $(WARNINGS) $(HARDEN) $(shell pkg-config --cflags $(PACKAGES))
# Loading libraries was a quarter of a start's time (docs/design.md), so archives are linked where all are to be
# had, and libslirp is loaded by who uses it (src/net/slirplib.h). LINK=shared: as distributions want it.
ARCHIVES := $(shell for name in glib-2.0 pcre2-8 seccomp cap jansson yaml ngtcp2 http_parser; do \
	$(CC) -print-file-name=lib$$name.a; done)
LINK     ?= $(if $(filter-out /%,$(ARCHIVES)),shared,static)
# Debian's libhttp-parser-dev has no .pc file
DYNAMIC  := $(shell pkg-config --libs $(filter-out slirp,$(PACKAGES))) -lhttp_parser
# glibc before 2.34 has the names of DNS messages, dlopen(3) and threads in libraries of their own
SYSTEM   := -pthread -Wl,--as-needed -lm -ldl -lresolv
LIBS     := $(if $(filter static,$(LINK)),$(ARCHIVES),$(DYNAMIC)) $(SYSTEM)
# a test may stand in for a function of a library
TEST_LIBS := $(DYNAMIC) $(SYSTEM) -lcmocka $(shell pkg-config --libs ldns)

LIB_SRC  := $(sort $(filter-out src/main.c,$(shell find src -name '*.c')))
LIB_OBJ  := $(LIB_SRC:%.c=$(BUILD)/%.o)
UNIT_SRC := $(sort $(wildcard tests/unit/test_*.c))
UNIT_BIN := $(UNIT_SRC:%.c=$(BUILD)/%)
FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))
# the corpus replay: the same targets with a plain main() instead of libFuzzer
REPLAY_BIN := $(FUZZ_SRC:tests/fuzz/fuzz_%.c=$(BUILD)/tests/fuzz/replay_%)

# the library (lib/): its own objects, as others are to be linked with it
SHARED_MAJOR := 0
SHARED_SRC := $(sort $(wildcard lib/*.c))
SHARED_OBJ := $(SHARED_SRC:%.c=$(BUILD)/%.o)
SHARED_LIBS := $(shell pkg-config --libs jansson) -pthread
SHARED := $(BUILD)/libnswrap.so.$(SHARED_MAJOR)
STATIC := $(BUILD)/libnswrap.a
LIBRARY := $(SHARED) $(STATIC) $(BUILD)/libnswrap.so $(BUILD)/libnswrap.pc

all: $(PROGRAM) $(LIBRARY)

$(PROGRAM): $(BUILD)/src/main.o $(BUILD)/program.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK_HARDEN) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/program.a: $(LIB_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/src/net/slirplib.o: private NS_CFLAGS += -DSLIRP_DIR='"$(shell pkg-config --variable=libdir slirp)"'

$(BUILD)/%.o: %.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(NS_CFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o $(BUILD)/program.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK_HARDEN) $(LDFLAGS) -o $@ $^ $(TEST_LIBS)

$(BUILD)/tests/fuzz/replay_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/replay.o $(BUILD)/program.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK_HARDEN) $(LDFLAGS) -o $@ $^ $(LIBS)

# --- the library ---------------------------------------------------------------------------------

$(SHARED_OBJ): NS_CFLAGS += -Ilib -fPIC -fvisibility=hidden
$(SHARED): $(SHARED_OBJ) lib/libnswrap.map
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) -shared -Wl,-soname,$(@F) -Wl,--version-script=lib/libnswrap.map \
		-Wl,-z,relro,-z,now,-z,defs $(LDFLAGS) -o $@ $(SHARED_OBJ) $(SHARED_LIBS)
$(BUILD)/libnswrap.so: $(SHARED)
	$(Q)ln -sf $(<F) $@
$(STATIC): $(SHARED_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^
# PREFIX may be another one than before
$(BUILD)/libnswrap.pc: lib/libnswrap.pc.in FORCE
	$(Q)mkdir -p $(@D); sed 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@VERSION@|$(VERSION)|' $< >$@

# what the tests of the library run: programs that are linked with it, as its users' are
EXAMPLE_BIN := $(patsubst %.c,$(BUILD)/%,$(sort $(wildcard examples/*.c tests/lib/*.c)))
$(EXAMPLE_BIN:%=%.o): NS_CFLAGS := -std=gnu17 -D_GNU_SOURCE -Ilib $(WARNINGS) $(HARDEN)
$(EXAMPLE_BIN): $(BUILD)/%: $(BUILD)/%.o $(BUILD)/libnswrap.so
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LINK_HARDEN) $(LDFLAGS) -o $@ $< -L$(BUILD) -lnswrap -Wl,-rpath,$(abspath $(BUILD)) \
		$(if $(filter $(BUILD)/tests/%,$@),-lcmocka) -pthread

# --- nswrap-agent: what a host of a mesh needs, in one static file ------------------------------

# as uname -m has it
MACHINE ?= $(firstword $(subst -, ,$(shell $(CC) -dumpmachine)))
NATIVE := $(filter $(MACHINE)-%,$(shell $(CC) -dumpmachine))
AGENT_CC ?= $(if $(NATIVE),$(CC),$(MACHINE)-linux-gnu-gcc)
AGENT_BUILD := $(BUILD)/agent-$(MACHINE)
AGENT := $(dir $(PROGRAM))nswrap-agent-$(MACHINE)
# libraries of another kind of machine: scripts/cross-libs
AGENT_ROOT := $(if $(NATIVE),,$(BUILD)/libs-$(MACHINE))
AGENT_SRC := $(filter-out src/mesh/manager/% src/mesh/manifest/% src/cmd/own.c src/net/slirplib.c,$(LIB_SRC)) \
	static/noslirp.c static/noown.c static/noglib.c static/noyaml.c
AGENT_OBJ := $(AGENT_SRC:%.c=$(AGENT_BUILD)/%.o)
AGENT_HEADERS := $(if $(NATIVE),$(shell pkg-config --cflags $(PACKAGES)),-isystem $(AGENT_ROOT)/usr/include \
	-isystem $(AGENT_ROOT)/usr/include/slirp -isystem $(AGENT_ROOT)/usr/include/glib-2.0 \
	-isystem $(AGENT_ROOT)/usr/lib/$(MACHINE)-linux-gnu/glib-2.0/include)
AGENT_CFLAGS := -std=gnu17 -D_GNU_SOURCE -Isrc $(WARNINGS) -Os -D_FORTIFY_SOURCE=2 -fstack-protector-strong \
	-ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables $(AGENT_HEADERS)
AGENT_LIBS := $(if $(NATIVE),,-L$(AGENT_ROOT)/usr/lib/$(MACHINE)-linux-gnu) \
	-lseccomp -lcap -ljansson -lhttp_parser -lngtcp2 -lresolv -lm

agent-static: $(AGENT)

# made with the rest where there is what it is linked of: not all distributions have archives
AGENT_ARCHIVES := $(if $(NATIVE),$(shell for name in seccomp cap jansson http_parser ngtcp2 glib-2.0 resolv m c; do \
	$(AGENT_CC) -print-file-name=lib$$name.a; done),none)
BROUGHT := $(if $(filter-out /%,$(AGENT_ARCHIVES)),,$(AGENT))
all: $(BROUGHT)

# of GLib what computes, see static/noglib.c; what else would be wanted of it, ld says
AGENT_GLIB := $(AGENT_BUILD)/glib/gshell.c.o $(AGENT_BUILD)/glib/gbase64.c.o $(AGENT_BUILD)/glib/ghmac.c.o \
	$(AGENT_BUILD)/glib/gchecksum.c.o
$(AGENT_GLIB): $(AGENT_BUILD)/flags
	$(Q)mkdir -p $(@D); cd $(@D) && $(AR) x $(if $(NATIVE),$$($(AGENT_CC) -print-file-name=libglib-2.0.a),$\
		$(abspath $(AGENT_ROOT))/usr/lib/$(MACHINE)-linux-gnu/libglib-2.0.a) $(@F)

# ld says of each look-up of glibc's that it may load a library: static/main.c sees to it that none does
$(AGENT): $(AGENT_BUILD)/static/main.o $(AGENT_BUILD)/agent.a $(AGENT_GLIB)
	$(call say,LD,$@)
	$(Q)$(AGENT_CC) -static -s -Wl,--gc-sections,-z,relro,-z,now -o $@.new \
		-Wl,--start-group $^ -Wl,--end-group $(AGENT_LIBS) 2>$(AGENT_BUILD)/ld.log || \
		{ cat $(AGENT_BUILD)/ld.log; exit 1; }
	$(Q)mv $@.new $@
$(AGENT_BUILD)/agent.a: $(AGENT_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^
$(AGENT_BUILD)/%.o: %.c $(AGENT_BUILD)/flags
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(AGENT_CC) $(AGENT_CFLAGS) -MMD -MP -c -o $@ $<
$(AGENT_BUILD)/flags: FORCE $(if $(NATIVE),,$(AGENT_ROOT)/complete)
	$(Q)mkdir -p $(@D); printf '%s\n' '$(AGENT_CC) $(AGENT_CFLAGS) $(AGENT_LIBS)' >$@.new; \
		if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi
$(BUILD)/libs-%/complete: scripts/cross-libs
	$(Q)scripts/cross-libs $* $(@D)

# --- unit tests ----------------------------------------------------------------------------------

# most of them wait more than they work
unit: $(UNIT_BIN)
	$(Q)printf '%s\n' $(abspath $(UNIT_BIN)) | xargs -P 3 -n 1 sh -c 'said=$$($$0 2>&1); status=$$?; \
		printf "  TEST   %s\n%s\n" "$${0##*/}" "$$said"; [ $$status = 0 ]'

# --- tests ---------------------------------------------------------------------------------------

# Debian's python, which has Debian's pytest: PATH may hold another one
PYTHON ?= /usr/bin/python3
NSWRAP ?= $(abspath $(PROGRAM))
PYTEST_ARGS ?=

replay: $(REPLAY_BIN)
	$(Q)set -e; for t in $(abspath $(REPLAY_BIN)); do \
		name=$${t##*/replay_}; printf '  REPLAY %s: ' "$$name"; $$t tests/fuzz/corpus/$$name; done

TOOL_BIN := $(patsubst %.c,$(BUILD)/%,$(sort $(wildcard tests/tools/*.c)))
$(TOOL_BIN): $(BUILD)/tests/tools/%: $(BUILD)/tests/tools/%.o
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK_HARDEN) $(LDFLAGS) -o $@ $^ -Wl,--as-needed -lseccomp

e2e: $(PROGRAM) $(AGENT) $(TOOL_BIN) $(LIBRARY) $(EXAMPLE_BIN)
	$(Q)NSWRAP=$(NSWRAP) NSWRAP_BUILD=$(abspath $(BUILD)) PYTHONDONTWRITEBYTECODE=1 $(PYTHON) tests/e2e/beside.py $(PYTEST_ARGS)

test-scripts:
	$(Q)PYTHONDONTWRITEBYTECODE=1 $(PYTHON) -m pytest -q -p no:cacheprovider tests/scripts

# one after the other: the last lines are pytest's summary
check: unit replay test-scripts $(PROGRAM)
	+$(Q)$(MAKE) --no-print-directory e2e

SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all
SANITIZED := -O1 -g -fno-omit-frame-pointer $(SANITIZE)
asan:
	+$(Q)UBSAN_OPTIONS=print_stacktrace=1 $(MAKE) --no-print-directory check BUILD=build/asan \
		PROGRAM=build/asan/nswrap CFLAGS='$(SANITIZED)' HARDEN=-fPIE LINK_HARDEN=-pie

# --- fuzzing: finds stay in build/fuzz/found, `make fuzz-merge` keeps what adds coverage ---------

FUZZ_BIN := $(FUZZ_SRC:%.c=$(BUILD)/%)
FUZZ_RUN := $(FUZZ_SRC:tests/fuzz/fuzz_%.c=fuzz-run-%)
FUZZ_MERGE := $(FUZZ_SRC:tests/fuzz/fuzz_%.c=fuzz-merge-%)
FUZZ_MAKE = $(MAKE) --no-print-directory BUILD=build/fuzz PROGRAM=build/fuzz/nswrap CC=clang \
	CFLAGS='$(SANITIZED) -fsanitize=fuzzer-no-link' HARDEN=-fPIE LINK_HARDEN=-pie

$(FUZZ_BIN): $(BUILD)/tests/fuzz/%: $(BUILD)/tests/fuzz/%.o $(BUILD)/program.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK_HARDEN) -fsanitize=fuzzer $(LDFLAGS) -o $@ $^ $(LIBS)

fuzz:
	+$(Q)$(FUZZ_MAKE) fuzz-run
fuzz-merge:
	+$(Q)$(FUZZ_MAKE) fuzz-merge-all
fuzz-run: $(FUZZ_RUN)
fuzz-merge-all: $(FUZZ_MERGE)

$(FUZZ_RUN): fuzz-run-%: $(BUILD)/tests/fuzz/fuzz_%
	$(call say,FUZZ,"$* for $(FUZZ_SECONDS) s")
	$(Q)mkdir -p $(BUILD)/found/$* tests/fuzz/corpus/$*
	$(Q)$< -max_total_time=$(FUZZ_SECONDS) -timeout=10 -print_final_stats=1 \
		-artifact_prefix=$(BUILD)/$*- $(BUILD)/found/$* tests/fuzz/corpus/$* \
		>$(BUILD)/$*.log 2>&1 || { tail -n 40 $(BUILD)/$*.log; exit 1; }
	$(Q)sed -n 's/^stat::number_of_executed_units: /  $*: inputs tried: /p' $(BUILD)/$*.log

$(FUZZ_MERGE): fuzz-merge-%: $(BUILD)/tests/fuzz/fuzz_%
	$(Q)mkdir -p $(BUILD)/found/$*
	$(Q)$< -merge=1 tests/fuzz/corpus/$* $(BUILD)/found/$* 2>&1 | tail -n 1

# --- benchmarks ----------------------------------------------------------------------------------

BENCH_BIN := $(patsubst %.c,$(BUILD)/%,$(sort $(wildcard tests/bench/*.c)))
BENCH_ARGS ?=

$(BENCH_BIN): $(BUILD)/tests/bench/%: $(BUILD)/tests/bench/%.o $(BUILD)/program.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LINK_HARDEN) $(LDFLAGS) -o $@ $^ $(LIBS)

bench-bin: $(BENCH_BIN)
bench-run: $(PROGRAM) $(BENCH_BIN) $(TOOL_BIN)
	$(Q)NSWRAP=$(NSWRAP) BENCH_BIN=$(abspath $(BUILD)/tests/bench) $(PYTHON) \
		tests/bench/bench.py $(BENCH_ARGS)
bench:
	$(Q)scripts/bench $(BENCH_ARGS)

# --- the source itself ---------------------------------------------------------------------------

C_FILES = $(shell find src lib examples static tests -name '*.[ch]' | sort)
SCRIPTS = scripts/setup scripts/lib.sh scripts/with-systemd scripts/mesh-picture scripts/demo scripts/test scripts/bench .ci/run scripts/dist scripts/deb \
	scripts/rpm scripts/static scripts/cross-libs debian/tests/smoke debian/nswrap.postinst debian/nswrap.prerm
ALL_OBJ := $(LIB_OBJ) $(SHARED_OBJ) $(EXAMPLE_BIN:%=%.o) $(patsubst %.c,$(BUILD)/%.o,src/main.c $(UNIT_SRC) $(FUZZ_SRC) \
	$(wildcard tests/fuzz/replay.c tests/bench/*.c tests/tools/*.c))
# sizeof-expression suspects every array of pointers; the last two do not understand rings of list
# entries, which ASan watches
TIDY := -*,bugprone-*,clang-analyzer-*,-bugprone-easily-swappable-parameters,$\
	-bugprone-reserved-identifier,-bugprone-assignment-in-if-condition,$\
	-bugprone-sizeof-expression,-bugprone-narrowing-conversions,-bugprone-implicit-widening-of-multiplication-result,$\
	-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling,$\
	-clang-analyzer-security.insecureAPI.strcpy,$\
	-clang-analyzer-unix.Malloc,-clang-analyzer-core.NullDereference

objects: $(ALL_OBJ)

format:
	$(Q)clang-format -i $(C_FILES)

lint: lint-format lint-tree lint-gcc lint-clang lint-cppcheck lint-scripts lint-tidy
lint-format:
	$(call say,LINT,clang-format)
	$(Q)clang-format --dry-run -Werror $(C_FILES)
lint-tree: $(LIB_OBJ) $(BUILD)/src/main.o
	$(call say,LINT,check-tree)
	$(Q)scripts/check-tree $(BUILD)
	$(Q)scripts/check-tested
lint-gcc lint-clang: lint-%:
	+$(Q)$(MAKE) --no-print-directory objects BUILD=build/lint-$* CC=$* CFLAGS='-O2 -Werror'
lint-cppcheck:
	$(call say,LINT,cppcheck)
	$(Q)cppcheck -q --error-exitcode=1 --std=c17 -Isrc -D_GNU_SOURCE --inline-suppr \
		--enable=warning,performance,portability -Ilib src lib static
lint-scripts:
	$(call say,LINT,shellcheck)
	$(Q)shellcheck -x $(SCRIPTS)
lint-tidy: $(LIB_SRC:%=tidy/%) $(SHARED_SRC:%=tidy/%) tidy/src/main.c
tidy/%.c:
	$(call say,TIDY,$*.c)
	$(Q)clang-tidy --quiet --warnings-as-errors='*' --checks='$(TIDY)' $*.c -- $(NS_CFLAGS) -Ilib \
		2>/dev/null

# --- installing ----------------------------------------------------------------------------------

LIBDIR ?= $(PREFIX)/lib
ZSH    ?= $(PREFIX)/share/zsh/site-functions
BINDIR = $(DESTDIR)$(PREFIX)/bin
MANDIR = $(DESTDIR)$(PREFIX)/share/man
BASHDIR = $(DESTDIR)$(PREFIX)/share/bash-completion/completions
ZSHDIR = $(DESTDIR)$(ZSH)
FISHDIR = $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
AGENTDIR = $(DESTDIR)$(PREFIX)/lib/nswrap
SOLIBDIR = $(DESTDIR)$(LIBDIR)
INCLUDEDIR = $(DESTDIR)$(PREFIX)/include
MAN_PAGES = $(sort $(wildcard man/*.[1-8]))
# a page for each function leads to the library's
LIB_PAGES = $(shell sed -n 's/^\.Nm \(nswrap_[a-z_]*\).*/\1.3/p' man/libnswrap.3)
# where systemd looks for units of users; below a home that is ~/.local/share/systemd/user
UNITDIR ?= $(PREFIX)/lib/systemd/user
UNITS = $(patsubst systemd/%.in,%,$(sort $(wildcard systemd/*.in)))

install: $(PROGRAM) $(LIBRARY) $(BROUGHT)
	+$(Q)$(MAKE) --no-print-directory install-files

# of what is built, as it is
install-files:
	install -D -m 0755 $(PROGRAM) $(BINDIR)/nswrap
	set -e; for file in $(filter-out %.new %.gz,$(wildcard $(dir $(PROGRAM))nswrap-agent-*)); do \
		install -D -m 0755 $$file $(AGENTDIR)/$${file##*/}; done
	install -D -m 0644 $(SHARED) $(SOLIBDIR)/$(notdir $(SHARED))
	ln -sf $(notdir $(SHARED)) $(SOLIBDIR)/libnswrap.so
	install -D -m 0644 $(STATIC) $(SOLIBDIR)/libnswrap.a
	install -d $(SOLIBDIR)/pkgconfig
	sed 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@VERSION@|$(VERSION)|' lib/libnswrap.pc.in \
		>$(SOLIBDIR)/pkgconfig/libnswrap.pc
	install -D -m 0644 lib/nswrap/nswrap.h $(INCLUDEDIR)/nswrap/nswrap.h
	$(foreach page,$(MAN_PAGES),install -D -m 0644 $(page) \
		$(MANDIR)/man$(subst .,,$(suffix $(page)))/$(notdir $(page)) && ):
	set -e; for page in $(LIB_PAGES); do echo .so man3/libnswrap.3 >$(MANDIR)/man3/$$page; chmod 0644 $(MANDIR)/man3/$$page; done
	install -D -m 0644 completion/nswrap.bash $(BASHDIR)/nswrap
	install -D -m 0644 completion/_nswrap $(ZSHDIR)/_nswrap
	install -D -m 0644 completion/nswrap.fish $(FISHDIR)/nswrap.fish

install-files: install-units
install-units:
	install -d $(DESTDIR)$(UNITDIR)
	set -e; for unit in $(UNITS); do sed 's|@BINDIR@|$(PREFIX)/bin|' systemd/$$unit.in >$(DESTDIR)$(UNITDIR)/$$unit; \
		chmod 0644 $(DESTDIR)$(UNITDIR)/$$unit; done

uninstall:
	rm -rf $(AGENTDIR)
	rm -f $(BINDIR)/nswrap $(BASHDIR)/nswrap $(ZSHDIR)/_nswrap $(FISHDIR)/nswrap.fish \
		$(SOLIBDIR)/libnswrap.so $(SOLIBDIR)/libnswrap.a $(SOLIBDIR)/$(notdir $(SHARED)) \
		$(SOLIBDIR)/pkgconfig/libnswrap.pc $(INCLUDEDIR)/nswrap/nswrap.h $(UNITS:%=$(DESTDIR)$(UNITDIR)/%) \
		$(foreach page,$(MAN_PAGES),$(MANDIR)/man$(subst .,,$(suffix $(page)))/$(notdir $(page))) \
		$(LIB_PAGES:%=$(MANDIR)/man3/%)

# --- packages: each prints what it makes in build/ -----------------------------------------------

dist deb rpm:
	$(Q)mkdir -p build && scripts/$@ build
static: $(AGENT)
	$(Q)mkdir -p build && scripts/static $(AGENT) build

clean:
	$(Q)rm -rf build nswrap nswrap-agent-*

# --- right when flags or the set of files change -------------------------------------------------

$(ALL_OBJ): $(BUILD)/flags
$(BUILD)/flags: FORCE
	$(Q)mkdir -p $(@D); printf '%s\n' '$(CC) $(NS_CFLAGS) $(CFLAGS) $(LDFLAGS) $(LIBS)' >$@.new; \
		if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

# an archive with a member whose source is gone is made again
ifneq ($(filter-out $(notdir $(LIB_OBJ)),$(shell $(AR) t $(BUILD)/program.a 2>/dev/null)),)
$(shell rm -f $(BUILD)/program.a)
endif

FORCE:
.PHONY: agent-static all unit replay test-scripts e2e check asan fuzz fuzz-run fuzz-merge fuzz-merge-all bench bench-run
.PHONY: bench-bin objects format lint lint-format lint-tree lint-gcc lint-clang lint-cppcheck
.PHONY: lint-scripts lint-tidy install install-files install-units uninstall dist deb rpm static clean FORCE
.PHONY: $(FUZZ_RUN) $(FUZZ_MERGE)
.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
