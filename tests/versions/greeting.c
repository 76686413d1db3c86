/* SPDX-License-Identifier: MIT
 * greeting.c - a box that takes every struct for as long as its own header
 * says, and uses what may be missing in the core only where it is there.
 * test_versions.sh builds it against headers of several versions.
 */
#include <errno.h>
#include <hakmem/box.h>

enum { MEMORY_BYTES = 1 << 20 };
static char *memory;
static size_t used;
static uint64_t nallocs;

enum { PARAM_LIMIT, PARAM_WORD };

static const struct hak_param params[] = {
    [PARAM_LIMIT] = {.name = "limit",
                     .type = HAK_PARAM_INT,
                     .max = 4096,
                     .def = 1000,
                     .help = "largest request"},
    [PARAM_WORD] = {.name = "word",
                    .type = HAK_PARAM_TEXT,
                    .def_text = "hello",
                    .help = "what it says at the start"},
};

static int greet(struct hak_box *box)
{
    const struct hak_host *host = box->host;
    if (host->granule_bytes != HAK_GRANULE_BYTES || host->lanes != HAK_LANES)
        host->log(box, HAK_LOG_WARNING, "other constants");
    host->log(box, HAK_LOG_INFO, "%s %lu", box->params[PARAM_WORD].text,
              (unsigned long)box->params[PARAM_LIMIT].i);
#ifdef LATER
    if (HAK_HAS(host, later_1) && host->later_1 != 0)
        host->log(box, HAK_LOG_WARNING, "what is not used is not zero");
#endif
    memory = host->map(box, MEMORY_BYTES, 0, 0);
    return memory != NULL ? 0 : -ENOMEM;
}

static void *greeting_alloc(struct hak_box *box, size_t size_bytes)
{
    size_t bytes = (size_bytes + 15) & ~(size_t)15;
    if (size_bytes > (size_t)box->params[PARAM_LIMIT].i)
        return NULL;
    size_t at = __atomic_fetch_add(&used, bytes, __ATOMIC_RELAXED);
    if (at + bytes > MEMORY_BYTES)
        return NULL;
    __atomic_add_fetch(&nallocs, 1, __ATOMIC_RELAXED);
    return memory + at;
}

static void greeting_free(struct hak_box *box, void *p)
{
    (void)box;
    (void)p;
}

static bool greeting_owns(struct hak_box *box, const void *p)
{
    (void)box;
    return (uintptr_t)p - (uintptr_t)memory < MEMORY_BYTES;
}

/* The whole struct, however long the core takes it to be. */
static void greeting_stats(struct hak_box *box, struct hak_box_stats *out)
{
    struct hak_retire record = {.struct_bytes = sizeof record,
                                .slot_bytes = 16,
                                .capacity = 4,
                                .used = 4,
                                .allocations = 4,
                                .frees = 4,
                                .local_frees = 4};
    box->host->retired(box, &record);
    *out = (struct hak_box_stats){
        .struct_bytes = sizeof *out, .live_count = nallocs, .peak_bytes = 4321};
#ifdef LATER
    out->later_1 = UINT64_MAX;
#endif
}

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("greeting", "1.0"),
    .nparams = 2,
    .params = params,
#ifdef LATER
    .later_1 = UINT64_MAX,
#endif
    .ops = {.alloc = greeting_alloc,
            .free = greeting_free,
            .owns = greeting_owns,
            .init = greet,
            .stats = greeting_stats},
};
