#!/bin/sh
# own-malloc.sh - programs that interpose malloc themselves: a whole allocator
# of their own, which then serves libraries too, and wrappers of the next one.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
need gcc

cat >"$work/work.h" <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <locale.h>
#include <malloc.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *in_thread(void *unused)
{
    for (int i = 0; i < 500; i++)
        free(strdup("a word of some length"));
    return unused;
}

/* malloc by the program, by libc for it, in a thread and in a child. */
static int work(void)
{
    char *line = NULL, *text = NULL;
    size_t n = 0;
    pthread_t thread;
    pthread_create(&thread, NULL, in_thread, NULL);
    setlocale(LC_ALL, "C.UTF-8");
    for (int i = 0; i < 1000; i++) {
        char *p = malloc((size_t)i * 37 % 50000);
        char *q = calloc(3, (size_t)i * 11 % 3000 + 1);
        if (p == NULL || q == NULL || q[(size_t)i * 11 % 3000] != 0)
            return 1;
        p = realloc(p, 60000);
        p[59999] = 1;
        free(q);
        free(p);
    }
    FILE *f = fopen("/etc/passwd", "r");
    if (f == NULL || getline(&line, &n, f) <= 0 ||
        asprintf(&text, "%s%d", "text", 5) != 5)
        return 2;
    fclose(f);
    free(line);
    free(text);
    pthread_join(thread, NULL);
    return system("exit 3") >> 8 == 3 ? 0 : 3;
}
C

# A bump allocator with the calls that libc's own manual asks for.
cat >"$work/whole.c" <<'C'
#include "work.h"
static _Alignas(4096) char arena[256 << 20];
static size_t used;
static unsigned long calls;
void *memalign(size_t align, size_t size)
{
    size_t at;
    align = align < 16 ? 16 : align;
    __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    at = __atomic_fetch_add(&used, size + align + 32, __ATOMIC_RELAXED);
    if (at > sizeof arena - size - align - 32)
        return errno = ENOMEM, NULL;
    at = (at + 16 + align - 1) & ~(align - 1);
    *(size_t *)(arena + at - 16) = size;
    return arena + at;
}
static void own(const void *p)
{
    if ((size_t)((const char *)p - arena) >= sizeof arena)
        abort();
}
void *malloc(size_t size) { return memalign(16, size); }
void free(void *p) { if (p != NULL) own(p); }
void *calloc(size_t n, size_t each) { return memalign(16, n * each); }
void *realloc(void *p, size_t size)
{
    void *q = malloc(size);
    if (p != NULL && q != NULL) {
        own(p);
        size_t had = ((size_t *)p)[-2];
        memcpy(q, p, had < size ? had : size);
    }
    return q;
}
void *aligned_alloc(size_t align, size_t size) { return memalign(align, size); }
int posix_memalign(void **p, size_t align, size_t size)
{
    return (*p = memalign(align, size)) == NULL ? ENOMEM : 0;
}
size_t malloc_usable_size(void *p) { own(p); return ((size_t *)p)[-2]; }
int main(void)
{
    int code = work();
    printf("%d %d\n", code, calls > 2000);
    return code;
}
C

# malloc, free, calloc and realloc alone, each handed on to the next.
cat >"$work/wrapper.c" <<'C'
#include "work.h"
static unsigned long calls;
static void *(*next_malloc)(size_t), *(*next_calloc)(size_t, size_t);
static void *(*next_realloc)(void *, size_t);
static void (*next_free)(void *);
static void find(void)
{
    if (next_free != NULL)
        return;
    next_malloc = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
    next_calloc = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
    next_realloc = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
    next_free = (void (*)(void *))dlsym(RTLD_NEXT, "free");
}
static void *count(void *p)
{
    __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    return p;
}
void *malloc(size_t size) { find(); return count(next_malloc(size)); }
void *calloc(size_t n, size_t each) { find(); return count(next_calloc(n, each)); }
void *realloc(void *p, size_t size)
{
    find();
    return p == NULL ? malloc(size) : next_realloc(p, size);
}
void free(void *p)
{
    find();
    next_free(p);
}
int main(void)
{
    void *aligned;
    int code = work();
    for (int i = 0; i < 100; i++) { /* not wrapped, freed by the wrapper */
        if (posix_memalign(&aligned, 64, 1000) != 0 ||
            malloc_usable_size(aligned) < 1000)
            return 9;
        free(aligned);
    }
    printf("%d %d\n", code, calls > 2000);
    return code;
}
C

# --wrap: the program's own calls take a detour, libraries' do not.
cat >"$work/wrap.c" <<'C'
#include "work.h"
static unsigned long calls;
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size) { calls++; return __real_malloc(size); }
int main(void)
{
    int code = work();
    printf("%d %d\n", code, calls >= 1000);
    return code;
}
C

for name in whole wrapper wrap; do
    gcc -g -O1 -w -fno-builtin -rdynamic -o "$work/$name" "$work/$name.c" \
        "-Wl,--wrap=$([ $name = wrap ] && echo malloc)" -ldl -lpthread || exit 1
done

run "$work/plain" "$work/whole"
run "$work/under" LD_PRELOAD="$lib" "$work/whole"
compare "$work/plain" "$work/under"
report $? 'an allocator of its own'
rm -rf "$work/plain" "$work/under"
modes=$every
same 'wrappers of the next malloc' "$work/wrapper"
same 'ld --wrap=malloc' "$work/wrap"
finish
