/* SPDX-License-Identifier: MIT
 * policy.c - size index -> chain of boxes, replaceable while threads run.
 *
 * A chain is immutable once published and is never freed (there are few, and
 * a thread may be reading it). Replacing one raises the epoch; each thread
 * compares it on its slow path and drops the lanes whose route changed.
 *
 * All of it is sealed but while it changes.
 */
#include <core/route/policy.h>

#include <base/seal.h>
#include <kit/sync.h>
#include <core/state/core.h>

#include <errno.h>
#include <string.h>
#include <fcntl.h>

static const struct hak_chain no_boxes_libc = {.last = HAK_FALLBACK_LIBC,
                                               .route = "libc"};
static const struct hak_chain no_boxes = {.last = HAK_FALLBACK_NONE,
                                          .route = "none"};
static HAK_SEALED struct {
    struct hak_chain *chain[HAK_CONF_ROUTES];
    uint32_t n;
    int base[HAK_LANES + 1];          /* position in chain; -1: the fallback */
    const struct hak_chain *fallback; /* where no rule covers */
} routes;
static struct hak_lock lock;

void hak_policy_lock(enum hak_fork_phase phase)
{
    hak_lock_fork(&lock, phase);
}

static struct hak_chain *make_chain(const struct hak_conf_route *route,
                                    struct hak_loaded *const *loaded)
{
    struct hak_chain *chain = hak_sealed_memory(sizeof *chain);
    if (chain == NULL)
        return NULL;
    uint32_t n = 0;
    for (uint32_t i = 0; i < route->nchain; i++)
        if (loaded[route->chain[i]] != NULL) /* else: left out, told already */
            chain->box[n++] = loaded[route->chain[i]];
    chain->last = route->last;
    chain->route = route->name;
    return chain;
}

static const struct hak_chain *base_chain(uint32_t index)
{
    const struct hak_chain *chain =
        routes.base[index] >= 0 ? routes.chain[routes.base[index]] : NULL;
    return chain != NULL ? chain : routes.fallback;
}

/* loaded is by position in c->box; NULL for those left out */
void hak_policy_build(const struct hak_conf *c,
                      struct hak_loaded *const loaded[HAK_MAX_BOXES])
{
    for (uint32_t i = 0; i < c->nroutes; i++)
        routes.chain[i] = make_chain(&c->route[i], loaded);
    routes.n = c->nroutes;
    routes.fallback =
        c->fallback == HAK_FALLBACK_LIBC ? &no_boxes_libc : &no_boxes;
    for (uint32_t i = 0; i <= HAK_LANES; i++) {
        int rule = c->index_rule[i];
        routes.base[i] = rule >= 0 ? (int)c->rule[rule].route : -1;
        hak_policy.chain[i] = base_chain(i);
    }
    hak_policy.epoch = 1;
}

static void publish(uint32_t index, const struct hak_chain *chain)
{
    __atomic_store_n(&hak_policy.chain[index], chain, __ATOMIC_RELEASE);
}

static void next_epoch(void)
{
    __atomic_add_fetch(&hak_policy.epoch, 1, __ATOMIC_SEQ_CST);
}

/* lock held */
static const struct hak_chain *named(const char *name)
{
    for (uint32_t i = 0; i < routes.n; i++)
        if (routes.chain[i] != NULL &&
            strcmp(routes.chain[i]->route, name) == 0)
            return routes.chain[i];
    return NULL;
}

bool hak_policy_leads_to_box(const char *name)
{
    hak_lock_take(&lock);
    const struct hak_chain *chain = named(name);
    hak_lock_drop(&lock);
    return chain != NULL && chain->box[0] != NULL;
}

int hak_policy_reset(uint32_t first, uint32_t last)
{
    if (first > last || last > HAK_LANES)
        return -EINVAL;
    hak_lock_take(&lock);
    bool open = hak_seal_open();
    if (open) {
        for (uint32_t i = first; i <= last; i++)
            publish(i, base_chain(i));
        next_epoch();
        hak_seal_close();
    }
    hak_lock_drop(&lock);
    return open ? 0 : -ENOMEM;
}

int hak_policy_set(uint32_t first, uint32_t last, const char *name)
{
    if (first > last || last > HAK_LANES)
        return -EINVAL;
    hak_lock_take(&lock);
    const struct hak_chain *chain = named(name);
    int error = chain == NULL ? -ENOENT : hak_seal_open() ? 0 : -ENOMEM;
    if (error == 0) {
        for (uint32_t i = first; i <= last; i++)
            publish(i, chain);
        next_epoch();
        hak_seal_close();
    }
    hak_lock_drop(&lock);
    return error;
}

static bool names(const struct hak_chain *chain, const struct hak_loaded *b)
{
    for (uint32_t i = 0; chain->box[i] != NULL; i++)
        if (chain->box[i] == b)
            return true;
    return false;
}

static struct hak_chain *without(const struct hak_chain *chain,
                                 const struct hak_loaded *b)
{
    struct hak_chain *copy = hak_sealed_memory(sizeof *copy);
    if (copy == NULL)
        return NULL;
    uint32_t n = 0;
    for (uint32_t i = 0; chain->box[i] != NULL; i++)
        if (chain->box[i] != b)
            copy->box[n++] = chain->box[i];
    copy->last = chain->last;
    copy->route = chain->route;
    return copy;
}

/* lock held, seal open */
static int drop_locked(const struct hak_loaded *b)
{
    for (uint32_t r = 0; r < routes.n; r++) {
        struct hak_chain *old = routes.chain[r];
        if (old == NULL || !names(old, b))
            continue;
        struct hak_chain *copy = without(old, b);
        if (copy == NULL) {
            next_epoch(); /* for those that did change */
            return -ENOMEM;
        }
        for (uint32_t i = 0; i <= HAK_LANES; i++)
            if (hak_policy.chain[i] == old)
                publish(i, copy);
        routes.chain[r] = copy;
    }
    next_epoch();
    return 0;
}

int hak_policy_drop(struct hak_loaded *b)
{
    hak_lock_take(&lock);
    int error = -ENOMEM;
    if (hak_seal_open()) {
        error = drop_locked(b);
        hak_seal_close();
    }
    hak_lock_drop(&lock);
    return error;
}
