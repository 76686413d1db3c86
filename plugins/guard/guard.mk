guard_SRCS := guard.c pool.c report.c fault.c
guard_TESTS := tests/test_guard.c
# Blocks of a page at most, and in a bounded number.
guard_CHECK := $(B)/boxes/guard.so --may-decline most_per_second=0
