# hardened.mk - the sources and tests of box hardened.
hardened_SRCS := hardened.c heaps.c slots.c slabs.c wipe.c big.c
hardened_TESTS := tests/test_hardened.c tests/test_bounds.c \
    tests/test_memory.c tests/test_arenas.c
