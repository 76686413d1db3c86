/* SPDX-License-Identifier: MIT
 * foreign_calls.c - ns of one call of another library's function, by each way:
 * direct, by a pointer, by a compiled adapter, by a prepared cif, and from the
 * library into a closure. `make bench-foreign` runs it.
 *
 * The function is f(size, i32) -> ptr, like jemalloc's mallocx, and does almost
 * nothing. Each round measures all ways; the figure is the best round. Ratios
 * are to the call by a pointer, which is the normal cost of a call into a
 * shared library.
 */
#include "../plugins/foreign/foreign.h"

#include <modules/foreign/foreign.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROUNDS = 20, CALLS = 200000 };

__attribute__((noinline)) static void *callee(size_t size, int flags)
{
    __asm__ volatile("" : "+r"(size), "+r"(flags));
    return (void *)(size + (size_t)flags);
}

static void in_closure(void *context, const union hak_scalar *cell,
                       union hak_scalar *result)
{
    (void)context;
    result->p = callee(cell[0].u, (int)cell[1].i);
}

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

#define MEASURE(way, call)                                \
    do {                                                  \
        double start = now_ns();                          \
        for (size_t i = 0; i < CALLS; i++)                \
            __asm__ volatile("" : : "r"((void *)(call))); \
        double each = (now_ns() - start) / CALLS;         \
        best[way] = each < best[way] ? each : best[way];  \
    } while (0)

enum { DIRECT, POINTER, ADAPTER, CIF, CLOSURE, WAYS };
static const char *const names[WAYS] = {"direct", "by pointer",
                                        "compiled adapter", "prepared cif",
                                        "into a closure"};

static void die(const char *why)
{
    fprintf(stderr, "foreign_calls: %s\n", why);
    exit(1);
}

static void *made_closure(const char *text)
{
    struct hak_call call;
    char why[200];
    void *code = NULL;
    if (hak_call_parse(&text, &call, why, sizeof why) == 0)
        code = hak_ffi_closure(&call, in_closure, NULL, why, sizeof why);
    if (code == NULL)
        die(why);
    return code;
}

int main(void)
{
    static struct op op;
    struct hak_call call;
    char why[200];
    void *out = NULL;
    const char *text = "malloc(size, i32:0) -> ptr";
    double best[WAYS] = {1e9, 1e9, 1e9, 1e9, 1e9};
    void *(*volatile pointer)(size_t, int) = callee;
    void *(*closure)(size_t, int) =
        (void *(*)(size_t, int))(uintptr_t)made_closure("f(size, i32) -> ptr");
    void *libc = hak_ffi_open("libc.so.6", why, sizeof why);
    if (libc == NULL || hak_call_parse(&text, &call, why, sizeof why) != 0 ||
        hak_ffi_bind(libc, &call, &op.bound, why, sizeof why) != 0)
        die(why);
    op.bound.function = (void *)(uintptr_t)callee;
    op.host = &hak_ffi_table;
    word (*volatile adapter)(const struct op *, word, word, void **) =
        adapter_of("vk");
    for (int round = 0; round < ROUNDS; round++) {
        MEASURE(DIRECT, callee(i, 0));
        MEASURE(POINTER, pointer(i, 0));
        MEASURE(ADAPTER, adapter(&op, i, 0, &out));
        MEASURE(CIF, adapter_ffi(&op, i, 0, &out));
        MEASURE(CLOSURE, closure(i, 0));
    }
    for (int way = 0; way < WAYS; way++)
        printf("%-18s %6.1f ns a call %6.2f\n", names[way], best[way],
               best[way] / best[POINTER]);
    return 0;
}
