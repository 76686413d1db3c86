/* SPDX-License-Identifier: MIT
 * policy.c - changes the routes (size index -> chain) while threads run.
 *
 * A chain is immutable once it is published. It is never freed, because a
 * thread may be reading it; there are few. Each change raises the epoch. Each
 * thread compares the epoch on its slow path, and empties the lanes whose route
 * has changed.
 *
 * The tables are sealed. Each change opens the seal for a moment.
 */
#include <core/route/policy.h>

#include <base/seal.h>
#include <kit/sync.h>
#include <core/state/core.h>

#include <errno.h>
#include <string.h>

static const struct hak_chain no_boxes_libc = {.last = HAK_FALLBACK_LIBC,
                                               .route = "libc"};
static const struct hak_chain no_boxes = {.last = HAK_FALLBACK_NONE,
                                          .route = "none"};
static HAK_SEALED struct {
    struct hak_chain *chain[HAK_CONF_ROUTES];
    uint32_t n;
    /* By size index: position in chain as [policy] has it, -1 = fallback. */
    int base[HAK_LANES + 1];
    const struct hak_chain *fallback; /* for sizes without a rule */
} routes;
static struct hak_lock lock; /* guards routes and hak_policy */

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
        if (loaded[route->chain[i]] != NULL) /* else: it failed to load */
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

/* lock held. NULL: there is no route of that name. */
static const struct hak_chain *chain_named(const char *name)
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
    const struct hak_chain *chain = chain_named(name);
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
    const struct hak_chain *chain = chain_named(name);
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

static bool chain_has_box(const struct hak_chain *chain,
                          const struct hak_loaded *b)
{
    for (uint32_t i = 0; chain->box[i] != NULL; i++)
        if (chain->box[i] == b)
            return true;
    return false;
}

static struct hak_chain *copy_without_box(const struct hak_chain *chain,
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
static int drop_box_locked(const struct hak_loaded *b)
{
    for (uint32_t r = 0; r < routes.n; r++) {
        struct hak_chain *old = routes.chain[r];
        if (old == NULL || !chain_has_box(old, b))
            continue;
        struct hak_chain *copy = copy_without_box(old, b);
        if (copy == NULL) {
            next_epoch(); /* chains before this one have changed */
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
        error = drop_box_locked(b);
        hak_seal_close();
    }
    hak_lock_drop(&lock);
    return error;
}
