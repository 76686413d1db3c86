#!/bin/sh
# other-malloc.sh - programs in which there is another allocator: libjemalloc
# that they are linked with or open later, glibc's second names, libraries that
# count calls, RTLD_DEEPBIND; and what is allocated before our constructor.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
need gcc g++
ldconfig -p | grep -q 'libjemalloc\.so\.2' || skip_all 'no libjemalloc.so.2'

# Each INI is a mode here.
environment()
{
    [ "$1" = alone ] || echo "HAKMEM_CONF=$root/conf/$1.ini"
}
few='default hardened'
many='default hardened guard verify owns-walk lanes-off no-fallback'

build()
{
    name=$1
    compiler=$2
    shift 2
    case $compiler in gcc) file=$name.c ;; *) file=$name.cc ;; esac
    (cd "$work" && $compiler -O0 -g -w -fno-builtin -o "$name" "$file" "$@" \
        -lpthread -ldl) || exit 1
}

# ---- before our constructor ----------------------------------------------------

# A library's constructor runs before that of a library it does not need. The
# kinds: a container that stays, equal strides, more than any table begins with.
cat >"$work/early.cc" <<'C'
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>
static std::map<int, int> table = [] {
    std::map<int, int> m;
    for (int i = 0; i < 13000; i++)
        m[i] = i;
    return m;
}();
static std::vector<void *> blocks = [] {
    std::vector<void *> v;
    for (int i = 0; i < 300000; i++)
        v.push_back(std::memset(std::malloc(1 + i % 5 * 48), i, 1));
    for (int i = 0; i < 40; i++)
        v.push_back(std::calloc(1, 1 << 20));
    for (int i = 0; i < 1000; i++)
        v[i] = std::realloc(v[i], 5000 + i);
    for (int i = 1000; i < 2000; i++) {
        std::free(v[i]);
        v[i] = nullptr;
    }
    return v;
}();
extern "C" int check()
{
    for (size_t i = 0; i < 300000; i++)
        if (blocks[i] != nullptr && *(char *)blocks[i] != (char)i)
            return 1;
    blocks[5] = std::realloc(blocks[5], 100000);
    if (*(char *)blocks[5] != 5)
        return 2;
    for (void *p : blocks)
        std::free(p);
    table.erase(table.begin(), table.find(6000));
    std::printf("%zu\n", table.size());
    return 0;
}
C
echo 'extern "C" int check(); int main() { return check(); }' >"$work/early_main.cc"
(cd "$work" && g++ -O0 -shared -fPIC -o libearly.so early.cc) || exit 1
build early_main g++ -L. -learly "-Wl,-rpath,$work"
modes="$many foreign/glibc"
same 'hundreds of thousands of blocks before our constructor' "$work/early_main"

# ---- libjemalloc ------------------------------------------------------------------

cat >"$work/je_new.cc" <<'C'
#include <string>
#include <vector>
struct alignas(128) wide { char c[300]; };
int main(int argc, char **)
{
    std::vector<std::string> v;
    for (int i = 0; i < 3000; i++)
        v.emplace_back(100 + i % 50, 'x');
    delete new int(argc);
    delete[] new char[5000];
    delete new wide;
    return v[2999].size() != 149;
}
C
build je_new g++ -std=c++17 -fsized-deallocation -Wl,--no-as-needed \
    -l:libjemalloc.so.2
modes=$many
same "C++ with libjemalloc's new and our free" "$work/je_new"
lib_was=$lib
lib=$lib:${lib%/*}/libhakmem-cxx.so
modes=$few
same 'the same with sized deletes' "$work/je_new"
lib=$lib_was

# What jemalloc alone can make goes to free, realloc and malloc_usable_size, and
# what realloc makes of it is still jemalloc's.
cat >"$work/mallocx.h" <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int mix(void *(*mallocx)(size_t, int), void (*dallocx)(void *, int))
{
    for (int i = 0; i < 2000; i++) {
        char *p = mallocx(100 + i, 0), *q = mallocx(3000 + i, 0);
        memset(p, i, 100);
        if (malloc_usable_size(p) < 100 + i)
            return 1;
        p = realloc(p, 20000);
        for (int k = 0; k < 100; k++)
            if (p[k] != (char)i)
                return 2;
        dallocx(p, 0);
        free(q);
        free(realloc(malloc(50), 500));
    }
    puts("fine");
    return 0;
}
C
cat >"$work/je_mix.c" <<'C'
#include "mallocx.h"
void *mallocx(size_t size, int flags);
void dallocx(void *p, int flags);
int main(void) { return mix(mallocx, dallocx); }
C
cat >"$work/je_plug.c" <<'C'
#include "mallocx.h"
void *mallocx(size_t size, int flags);
void dallocx(void *p, int flags);
int plug(void) { return mix(mallocx, dallocx); }
C
cat >"$work/je_open.c" <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
int main(int argc, char **argv)
{
    void *h = dlopen(argv[1], RTLD_NOW | RTLD_DEEPBIND);
    return h == NULL ? puts(dlerror()) : ((int (*)(void))dlsym(h, "plug"))();
}
C
build je_mix gcc -l:libjemalloc.so.2
modes=$many
same "mallocx with our free" "$work/je_mix"
# It needs more static TLS than a program has left for what is opened later.
export GLIBC_TUNABLES=glibc.rtld.optional_static_tls=16384
build je_open gcc
(cd "$work" && gcc -O1 -w -shared -fPIC -o je_plug.so je_plug.c \
    -l:libjemalloc.so.2) || exit 1
modes=$few
same 'the same in a library that is opened later' "$work/je_open" \
    "$work/je_plug.so"

# Without a configuration, libc serves; jemalloc's blocks are still its own.
echo '[box' >"$work/broken.ini"
run "$work/under" LD_PRELOAD="$lib" HAKMEM_CONF="$work/broken.ini" "$work/je_mix"
[ "$(cat "$work/under/code" "$work/under/out")" = "0
fine" ] && grep -q 'running on libc alone' "$work/under/err"
report $? 'mallocx with our free, where the INI is broken'
rm -rf "$work/under"

# ---- glibc's second names ------------------------------------------------------------

cat >"$work/names.h" <<'C'
#define _GNU_SOURCE
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);
void *__libc_valloc(size_t), *__libc_pvalloc(size_t);
void __libc_free(void *);
C
cat >"$work/names_wrap.c" <<'C'
#include "names.h"
static long n;
void *malloc(size_t s) { n++; return __libc_malloc(s); }
void *calloc(size_t a, size_t b) { n++; return __libc_calloc(a, b); }
void *realloc(void *p, size_t s) { n++; return __libc_realloc(p, s); }
void free(void *p) { n++; __libc_free(p); }
int main(void)
{
    void *p = NULL;
    free(strdup("x"));
    if (posix_memalign(&p, 64, 1000) != 0)
        return 1;
    free(p);
    free(realloc(aligned_alloc(4096, 4096), 9000));
    puts(n > 4 ? "counted" : "not counted");
    return 0;
}
C
cat >"$work/names_mix.c" <<'C'
#include "names.h"
void old_cfree(void *);
__asm__(".symver old_cfree,cfree@GLIBC_2.2.5");
int main(void)
{
    for (size_t n = 1; n < 600000; n += n / 2 + 1) {
        free(__libc_malloc(n));
        free(__libc_calloc(1, n));
        free(__libc_memalign(4096, n));
        free(__libc_valloc(n));
        free(__libc_pvalloc(n));
        __libc_free(malloc(n));
        __libc_free(realloc(__libc_malloc(n), 2 * n));
        free(__libc_realloc(malloc(n), 2 * n));
        old_cfree(malloc(n));
    }
    puts("fine");
    return 0;
}
C
build names_wrap gcc
build names_mix gcc
modes=$many
same "a program's malloc on __libc_malloc" "$work/names_wrap"
same '__libc_malloc with free, and the other way round' "$work/names_mix"

# ---- libraries that count calls --------------------------------------------------------

# They are no makers of blocks: a wild free is told as without them.
cat >"$work/count.c" <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
static unsigned long calls;
void *malloc(size_t n)
{
    calls++;
    return ((void *(*)(size_t))dlsym(RTLD_NEXT, "malloc"))(n);
}
void *realloc(void *p, size_t n)
{
    return ((void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc"))(p, n);
}
void free(void *p)
{
    ((void (*)(void *))dlsym(RTLD_NEXT, "free"))(p);
}
C
cat >"$work/wild.c" <<'C'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv)
{
    static char buffer[100];
    free(strdup("word"));
    puts("works");
    fflush(stdout);
    free(argc > 1 ? buffer + 32 : NULL);
    return 0;
}
C
(cd "$work" && gcc -O1 -w -shared -fPIC -o libcount.so count.c -ldl) || exit 1
build wild gcc
modes=default
lib_was=$lib
for lib in "$work/libcount.so:$lib_was" "$lib_was:$work/libcount.so"; do
    same 'a library that counts calls' "$work/wild"
done
lib=$lib_was
run "$work/under" LD_PRELOAD="$work/libcount.so:$lib" "$work/wild" wild
[ "$(cat "$work/under/code")" = 134 ] &&
    grep -q 'free(0x[0-9a-f]*): no box and not libc gave out' "$work/under/err"
report $? 'a wild free is told, with such a library in front of us'
rm -rf "$work/under"

# ---- RTLD_DEEPBIND ------------------------------------------------------------------------

mkdir "$work/plugins"
cat >"$work/plug.c" <<'C'
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
static char *early;
__attribute__((constructor)) static void begin(void)
{
    free(strdup("in a constructor"));
    early = strdup("kept");
}
int own(void)
{
    char *s = strdup("plugin");
    int n = (int)strlen(s) + (int)strlen(early);
    free(s);
    return n;
}
void take(char *p) { free(p); }
char *grow(char *p) { return realloc(p, 4000); }
char *give(void) { return malloc(100); }
C
cat >"$work/host.c" <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
static int use(void *h)
{
    if (h == NULL)
        return puts(dlerror());
    if (((int (*)(void))dlsym(h, "own"))() != 10)
        return 1;
    ((void (*)(char *))dlsym(h, "take"))(malloc(50));
    free(((char *(*)(char *))dlsym(h, "grow"))(malloc(50)));
    free(((char *(*)(void))dlsym(h, "give"))());
    return 0;
}
int main(void)
{
    /* By the program's RUNPATH: who calls dlopen matters. */
    int a = use(dlopen("plug.so", RTLD_NOW | RTLD_DEEPBIND));
    int b = use(dlmopen(LM_ID_BASE, "plug2.so", RTLD_NOW | RTLD_DEEPBIND));
    int c = dlmopen(LM_ID_NEWLM, "plug.so", RTLD_NOW) == NULL;
    printf("%d %d %d\n", a, b, c);
    return a + b + c;
}
C
(cd "$work" && gcc -O1 -w -shared -fPIC -o plugins/plug.so plug.c &&
    cp plugins/plug.so plugins/plug2.so) || exit 1
build host gcc "-Wl,--enable-new-dtags,-rpath,$work/plugins"
modes=$many
same 'libraries opened with RTLD_DEEPBIND, by the RUNPATH of their caller' \
    "$work/host"

# ---- programs ------------------------------------------------------------------------------

modes=$few
if command -v dig >/dev/null; then # libisc is linked with libjemalloc
    same 'dig' dig -v
    same 'dig that asks' dig @127.0.0.1 -p 1 +tries=1 +time=1 localhost
fi
if command -v php >/dev/null && php -m | grep -qi pdo; then
    same 'php with pdo' php -r 'echo implode(",", PDO::getAvailableDrivers());'
fi
finish
