/* SPDX-License-Identifier: MIT
 * hakctl_instances.c - hakctl boxes -c: loads and describes the boxes of an
 * INI.
 */
#include "hakctl.h"

#include <core/state/boxes.h>
#include <core/state/core.h>

#include <hakmem/foreign.h>

/* The block size with which a foreign box's calls are measured. */
enum { PAIR_BYTES = 64 };

static const char *owner_text(const struct hak_loaded *b)
{
    return b->residual ? "what nobody else owns" : "asked by owns";
}

static void print_text(const struct hak_loaded *b)
{
    printf("%s  %s %s  %s\n", b->box.name, b->entry->id, b->entry->version,
           b->path);
    printf("  served by   %s\n", b->box.lanes ? "lanes" : "calls");
    if (b->header_bytes != 0)
        printf("  no usable size: the core adds a header of %u bytes to each "
               "request\n",
               b->header_bytes);
    if (b->foreign)
        printf("  pointers    %s\n",
               b->far ? owner_text(b) : "all in memory of the core's");
    ctl_foreign_print(b, PAIR_BYTES, 2);
}

static void json_calls(const struct hak_loaded *b)
{
    const struct hak_foreign_box_1 *table = ctl_foreign(b);
    char text[300];
    if (table == NULL)
        return;
    struct hak_box *box = (struct hak_box *)(uintptr_t)&b->box;
    fputs(",\"calls\":[", stdout);
    for (uint32_t i = 0; table->describe(box, i, text, sizeof text); i++) {
        fputs(i == 0 ? "" : ",", stdout);
        ctl_json(stdout, text);
    }
    fputc(']', stdout);
    double ns = ctl_foreign_pair_ns(b, PAIR_BYTES);
    if (ns >= 0)
        printf(",\"pair_ns\":%.1f", ns);
}

static void print_json(const struct hak_loaded *b)
{
    fputs("{\"name\":", stdout);
    ctl_json(stdout, b->box.name);
    fputs(",\"id\":", stdout);
    ctl_json(stdout, b->entry->id);
    fputs(",\"file\":", stdout);
    ctl_json(stdout, b->path);
    printf(",\"lanes\":%s,\"header_bytes\":%u", b->box.lanes ? "true" : "false",
           b->header_bytes);
    json_calls(b);
    fputc('}', stdout);
}

static void print_finding(void *context, enum hak_diag_level level,
                          const char *file, int line, const char *text)
{
    (void)context;
    ctl_print_finding(stderr, &(struct ctl_finding){level, file, line, text});
}

int ctl_instances(const char *path, const char *profile, bool json)
{
    struct ctl_core core;
    uint32_t n = 0;
    if (ctl_crashes(path, profile))
        return CTL_BAD;
    int error = ctl_load(&core, path, profile, print_finding, NULL, NULL);
    for (uint32_t i = 0; i < hak_conf.nboxes; i++) {
        if (core.box[i] == NULL)
            continue; /* ctl_load has said why */
        const char *between = json ? ",\n" : "\n", *before = json ? "[\n" : "";
        fputs(n++ == 0 ? before : between, stdout);
        (json ? print_json : print_text)(core.box[i]);
    }
    if (json)
        fputs(n == 0 ? "[]\n" : "\n]\n", stdout);
    return error == 0 && hak_conf.nerrors == 0 ? CTL_OK : CTL_SOME;
}
