large_SRCS := large.c bigcache.c elo.c
large_TESTS := tests/test_large.c
