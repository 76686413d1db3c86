hardened_SRCS := hardened.c slots.c wipe.c big.c
hardened_TESTS := tests/test_hardened.c
