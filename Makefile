# Makefile - builds, tests and measures hakmem; `make help` lists the targets.

CC      ?= gcc
B       := build
PREFIX  ?= /usr/local
DESTDIR ?=

WARN := -Wall -Wextra -Wconversion -Wsign-conversion -Wshadow -Wcast-qual \
        -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla -Wformat=2 \
        -Wnull-dereference -Wmissing-format-attribute -Werror
# -ffunction-sections puts each function into a section of its own, so that the
# linker can drop the unused ones and place the rare ones apart
# (framework/sections.ld).
BASE := -std=gnu11 -D_GNU_SOURCE -O2 -g -fPIC -fvisibility=hidden \
        -fno-builtin-malloc -fno-strict-aliasing -ffunction-sections -MMD -MP
CFLAGS  ?=
ALL     = $(BASE) $(WARN) $(FOR_FILE) $(CFLAGS)

# FRAMEWORK lists the folders that make up the library, in the order of the
# README's drawing. The files of EXPORTED define malloc and other public
# functions. Tools and tests must not replace their own malloc, so they link the
# modules instead of these files.
FRAMEWORK := base conf core/state core/memory core/route core/thread core/box \
    core/malloc report start
EXPORTED  := $(addprefix framework/,core/malloc/entry.c report/api.c \
    start/init.c start/dlopen.c start/atfork.c)
CORE_SRCS := $(filter-out $(EXPORTED) framework/start/fused.c framework/start/cxx.c,\
    $(foreach d,$(FRAMEWORK),$(wildcard framework/$(d)/*.c)))
CORE_OBJS := $(CORE_SRCS:%.c=$(B)/obj/%.o)
LIB_OBJS  := $(CORE_OBJS) $(EXPORTED:%.c=$(B)/obj/%.o)
# libinih is linked as a position-independent archive, so that a preload needs
# only one file. libgcc is linked statically, because the process may have
# another version of it.
CORE_LIBS := -Wl,-T,framework/sections.ld -l:libinih.a -static-libgcc

# A module is a folder NAME of framework/modules/. It is built from all .c files
# of the folder and linked with the libraries of NAME_LIBS.
MODULES      := $(notdir $(patsubst %/,%,$(wildcard framework/modules/*/)))
MODULE_FILES := $(MODULES:%=$(B)/modules/%.so)
MODULE_OBJS  := $(patsubst %.c,$(B)/obj/%.o,$(wildcard framework/modules/*/*.c))
foreign_LIBS := -l:libffi_pic.a
# Static, as the program may define functions of zlib. Debian's archive links
# into shared objects, since Debian compiles for -pie and zlib hides its data.
heap_profile_LIBS := -l:libz.a
# hakctl and the tests link the core and all modules into one program.
WHOLE_OBJS   := $(CORE_OBJS) $(MODULE_OBJS) $(B)/obj/framework/modules/linked.o
WHOLE_LIBS   := $(CORE_LIBS) $(foreach m,$(MODULES),$($(m)_LIBS))

CXX_LIBS  := $(B)/libhakmem-cxx.so $(B)/libhakmem-match.so

# A plugin is a folder NAME with a file NAME.mk, which lists the .c files of the
# box in NAME_SRCS and those of its tests in NAME_TESTS. NAME_CHECK may replace
# the arguments of its `hakctl check-box`. OTHER_BOXES lists such folders
# outside of plugins/.
PLUGIN_DIRS := $(patsubst %/,%,$(wildcard plugins/*/)) $(OTHER_BOXES:%/=%)
$(foreach d,$(PLUGIN_DIRS),$(if $(wildcard $(d)/$(notdir $(d)).mk),, \
    $(error $(d) has no $(notdir $(d)).mk; a box's folder says there what it is \
    built of: docs/writing-a-box.md, "In the tree")))
PLUGINS := $(notdir $(PLUGIN_DIRS))
$(foreach d,$(PLUGIN_DIRS),$(eval $(notdir $(d))_DIR := $(d)))
include $(foreach d,$(PLUGIN_DIRS),$(d)/$(notdir $(d)).mk)
BOXES   := $(PLUGINS:%=$(B)/boxes/%.so)
# A box may include the ABI and the kit, but nothing of the core.
BOX_INC := -Iframework/include -I$(B)/kit
CORE_INC := -Iframework/include -Iframework
TEST_INC := $(CORE_INC) -Itests/lib

# V=1 shows the commands.
ifndef V
.SILENT:
endif
MAKEFLAGS += --no-print-directory
# $(call say,WORD) prints one line for the file that is being made.
say = @$(if $(V),:,printf '  %-5s %s\n' $(1) '$@')

.PHONY: all
all: $(B)/libhakmem.so $(CXX_LIBS) $(MODULE_FILES) $(BOXES) $(B)/hakctl \
    $(B)/hakctl-check-box $(B)/hakctl-monitor $(B)/hakctl-profile \
    $(B)/hakctl-trace $(B)/hakctl-player $(B)/share/report/report.html
	@echo 'built: $(B)/libhakmem.so, $(words $(BOXES)) boxes in $(B)/boxes/, modules in $(B)/modules/, $(B)/hakctl'

# ---- library, tool -------------------------------------------------------

$(B)/obj/framework/%.o: framework/%.c | $(B)/.deps-build
	@mkdir -p $(@D)
	$(call say,CC)
	$(CC) $(ALL) $(CORE_INC) -c $< -o $@

# -Bsymbolic-functions binds the library's own calls of malloc and the like to
# its own functions, even if the program defines functions with these names.
# pack-relative-relocs needs glibc 2.36. It makes the relocations, which each
# process reads at start, 200 bytes long instead of 13 KiB.
LIB_LINK := -shared -Wl,-Bsymbolic-functions -Wl,-soname,libhakmem.so.1 \
    -Wl,-z,now -Wl,-z,relro -Wl,-z,pack-relative-relocs -Wl,--gc-sections \
    -Wl,-z,start-stop-visibility=hidden \
    -Wl,--version-script=framework/versions.map \
    -Wl,--exclude-libs,ALL -Wl,-z,defs
$(B)/libhakmem.so.1: $(LIB_OBJS) framework/sections.ld framework/versions.map
	$(call say,LINK)
	$(CC) $(LIB_LINK) -o $@ $(LIB_OBJS) $(CORE_LIBS)

$(B)/libhakmem.so: $(B)/libhakmem.so.1
	ln -sf libhakmem.so.1 $@

# Exceptions that operator new throws pass through the functions of cxx.c.
$(B)/obj/framework/start/cxx.o $(B)/obj/framework/start/match.o: FOR_FILE := -fexceptions -ftls-model=initial-exec
$(B)/obj/framework/start/match.o: framework/start/cxx.c | $(B)/.deps-build
	@mkdir -p $(@D)
	$(call say,CC)
	$(CC) $(ALL) -DHAK_MATCH $(CORE_INC) -c $< -o $@

$(B)/libhakmem-cxx.so: $(B)/obj/framework/start/cxx.o
$(B)/libhakmem-match.so: $(B)/obj/framework/start/match.o
$(CXX_LIBS):
	$(call say,LINK)
	$(CC) -shared -Wl,-z,now -Wl,-z,relro -Wl,-z,defs -static-libgcc \
	    -Wl,--exclude-libs,ALL -o $@ $<

# ---- modules -------------------------------------------------------------

# Each module links its own copy of base/, which does not depend on the core.
$(B)/base.a: $(patsubst %.c,$(B)/obj/%.o,$(wildcard framework/base/*.c))
	$(call say,AR)
	ar rcs $@ $^

define MODULE_RULES
$(B)/modules/$(1).so: $(patsubst %.c,$(B)/obj/%.o,$(wildcard framework/modules/$(1)/*.c)) $(B)/base.a
	@mkdir -p $$(@D)
	$$(call say,LINK)
	$$(CC) $$(BOX_LINK) -Wl,--gc-sections -Wl,--exclude-libs,ALL \
	    -static-libgcc -o $$@ $$^ $($(1)_LIBS)
endef
$(foreach m,$(MODULES),$(eval $(call MODULE_RULES,$(m))))

$(B)/obj/tools/%.o: tools/%.c | $(B)/.deps-build
	@mkdir -p $(@D)
	$(call say,CC)
	$(CC) $(ALL) $(CORE_INC) -c $< -o $@

# hakctl-monitor and hakctl-profile are hakctl with the commands that need
# ncurses and libmicrohttpd, or zlib and libdw. hakctl itself starts them for
# these commands (tools/hakctl_beside.c), so that hakctl run needs no shared
# library but libc. sqrt is an instruction where it need not set errno, so libm
# is loaded only where the processor or the compiler has none.
HAKCTL_LIBS  := -l:libjansson.a -Wl,--as-needed -lm -Wl,--no-as-needed
$(B)/obj/tools/hakctl_compare_stats.o: FOR_FILE := -fno-math-errno
MONITOR_LIBS := -lmicrohttpd -lncursesw -ltinfo
MONITOR_OBJS := $(patsubst %,$(B)/obj/tools/hakctl_%.o,top exporter)
PROFILE_LIBS := -ldw -lelf -lz -l:libiberty.a -lm
PROFILE_OBJS := $(patsubst %.c,$(B)/obj/%.o,$(wildcard tools/hakctl_profile_*.c))
HAKCTL_OBJS  := $(filter-out $(MONITOR_OBJS) $(PROFILE_OBJS),\
    $(patsubst %.c,$(B)/obj/%.o,$(wildcard tools/hakctl*.c)))
EXE_LINK := -pie -Wl,-z,now -Wl,-z,relro
$(B)/hakctl: $(HAKCTL_OBJS) $(WHOLE_OBJS)
	$(call say,LINK)
	$(CC) $(EXE_LINK) -o $@ $^ $(WHOLE_LIBS) $(HAKCTL_LIBS)

$(B)/hakctl-monitor: $(HAKCTL_OBJS) $(MONITOR_OBJS) $(WHOLE_OBJS)
	$(call say,LINK)
	$(CC) $(EXE_LINK) -o $@ $^ $(WHOLE_LIBS) $(HAKCTL_LIBS) $(MONITOR_LIBS)

$(B)/hakctl-profile: $(HAKCTL_OBJS) $(PROFILE_OBJS) $(WHOLE_OBJS)
	$(call say,LINK)
	$(CC) $(EXE_LINK) -o $@ $^ $(WHOLE_LIBS) $(HAKCTL_LIBS) $(PROFILE_LIBS)

# hakctl-trace is hakctl with record, replay, tune and trace, which need zstd.
TRACE_LIBS := -lzstd -lz -lm
TRACE_OBJS := $(patsubst %.c,$(B)/obj/%.o,$(wildcard tools/trace/*.c))
# Those that read and write traces: trace.h. The others belong to commands.
TRACE_FORMAT := $(filter-out tools/trace/trace_ctl%,\
    $(wildcard tools/trace/trace_*.c))
$(B)/hakctl-trace: $(HAKCTL_OBJS) $(TRACE_OBJS) $(WHOLE_OBJS)
	$(call say,LINK)
	$(CC) $(EXE_LINK) -o $@ $^ $(WHOLE_LIBS) $(HAKCTL_LIBS) $(TRACE_LIBS)

# hakctl-player is what plays a trace, on the allocator that is preloaded. It is
# small, since its own memory is taken off, and exports the clock that the
# allocator gets (tools/player/player_time.c).
PLAYER_OBJS := $(patsubst %.c,$(B)/obj/%.o,$(wildcard tools/player/*.c))
$(B)/hakctl-player: $(PLAYER_OBJS)
	$(call say,LINK)
	$(CC) $(EXE_LINK) -Wl,--export-dynamic-symbol=clock_gettime -o $@ $^

# The files of the page of hakctl report, and the library that draws its charts.
# Without the library the page has tables only.
REPORT_FILES := $(wildcard tools/report/*)
CHART_JS := /usr/share/javascript/chart.js/chart.min.js
$(B)/share/report/report.html: $(REPORT_FILES) | $(B)/.deps-build
	@mkdir -p $(@D)
	cp $(REPORT_FILES) $(wildcard $(CHART_JS)) $(@D)
	@touch $@

# hakctl-check-box is the conformance suite for boxes. testhost.a is a host for
# one box; the suite and the boxes' own tests link it.
$(B)/obj/tests/%.o: tests/%.c | $(B)/kit/kit
	@mkdir -p $(@D)
	$(call say,CC)
	$(CC) $(ALL) $(TEST_INC) -Itools -c $< -o $@
$(B)/testhost.a: $(patsubst %.c,$(B)/obj/%.o,$(wildcard tests/lib/*.c)) \
    $(patsubst %,$(B)/obj/framework/%.o,modules/foreign/signature \
    modules/foreign/calls base/elf_file base/classes base/meta base/os \
    conf/text core/box/check)
	$(call say,AR)
	ar rcs $@ $^
# check-box lists its properties in the order of these files.
CHECK_BOX_OBJS := $(patsubst %,$(B)/obj/tests/abi/check_%.o,file entry basic \
                  lanes memory threads run box) $(B)/obj/tools/hakctl_json.o
$(B)/hakctl-check-box: $(CHECK_BOX_OBJS) $(B)/testhost.a
	$(call say,LINK)
	$(CC) $(EXE_LINK) -o $@ $^ $(WHOLE_LIBS) -lpthread

# ---- boxes ----------------------------------------------------------------

$(B)/kit/kit:
	@mkdir -p $(@D)
	ln -sfnr framework/kit $@

# -nostartfiles leaves out gcc's start files. They would add a page of data, and
# five symbols that the loader looks up for each box. Constructors run without
# them.
BOX_LINK := -shared -nostartfiles -Wl,-z,now -Wl,-z,relro -Wl,-z,defs \
    -Wl,-z,pack-relative-relocs

define PLUGIN_RULES
$(1)_OBJS := $$($(1)_SRCS:%.c=$(B)/obj/plugins/$(1)/%.o)
$(B)/obj/plugins/$(1)/%.o: $($(1)_DIR)/%.c | $(B)/kit/kit
	@mkdir -p $$(@D)
	$$(call say,CC)
	$$(CC) $$(ALL) $(BOX_INC) -c $$< -o $$@
$(B)/boxes/$(1).so: $$($(1)_OBJS)
	@mkdir -p $$(@D)
	$$(call say,LINK)
	$$(CC) $(BOX_LINK) -o $$@ $$($(1)_OBJS)
$(1)_TEST_BINS := $$(patsubst tests/%.c,$(B)/tests/$(1)/%,$$($(1)_TESTS))
$(B)/tests/$(1)/%: $($(1)_DIR)/tests/%.c $$($(1)_OBJS) $(B)/testhost.a
	@mkdir -p $$(@D)
	$$(call say,LINK)
	$$(CC) $$(ALL) $(BOX_INC) -Itests/lib -I$($(1)_DIR) -o $$@ \
	    $$(filter %.c %.o %.a,$$^) $(WHOLE_LIBS) -lpthread
PLUGIN_TESTS += $$($(1)_TEST_BINS)
.PHONY: check-$(1)
check-$(1): $(B)/boxes/$(1).so $$($(1)_TEST_BINS) $(B)/hakctl-check-box \
    $(B)/hakctl
	$$(if $$($(1)_TEST_BINS),$(PROVE) $$($(1)_TEST_BINS))
	$(B)/hakctl check-box $$(or $$($(1)_CHECK),$(B)/boxes/$(1).so)
endef
PROVE := prove --exec ''
$(foreach p,$(PLUGINS),$(eval $(call PLUGIN_RULES,$(p))))

# ---- core and boxes in one library ------------------------------------------

include framework/fused.mk

# The functions of malloc and free are aligned to cache lines. The alignment of
# branches within fetch blocks changes the time of a malloc/free pair by a tenth
# (make bench-pair). Code that runs at start, in reports and for messages is
# compiled for size, since it is resident in every program.
FAST := core/malloc
COLD := conf core/box report start
objs = $(foreach f,$(1),$(B)/obj/framework/$(f) $(FUSED)/obj/$(f))
$(call objs,$(FAST:%=%/%.o)): FOR_FILE := -falign-functions=64
$(call objs,$(COLD:%=%/%.o) modules/%.o): FOR_FILE := -Os
# This file runs in each call while a program is recorded.
$(call objs,modules/record/put.o): FOR_FILE := -O2
# The calls in dlopen.c must become jumps whatever CFLAGS says. The file itself
# explains why.
$(call objs,start/dlopen.o): FOR_FILE := -O2 -foptimize-sibling-calls

# ---- tests -----------------------------------------------------------------

UNIT_TESTS := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(wildcard tests/unit/*.c))
$(B)/tests/unit/%: tests/unit/%.c $(WHOLE_OBJS)
	@mkdir -p $(@D)
	$(call say,LINK)
	$(CC) $(ALL) $(TEST_INC) -o $@ $< $(WHOLE_OBJS) $(WHOLE_LIBS) -lpthread

# Tests of traces need no more of the core than base/.
TRACE_TESTS := $(filter $(B)/tests/unit/test_trace%,$(UNIT_TESTS))
$(TRACE_TESTS): $(B)/%: %.c tests/unit/traces.h \
    $(TRACE_FORMAT:%.c=$(B)/obj/%.o) $(B)/base.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(CC) $(ALL) $(TEST_INC) -Itools -o $@ $(filter %.c %.o %.a,$^) $(TRACE_LIBS)

# The search of hakctl tune, without traces and INIs.
TUNE_SEARCH := $(patsubst %,tools/trace/tune_%.c,choice lab race duel search \
    confirm) tools/hakctl_compare_stats.c
$(B)/tests/unit/test_tune: tests/unit/test_tune.c \
    $(TUNE_SEARCH:%.c=$(B)/obj/%.o) $(WHOLE_OBJS)
	@mkdir -p $(@D)
	$(call say,LINK)
	$(CC) $(ALL) $(TEST_INC) -Itools -o $@ $(filter %.c %.o,$^) $(WHOLE_LIBS) -lm

# What it writes.
$(B)/tests/unit/test_tune_ini: tests/unit/test_tune_ini.c \
    $(patsubst %,$(B)/obj/tools/trace/tune_%.o,ini choice lab) \
    $(B)/obj/tools/hakctl_compare_stats.o $(B)/obj/tools/hakctl_files.o \
    $(WHOLE_OBJS)
	@mkdir -p $(@D)
	$(call say,LINK)
	$(CC) $(ALL) $(TEST_INC) -Itools -o $@ $(filter %.c %.o,$^) $(WHOLE_LIBS) -lm
# The tests of hakctl replay make traces of text, and have allocators with faults.
REPLAY_TESTS := $(B)/tests/replay/make_trace $(B)/tests/replay/allocator.so
$(B)/tests/replay/make_trace: tests/replay/make_trace.c \
    $(TRACE_FORMAT:%.c=$(B)/obj/%.o) $(B)/base.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(CC) $(ALL) -Itools -o $@ $(filter %.c %.o %.a,$^) $(TRACE_LIBS)
$(B)/tests/replay/%.so: tests/replay/%.c
	@mkdir -p $(@D)
	$(call say,LINK)
	$(CC) $(BASE) -fno-builtin -Wall -Wextra -Werror -shared -o $@ $<

# Those of the recorder have its rings filled by the test itself.
RECORDER_TESTS := $(filter $(B)/tests/unit/test_recorder%,$(UNIT_TESTS))
$(RECORDER_TESTS): $(B)/%: %.c tests/unit/recorder.h \
    $(patsubst %,$(B)/obj/tools/trace/record_%.o,area merge pass process) \
    $(TRACE_FORMAT:%.c=$(B)/obj/%.o) $(B)/obj/tools/hakctl_json.o $(B)/base.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(CC) $(ALL) $(TEST_INC) -Itools -o $@ $(filter %.c %.o %.a,$^) \
	    $(TRACE_LIBS) -lpthread

# Boxes that the tests of the loader and of the conformance suite use.
TEST_BOXES := $(patsubst tests/boxes/%.c,$(B)/tests/boxes/%.so,$(wildcard tests/boxes/*.c))
$(B)/tests/boxes/%.so: tests/boxes/%.c framework/include/hakmem/box.h
	@mkdir -p $(@D)
	$(call say,LINK)
	$(CC) $(ALL) -Iframework/include -shared -o $@ $< $(LDLIBS)

$(B)/tests/boxes/broken_library.so: LDLIBS := -lm

# Programs that run with libhakmem.so preloaded. -fno-builtin keeps the compiler
# from removing their calls of malloc and free.
PRELOAD_PROGS := $(patsubst tests/preload/%.c,$(B)/tests/preload/%,$(wildcard tests/preload/*.c))
$(B)/tests/preload/%: tests/preload/%.c tests/lib/test.h
	@mkdir -p $(@D)
	$(call say,LINK)
	$(CC) $(ALL) -fno-builtin $(TEST_INC) -o $@ $< -lpthread -ldl

# Programs that misuse memory. They are compiled without optimization, so that
# their faults stay as they are written.
MISUSE_PROGS := $(patsubst tests/misuse/%,$(B)/tests/misuse/%,\
    $(basename $(wildcard tests/misuse/*.c tests/misuse/*.cc)))
$(B)/tests/misuse/%: tests/misuse/%.c
	@mkdir -p $(@D)
	$(call say,LINK)
	$(CC) $(BASE) $(WARN) -O0 -fno-builtin -o $@ $< -lpthread
$(B)/tests/misuse/%: tests/misuse/%.cc
	@mkdir -p $(@D)
	$(call say,CXX)
	$(CXX) -std=c++17 -O0 -g -Wall -Wextra -Werror -fno-builtin -MMD -MP \
	    -o $@ $< -lpthread

# Libraries that the tests of box foreign open.
TEST_LIBS := $(patsubst tests/foreign/%.c,$(B)/tests/foreign/%.so,$(wildcard tests/foreign/*.c))
$(B)/tests/foreign/%.so: tests/foreign/%.c
	@mkdir -p $(@D)
	$(call say,LINK)
	$(CC) $(BASE) -fvisibility=default -shared -o $@ $<

# Fuzz targets. `make check` runs each one for a second, with
# tests/fuzz/driver.c. The targets of FUZZ_TEXTS, which parse text, are built
# with the sanitizers, and `make fuzz` builds them with libFuzzer too. The
# others are built without sanitizers.
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all
FUZZ_TEXTS := conf signature control profile trace
FUZZ_SRCS_trace := $(TRACE_FORMAT) framework/base/os.c
FUZZ_LIBS_trace := -lzstd -lz
FUZZ_SRCS_profile := $(addprefix tools/hakctl_profile_,parse.c tables.c set.c)
FUZZ_SRCS_control := $(addprefix framework/modules/control/,commands.c \
    asking.c changing.c profile.c record.c request.c reply.c) framework/base/os.c
FUZZ_LIBS_control := -l:libjansson.a
FUZZ_SRCS_signature := framework/modules/foreign/signature.c
FUZZ_SRCS_conf := $(wildcard framework/conf/*.c) framework/base/classes.c \
    $(FUZZ_SRCS_signature)
FUZZ_BINS := $(patsubst %,$(B)/tests/fuzz/%,$(FUZZ_TEXTS) box ops)
define FUZZ_TEXT_RULES
$(B)/tests/fuzz/$(1): tests/fuzz/$(1).c tests/fuzz/driver.c $$(FUZZ_SRCS_$(1))
	@mkdir -p $$(@D)
	$$(call say,LINK)
	$$(CC) $$(ALL) $(SANITIZE) $(TEST_INC) -o $$@ $$(filter %.c,$$^) $(CORE_LIBS) \
	    $(FUZZ_LIBS_$(1))
$(B)/fuzz/$(1): tests/fuzz/$(1).c $$(FUZZ_SRCS_$(1))
	@mkdir -p $$(@D)
	clang $(BASE) $(SANITIZE) -fsanitize=fuzzer $(TEST_INC) -o $$@ \
	    $$(filter %.c,$$^) $(CORE_LIBS) $(FUZZ_LIBS_$(1))
endef
$(foreach t,$(FUZZ_TEXTS),$(eval $(call FUZZ_TEXT_RULES,$(t))))
$(B)/tests/fuzz/%: tests/fuzz/%.c tests/fuzz/driver.c $(WHOLE_OBJS) \
    $(B)/tests/boxes/three.so
	@mkdir -p $(@D)
	$(call say,LINK)
	$(CC) $(ALL) -fno-builtin $(TEST_INC) -o $@ $< tests/fuzz/driver.c \
	    $(if $(filter box,$*),$(WHOLE_OBJS) $(WHOLE_LIBS)) -lpthread

TEST_BINS = $(UNIT_TESTS) $(PLUGIN_TESTS) $(TEST_BOXES) $(TEST_LIBS) \
    $(PRELOAD_PROGS) $(FUZZ_BINS) $(MISUSE_PROGS) $(REPLAY_TESTS)

.PHONY: tests check check-quick
tests: all $(TEST_BINS)
	$(MAKE) fused CONF=conf/default.ini PROFILE=
	$(MAKE) fused CONF=tests/fused/all-boxes.ini PROFILE=
check: | $(B)/.deps-check
	$(MAKE) tests
	tests/run.sh
# Under a minute once all is built: tests/quick.txt.
check-quick: | $(B)/.deps-check
	$(MAKE) tests
	tests/run.sh --quick

# Tests of the kit, core and boxes under ASan with UBSan, and under TSan. Only
# the tests that call functions directly are built, without a preload. Each
# sanitizer has a build folder of its own. HAK_DEBUG turns HAK_ASSERT on.
.PHONY: sanitized-tests check-asan check-tsan check-sanitizers
sanitized-tests: $(UNIT_TESTS) $(PLUGIN_TESTS)
check-asan: $(TEST_BOXES) $(BOXES)
	$(MAKE) B=build/asan CFLAGS='$(SANITIZE) -DHAK_DEBUG=1 -Wno-error' \
	    sanitized-tests
	tests/sanitize/run.sh asan
check-tsan: $(TEST_BOXES) $(BOXES)
	$(MAKE) B=build/tsan CFLAGS='-fsanitize=thread -DHAK_DEBUG=1 -Wno-tsan -Wno-error' \
	    sanitized-tests
	tests/sanitize/run.sh tsan
check-sanitizers: check-asan check-tsan

# check-delays builds the core, kit and boxes so that threads are delayed around
# atomic accesses (tests/delays/). DELAYS lists the INI files to run in turn.
DELAYS ?= tests/delays/hasty.ini conf/default.ini tests/delays/hasty.ini \
    tests/fused/all-boxes.ini conf/hardened.ini tests/delays/hasty.ini \
    conf/lanes-off.ini conf/guard.ini conf/verify.ini
.PHONY: delayed check-delays
delayed: $(B)/libhakmem.so $(MODULE_FILES) $(BOXES)
check-delays: $(B)/tests/preload/churn $(B)/tests/preload/stress \
    $(B)/tests/preload/swaps
	$(MAKE) B=build/delays CFLAGS='-include tests/delays/delays.h \
	    -DHAK_DEBUG=1 -w' delayed
	tests/delays/run.sh $(TIME) $(DELAYS)

.PHONY: check-models
check-models: | $(B)/.deps-check
	$(PROVE) tests/models/test_models.sh

# Build, demo and tests in a root of Debian 13. tools/trixie.sh explains FULL=1
# and ROOT=DIR.
.PHONY: check-trixie
check-trixie:
	FULL='$(FULL)' ROOT='$(ROOT)' tools/trixie.sh

# TIME is how many seconds fuzz, soak and check-delays take in all.
TIME ?= 60
.PHONY: fuzz
fuzz: | $(B)/.deps-fuzz
	$(MAKE) all $(FUZZ_BINS) $(FUZZ_TEXTS:%=$(B)/fuzz/%)
	tests/fuzz/long.sh $(TIME)

# soak runs tests/preload/stress.c and churn.c for long: threads that stay and
# threads that come and go, forks, and route changes, on every box. SOAK lists
# the INI files, which share TIME.
SOAK ?= conf/default.ini tests/fused/all-boxes.ini
.PHONY: soak
soak: all $(B)/tests/preload/stress $(B)/tests/preload/churn
	for conf in $(SOAK); do \
	    for program in 'stress soaked' 'churn churned'; do \
	        HAK_TEST_SOAK=$$(($(TIME) / $(words $(SOAK)) / 2 + 1)) \
	            HAK_TEST_MODE=$$conf HAKMEM_CONF=$(CURDIR)/$$conf \
	            LD_PRELOAD=$(CURDIR)/$(B)/libhakmem.so \
	            $(B)/tests/preload/$$program || exit 1; \
	    done; \
	done

# ---- demo, bench, lint, install ------------------------------------------------

.PHONY: demo bench bench-pair bench-boxes bench-tuning bench-guard bench-profile bench-record \
    bench-tap bench-stack bench-learner bench-hardened lint install \
    clean help format
demo: | $(B)/.deps-demo
	$(MAKE) all
	tools/demo.sh

BENCH_PROGS := $(patsubst bench/%.c,$(B)/bench/%,\
    $(filter-out bench/foreign_calls.c bench/calls.c bench/trace_file.c,$(wildcard bench/*.c))) \
    $(B)/bench/calls.so
$(B)/bench/%: bench/%.c
	@mkdir -p $(@D)
	$(call say,LINK)
	$(CC) -std=gnu11 -D_GNU_SOURCE -O2 -g $(WARN) -fno-builtin -MMD -MP \
	    -Iframework/include -o $@ $< -lpthread -lm

$(B)/bench/calls.so: bench/calls.c
	@mkdir -p $(@D)
	$(call say,LINK)
	$(CC) -std=gnu11 -O2 -g $(WARN) -fPIC -shared -fno-builtin \
	    -fvisibility=hidden -o $@ $<

bench-pair: benches
	$(MAKE) fused CONF=conf/default.ini PROFILE=
	bench/pair.py $(BENCH_ARGS)

# bench-foreign measures the ways to call another library, and programs on other
# allocators as boxes.
$(B)/bench/foreign_calls: bench/foreign_calls.c $(WHOLE_OBJS) \
    $(B)/obj/plugins/foreign/adapter.o
	@mkdir -p $(@D)
	$(call say,LINK)
	$(CC) $(BASE) $(WARN) $(CORE_INC) -o $@ $(filter %.c %.o,$^) $(WHOLE_LIBS)
.PHONY: bench-foreign
bench-foreign: | $(B)/.deps-bench
	$(MAKE) all $(B)/bench/foreign_calls $(B)/bench/pair
	$(B)/bench/foreign_calls
	bench/foreign.py $(BENCH_ARGS)

# bench-trace measures what traces cost to write and to read. TRACES lists them.
$(B)/bench/trace_file: bench/trace_file.c $(TRACE_FORMAT:%.c=$(B)/obj/%.o) \
    $(B)/base.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(CC) $(BASE) $(WARN) -Itools -o $@ $(filter %.c %.o %.a,$^) $(TRACE_LIBS)
.PHONY: bench-trace
bench-trace: $(B)/bench/trace_file
	$(B)/bench/trace_file $(TRACES)

# bench-tune records whole programs, tunes a configuration to each, and runs the
# program on that and on the default.
.PHONY: bench-tune
bench-tune: benches
	bench/tuned.py $(BENCH_ARGS)

.PHONY: benches
benches: | $(B)/.deps-bench
	$(MAKE) all $(BENCH_PROGS)

# bench-boxes measures each box on its own sizes, with its options on and off,
# and as a box that is opened and as one that is fused.
BOXES_CONFS := default tiny mid-v35 smallmid
bench-boxes: benches
	for c in $(BOXES_CONFS); do $(MAKE) fused CONF=conf/$$c.ini || exit 1; done
	bench/boxes.py $(BENCH_ARGS)

# bench-tuning measures the parameters that trade time for memory, at other
# values than their defaults.
bench-tuning: benches
	bench/tuning.py $(BENCH_ARGS)

# bench-guard measures the cost of sampling one in 5000 allocations.
bench-guard: benches
	bench/boxes.py --only guard $(BENCH_ARGS)

# bench-profile measures the cost of the heap profile and of the timeline.
bench-profile: benches
	bench/profile.py $(BENCH_ARGS)

# bench-learner measures whether routes matter, and whether the learner pays.
bench-learner: benches
	bench/learner.py $(BENCH_ARGS)

# bench-replay runs programs beside replays of their recordings.
.PHONY: bench-replay
bench-replay: benches
	bench/fidelity.py $(BENCH_ARGS)

# bench-record measures the cost of hakctl record.
bench-record: benches
	bench/record.py $(BENCH_ARGS)

# bench-tap measures what a call costs the program that is recorded.
bench-tap: benches
	bench/tap.py $(BENCH_ARGS)

# bench-stack measures how fast module stack walks a stack.
bench-stack: benches
	$(B)/bench/bench_stack

# bench-hardened runs conf/hardened.ini beside other allocators that check for
# misuse. HARDENED_MALLOC=FILE adds hardened_malloc from the library FILE.
bench-hardened: benches | $(B)/.deps-fuzz
	HARDENED_MALLOC='$(HARDENED_MALLOC)' bench/hardened.py $(BENCH_ARGS)

# BENCH holds words that choose rows. PEERS lists the allocators to run,
# separated by commas. ROUNDS is the number of rounds. QUICK=1 runs a little of
# everything.
bench: benches
	$(MAKE) fused CONF=conf/default.ini PROFILE=
	bench/bench.py $(if $(BENCH),--bench '$(BENCH)') \
	    $(if $(PEERS),--peers '$(PEERS)') \
	    $(if $(ROUNDS),--rounds '$(ROUNDS)') \
	    $(if $(QUICK),--quick) $(BENCH_ARGS)

lint: | $(B)/.deps-lint
	$(MAKE) all
	tools/lint.sh

format:
	$$(command -v clang-format-14 || echo clang-format) -i \
	    $$(git ls-files '*.c' '*.h')

install: all
	install -d '$(DESTDIR)$(PREFIX)/lib/hakmem/modules' \
	    '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/include/hakmem/kit' \
	    '$(DESTDIR)$(PREFIX)/share/hakmem/conf'
	install -m 755 $(B)/libhakmem.so.1 '$(DESTDIR)$(PREFIX)/lib'
	ln -sf libhakmem.so.1 '$(DESTDIR)$(PREFIX)/lib/libhakmem.so'
	install -m 755 $(CXX_LIBS) '$(DESTDIR)$(PREFIX)/lib'
	install -m 755 $(BOXES) '$(DESTDIR)$(PREFIX)/lib/hakmem'
	install -m 755 $(MODULE_FILES) '$(DESTDIR)$(PREFIX)/lib/hakmem/modules'
	install -m 755 $(B)/hakctl $(B)/hakctl-check-box $(B)/hakctl-monitor \
	    $(B)/hakctl-profile $(B)/hakctl-trace $(B)/hakctl-player \
	    '$(DESTDIR)$(PREFIX)/bin'
	install -m 644 framework/include/hakmem/*.h \
	    '$(DESTDIR)$(PREFIX)/include/hakmem'
	install -m 644 framework/kit/*.h '$(DESTDIR)$(PREFIX)/include/hakmem/kit'
	install -m 644 conf/*.ini '$(DESTDIR)$(PREFIX)/share/hakmem/conf'
	install -d '$(DESTDIR)$(PREFIX)/share/hakmem/monitoring'
	install -m 644 conf/monitoring/* \
	    '$(DESTDIR)$(PREFIX)/share/hakmem/monitoring'
	install -d '$(DESTDIR)$(PREFIX)/share/hakmem/report'
	install -m 644 $(B)/share/report/* \
	    '$(DESTDIR)$(PREFIX)/share/hakmem/report'
	install -d '$(DESTDIR)$(PREFIX)/share/hakmem/conf/foreign'
	install -m 644 conf/foreign/*.ini \
	    '$(DESTDIR)$(PREFIX)/share/hakmem/conf/foreign'

# tools/deps.sh installs the missing packages of a group of targets. Without the
# rights for this it names them.
$(B)/.deps-%: tools/deps.sh
	@mkdir -p $(B)
	tools/deps.sh $*
	@touch $@

clean:
	rm -rf $(B)

help:
	@echo 'make             library, boxes and hakctl into build/'
	@echo 'make demo        run a real program on hakmem, show what each box did'
	@echo 'make check       all tests      make check-NAME   those of one box'
	@echo 'make check-quick  unit tests and one of each other kind, in a minute'
	@echo 'make check-asan check-tsan   kit, core and boxes under the sanitizers'
	@echo 'make check-trixie  build, demo and tests in a root of Debian 13;'
	@echo '                 FULL=1 all of demo, lint, check and bench QUICK=1'
	@echo 'make check-models  the lock-free parts, searched by Spin'
	@echo 'make check-delays  TIME=600 seconds with threads late around each atomic'
	@echo '                 access; HAK_DELAY_SEED=n DELAYS="conf/default.ini"'
	@echo 'make fuzz        TIME=600 seconds of fuzzing: INI, signatures, malloc family'
	@echo 'make soak        TIME=600 seconds of threads, forks and route changes;'
	@echo '                 SOAK=conf/hardened.ini other configurations'
	@echo 'make bench       beside other allocators: times, memory, pictures'
	@echo '                 BENCH=words PEERS=a,b ROUNDS=n QUICK=1'
	@echo 'make bench-pair  ns of a malloc/free pair'
	@echo 'make bench-boxes each box on its own sizes, options on and off'
	@echo 'make bench-tuning  the constants that trade time for memory'
	@echo 'make bench-tune  hakctl tune on whole programs, and what it gains'
	@echo 'make bench-guard  what samples against guard pages cost'
	@echo 'make bench-profile  what the heap profile and the timeline cost'
	@echo 'make bench-learner  programs on fixed routes and under the learner'
	@echo 'make bench-replay  programs beside replays of their recordings'
	@echo 'make bench-record  what hakctl record costs'
	@echo 'make bench-tap   what a recorded call costs the program alone'
	@echo 'make bench-stack  how fast module stack walks a stack'
	@echo 'make bench-hardened  conf/hardened.ini beside Scudo (HARDENED_MALLOC=FILE)'
	@echo 'make bench-foreign  calls of other libraries, programs on them as boxes'
	@echo 'make bench-trace TRACES="FILE ..."  what traces cost to write and read'
	@echo 'make benches     the bench programs, into build/bench/'
	@echo 'make fused       CONF=conf/default.ini and its boxes as one library'
	@echo 'make check-fused CONF=conf/default.ini   tests on that library'
	@echo 'make lint        format, clang-tidy, cppcheck, rules for box files'
	@echo 'make install     DESTDIR= PREFIX=/usr/local'
	@echo 'make clean       remove build/'

-include $(shell find $(B) -name '*.d' 2>/dev/null)
