#!/bin/sh
# git.sh - git: many short processes, mmaps, threads in pack-objects.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
need git

same 'commits, merge, gc, clone' sh "$here/work-git.sh" 40
modes=$every
same 'a few commits' sh "$here/work-git.sh" 8
finish
