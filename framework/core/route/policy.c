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
    /* By route. The chain as the INI has it, and as it is now: without the
     * boxes that drain, and with those that were put in their place. NULL: a
     * free position. */
    const struct hak_chain *origin[HAK_CONF_ROUTES];
    const struct hak_chain *chain[HAK_CONF_ROUTES];
    uint32_t n;
    uint32_t nfixed; /* routes of the INI; the others were added */
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
        routes.chain[i] = routes.origin[i] = make_chain(&c->route[i], loaded);
    routes.n = routes.nfixed = c->nroutes;
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

/* ---- boxes that come and go ---------------------------------------------- */

static bool chain_has_box(const struct hak_chain *chain,
                          const struct hak_loaded *b)
{
    for (uint32_t i = 0; chain->box[i] != NULL; i++)
        if (chain->box[i] == b)
            return true;
    return false;
}

/* Fill chain with the boxes of `origin`, each once. One that does not serve is
 * replaced by the one that serves for it; if `only` is given, only this one. */
static void fill_chain(struct hak_chain *chain, const struct hak_chain *origin,
                       const struct hak_loaded *only)
{
    uint32_t n = 0;
    *chain = (struct hak_chain){.last = origin->last, .route = origin->route};
    for (uint32_t i = 0; origin->box[i] != NULL; i++) {
        struct hak_loaded *b = origin->box[i];
        if (only == NULL || b == only)
            b = hak_serving(b);
        if (b != NULL && !chain_has_box(chain, b))
            chain->box[n++] = b;
    }
}

static bool same_boxes(const struct hak_chain *a, const struct hak_chain *b)
{
    return memcmp(a->box, b->box, sizeof a->box) == 0;
}

/* The chain for route r as the boxes are now: the present one if it has not
 * changed, else a new one. NULL: no memory. */
static const struct hak_chain *chain_now(uint32_t r)
{
    struct hak_chain now;
    fill_chain(&now, routes.origin[r], NULL);
    if (same_boxes(&now, routes.chain[r]))
        return routes.chain[r];
    struct hak_chain *chain = hak_sealed_memory(sizeof *chain);
    if (chain != NULL)
        *chain = now;
    return chain;
}

static void publish_in_place(const struct hak_chain *old,
                             const struct hak_chain *chain)
{
    for (uint32_t i = 0; old != chain && i <= HAK_LANES; i++)
        if (hak_policy.chain[i] == old)
            publish(i, chain);
}

/* Make all chains anew from the states of the boxes. lock held, seal open.
 * Returns 0; -ENOMEM: nothing has changed. */
static int rebuild(void)
{
    const struct hak_chain *now[HAK_CONF_ROUTES] = {NULL};
    for (uint32_t r = 0; r < routes.n; r++)
        if (routes.chain[r] != NULL && (now[r] = chain_now(r)) == NULL)
            return -ENOMEM;
    for (uint32_t r = 0; r < routes.n; r++) {
        if (routes.chain[r] == NULL)
            continue;
        publish_in_place(routes.chain[r], now[r]);
        routes.chain[r] = now[r];
    }
    next_epoch();
    return 0;
}

/* What a change of a box may have to undo. */
struct was {
    struct hak_loaded *b, *instead;
    uint32_t state;
};

static struct was set_box(struct hak_loaded *b, enum hak_box_state state,
                          struct hak_loaded *instead)
{
    struct was was = {b, b->instead, b->box.state_now};
    __atomic_store_n(&b->box.state_now, (uint32_t)state, __ATOMIC_RELAXED);
    b->instead = instead;
    return was;
}

static void unset_box(const struct was *was)
{
    if (was->b != NULL)
        set_box(was->b, was->state, was->instead);
}

/* Set the state of b, and make `other` active if it is not NULL. */
static int change_box(struct hak_loaded *b, enum hak_box_state state,
                      struct hak_loaded *instead, struct hak_loaded *other)
{
    hak_lock_take(&lock);
    int error = hak_seal_open() ? 0 : -ENOMEM;
    if (error == 0) {
        struct was of_b = set_box(b, state, instead), of_other = {0};
        if (other != NULL)
            of_other = set_box(other, HAK_BOX_ACTIVE, NULL);
        error = rebuild();
        if (error != 0) {
            unset_box(&of_other);
            unset_box(&of_b);
        }
        hak_seal_close();
    }
    hak_lock_drop(&lock);
    return error;
}

int hak_policy_drain(struct hak_loaded *b, struct hak_loaded *instead)
{
    return change_box(b, HAK_BOX_DRAINING, instead, instead);
}

int hak_policy_close(struct hak_loaded *b)
{
    return change_box(b, HAK_BOX_CLOSED, b->instead, NULL);
}

int hak_policy_activate(struct hak_loaded *b)
{
    return change_box(b, HAK_BOX_ACTIVE, NULL, NULL);
}

/* A free position for a route, or -1. lock held. */
static int free_route(void)
{
    for (uint32_t r = routes.nfixed; r < routes.n; r++)
        if (routes.chain[r] == NULL)
            return (int)r;
    return routes.n < HAK_CONF_ROUTES ? (int)routes.n : -1;
}

int hak_policy_add(struct hak_loaded *b)
{
    hak_lock_take(&lock);
    int r = free_route(), error = r < 0 ? -ENOSPC : 0;
    if (error == 0 && !hak_seal_open())
        error = -ENOMEM;
    if (error == 0) {
        struct hak_chain *chain = hak_sealed_memory(sizeof *chain);
        if (chain != NULL) {
            chain->box[0] = b;
            chain->last = routes.fallback->last;
            chain->route = b->box.name;
            routes.chain[r] = routes.origin[r] = chain;
            routes.n += (uint32_t)r == routes.n;
        } else {
            error = -ENOMEM;
        }
        hak_seal_close();
    }
    hak_lock_drop(&lock);
    return error;
}

/* Is a chain in the table of sizes? */
static bool is_published(const struct hak_chain *chain)
{
    for (uint32_t i = 0; i <= HAK_LANES; i++)
        if (hak_policy.chain[i] == chain)
            return true;
    return false;
}

/* Take b out of the origin of route r: the box that serves for it stands there
 * from now on. A route that was added for b and that no size uses goes. */
static int forget_in_route(struct hak_loaded *b, uint32_t r)
{
    const struct hak_chain *origin = routes.origin[r];
    if (origin == NULL || !chain_has_box(origin, b))
        return 0;
    if (r >= routes.nfixed && !is_published(routes.chain[r])) {
        routes.chain[r] = routes.origin[r] = NULL;
        return 0;
    }
    struct hak_chain *copy = hak_sealed_memory(sizeof *copy);
    if (copy == NULL)
        return -ENOMEM;
    fill_chain(copy, origin, b);
    routes.origin[r] = copy;
    return 0;
}

bool hak_policy_needs_name(const char *name)
{
    bool needs = false;
    hak_lock_take(&lock);
    for (uint32_t r = 0; r < routes.n; r++)
        needs |= routes.chain[r] != NULL &&
                 strcmp(routes.chain[r]->route, name) == 0 &&
                 (r < routes.nfixed || is_published(routes.chain[r]));
    hak_lock_drop(&lock);
    return needs;
}

int hak_policy_forget(struct hak_loaded *b)
{
    hak_lock_take(&lock);
    int error = hak_seal_open() ? 0 : -ENOMEM;
    if (error == 0) {
        for (uint32_t r = 0; r < routes.n && error == 0; r++)
            error = forget_in_route(b, r);
        for (uint32_t i = 0; i < hak_nboxes() && error == 0; i++)
            if (hak_box_at(i)->instead == b)
                hak_box_at(i)->instead = hak_serving(b);
        hak_seal_close();
    }
    hak_lock_drop(&lock);
    return error;
}
