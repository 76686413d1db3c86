#!/bin/sh
# redis.sh - a Redis server under load, its clients beside it.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
need redis-server redis-cli redis-benchmark awk

same 'server and benchmark' sh "$here/work-redis.sh" 10000
modes='verify owns lanes-off profile-each control'
same 'short visit' sh "$here/work-redis.sh" 1000
finish
