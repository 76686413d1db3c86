# tiny.mk - the sources and tests of box tiny.
tiny_SRCS := tiny.c
tiny_TESTS := tests/test_tiny.c tests/test_magazine.c
