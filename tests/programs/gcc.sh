#!/bin/sh
# gcc.sh - the compiler: one process that allocates for seconds.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
need gcc awk

# FUNCTIONS functions of some ten lines each, no two alike.
generate()
{
    awk -v n="$1" 'BEGIN {
        print "struct s { int a[8]; struct s *next; double d; };"
        for (i = 0; i < n; i++) {
            print "int f" i "(struct s *p, int n)\n{"
            print "    int sum = " i ";"
            print "    for (int i = 0; i < n; i++) {"
            print "        switch ((i + " i % 11 ") % 7) {"
            for (k = 0; k < 5; k++)
                print "        case " k ": sum += p->a[" (i + k) % 8 \
                    "] * " (i * 7 + k) "; break;"
            print "        default: p->d += sum / " i % 5 + 1 ".5;"
            print "        }\n        p = p->next;\n    }"
            print "    return sum" (i ? " + f" i - 1 "(p, n - 1)" : "") ";"
            print "}"
        }
    }'
}

generate 250 >"$work/large.c"
generate 60 >"$work/small.c"
same 'object code of 4000 lines' gcc -O2 -c "$work/large.c" -o large.o
same 'errors' gcc -Wall -Dint=float -c "$work/small.c" -o small.o
modes=$every
same 'object code of 900 lines' gcc -O2 -g -c "$work/small.c" -o small.o
finish
