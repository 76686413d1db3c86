#!/bin/sh
# bash.sh - bash: a fork a moment, each child with the parent's blocks.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
need bash

same 'hundreds of forks' bash "$here/work.bash" 500
modes="$every control"
same 'some forks' bash "$here/work.bash" 60
finish
