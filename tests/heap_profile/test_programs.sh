#!/bin/sh
# test_programs.sh - heap profiles of real programs.
for needed in python3 gcc nm; do
    command -v $needed >/dev/null || {
        echo "1..0 # SKIP no $needed"
        exit
    }
done
exec python3 tests/heap_profile/programs.py
