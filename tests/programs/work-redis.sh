#!/bin/sh
# work-redis.sh N - a Redis server of our own on 127.0.0.1, filled and asked.
# Prints the digest of what it holds; the benchmark only has to succeed. Saves
# by children of fork, beside clients that write.
set -eu

ask() { redis-cli -p "$port" "$@"; }

start()
{
    redis-server --port "$1" --bind 127.0.0.1 --save '' --appendonly no \
        --dir . --enable-debug-command local --logfile log >/dev/null 2>&1 &
    server=$!
    i=0
    while [ $i -lt 100 ] && kill -0 $server 2>/dev/null; do
        redis-cli -p "$1" info server 2>/dev/null |
            grep -q "^process_id:$server" && return 0
        sleep 0.05
        i=$((i + 1))
    done
    kill $server 2>/dev/null || true
    return 1
}

server=
port=$((20000 + $$ % 20000))
until start $port; do # taken by somebody else
    port=$((port + 101))
    [ $port -lt 60000 ] || exit 1
done
trap 'kill $server 2>/dev/null || true' EXIT

redis-benchmark -p "$port" -q -c 20 -n "$1" -d 200 -r 1000 \
    -t set,get,incr,lpush,rpop,sadd,hset,zadd,lrange_100 >bench
grep -c 'requests per second' bench
ask flushall
awk -v n="$1" 'BEGIN {
    for (i = 0; i < n; i++) {
        v = sprintf("%0" i % 500 + 1 "d", i)
        print "SET key" i, v
        print "APPEND log" i % 50, v
        print "HSET hash" i % 100, "field" i, v
        print "RPUSH list" i % 10, v
        print "ZADD rank", i * 7919 % n, "member" i
        if (i % 4 == 0) print "DEL key" i / 2
    }
}' | ask --pipe | tail -1
ask dbsize
ask debug digest
ask lrange list3 0 5

# Its children save while clients write; what they saved is what there was.
ask bgsave
redis-benchmark -p "$port" -q -c 20 -n "$1" -d 100 -r 1000 \
    -t set,lpush,hset >bench
done_with() # FIELD: until the child has ended, then how
{
    i=0
    until ask info persistence | grep -q "^$1_in_progress:0"; do
        [ $((i += 1)) -lt 300 ] || break
        sleep 0.1
    done
}
done_with rdb_bgsave
ask info persistence | tr -d '\r' | grep '^rdb_last_bgsave_status'
ask bgrewriteaof
redis-benchmark -p "$port" -q -c 20 -n "$1" -d 100 -r 1000 -t set >bench
done_with aof_rewrite
ask info persistence | tr -d '\r' | grep '^aof_last_bgrewrite_status'
before=$(ask debug digest)
ask debug reload
[ "$(ask debug digest)" = "$before" ] && echo 'the same after a reload'
kill $server
wait $server
echo "server ended with $?"
rm -rf log bench dump.rdb appendonlydir temp-*
