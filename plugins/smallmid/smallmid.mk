# smallmid.mk - the sources and tests of box smallmid.
smallmid_SRCS := smallmid.c heap.c pool.c superslab.c
smallmid_TESTS := tests/test_smallmid.c tests/test_threads.c
