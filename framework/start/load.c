/* SPDX-License-Identifier: MIT
 * load.c - loads a box into the running process.
 *
 * The box passes the same checks as at start. Then it is tried: it has to serve
 * some blocks before any request is routed to it. A box that fails changes
 * nothing that the process uses; the memory that it mapped is lost.
 */
#include <start/change.h>

#include <base/meta.h>
#include <base/seal.h>
#include <base/text.h>
#include <base/why.h>
#include <conf/values.h>
#include <core/box/load.h>
#include <core/box/modules.h>
#include <core/box/walk.h>
#include <core/malloc/box_calls.h>
#include <core/malloc/slow.h>
#include <core/route/policy.h>
#include <core/thread/thread.h>
#include <report/report.h>

#include <errno.h>
#include <limits.h>
#include <string.h>

static bool loading; /* atomic */

bool hak_change_is_loading(void)
{
    return __atomic_load_n(&loading, __ATOMIC_RELAXED) && hak_change_is_mine();
}

/* ---- the place for it ---------------------------------------------------- */

static bool has_heaps(uint32_t index)
{
    for (struct hak_thread *t = hak_thread_first(); t != NULL; t = t->next)
        if (__atomic_load_n(&t->heap[index], __ATOMIC_ACQUIRE) != NULL)
            return true;
    return false;
}

/* May another box take the place of b, which is closed? */
static bool is_gone(const struct hak_loaded *b)
{
    return !b->residual && b != hak_core.sample_box &&
           hak_counted(&b->now->mapped_bytes) == 0 && !has_heaps(b->box.index);
}

/* Take b, which is gone, out of all lists, so that its index can be used. */
static int vacate(struct hak_loaded *b)
{
    int error = hak_policy_forget(b);
    if (error != 0)
        return error;
    if (!hak_seal_open())
        return -ENOMEM;
    hak_walk_leave(b);
    hak_seal_close();
    hak_box_abandon(b);
    return 0;
}

static int vacant_index(void)
{
    for (uint32_t i = 0; i < hak_nboxes(); i++)
        if (hak_box_at(i) == &hak_vacant)
            return (int)i;
    return hak_nboxes() < HAK_MAX_BOXES ? (int)hak_nboxes() : -ENOSPC;
}

/* Let b leave if it is closed. Returns 0; -EBUSY: it has to stay; -ENOMEM. */
static int make_leave(struct hak_loaded *b)
{
    if (b == &hak_vacant || b->box.state_now != HAK_BOX_CLOSED)
        return -EBUSY;
    hak_trim_closed(b);
    return is_gone(b) ? vacate(b) : -EBUSY;
}

/* The index of a place without a box, after a closed box has left if there is
 * no room; or -errno. */
static int make_room(void)
{
    int index = vacant_index();
    for (uint32_t i = 0; i < hak_nboxes() && index == -ENOSPC; i++) {
        int error = make_leave(hak_box_at(i));
        if (error != -EBUSY)
            index = error == 0 ? (int)i : error;
    }
    return index;
}

/* The index for a new box of that name, or -errno. A closed box of the same
 * name leaves. */
static int find_index(const char *name, char *why, size_t n)
{
    struct hak_loaded *same = hak_box_named(name);
    if (same != NULL && same->box.state_now != HAK_BOX_CLOSED)
        return hak_refuse(-EEXIST, why, n, "there is a box %s already", name);
    if (same != NULL && make_leave(same) != 0)
        return hak_refuse(-EBUSY, why, n,
                          "the closed box %s still holds memory, of its own or "
                          "in the heap of a thread that has not called malloc "
                          "since; choose another name",
                          name);
    if (hak_policy_needs_name(name))
        return hak_refuse(-EEXIST, why, n,
                          "there is a route %s already; choose another name",
                          name);
    int index = make_room();
    if (index == -ENOSPC)
        hak_refuse(index, why, n,
                   "there are %u boxes, and none of them is closed and "
                   "without memory",
                   HAK_MAX_BOXES);
    else if (index < 0)
        hak_refuse(index, why, n, "no memory");
    return index;
}

/* ---- its configuration --------------------------------------------------- */

static bool is_name(const char *name)
{
    size_t n = strlen(name);
    return n != 0 && n < 32 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz"
                        "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == n;
}

struct reason {
    char *why;
    size_t n;
};

/* The first finding is the reason. */
static void keep_reason(void *context, enum hak_diag_level level,
                        const char *file, int line, const char *text)
{
    struct reason *reason = context;
    (void)file, (void)line;
    if (level != HAK_DIAG_ERROR || reason->why == NULL || reason->n == 0)
        return;
    hak_text_copy(reason->why, reason->n, text, strlen(text));
    reason->n = 0;
}

/* Remove what an earlier box of this section was given when it was loaded, or
 * one that failed. Keys of a [box NAME] in the INI stay. */
static void forget_keys(const char *section)
{
    for (uint32_t i = hak_conf.nentries; i-- != 0;)
        if (hak_conf.entry[i].layer == HAK_LAYER_CONTROL &&
            strcmp(hak_conf.entry[i].section, section) == 0)
            hak_conf.entry[i] = hak_conf.entry[--hak_conf.nentries];
}

/* Add one KEY=VALUE to the configuration. */
static int add_key(const char *section, const char *text, char *why, size_t n)
{
    struct hak_conf_entry old;
    const char *equal = strchr(text, '=');
    if (equal == NULL || equal == text)
        return hak_refuse(-EINVAL, why, n, "\"%s\" is not KEY=VALUE", text);
    size_t bytes = strlen(text) + 1;
    char *key = hak_meta(bytes);
    if (key == NULL)
        return hak_refuse(-ENOMEM, why, n, "no memory");
    memcpy(key, text, bytes);
    key[equal - text] = 0;
    if (strcmp(key, "priority") == 0)
        return hak_refuse(-EINVAL, why, n,
                          "a box that is loaded now is asked last whether it "
                          "owns a pointer; leave out priority");
    int error =
        hak_conf_set(&hak_conf, section, key, key + (equal - text) + 1, &old);
    if (error == -ENOSPC)
        hak_refuse(error, why, n, "there are too many keys in all");
    return error;
}

static int read_lanes(const char *section, bool *lanes, char *why, size_t n)
{
    static const struct hak_param boolean = {.type = HAK_PARAM_BOOL};
    const struct hak_conf_entry *e = hak_conf_find(&hak_conf, section, "lanes");
    union hak_value value = {.i = 1};
    if (e != NULL && hak_conf_param(&boolean, e->value, &value, why, n) != 0)
        return -EINVAL;
    *lanes = value.i != 0;
    return 0;
}

/* Fill in conf. With the file "foreign", the key path names the library. */
static int read_keys(const struct hak_load *what, struct hak_conf_box *conf,
                     const char *section, char *why, size_t n)
{
    bool foreign = strcmp(what->file, "foreign") == 0;
    forget_keys(section);
    for (uint32_t i = 0; i < what->nkeys; i++) {
        int error = add_key(section, what->keys[i], why, n);
        if (error != 0)
            return error;
    }
    *conf = (struct hak_conf_box){
        .name = section + strlen("box "),
        .priority = INT_MAX,
        .used = true,
        .origin = {"control", 0},
        .path_origin = {"control", 0},
    };
    const struct hak_conf_entry *e = hak_conf_find(&hak_conf, section, "path");
    struct hak_conf_entry old;
    if (e != NULL && e->layer == HAK_LAYER_CONTROL && !foreign)
        return hak_refuse(-EINVAL, why, n,
                          "the box's file is given by NAME=FILE; leave out "
                          "path");
    conf->type = foreign ? "foreign" : NULL;
    conf->path = e != NULL ? e->value : NULL;
    const char *kept = hak_meta_text(what->file);
    if (kept == NULL)
        return hak_refuse(-ENOMEM, why, n, "no memory");
    if (!foreign)
        conf->path = kept;
    if (hak_conf_set(&hak_conf, section, foreign ? "type" : "path", kept,
                     &old) != 0)
        return hak_refuse(-ENOSPC, why, n, "there are too many keys in all");
    return read_lanes(section, &conf->lanes, why, n);
}

/* ---- the trial ----------------------------------------------------------- */

enum { TRIED = 70 }; /* live blocks of each size */

/* The fault of block p of size bytes, as the end of a message, or NULL. */
static const char *fault_of(struct hak_loaded *b, const char *p, size_t size)
{
    bool aligned = (uintptr_t)p % HAK_ALIGN_BYTES == 0;
    if (hak_box_header_bytes(b) != 0) /* p is behind the header */
        aligned = hak_header_of(p)->offset == sizeof(struct hak_header);
    if (!aligned)
        return "is not 16-byte aligned";
    if (!b->foreign && hak_box_usable(b, p) < size)
        return "has a smaller usable_size";
    if (!b->residual && !hak_box_owns(b, p))
        return "is not its own, says its owns()";
    return NULL;
}

static bool has_bytes(const unsigned char *p, size_t size, int byte)
{
    for (size_t i = 0; i < size; i++)
        if (p[i] != byte)
            return false;
    return true;
}

static int try_size(struct hak_thread *t, struct hak_loaded *b, size_t size,
                    char *why, size_t n)
{
    unsigned char *p[TRIED];
    int got = 0;
    int want = size <= HAK_SMALL_MAX_BYTES ? TRIED : TRIED / 10;
    for (; got < want; got++) {
        p[got] = hak_from_box(t, b, size, false);
        if (p[got] == NULL)
            break; /* it may decline */
        const char *fault = fault_of(b, (const char *)p[got], size);
        if (fault != NULL)
            return hak_refuse(-EPROTO, why, n,
                              "in its trial, block %p of %zu bytes %s",
                              (void *)p[got], size, fault);
        memset(p[got], got + 1, size);
    }
    for (int i = 0; i < got; i++) /* a wrong block is not freed: it may crash */
        if (!has_bytes(p[i], size, i + 1))
            return hak_refuse(-EPROTO, why, n,
                              "in its trial, blocks of %zu bytes overlap",
                              size);
    for (int i = 0; i < got; i++)
        hak_to_box(b, p[i]);
    return 0;
}

/* Ask a box with lanes for a span. */
static int try_refill(struct hak_thread *t, struct hak_loaded *b, size_t size,
                      char *why, size_t n)
{
    void *heap = hak_thread_heap(t, b, true);
    struct hak_span *span = heap != NULL ? hak_box_refill(b, heap, size) : NULL;
    if (span == NULL)
        return 0; /* it may decline */
    if (span->slot_bytes < size || span->local == NULL || span->box != &b->box)
        return hak_refuse(-EPROTO, why, n,
                          "in its trial, refill(%zu) returned a span of "
                          "%u-byte slots%s",
                          size, span->slot_bytes,
                          span->local == NULL ? " without a free one" : "");
    return 0;
}

static int try_box(struct hak_loaded *b, char *why, size_t n)
{
    static const size_t sizes[] = {1, 16, 24, 100, 1000, 1024, 4000, 70000};
    struct hak_thread *t = hak_self;
    int error = 0;
    if (!hak_is_attached(t) && (t = hak_thread_attach()) == NULL)
        return hak_refuse(-ENOMEM, why, n, "no memory");
    for (size_t i = 0; error == 0 && i < sizeof sizes / sizeof sizes[0]; i++) {
        error = try_size(t, b, sizes[i], why, n);
        if (error == 0 && hak_box_lanes(b))
            error = try_refill(t, b, sizes[i], why, n);
    }
    return error;
}

/* ---- loading ------------------------------------------------------------- */

/* A box that failed may have opened heaps. The next box with this index must
 * not take them for its own. */
static void forget_heaps(uint32_t index)
{
    for (struct hak_thread *t = hak_thread_first(); t != NULL; t = t->next)
        __atomic_store_n(&t->heap[index], NULL, __ATOMIC_RELAXED);
}

static int check_loaded(struct hak_loaded *b, char *why, size_t n)
{
    if (b->residual)
        return hak_refuse(-EINVAL, why, n,
                          "owns = residual is for boxes of the INI: blocks "
                          "that libc has given out before could be taken for "
                          "its own; give it owns = SYMBOL(ptr) -> bool");
    hak_counts_read(b->box.index, &b->now->before);
    return try_box(b, why, n);
}

/* Start and try the box. Returns NULL with the error in *error. */
static struct hak_loaded *begin(const struct hak_load *what, uint32_t index,
                                const char *section, int *error, char *why,
                                size_t n)
{
    struct hak_conf_box *conf = hak_meta(sizeof *conf);
    struct hak_loaded *b = NULL;
    *error = conf == NULL ? hak_refuse(-ENOMEM, why, n, "no memory")
                          : read_keys(what, conf, section, why, n);
    if (*error == 0) {
        uint32_t nerrors = hak_conf.nerrors;
        b = hak_box_load_at(&hak_conf, conf, index);
        /* At start, a box runs with the default in place of a bad value. */
        *error = b == NULL || hak_conf.nerrors != nerrors
                     ? -EINVAL
                     : check_loaded(b, why, n);
    }
    if (*error != 0 && b != NULL)
        hak_box_abandon(b);
    return *error == 0 ? b : NULL;
}

static int enter(struct hak_loaded *b, char *why, size_t n)
{
    int error = hak_policy_add(b);
    if (error == 0 && !hak_seal_open())
        error = -ENOMEM;
    if (error != 0)
        return hak_refuse(error, why, n, "%s",
                          error == -ENOSPC ? "there are too many routes"
                                           : "no memory");
    hak_box_enter(b);
    hak_seal_close();
    return 0;
}

static int load_at(const struct hak_load *what, uint32_t index,
                   const char *section, char *why, size_t n)
{
    struct reason reason = {why, n};
    int error;
    if (!hak_seal_stage())
        return hak_refuse(-ENOMEM, why, n, "no memory");
    hak_conf.diag = keep_reason;
    hak_conf.diag_context = &reason;
    __atomic_store_n(&loading, true, __ATOMIC_RELAXED);
    struct hak_loaded *b = begin(what, index, section, &error, why, n);
    __atomic_store_n(&loading, false, __ATOMIC_RELAXED);
    hak_conf.diag = NULL;
    hak_seal_staged();
    if (b != NULL)
        error = enter(b, why, n);
    if (error == 0)
        hak_modules_tell("load", "%s (%s)", what->name, what->file);
    if (error != 0) {
        forget_heaps(index);
        forget_keys(section);
    }
    return error;
}

int hak_change_load(const struct hak_load *what, char *why, size_t n)
{
    size_t bytes = strlen(what->name) + sizeof "box ";
    if (!is_name(what->name))
        return hak_refuse(-EINVAL, why, n,
                          "\"%s\" is no name for a box; it has letters, "
                          "digits, _ and -, 31 at most",
                          what->name);
    char *section = hak_meta(bytes);
    if (section == NULL)
        return hak_refuse(-ENOMEM, why, n, "no memory");
    hak_text_join(section, bytes, "box ", what->name);
    hak_change_begin();
    int index = find_index(what->name, why, n);
    int error =
        index < 0 ? index : load_at(what, (uint32_t)index, section, why, n);
    hak_change_end();
    return error;
}
