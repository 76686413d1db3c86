midmt_SRCS := midmt.c pages.c pool.c registry.c
midmt_TESTS := tests/test_registry.c tests/test_pool.c tests/test_midmt.c tests/test_threads.c
