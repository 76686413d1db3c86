# fused.mk - links the core and the boxes of an INI into one library.
# The Makefile includes this file.
#
# `make fused CONF=x.ini [PROFILE=p]` makes these files in build/fused/x[.p]/:
#
#     boxes.mk fused_boxes.h fused_conf.c   written by `hakctl fuse` from the INI
#     libhakmem.so libhakmem.map            the library, the linker's map of it
#     libhakmem-cxx.so                      with sized_delete = yes
#     libhakmem-match.so                    with match_delete = yes
#
# The objects of the boxes are in build/fused/obj/, since they serve every INI.
# In them, the name of the box is appended to each external symbol, because two
# boxes may define the same symbol. names.h does this with macros.

CONF    ?= conf/default.ini
PROFILE ?=
FUSED   := $(B)/fused/$(basename $(notdir $(CONF)))$(PROFILE:%=.%)
LTO     := -flto -fno-fat-lto-objects -DHAK_FUSED

# The framework without the files that read an INI, change routes or open boxes.
# conf/text.c stays: the calls of hakmem.h and the [stats] keys of the
# environment need its parsers.
FUSED_SRCS := $(filter-out $(addprefix framework/,start/setup.c start/cxx.c \
    start/change.c start/load.c start/keys.c \
    core/route/policy.c core/route/sample.c core/box/load.c core/box/find.c \
    core/box/open.c core/box/check.c),\
    $(foreach d,$(filter-out conf,$(FRAMEWORK)),$(wildcard framework/$(d)/*.c))) \
    framework/conf/text.c
FUSED_OBJS = $(FUSED_SRCS:framework/%.c=$(FUSED)/obj/%.o) \
    $(FUSED)/obj/fused_conf.o \
    $(foreach m,$(FUSED_MODULES),$(patsubst framework/%.c,$(FUSED)/obj/%.o,\
        $(wildcard framework/modules/$(m)/*.c))) \
    $(foreach p,$(FUSED_BOXES),$($(p)_SRCS:%.c=$(B)/fused/obj/$(p)/%.o))

.PHONY: fused check-fused
fused: | $(B)/.deps-build
	$(MAKE) all
	$(B)/hakctl fuse -c '$(CONF)' $(PROFILE:%=-p '%') -o '$(FUSED)'
	$(MAKE) '$(FUSED)/libhakmem.so' CONF='$(CONF)' PROFILE='$(PROFILE)'
	echo '$(FUSED)/libhakmem.so: $(CONF)$(PROFILE:%=, profile %) and its boxes in one library'

check-fused: | $(B)/.deps-check
	$(MAKE) tests
	$(MAKE) fused
	tests/run.sh --fused '$(notdir $(FUSED))'

ifneq ($(filter $(FUSED)/libhakmem.so,$(MAKECMDGOALS)),)
include $(FUSED)/boxes.mk
$(foreach p,$(FUSED_BOXES),$(if $($(p)_SRCS),,$(error $(CONF): box file \
    $(p).so has no plugins/$(p)/$(p).mk, so no sources to fuse it from; \
    OTHER_BOXES=FOLDER/$(p) names a folder elsewhere that has $(p).mk)))
endif

$(FUSED)/obj/%.o: framework/%.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(CC) $(ALL) $(LTO) -I$(FUSED) $(CORE_INC) -c $< -o $@

$(FUSED)/obj/fused_conf.o: $(FUSED)/fused_conf.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(CC) $(ALL) $(LTO) -I$(FUSED) $(CORE_INC) -c $< -o $@

define FUSED_RULES
$(B)/fused/obj/$(1)/names.h: $$($(1)_OBJS)
	@mkdir -p $$(@D)
	nm -g --defined-only $$^ | awk -v box=$(1) 'NF == 3 { \
	    print "#define " $$$$3 " " $$$$3 "_" box }' | sort -u >$$@
$(B)/fused/obj/$(1)/%.o: $($(1)_DIR)/%.c $(B)/fused/obj/$(1)/names.h
	@mkdir -p $$(@D)
	$$(CC) $$(ALL) $(LTO) $(BOX_INC) '-DHAK_BOX_EXPORT=' \
	    -include $(B)/fused/obj/$(1)/names.h -c $$< -o $$@
endef
$(foreach p,$(PLUGINS),$(eval $(call FUSED_RULES,$(p))))

$(FUSED)/libhakmem.so.1: $(FUSED_OBJS) framework/versions.map
	$(call say,LINK)
	$(CC) $(ALL) $(LTO) -flto-partition=one $(LIB_LINK) -o $@ \
	    -Wl,-Map=$(FUSED)/libhakmem.map $(FUSED_OBJS) \
	    -Wl,-T,framework/sections.ld

$(FUSED)/libhakmem.so: $(FUSED)/libhakmem.so.1 $(FUSED_CXX:%=$(FUSED)/%)
	ln -sf libhakmem.so.1 $@

$(FUSED)/libhakmem-cxx.so: $(B)/libhakmem-cxx.so
$(FUSED)/libhakmem-match.so: $(B)/libhakmem-match.so
$(FUSED)/libhakmem-cxx.so $(FUSED)/libhakmem-match.so:
	cp $< $@
