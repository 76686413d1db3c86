#!/bin/sh
# perl.sh - Perl: hashes, strings, regular expressions, fork.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
need perl

same 'work' perl "$here/work.pl" 60000
modes=$every
same 'little work' perl "$here/work.pl" 10000
finish
