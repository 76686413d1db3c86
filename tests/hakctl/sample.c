/* SPDX-License-Identifier: MIT
 * sample.c - a box for the tests of hakctl: one parameter of each type, slots
 * of multiples of STEP for 16..1024 bytes. It gives no memory.
 *
 * -DLANES  with lanes        -DCRASHES  init writes to NULL
 * -DBARE   the three required operations and nothing to say
 */
#include <hakmem/box.h>

static void *sample_alloc(struct hak_box *box, size_t size_bytes)
{
    (void)box;
    (void)size_bytes;
    return NULL;
}

static void sample_free(struct hak_box *box, void *p)
{
    (void)box;
    (void)p;
}

static bool sample_owns(struct hak_box *box, const void *p)
{
    (void)box;
    (void)p;
    return false;
}

#ifdef BARE
HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER("bare", "0.1"),
    .ops = {.alloc = sample_alloc, .free = sample_free, .owns = sample_owns},
};
#else

#ifdef LANES
#define ID "swift"
#define STEP 8 /* finer than the size index */
#else
#define ID "sample"
#define STEP 64
#endif

static const struct hak_param params[] = {
    {.name = "number",
     .type = HAK_PARAM_INT,
     .flags = HAK_PARAM_MUTABLE,
     .min = -1,
     .max = 10,
     .def = 5,
     .help = "things that are kept"},
    {.name = "limit",
     .type = HAK_PARAM_SIZE,
     .min = 4096,
     .max = 1 << 20,
     .def = 65536,
     .help = "bytes that are kept"},
    {.name = "wait",
     .type = HAK_PARAM_MS,
     .max = 1000,
     .def = 100,
     .help = "milliseconds between"},
    {.name = "mode",
     .type = HAK_PARAM_ENUM,
     .choices = "fast|small",
     .def = 1,
     .help = "what is sought"},
    {.name = "loud", .type = HAK_PARAM_BOOL, .def = 1, .help = "say it"},
    {.name = "greeting",
     .type = HAK_PARAM_TEXT,
     .def_text = "good \"day\"",
     .help = "what is said"},
};

static int sample_init(struct hak_box *box)
{
#ifdef CRASHES
    box->host = NULL;
#endif
    return box->host->os_page_bytes > 0 ? 0 : -1;
}

static size_t sample_usable_size(struct hak_box *box, const void *p)
{
    (void)box;
    (void)p;
    return 0;
}

static size_t sample_slot_size(struct hak_box *box, size_t size_bytes)
{
    (void)box;
    return size_bytes > 1024 ? 0
                             : (size_bytes + STEP - 1) & ~(size_t)(STEP - 1);
}

#ifdef LANES
static void *sample_heap_open(struct hak_box *box, struct hak_thread *thread)
{
    (void)box;
    (void)thread;
    return NULL;
}

static struct hak_span *sample_refill(struct hak_box *box, void *heap,
                                      size_t size_bytes)
{
    (void)box;
    (void)heap;
    (void)size_bytes;
    return NULL;
}

static void sample_triggered(struct hak_span *span)
{
    (void)span;
}

static void sample_remote_free(struct hak_span *span, void *p)
{
    (void)span;
    (void)p;
}
#endif

HAK_BOX_EXPORT const struct hak_box_entry hak_box_entry = {
    HAK_BOX_HEADER(ID, "2.1"),
    .summary = "says \"no\"",
    .params = params,
    .nparams = sizeof params / sizeof params[0],
    .min_bytes = 16,
    .max_bytes = 1024,
    .ops =
        {
            .alloc = sample_alloc,
            .free = sample_free,
            .owns = sample_owns,
            .init = sample_init,
            .usable_size = sample_usable_size,
            .slot_size = sample_slot_size,
#ifdef LANES
            .heap_open = sample_heap_open,
            .refill = sample_refill,
            .triggered = sample_triggered,
            .remote_free = sample_remote_free,
#endif
        },
};
#endif
