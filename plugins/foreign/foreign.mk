foreign_SRCS := foreign.c adapter.c bind.c
foreign_TESTS :=
