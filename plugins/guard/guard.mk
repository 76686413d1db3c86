# guard.mk - the sources and tests of box guard.
guard_SRCS := guard.c pool.c report.c fault.c
guard_TESTS := tests/test_guard.c
# The box serves at most a page per block and a bounded number of blocks, so
# check-box lets it decline. The limit of samples per second is off.
guard_CHECK := $(B)/boxes/guard.so --may-decline most_per_second=0
