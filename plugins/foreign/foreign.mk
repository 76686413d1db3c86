foreign_SRCS := foreign.c adapter.c bind.c counters.c
foreign_TESTS :=
