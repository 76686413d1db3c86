# large.mk - the sources and tests of box large.
large_SRCS := large.c near.c blocks.c bigcache.c threshold.c ledger.c supply.c resize.c
large_TESTS := tests/test_large.c tests/test_cache.c tests/test_near.c \
    tests/test_faults.c tests/test_blocks.c tests/test_bigcache.c \
    tests/test_threshold.c tests/test_threads.c tests/test_calls.c
