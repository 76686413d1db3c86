#!/bin/sh
# foreign.sh - real programs on each INI of conf/foreign whose library is
# there, against the same on libc.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

[ -z "$fused" ] || skip_all "a fused library opens no other"
modes=
for ini in "$root"/conf/foreign/*.ini; do
    mode=$(basename "$ini" .ini)
    if library=$(missing_library "$ini"); then
        skip "$mode" "there is no $library"
    else
        modes="$modes $mode"
    fi
done

# Each INI is a mode here; as hakctl run has it.
environment()
{
    echo "HAKMEM_CONF=$root/conf/foreign/$1.ini" \
        GLIBC_TUNABLES=glibc.rtld.optional_static_tls=16384
}

command -v perl >/dev/null && same 'perl' perl "$here/work.pl" 3000
command -v git >/dev/null && same 'git' sh "$here/work-git.sh" 5
command -v sqlite3 >/dev/null &&
    same 'sqlite' sqlite3 :memory: 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL
        SELECT i + 1 FROM n WHERE i < 20000) SELECT count(*), sum(length(
        printf("%d-%x", i, i * i))) FROM n'
python=$(command -v /usr/bin/python3 || command -v python3) &&
    same 'python' env PYTHONMALLOC=malloc "$python" "$here/work.py" 1000
echo 'int main(void) { return 0; }' >"$work/small.c"
command -v gcc >/dev/null && same 'gcc' gcc -O2 -c "$work/small.c" -o small.o
# libstdc++ takes its memory where the core sees it, whoever brought it.
cat >"$work/later.cc" <<'CC'
#include <string>
#include <vector>
extern "C" int use()
{
    std::vector<std::string> kept;
    for (int i = 0; i < 2000; i++)
        kept.push_back(std::string(i % 300, 'x') + std::to_string(i));
    return kept.size() != 2000;
}
CC
g++ -O1 -fPIC -shared -o "$work/later.so" "$work/later.cc" 2>/dev/null &&
    gcc -o "$work/host" "$root/tests/cxx/host.c" -ldl &&
    same 'C++ that comes later' "$work/host" "$work/later.so"
command -v bash >/dev/null && same 'bash' bash "$here/work.bash" 60
command -v node >/dev/null && same 'node' node "$here/work.js" 2000
# From 8.0 on it has blocks of libjemalloc's mallocx, which a residual box is
# taken to have made (docs/foreign.md, "Whose is a pointer?"). These crash on it.
if nm -D "$(command -v redis-server)" 2>/dev/null | grep -q ' mallocx$'; then
    all=$modes
    modes=
    for mode in $all; do
        case $mode in
        glibc | tbbmalloc | memkind)
            skip "redis ($mode)" "it has a second allocator, the box is residual"
            ;;
        *) modes="$modes $mode" ;;
        esac
    done
fi
command -v redis-server >/dev/null && command -v redis-benchmark >/dev/null &&
    same 'redis' sh "$here/work-redis.sh" 1000
finish
