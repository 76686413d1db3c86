#!/bin/sh
# node.sh - Node: V8's heap beside ours, C++ new and delete, worker threads.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
need node

same 'work' node "$here/work.js" 60000
modes='verify owns lanes-off profile-each'
same 'little work' node "$here/work.js" 2000
finish
