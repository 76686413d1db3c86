# foreign.mk - the sources and tests of box foreign.
foreign_SRCS := foreign.c adapter.c bind.c counters.c hooks.c
foreign_TESTS :=
# The box needs an INI that describes another allocator's library, so check-box
# runs on that of glibc.
foreign_CHECK := -c conf/foreign/glibc.ini glibc
