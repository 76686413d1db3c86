# mid_v35.mk - the sources and tests of box mid_v35.
mid_v35_SRCS := mid_v35.c classes.c cold.c
mid_v35_TESTS := tests/test_mid_v35.c tests/test_threads.c \
    tests/test_limits.c
