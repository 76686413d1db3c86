/* SPDX-License-Identifier: MIT
 * modules.c - opens modules, calls them, and gives them their host table.
 */
#include <core/box/modules.h>

#include <base/meta.h>
#include <base/seal.h>
#include <base/text.h>
#include <base/why.h>
#include <core/box/caches.h>
#include <core/box/open.h>
#include <core/memory/space.h>
#include <core/route/lanes.h>
#include <core/route/policy.h>
#include <core/route/sample.h>
#include <core/route/tap.h>
#include <core/state/build.h>
#include <core/state/directory.h>
#include <core/state/thread.h>
#include <core/thread/mailbox.h>
#include <hakmem/hakmem.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- the host table ---- */

static void want_slow_path(const struct hak_module_host *host)
{
    __atomic_or_fetch(&hak_modules_wanted, 1u << host->index, __ATOMIC_RELAXED);
}

static void **word_of_thread(const struct hak_module_host *host)
{
    struct hak_thread *t = hak_self;
    return hak_is_attached(t) ? &t->of_module[host->index] : NULL;
}

static void each_word(const struct hak_module_host *host,
                      void (*each)(void *context, void *word), void *context)
{
    for (struct hak_thread *t = hak_thread_first(); t != NULL; t = t->next)
        each(context,
             __atomic_load_n(&t->of_module[host->index], __ATOMIC_ACQUIRE));
}

/* Tell of a route that a module has set. A module that sets routes is the
 * learner. */
static void tell_of_route(uint32_t first, uint32_t last, const char *route)
{
    size_t from = first == 0 ? 0 : hak_index_bytes(first - 1) + 1;
    char to[24] = "";
    if (last < HAK_LANES)
        hak_text_join(to, sizeof to,
                      hak_text_number((char[24]){0}, hak_index_bytes(last)));
    hak_modules_tell("learner", "%zu-%s -> %s", from, to, route);
}

static int set_route(uint32_t first, uint32_t last, const char *route)
{
    int error =
        hak_routes_may_change() ? hak_policy_set(first, last, route) : -ENOTSUP;
    if (error == 0) {
        hak_lanes_reroute(first, last);
        tell_of_route(first, last, route);
    }
    return error;
}

static int reset_route(uint32_t first, uint32_t last)
{
    int error =
        hak_routes_may_change() ? hak_policy_reset(first, last) : -ENOTSUP;
    if (error == 0) {
        hak_lanes_reroute(first, last);
        tell_of_route(first, last, "(INI)");
    }
    return error;
}

static const char *route_of(uint32_t index)
{
    return hak_chain_of(index)->route;
}

static bool leads_to_box(const char *route)
{
    return hak_routes_may_change() && hak_policy_leads_to_box(route);
}

static const char *call_of(const char *box, uint32_t n, const char **text,
                           bool *poll)
{
    return hak_opens_files() ? hak_conf_call(&hak_conf, box, n, text, poll)
                             : NULL;
}

/* The nth box in order of priority, or NULL. */
static struct hak_loaded *nth_box(uint32_t n)
{
    for (uint32_t i = 0; i < hak_nboxes(); i++) {
        struct hak_loaded *b = hak_box_in_walk(i);
        if (b != &hak_vacant && n-- == 0)
            return b;
    }
    return NULL;
}

/* Can figures be read? 0 or -errno. */
static int check_readable(void)
{
    if (hak_core.mode != HAK_MODE_BOXES)
        return -ENOSYS;
    return hak_is_forking() ? -EAGAIN : 0;
}

static int box_at(uint32_t n, struct hak_box_now *out)
{
    static const char states[][12] = {"loaded", "active", "draining", "closed"};
    struct hak_stats s;
    int error = check_readable();
    if (error != 0)
        return error;
    struct hak_loaded *b = nth_box(n);
    if (b == NULL)
        return -ENOENT;
    hak_core.figures(b, &s);
    hak_text_copy(out->name, sizeof out->name, b->box.name,
                  strlen(b->box.name));
    out->state = states[hak_state_of(b)];
    out->live_count = s.live_count;
    out->live_bytes = s.live_bytes;
    out->mapped_bytes = s.mapped_bytes;
    out->cached_bytes = s.cached_bytes;
    out->allocs = s.allocs;
    out->frees = s.frees;
    return 0;
}

static int classes_at(uint32_t n, struct hak_class out[HAK_CLASSES_ROOM])
{
    int error = check_readable();
    if (error != 0)
        return error;
    struct hak_loaded *b = nth_box(n);
    return b != NULL ? (int)hak_core.classes(b, out) : -ENOENT;
}

static int space_now(struct hak_space_now *out)
{
    struct hak_space_figures f;
    int error = check_readable();
    if (error != 0)
        return error;
    hak_space_read(&f);
    *out = (struct hak_space_now){
        .used_bytes = f.used_bytes,
        .free_bytes = f.free_bytes,
        .dirty_bytes = f.dirty_bytes,
        .meta_bytes = hak_meta_bytes(),
        .purge_delay_ms = hak_space_purge_delay_ms(),
        .purged_bytes = f.purged_bytes,
        .purges = f.purges,
        .maps = f.maps,
        .unmaps = f.unmaps,
        .libc_allocs = hak_core.libc_allocs(),
    };
    return 0;
}

static void receive_frees(void)
{
    if (!hak_is_forking())
        hak_mailbox_receive_all(hak_self);
}

/* The granules around p whose entries name span. */
static void granules_of(const struct hak_span *span, const void *p,
                        struct hak_page_now *out)
{
    uintptr_t first = (uintptr_t)p & ~(uintptr_t)(HAK_GRANULE_BYTES - 1);
    uintptr_t end = first + HAK_GRANULE_BYTES;
    while (hak_directory_get((void *)(first - HAK_GRANULE_BYTES)) == span)
        first -= HAK_GRANULE_BYTES;
    while (hak_directory_get((void *)end) == span)
        end += HAK_GRANULE_BYTES;
    out->start = first;
    out->size_bytes = end - first;
}

static int watch_calls(const struct hak_module_host *host,
                       const struct hak_call_ops *ops)
{
    return hak_tap_set(host->index, ops);
}

/* Other threads may change the span meanwhile, so nlive is approximate. */
static int page_of_slot(const void *slot, struct hak_page_now *out)
{
    const struct hak_span *span = hak_directory_get(slot);
    if (span == NULL || span->slot_bytes == 0)
        return -ENOENT;
    granules_of(span, slot, out);
    out->slot_bytes = span->slot_bytes;
    uint64_t nalloc = __atomic_load_n(&span->nalloc, __ATOMIC_RELAXED);
    uint64_t nfree = __atomic_load_n(&span->nfree, __ATOMIC_RELAXED);
    out->nlive = nalloc > nfree ? nalloc - nfree : 1;
    return 0;
}

/* ---- opening ---- */

static const struct hak_module_entry *find_linked(const char *name)
{
    const struct hak_module_entry *const *at = hak_modules.linked;
    for (; at != NULL && *at != NULL; at++)
        if (strcmp((*at)->name, name) == 0)
            return *at;
    return NULL;
}

/* Refuse a module of another version. The members version and core_version are
 * at the same place in every version; the others may not be. */
static int check_module_version(const struct hak_module_entry *entry,
                                const char *name, char *why, size_t n)
{
    if (entry->version == HAK_MODULE_VERSION &&
        strcmp(entry->core_version, HAK_VERSION) == 0)
        return 0;
    return hak_refuse(-EINVAL, why, n,
                      "module %s is of another version than this library, "
                      "which is " HAK_VERSION "; install both together",
                      name);
}

static int start_module(const struct hak_module_entry *entry, char *why,
                        size_t n)
{
    uint32_t i = hak_modules.n;
    if (i == HAK_MODULES_MOST)
        return hak_refuse(-ENOSPC, why, n, "there are %u modules already", i);
    if (!hak_seal_open())
        return hak_refuse(-ENOMEM, why, n, "no memory");
    hak_modules.host[i] = (struct hak_module_host){
        .version = HAK_MODULE_VERSION,
        .index = i,
        .conf = &hak_conf,
        .meta = hak_meta,
        .sealed = hak_sealed_memory,
        .want = want_slow_path,
        .extension = hak_modules_extension,
        .sample_bytes = hak_sample_bytes_start,
        .watch_calls = watch_calls,
        .page = page_of_slot,
        .receive_frees = receive_frees,
        .slot = word_of_thread,
        .each_slot = each_word,
        .age = hak_core.age,
        .trim_window = hak_space_trim,
        .trim_boxes = hak_boxes_give_back,
        .limit_purge_delay = hak_space_limit_purge_delay,
        .set_route = set_route,
        .reset_route = reset_route,
        .route_of = route_of,
        .leads_to_box = leads_to_box,
        .call_of = call_of,
        .changes = hak_core.changes,
        .box = box_at,
        .classes = classes_at,
        .space = space_now,
        .resident = hak_space_resident,
        .report = hak_core.report,
        .write_report = hak_core.write_report,
    };
    hak_seal_close();
    int error = entry->start != NULL ? entry->start(&hak_modules.host[i]) : 0;
    if (error == 0 && !hak_seal_open())
        error = -ENOMEM;
    if (error != 0)
        return hak_refuse(error, why, n, "module %s does not start: %s",
                          entry->name, strerrordesc_np(-error));
    hak_modules.entry[i] = entry;
    hak_modules.nlisteners += entry->page_retired != NULL;
    hak_modules.nwatchers += entry->event != NULL;
    hak_modules.nmourners += entry->thread_ended != NULL;
    __atomic_store_n(&hak_modules.n, i + 1, __ATOMIC_RELEASE);
    hak_seal_close();
    return 0;
}

int hak_module_open(const char *name, char *why, size_t why_bytes)
{
    for (uint32_t i = 0; i < hak_modules.n; i++)
        if (strcmp(hak_modules.entry[i]->name, name) == 0)
            return 0;
    const struct hak_module_entry *entry = find_linked(name);
    int error = 0;
    if (entry == NULL)
        error = hak_opens_files()
                    ? hak_module_file(name, &entry, why, why_bytes)
                    : -ENOENT;
    if (error == 0)
        error = check_module_version(entry, name, why, why_bytes);
    if (error == 0 && entry->needs != NULL)
        error = hak_module_open(entry->needs, why, why_bytes);
    return error == 0 ? start_module(entry, why, why_bytes) : error;
}

/* ---- calls ---- */

const void *hak_modules_extension(const char *id)
{
    const void *table = NULL;
    for (uint32_t i = 0; i < hak_modules.n && table == NULL; i++)
        if (hak_modules.entry[i]->extension != NULL)
            table = hak_modules.entry[i]->extension(id);
    return table;
}

void hak_modules_run(void)
{
    for (uint32_t i = 0; i < hak_modules.n; i++)
        if (hak_modules.entry[i]->run != NULL)
            hak_modules.entry[i]->run();
}

void hak_modules_stop(void)
{
    for (uint32_t i = 0; i < hak_modules.n; i++)
        if (hak_modules.entry[i]->stop != NULL)
            hak_modules.entry[i]->stop();
}

void hak_modules_lock(enum hak_fork_phase phase)
{
    for (uint32_t i = 0; i < hak_modules.n; i++)
        if (hak_modules.entry[i]->fork != NULL)
            hak_modules.entry[i]->fork(phase);
}

void hak_modules_serve(void)
{
    uint32_t wanted =
        __atomic_exchange_n(&hak_modules_wanted, 0, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; i < hak_modules.n; i++)
        if ((wanted >> i & 1) != 0 && hak_modules.entry[i]->slow_path != NULL)
            hak_modules.entry[i]->slow_path();
}

void hak_modules_tell_of_page(const struct hak_retire *record)
{
    for (uint32_t i = 0; i < hak_modules.n; i++)
        if (hak_modules.entry[i]->page_retired != NULL)
            hak_modules.entry[i]->page_retired(record);
}

/* errno: the learner sets routes inside of malloc. */
void hak_modules_tell(const char *kind, const char *format, ...)
{
    char text[512];
    const struct hak_event event = {kind, text};
    int kept = errno;
    va_list ap;
    if (likely(hak_modules.nwatchers == 0))
        return;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    for (uint32_t i = 0; i < hak_modules.n; i++)
        if (hak_modules.entry[i]->event != NULL)
            hak_modules.entry[i]->event(&event);
    errno = kept;
}
