#!/bin/sh
# profiled.sh - programs of many kinds with a heap profile: they do what they
# do on libc, and the profile names the functions that asked for the memory.
export RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}" # lib.sh changes HOME
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
need jq

# Is one of FUNCTIONS (an extended regular expression) in a profile of $1, with
# memory that was allocated?
names_one()
{
    for file in "$1"/*.pb.gz; do
        "$root/build/hakctl" profile --allocated --json "$file" \
            2>"$work/errors" || { cat "$work/errors" && return 1; }
    done >"$work/json"
    jq -e -s --arg re "$2" 'any(.[].stacks[].frames[];
        .function // "" | test($re))' "$work/json" >/dev/null && return
    jq -r '.functions[:8][].function' "$work/json"
    echo "no profile names $2"
    return 1
}

# profiled NAME FUNCTIONS COMMAND...
profiled()
{
    name=$1 functions=$2
    shift 2
    mkdir "$work/profiles"
    run "$work/plain" "$@"
    run "$work/under" LD_PRELOAD="$lib" \
        HAKMEM_HEAP_PROFILE_FILE="$work/profiles/%p.pb.gz" \
        HAKMEM_HEAP_PROFILE_EVERY=4k "$@"
    compare "$work/plain" "$work/under" >"$work/told" &&
        names_one "$work/profiles" "$functions" >"$work/told"
    report $? "$name"
    sed 's/^/# /' "$work/told"
    rm -rf "$work/plain" "$work/under" "$work/profiles"
}

# has COMMAND NAME: skips NAME if the system lacks the command.
has()
{
    command -v "$1" >/dev/null && return
    skip "$2" "no $1"
    return 1
}

has python3 python && PYTHONMALLOC=malloc profiled 'python' \
    '^_PyEval_EvalFrameDefault$|^Py_BytesMain$' \
    python3 "$here/work.py" 3000
has node 'node, with code made at run time' && profiled \
    'node, with code made at run time' '^node::|^v8::|^uv_' \
    node "$here/work.js" 2000
has redis-server 'redis under load' && profiled 'redis under load' \
    '^createClient$|^sdsnewlen|^_sdsnewlen' sh "$here/work-redis.sh" 1000

if has gcc 'gcc'; then
    seq 400 | sed 's/.*/int f&(int a) { return a * & + (a >> 3); }/' \
        >"$work/many.c"
    profiled 'gcc' '^cc1\+|^[a-z_]+$' gcc -O2 -g -c "$work/many.c" -o many.o
fi

if has g++ '64 threads of C++'; then
    cat >"$work/threads.cc" <<'END'
#include <map>
#include <string>
#include <thread>
#include <vector>
__attribute__((noinline)) static void fill_table(long *sum)
{
    std::map<int, std::string> table;
    for (int i = 0; i < 4000; i++)
        table[i % 700] = std::string(40 + i % 90, 'x');
    for (auto &one : table)
        *sum += (long)one.second.size();
}
int main()
{
    long sum[64] = {};
    std::vector<std::thread> threads;
    for (int i = 0; i < 64; i++)
        threads.emplace_back(fill_table, &sum[i]);
    for (int i = 0; i < 64; i++) {
        threads[i].join();
        sum[0] += i ? sum[i] : 0;
    }
    __builtin_printf("%ld\n", sum[0]);
}
END
    g++ -O1 -g -pthread -o "$work/threads" "$work/threads.cc" || exit 1
    profiled '64 threads of C++' '^fill_table' "$work/threads"
fi

if has rustc 'Rust'; then
    cat >"$work/tree.rs" <<'END'
use std::collections::BTreeMap;
#[inline(never)]
fn grow_tree(n: usize) -> BTreeMap<usize, Vec<String>> {
    let mut tree = BTreeMap::new();
    for i in 0..n {
        tree.insert(i, vec!["x".repeat(i % 50); 3]);
    }
    tree
}
fn main() {
    let tree = grow_tree(20000);
    println!("{}", tree.values().flatten().map(|s| s.len()).sum::<usize>());
}
END
    if rustc -O -g -o "$work/tree" "$work/tree.rs" 2>"$work/told"; then
        profiled 'Rust' 'grow_tree' "$work/tree"
    else
        skip 'Rust' "rustc fails: $(head -n 1 "$work/told")"
    fi
fi

# A program of Go ends without exit(3), so nothing is written at the end.
if has go 'Go with cgo'; then
    cat >"$work/cgo.go" <<'END'
package main

/*
#include <stdlib.h>
#include <string.h>
static void *take_in_c(size_t n) { void *p = malloc(n); memset(p, 1, n); return p; }
*/
import "C"
import "fmt"

func main() {
	sum := 0
	for i := 0; i < 20000; i++ {
		p := C.take_in_c(C.size_t(16 + i%3000))
		sum += int(*(*byte)(p))
		if i%3 != 0 {
			C.free(p)
		}
	}
	fmt.Println(sum)
}
END
    (cd "$work" && GOCACHE="$work/gocache" GOFLAGS=-mod=mod GO111MODULE=off \
        go build -o cgo cgo.go) 2>"$work/told"
    if [ -x "$work/cgo" ]; then
        profiled 'Go with cgo' 'take_in_c' \
            env HAKMEM_HEAP_PROFILE_ON_GROWTH=2m "$work/cgo"
    else
        skip 'Go with cgo' "go build fails: $(head -n 1 "$work/told")"
    fi
    chmod -R u+w "$work/gocache" 2>/dev/null
fi
finish
