# hakmem - see README.md; `make help` lists the targets.

CC      ?= gcc
B       := build
PREFIX  ?= /usr/local
DESTDIR ?=

WARN := -Wall -Wextra -Wconversion -Wsign-conversion -Wshadow -Wcast-qual \
        -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla -Wformat=2 \
        -Wnull-dereference -Wmissing-format-attribute -Werror
# Each function by itself: the linker drops what nobody calls, and keeps apart
# what is hardly ever run (framework/sections.ld).
BASE := -std=gnu11 -D_GNU_SOURCE -O2 -g -fPIC -fvisibility=hidden \
        -fno-builtin-malloc -fno-strict-aliasing -ffunction-sections -MMD -MP
CFLAGS  ?=
ALL     = $(BASE) $(WARN) $(FOR_FILE) $(CFLAGS)

# The framework: its folders as README draws them. EXPORTED is what makes it a
# malloc; tools and tests leave that out, and link the modules instead.
FRAMEWORK := base conf core/state core/memory core/route core/thread core/box \
    core/malloc report start
EXPORTED  := $(addprefix framework/,core/malloc/entry.c report/api.c \
    start/init.c start/dlopen.c start/atfork.c)
CORE_SRCS := $(filter-out $(EXPORTED) framework/start/fused.c framework/start/cxx.c,\
    $(foreach d,$(FRAMEWORK),$(wildcard framework/$(d)/*.c)))
CORE_OBJS := $(CORE_SRCS:%.c=$(B)/obj/%.o)
LIB_OBJS  := $(CORE_OBJS) $(EXPORTED:%.c=$(B)/obj/%.o)
# A position-independent archive, so that a preload is one file.
# libgcc too: a process may have another one.
CORE_LIBS := -Wl,-T,framework/sections.ld -l:libinih.a -static-libgcc

# A module is a folder: every .c file in it, and what NAME_LIBS says.
MODULES      := $(notdir $(patsubst %/,%,$(wildcard framework/modules/*/)))
MODULE_FILES := $(MODULES:%=$(B)/modules/%.so)
MODULE_OBJS  := $(patsubst %.c,$(B)/obj/%.o,$(wildcard framework/modules/*/*.c))
foreign_LIBS := -l:libffi_pic.a
# The core and all modules in one program: hakctl, tests.
WHOLE_OBJS   := $(CORE_OBJS) $(MODULE_OBJS) $(B)/obj/framework/modules/linked.o
WHOLE_LIBS   := $(CORE_LIBS) $(foreach m,$(MODULES),$($(m)_LIBS))

CXX_LIBS  := $(B)/libhakmem-cxx.so $(B)/libhakmem-match.so

# A plugin is a folder: NAME/NAME.mk says NAME_SRCS and NAME_TESTS, its .c files.
# OTHER_BOXES: folders elsewhere, likewise.
PLUGIN_DIRS := $(patsubst %/,%,$(wildcard plugins/*/)) $(OTHER_BOXES:%/=%)
$(foreach d,$(PLUGIN_DIRS),$(if $(wildcard $(d)/$(notdir $(d)).mk),, \
    $(error $(d) has no $(notdir $(d)).mk; a box's folder says there what it is \
    built of: docs/writing-a-box.md, "In the tree")))
PLUGINS := $(notdir $(PLUGIN_DIRS))
$(foreach d,$(PLUGIN_DIRS),$(eval $(notdir $(d))_DIR := $(d)))
include $(foreach d,$(PLUGIN_DIRS),$(d)/$(notdir $(d)).mk)
BOXES   := $(PLUGINS:%=$(B)/boxes/%.so)
# What a box may include: the ABI and the kit, nothing of the core.
BOX_INC := -Iframework/include -I$(B)/include
CORE_INC := -Iframework/include -Iframework
TEST_INC := $(CORE_INC) -Itests/lib

# V=1 shows the commands.
ifndef V
.SILENT:
endif
MAKEFLAGS += --no-print-directory

.PHONY: all
all: $(B)/libhakmem.so $(CXX_LIBS) $(MODULE_FILES) $(BOXES) $(B)/hakctl \
    $(B)/hakctl-check-box

# ---- library, tool -------------------------------------------------------

$(B)/obj/framework/%.o: framework/%.c | $(B)/.deps-build
	@mkdir -p $(@D)
	$(CC) $(ALL) $(CORE_INC) -c $< -o $@

# Its own calls of malloc and the like are for itself, whoever else has them.
# pack-relative-relocs: 200 bytes instead of 13 KiB to read in each process, from
# glibc 2.36 on.
LIB_LINK := -shared -Wl,-Bsymbolic-functions -Wl,-soname,libhakmem.so.1 \
    -Wl,-z,now -Wl,-z,relro -Wl,-z,pack-relative-relocs -Wl,--gc-sections \
    -Wl,-z,start-stop-visibility=hidden \
    -Wl,--version-script=framework/versions.map \
    -Wl,--exclude-libs,ALL -Wl,-z,defs
$(B)/libhakmem.so.1: $(LIB_OBJS) framework/sections.ld framework/versions.map
	$(CC) $(LIB_LINK) -o $@ $(LIB_OBJS) $(CORE_LIBS)

$(B)/libhakmem.so: $(B)/libhakmem.so.1
	ln -sf libhakmem.so.1 $@

# Exceptions of new go through it.
$(B)/obj/framework/start/cxx.o $(B)/obj/framework/start/match.o: FOR_FILE := -fexceptions -ftls-model=initial-exec
$(B)/obj/framework/start/match.o: framework/start/cxx.c | $(B)/.deps-build
	@mkdir -p $(@D)
	$(CC) $(ALL) -DHAK_MATCH $(CORE_INC) -c $< -o $@

$(B)/libhakmem-cxx.so: $(B)/obj/framework/start/cxx.o
$(B)/libhakmem-match.so: $(B)/obj/framework/start/match.o
$(CXX_LIBS):
	$(CC) -shared -Wl,-z,now -Wl,-z,relro -Wl,-z,defs -static-libgcc \
	    -Wl,--exclude-libs,ALL -o $@ $<

# ---- modules -------------------------------------------------------------

# Of base/ a module has its own copy: that knows nothing of the core.
$(B)/base.a: $(patsubst %.c,$(B)/obj/%.o,$(wildcard framework/base/*.c))
	ar rcs $@ $^

define MODULE_RULES
$(B)/modules/$(1).so: $(patsubst %.c,$(B)/obj/%.o,$(wildcard framework/modules/$(1)/*.c)) $(B)/base.a
	@mkdir -p $$(@D)
	$$(CC) $$(BOX_LINK) -Wl,--gc-sections -Wl,--exclude-libs,ALL \
	    -static-libgcc -o $$@ $$^ $($(1)_LIBS)
endef
$(foreach m,$(MODULES),$(eval $(call MODULE_RULES,$(m))))

$(B)/obj/tools/%.o: tools/%.c | $(B)/.deps-build
	@mkdir -p $(@D)
	$(CC) $(ALL) $(CORE_INC) -c $< -o $@

HAKCTL_OBJS := $(patsubst %.c,$(B)/obj/%.o,$(wildcard tools/hakctl*.c))
EXE_LINK := -pie -Wl,-z,now -Wl,-z,relro
$(B)/hakctl: $(HAKCTL_OBJS) $(WHOLE_OBJS)
	$(CC) $(EXE_LINK) -o $@ $^ $(WHOLE_LIBS)

# hakctl check-box: the conformance suite, which boxes' own tests share.
$(B)/obj/tests/%.o: tests/%.c | $(B)/include/kit
	@mkdir -p $(@D)
	$(CC) $(ALL) $(TEST_INC) -Itools -c $< -o $@
$(B)/testhost.a: $(patsubst %.c,$(B)/obj/%.o,$(wildcard tests/lib/*.c)) \
    $(patsubst %,$(B)/obj/framework/%.o,modules/foreign/signature \
    modules/foreign/calls base/elf_file base/classes base/meta base/os \
    conf/text core/box/check)
	ar rcs $@ $^
# Properties are listed in the order of the files here.
CHECK_BOX_OBJS := $(patsubst %,$(B)/obj/tests/abi/check_%.o,file entry basic \
                  lanes memory threads run box) $(B)/obj/tools/hakctl_json.o
$(B)/hakctl-check-box: $(CHECK_BOX_OBJS) $(B)/testhost.a
	$(CC) $(EXE_LINK) -o $@ $^ $(WHOLE_LIBS) -lpthread

# ---- boxes ----------------------------------------------------------------

$(B)/include/kit:
	@mkdir -p $(@D)
	ln -sfnr framework/kit $@

# nostartfiles: what gcc adds is a page of data and five symbols that are looked
# up for each box. Constructors run without it.
BOX_LINK := -shared -nostartfiles -Wl,-z,now -Wl,-z,relro -Wl,-z,defs \
    -Wl,-z,pack-relative-relocs

define PLUGIN_RULES
$(1)_OBJS := $$($(1)_SRCS:%.c=$(B)/obj/plugins/$(1)/%.o)
$(B)/obj/plugins/$(1)/%.o: $($(1)_DIR)/%.c | $(B)/include/kit
	@mkdir -p $$(@D)
	$$(CC) $$(ALL) $(BOX_INC) -c $$< -o $$@
$(B)/boxes/$(1).so: $$($(1)_OBJS)
	@mkdir -p $$(@D)
	$$(CC) $(BOX_LINK) -o $$@ $$($(1)_OBJS)
$(1)_TEST_BINS := $$(patsubst tests/%.c,$(B)/tests/$(1)/%,$$($(1)_TESTS))
$(B)/tests/$(1)/%: $($(1)_DIR)/tests/%.c $$($(1)_OBJS) $(B)/testhost.a
	@mkdir -p $$(@D)
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

# malloc, free and their slow paths begin on cache lines: how branches fall into
# fetch blocks is worth a tenth of a pair (make bench-pair). What runs at start,
# in reports and for messages is small instead of fast, since it is resident in
# each program.
FAST := core/malloc
COLD := conf core/box report start
objs = $(foreach f,$(1),$(B)/obj/framework/$(f) $(FUSED)/obj/$(f))
$(call objs,$(FAST:%=%/%.o)): FOR_FILE := -falign-functions=64
$(call objs,$(COLD:%=%/%.o) modules/%.o): FOR_FILE := -Os
# Its calls are to be jumps, whatever CFLAGS says.
$(call objs,start/dlopen.o): FOR_FILE := -O2 -foptimize-sibling-calls

# ---- tests -----------------------------------------------------------------

UNIT_TESTS := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(wildcard tests/unit/*.c))
$(B)/tests/unit/%: tests/unit/%.c $(WHOLE_OBJS)
	@mkdir -p $(@D)
	$(CC) $(ALL) $(TEST_INC) -o $@ $< $(WHOLE_OBJS) $(WHOLE_LIBS) -lpthread

# Boxes for the loader's and the conformance suite's own tests.
TEST_BOXES := $(patsubst tests/boxes/%.c,$(B)/tests/boxes/%.so,$(wildcard tests/boxes/*.c))
$(B)/tests/boxes/%.so: tests/boxes/%.c framework/include/hakmem/box.h
	@mkdir -p $(@D)
	$(CC) $(ALL) -Iframework/include -shared -o $@ $< $(LDLIBS)

$(B)/tests/boxes/broken_library.so: LDLIBS := -lm

# Programs that run under the preload, malloc's own calls unoptimised.
PRELOAD_PROGS := $(patsubst tests/preload/%.c,$(B)/tests/preload/%,$(wildcard tests/preload/*.c))
$(B)/tests/preload/%: tests/preload/%.c tests/lib/test.h
	@mkdir -p $(@D)
	$(CC) $(ALL) -fno-builtin $(TEST_INC) -o $@ $< -lpthread -ldl

# Programs that do what they must not, as they are written.
MISUSE_PROGS := $(patsubst tests/misuse/%,$(B)/tests/misuse/%,\
    $(basename $(wildcard tests/misuse/*.c tests/misuse/*.cc)))
$(B)/tests/misuse/%: tests/misuse/%.c
	@mkdir -p $(@D)
	$(CC) $(BASE) $(WARN) -O0 -fno-builtin -o $@ $< -lpthread
$(B)/tests/misuse/%: tests/misuse/%.cc
	@mkdir -p $(@D)
	$(CXX) -std=c++17 -O0 -g -Wall -Wextra -Werror -fno-builtin -MMD -MP \
	    -o $@ $< -lpthread

# Libraries for the foreign box's tests.
TEST_LIBS := $(patsubst tests/foreign/%.c,$(B)/tests/foreign/%.so,$(wildcard tests/foreign/*.c))
$(B)/tests/foreign/%.so: tests/foreign/%.c
	@mkdir -p $(@D)
	$(CC) $(BASE) -fvisibility=default -shared -o $@ $<

# Fuzz targets with a driver of our own, a second each in `make check`: texts
# under the sanitizers (with libFuzzer in `make fuzz`), the others as they are.
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all
FUZZ_TEXTS := conf signature
FUZZ_SRCS_signature := framework/modules/foreign/signature.c
FUZZ_SRCS_conf := $(wildcard framework/conf/*.c) framework/base/classes.c \
    $(FUZZ_SRCS_signature)
FUZZ_BINS := $(patsubst %,$(B)/tests/fuzz/%,$(FUZZ_TEXTS) box ops)
define FUZZ_TEXT_RULES
$(B)/tests/fuzz/$(1): tests/fuzz/$(1).c tests/fuzz/driver.c $$(FUZZ_SRCS_$(1))
	@mkdir -p $$(@D)
	$$(CC) $$(ALL) $(SANITIZE) $(TEST_INC) -o $$@ $$(filter %.c,$$^) $(CORE_LIBS)
$(B)/fuzz/$(1): tests/fuzz/$(1).c $$(FUZZ_SRCS_$(1))
	@mkdir -p $$(@D)
	clang $(BASE) $(SANITIZE) -fsanitize=fuzzer $(TEST_INC) -o $$@ \
	    $$(filter %.c,$$^) $(CORE_LIBS)
endef
$(foreach t,$(FUZZ_TEXTS),$(eval $(call FUZZ_TEXT_RULES,$(t))))
$(B)/tests/fuzz/%: tests/fuzz/%.c tests/fuzz/driver.c $(WHOLE_OBJS) \
    $(B)/tests/boxes/three.so
	@mkdir -p $(@D)
	$(CC) $(ALL) -fno-builtin $(TEST_INC) -o $@ $< tests/fuzz/driver.c \
	    $(if $(filter box,$*),$(WHOLE_OBJS) $(WHOLE_LIBS)) -lpthread

TEST_BINS = $(UNIT_TESTS) $(PLUGIN_TESTS) $(TEST_BOXES) $(TEST_LIBS) \
    $(PRELOAD_PROGS) $(FUZZ_BINS) $(MISUSE_PROGS)

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

# Kit, core and boxes under ASan with UBSan, and under TSan: the tests that
# call their operations directly, each kind in a build folder of its own, with
# HAK_ASSERT.
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

# Core, kit and boxes late around each atomic access: tests/delays/. DELAYS:
# configurations that take turns.
DELAYS ?= tests/delays/hasty.ini conf/default.ini tests/delays/hasty.ini \
    tests/fused/all-boxes.ini conf/hardened.ini tests/delays/hasty.ini \
    conf/lanes-off.ini conf/guard.ini conf/verify.ini
.PHONY: delayed check-delays
delayed: $(B)/libhakmem.so $(MODULE_FILES) $(BOXES)
check-delays: $(B)/tests/preload/churn $(B)/tests/preload/stress
	$(MAKE) B=build/delays CFLAGS='-include tests/delays/delays.h \
	    -DHAK_DEBUG=1 -w' delayed
	tests/delays/run.sh $(TIME) $(DELAYS)

.PHONY: check-models
check-models: | $(B)/.deps-check
	$(PROVE) tests/models/test_models.sh

# On the other Debian release; FULL=1 and ROOT=DIR: tools/trixie.sh.
.PHONY: check-trixie
check-trixie:
	FULL='$(FULL)' ROOT='$(ROOT)' tools/trixie.sh

# TIME: seconds in all.
TIME ?= 60
.PHONY: fuzz
fuzz: | $(B)/.deps-fuzz
	$(MAKE) all $(FUZZ_BINS) $(FUZZ_TEXTS:%=$(B)/fuzz/%)
	tests/fuzz/long.sh $(TIME)

# Every box, threads that stay and that come and go, forks and routes that move:
# tests/preload/stress.c, churn.c. SOAK: configurations that share the TIME.
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

.PHONY: demo bench bench-pair bench-boxes bench-tuning bench-guard bench-hardened lint install \
    clean help format
demo: | $(B)/.deps-demo
	$(MAKE) all
	tools/demo.sh

BENCH_PROGS := $(patsubst bench/%.c,$(B)/bench/%,\
    $(filter-out bench/foreign_calls.c bench/calls.c,$(wildcard bench/*.c))) \
    $(B)/bench/calls.so
$(B)/bench/%: bench/%.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE -O2 -g $(WARN) -fno-builtin -MMD -MP \
	    -Iframework/include -o $@ $< -lpthread -lm

$(B)/bench/calls.so: bench/calls.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O2 -g $(WARN) -fPIC -shared -fno-builtin \
	    -fvisibility=hidden -o $@ $<

bench-pair: benches
	$(MAKE) fused CONF=conf/default.ini PROFILE=
	bench/pair.py $(BENCH_ARGS)

# The ways to call another library; programs on other allocators as boxes.
$(B)/bench/foreign_calls: bench/foreign_calls.c $(WHOLE_OBJS) \
    $(B)/obj/plugins/foreign/adapter.o
	@mkdir -p $(@D)
	$(CC) $(BASE) $(WARN) $(CORE_INC) -o $@ $(filter %.c %.o,$^) $(WHOLE_LIBS)
.PHONY: bench-foreign
bench-foreign: | $(B)/.deps-bench
	$(MAKE) all $(B)/bench/foreign_calls $(B)/bench/pair
	$(B)/bench/foreign_calls
	bench/foreign.py $(BENCH_ARGS)

.PHONY: benches
benches: | $(B)/.deps-bench
	$(MAKE) all $(BENCH_PROGS)

# Each box on its own sizes; options on and off; dlopened against fused.
BOXES_CONFS := default tiny mid-v35 smallmid
bench-boxes: benches
	for c in $(BOXES_CONFS); do $(MAKE) fused CONF=conf/$$c.ini || exit 1; done
	bench/boxes.py $(BENCH_ARGS)

# The parameters that trade time for memory, at other values than the default.
bench-tuning: benches
	bench/tuning.py $(BENCH_ARGS)

# What one sample in 5000 costs.
bench-guard: benches
	bench/boxes.py --only guard $(BENCH_ARGS)

# conf/hardened.ini beside other allocators that check; HARDENED_MALLOC=FILE
# adds that one.
bench-hardened: benches | $(B)/.deps-fuzz
	HARDENED_MALLOC='$(HARDENED_MALLOC)' bench/hardened.py $(BENCH_ARGS)

# BENCH: words that choose rows, PEERS: with commas, ROUNDS: a number, QUICK=1:
# a little of everything.
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
	install -m 755 $(B)/hakctl $(B)/hakctl-check-box '$(DESTDIR)$(PREFIX)/bin'
	install -m 644 framework/include/hakmem/*.h \
	    '$(DESTDIR)$(PREFIX)/include/hakmem'
	install -m 644 framework/kit/*.h '$(DESTDIR)$(PREFIX)/include/hakmem/kit'
	install -m 644 conf/*.ini '$(DESTDIR)$(PREFIX)/share/hakmem/conf'
	install -d '$(DESTDIR)$(PREFIX)/share/hakmem/conf/foreign'
	install -m 644 conf/foreign/*.ini \
	    '$(DESTDIR)$(PREFIX)/share/hakmem/conf/foreign'

# Missing packages are installed by name, or named.
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
	@echo 'make bench-guard  what samples against guard pages cost'
	@echo 'make bench-hardened  conf/hardened.ini beside Scudo (HARDENED_MALLOC=FILE)'
	@echo 'make bench-foreign  calls of other libraries, programs on them as boxes'
	@echo 'make benches     the bench programs, into build/bench/'
	@echo 'make fused       CONF=conf/default.ini and its boxes as one library'
	@echo 'make check-fused CONF=conf/default.ini   tests on that library'
	@echo 'make lint        format, clang-tidy, cppcheck, rules for box files'
	@echo 'make install     DESTDIR= PREFIX=/usr/local'
	@echo 'make clean       remove build/'

-include $(shell find $(B) -name '*.d' 2>/dev/null)
