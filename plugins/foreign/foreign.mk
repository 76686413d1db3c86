foreign_SRCS := foreign.c adapter.c bind.c counters.c hooks.c
foreign_TESTS :=
# The file alone is no allocator; an INI makes it one.
foreign_CHECK := -c conf/foreign/glibc.ini glibc
