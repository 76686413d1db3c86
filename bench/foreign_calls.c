/* SPDX-License-Identifier: MIT
 * foreign_calls.c - ns of one call of another library's function, by each way
 * to it: direct, by pointer, by a compiled adapter, by a prepared cif, and
 * into a closure of libffi. `make bench-foreign` runs it.
 *
 * The function is f(size, i32) -> ptr, the shape of jemalloc's mallocx, and
 * does next to nothing. Best of some rounds.
 */
#include "../plugins/foreign/foreign.h"

#include <ffi.h>
#include <foreign.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROUNDS = 20, CALLS = 200000 };

__attribute__((noinline)) static void *callee(size_t size, int flags)
{
    __asm__ volatile("" : "+r"(size), "+r"(flags));
    return (void *)(size + (size_t)flags);
}

static void in_closure(ffi_cif *cif, void *result, void **values, void *data)
{
    (void)cif;
    (void)data;
    *(void **)result = callee(*(size_t *)values[0], *(int *)values[1]);
}

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

#define MEASURE(name, call)                                   \
    do {                                                      \
        double best = 1e9;                                    \
        for (int r = 0; r < ROUNDS; r++) {                    \
            double start = now_ns();                          \
            for (size_t i = 0; i < CALLS; i++)                \
                __asm__ volatile("" : : "r"((void *)(call))); \
            double each = (now_ns() - start) / CALLS;         \
            best = each < best ? each : best;                 \
        }                                                     \
        printf("%-18s %6.1f ns a call\n", name, best);        \
    } while (0)

static void die(const char *why)
{
    fprintf(stderr, "foreign_calls: %s\n", why);
    exit(1);
}

static void *make_closure(void)
{
    static ffi_cif cif;
    static ffi_type *types[] = {&ffi_type_uint64, &ffi_type_sint32};
    void *code = NULL;
    ffi_closure *closure = ffi_closure_alloc(sizeof *closure, &code);
    if (closure == NULL ||
        ffi_prep_cif(&cif, FFI_DEFAULT_ABI, 2, &ffi_type_pointer, types) !=
            FFI_OK ||
        ffi_prep_closure_loc(closure, &cif, in_closure, NULL, code) != FFI_OK)
        die("libffi gives no closure");
    return code;
}

int main(void)
{
    static struct op op;
    struct hak_call call;
    char why[200];
    void *out = NULL;
    const char *text = "malloc(size, i32:0) -> ptr";
    void *(*volatile pointer)(size_t, int) = callee;
    void *(*closure)(size_t, int) =
        (void *(*)(size_t, int))(uintptr_t)make_closure();
    void *libc = hak_ffi_open("libc.so.6", why, sizeof why);
    if (libc == NULL || hak_call_parse(&text, &call, why, sizeof why) != 0 ||
        hak_ffi_bind(libc, &call, &op.bound, why, sizeof why) != 0)
        die(why);
    op.bound.function = (void *)(uintptr_t)callee;
    op.host = &hak_ffi_table;
    word (*volatile adapter)(const struct op *, word, word, void **) =
        adapter_of("vk");
    MEASURE("direct", callee(i, 0));
    MEASURE("pointer", pointer(i, 0));
    MEASURE("compiled adapter", adapter(&op, i, 0, &out));
    MEASURE("cif", adapter_ffi(&op, i, 0, &out));
    MEASURE("closure", closure(i, 0));
    return 0;
}
