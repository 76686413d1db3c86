tiny_SRCS := tiny.c
tiny_TESTS := tests/test_tiny.c tests/test_magazine.c
