# midmt.mk - the sources and tests of box midmt.
midmt_SRCS := midmt.c pages.c pool.c
midmt_TESTS := tests/test_pool.c tests/test_midmt.c tests/test_threads.c
