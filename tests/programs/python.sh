#!/bin/sh
# python.sh - Python: its own allocator, plain malloc, threads, processes.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
need python3

same 'work' python3 "$here/work.py" 40000
same 'work, all by malloc' PYTHONMALLOC=malloc python3 "$here/work.py" 20000
if python3 -c 'import test.test_dict, test.test_json' 2>/dev/null; then
    # shellcheck disable=SC2016
    same 'own tests' sh -c 'PYTHONMALLOC=malloc python3 -m test test_dict \
        test_json >log 2>&1; echo $?; tail -1 log; rm -rf log'
fi
modes="$every control"
same 'little work, all by malloc' PYTHONMALLOC=malloc \
    python3 "$here/work.py" 3000
finish
