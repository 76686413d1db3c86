# ultra.mk - the sources and tests of box ultra.
ultra_SRCS := ultra.c
ultra_TESTS := tests/test_ultra.c tests/test_ultra_notices.c \
    tests/test_ultra_common.c tests/test_ultra_threads.c
