/* SPDX-License-Identifier: MIT
 * hakctl_foreign.c - foreign boxes: makes room for their thread-local
 * variables, and describes how they are called.
 */
#include "hakctl.h"

#include <conf/conf.h>
#include <core/box/abi.h>
#include <core/state/boxes.h>
#include <core/state/core.h>

#include <errno.h>
#include <hakmem/foreign.h>
#include <time.h>

/* ---- static TLS ---------------------------------------------------------- */

/*
 * A library that is opened at run time puts its initial-exec thread-local
 * variables into the static TLS that was left over at start. This is 512 bytes,
 * unless this tunable sets more. Debian's jemalloc and memkind need 2632 each.
 */
#define TUNABLE "glibc.rtld.optional_static_tls"
enum { TLS_BYTES = 16384 };

static char **own_argv;

void ctl_foreign_start(char **argv)
{
    own_argv = argv;
}

/* Add the tunable to the environment. Returns false: it is there already. */
static bool raise_tls(void)
{
    const char *old = getenv("GLIBC_TUNABLES");
    char *all = NULL;
    if (old != NULL && strstr(old, TUNABLE) != NULL)
        return false;
    bool some = old != NULL && old[0] != 0;
    if (asprintf(&all, "%s%s" TUNABLE "=%d", some ? old : "", some ? ":" : "",
                 TLS_BYTES) < 0 ||
        setenv("GLIBC_TUNABLES", all, 1) != 0)
        ctl_die("no memory");
    free(all);
    return true;
}

void ctl_foreign_tls(const char *path, const char *profile)
{
    if (hak_conf_read(&hak_conf, path, -1, environ, profile, NULL, NULL) == 0)
        for (uint32_t i = 0; i < hak_conf.nboxes; i++)
            if (hak_conf.box[i].type != NULL && raise_tls())
                execv("/proc/self/exe", own_argv); /* ld.so reads it at start */
}

void ctl_foreign_tls_now(void)
{
    if (raise_tls())
        execv("/proc/self/exe", own_argv);
}

void ctl_foreign_tls_for_next(void)
{
    raise_tls();
}

/* ---- how a box is called ------------------------------------------------- */

const struct hak_foreign_box_1 *ctl_foreign(const struct hak_loaded *b)
{
    if (b == NULL || !b->foreign)
        return NULL;
    static struct hak_foreign_box_1 table;
    struct hak_box_ops ops;
    struct hak_box *box = (struct hak_box *)(uintptr_t)&b->box;
    return hak_abi_foreign(b->entry, box, &table, &ops) ? &table : NULL;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

double ctl_foreign_pair_ns(const struct hak_loaded *b, size_t size)
{
    enum { ROUNDS = 5, PAIRS = 2000, MOST_BYTES = 1 << 20 };
    struct hak_box *box = (struct hak_box *)(uintptr_t)&b->box;
    double best = -1;
    if (size > MOST_BYTES)
        return best;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = now_ns();
        for (int i = 0; i < PAIRS; i++) {
            void *p = b->ops.alloc(box, hak_max(size, 1));
            if (p == NULL)
                return -1;
            b->ops.free(box, p);
        }
        double each = (double)(now_ns() - start) / PAIRS;
        if (best < 0 || each < best)
            best = each;
    }
    return best;
}

void ctl_foreign_print(const struct hak_loaded *b, size_t size, int indent)
{
    const struct hak_foreign_box_1 *table = ctl_foreign(b);
    char text[300];
    if (table == NULL)
        return;
    struct hak_box *box = (struct hak_box *)(uintptr_t)&b->box;
    for (uint32_t i = 0; table->describe(box, i, text, sizeof text); i++)
        printf("%*s%s\n", indent, "", text);
    double ns = ctl_foreign_pair_ns(b, size);
    if (ns >= 0)
        printf("%*salloc and free: %.0f ns a pair, measured here\n", indent, "",
               ns);
}
