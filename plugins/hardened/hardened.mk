hardened_SRCS := hardened.c slots.c big.c
hardened_TESTS := tests/test_hardened.c
