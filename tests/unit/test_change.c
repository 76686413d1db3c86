/* SPDX-License-Identifier: MIT
 * test_change.c - boxes that are loaded, swapped, drained and brought back
 * while the process runs, and keys that change.
 */
#include "core_threads.h"

#include "random.h"

#include <core/box/walk.h>
#include <start/change.h>

static char why[512];

/* The file is one of build/boxes/, or with a slash of build/. */
static int load(const char *name, const char *file, const char *given)
{
    char path[PATH_MAX], cwd[PATH_MAX - 64];
    EXPECT(getcwd(cwd, sizeof cwd) != NULL);
    snprintf(path, sizeof path, "%s/build/%s%s", cwd,
             strchr(file, '/') != NULL ? "" : "boxes/", file);
    file = path;
    const char *keys[] = {given};
    struct hak_load what = {name, file, keys, given != NULL};
    why[0] = 0;
    return hak_changes.load(&what, why, sizeof why);
}

static int swap(const char *from, const char *to)
{
    why[0] = 0;
    return hak_changes.swap(from, to, why, sizeof why);
}

static int drain(const char *box)
{
    why[0] = 0;
    return hak_changes.drain(box, why, sizeof why);
}

static int back(const char *box)
{
    why[0] = 0;
    return hak_changes.back(box, why, sizeof why);
}

static int set(const char *section, const char *name, const char *value)
{
    why[0] = 0;
    return hak_changes.set(section, name, value, why, sizeof why);
}

static const char *owner(const void *p)
{
    return span_of(p)->box->name;
}

/* A slot, filled. */
static void *take(void)
{
    void *p = get(BYTES);
    EXPECT(p != NULL);
    memset(p, 7, BYTES);
    return p;
}

static void drop(void *p)
{
    for (size_t i = 0; i < BYTES; i++)
        EXPECT_EQ(((char *)p)[i], 7);
    put(p);
}

/* ---- load and swap ------------------------------------------------------- */

TEST(a_loaded_box_serves_nothing_before_a_swap)
{
    start();
    EXPECT_EQ(load("copy", "ultra.so", NULL), 0);
    EXPECT_EQ(hak_boxes.n, 3);
    void *p = take();
    EXPECT_STR(owner(p), "ultra");
    EXPECT_EQ(swap("ultra", "copy"), 0);
    void *q = take();
    EXPECT_STR(owner(q), "copy");
    EXPECT_EQ(drain("ultra"), 0); /* p is live */
    drop(p);
    EXPECT_EQ(drain("ultra"), 1);
    drop(q);
}

TEST(a_swap_can_be_undone_while_the_box_drains)
{
    start();
    EXPECT_EQ(load("copy", "ultra.so", NULL), 0);
    void *p = take();
    EXPECT_EQ(swap("ultra", "copy"), 0);
    void *q = take();
    EXPECT_EQ(back("ultra"), 0);
    void *r = take();
    EXPECT_STR(owner(r), "ultra");
    drop(p);
    drop(q);
    drop(r);
    EXPECT_EQ(back("ultra"), -EALREADY);
}

TEST(fifty_swaps_keep_contents_and_close_each_box)
{
    start();
    EXPECT_EQ(load("copy", "ultra.so", NULL), 0);
    void *p = take();
    for (int i = 0; i < 50; i++) {
        const char *from = i % 2 == 0 ? "ultra" : "copy";
        const char *to = i % 2 == 0 ? "copy" : "ultra";
        EXPECT_EQ(swap(from, to), 0);
        void *q = take();
        EXPECT_STR(owner(q), to);
        EXPECT_EQ(drain(from), 0);
        drop(p);
        EXPECT_EQ(drain(from), 1);
        p = q;
    }
    drop(p);
}

TEST(more_boxes_than_there_is_room_for)
{
    char name[16], last[16] = "ultra";
    start();
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "copy%d", i);
        EXPECT_EQ(load(name, "ultra.so", NULL), 0);
        EXPECT_EQ(swap(last, name), 0);
        drop(take());
        EXPECT_EQ(drain(last), 1);
        hak_changes.trim();
        strcpy(last, name);
    }
    EXPECT_EQ(hak_boxes.n, HAK_MAX_BOXES);
}

TEST(live_boxes_keep_their_places)
{
    char name[16];
    start();
    for (uint32_t i = hak_boxes.n; i < HAK_MAX_BOXES; i++) {
        snprintf(name, sizeof name, "copy%u", i);
        EXPECT_EQ(load(name, "ultra.so", NULL), 0);
    }
    EXPECT_EQ(load("one_more", "ultra.so", NULL), -ENOSPC);
    EXPECT(strstr(why, "there are 16 boxes") != NULL);
}

TEST(figures_of_a_new_box_begin_at_zero)
{
    struct hak_stats s;
    start();
    EXPECT_EQ(load("copy", "ultra.so", NULL), 0);
    EXPECT_EQ(swap("ultra", "copy"), 0);
    drop(take());
    EXPECT_EQ(swap("copy", "ultra"), 0);
    EXPECT_EQ(drain("copy"), 1);
    drop(take());
    hak_changes.trim();
    EXPECT_EQ(load("copy", "tiny.so", NULL), 0);
    hak_figures(hak_box_named("copy"), &s);
    EXPECT_EQ(s.refills, 0);
    EXPECT_EQ(s.remote_frees, 0);
    EXPECT_EQ(s.live_count, 0);
}

/* A thread that is late in an operation of a box that has left: the operation
 * asks for the thread's heap when another box has the index. */
static void *be_late(void *box)
{
    struct hak_loaded *old = box, *b = hak_box_named("copy");
    struct hak_thread *t = hak_thread_attach();
    uint32_t i = old->box.index;
    EXPECT(t->heap[i] == NULL);
    EXPECT(old->box.host->heap(&old->box, true) != NULL);
    EXPECT(t->heap_box[i] == old);
    EXPECT_EQ(swap("ultra", "copy"), 0);
    void *p = take();
    EXPECT(span_of(p)->box == &b->box);
    EXPECT(t->heap_box[i] == b);
    EXPECT(old->box.host->heap(&old->box, true) == NULL);
    drop(p);
    return NULL;
}

TEST(a_heap_is_not_taken_for_that_of_another_box)
{
    pthread_t thread;
    start();
    EXPECT_EQ(load("copy", "ultra.so", NULL), 0);
    struct hak_loaded *old = hak_box_named("copy");
    EXPECT_EQ(drain("copy"), 1);
    EXPECT_EQ(load("copy", "tiny.so", NULL), 0);
    EXPECT_EQ(hak_box_named("copy")->box.index, old->box.index);
    EXPECT_EQ(pthread_create(&thread, NULL, be_late, old), 0);
    pthread_join(thread, NULL);
}

TEST(there_is_no_box_without_a_name)
{
    start();
    EXPECT_EQ(load("copy", "ultra.so", NULL), 0);
    EXPECT_EQ(drain("copy"), 1);
    EXPECT_LT(load("copy", "no-such.so", NULL), 0); /* its place is free now */
    EXPECT(hak_box_at(2) == &hak_vacant);
    EXPECT_EQ(drain(""), -ENOENT);
}

/* ---- what is refused ----------------------------------------------------- */

static void expect_unchanged(uint32_t n)
{
    EXPECT_EQ(hak_boxes.n, n);
    void *p = take();
    EXPECT_STR(owner(p), "ultra");
    drop(p);
}

TEST(boxes_that_do_not_load)
{
    static const struct {
        const char *name, *file, *key, *why;
    } bad[] = {
        {"ultra", "ultra.so", NULL, "there is a box ultra already"},
        {"a b", "ultra.so", NULL, "is no name for a box"},
        {"", "ultra.so", NULL, "is no name for a box"},
        {"x", "no-such.so", NULL, "cannot be opened"},
        {"x", "ultra.so", "wrm=1", "did you mean \"warm\""},
        {"x", "ultra.so", "warm=lots", "\"warm\" in [box x]"},
        {"x", "ultra.so", "warm", "is not KEY=VALUE"},
        {"x", "ultra.so", "priority=1", "leave out priority"},
        {"x", "ultra.so", "path=y", "leave out path"},
        {"x", "tests/boxes/init_fails.so", NULL, "no memory for the test"},
        {"x", "tests/boxes/no_entry.so", NULL, "does not export"},
        {"x", "tests/boxes/broken_alignment.so", NULL,
         "is not 16-byte aligned"},
        {"x", "tests/boxes/broken_overlap.so", NULL, "overlap"},
    };
    start();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (load(bad[i].name, bad[i].file, bad[i].key) >= 0)
            test_fail(__FILE__, __LINE__, "%s loads", bad[i].file);
        if (strstr(why, bad[i].why) == NULL)
            test_fail(__FILE__, __LINE__, "%s: %s", bad[i].file, why);
        expect_unchanged(2);
    }
    EXPECT_EQ(load("x", "ultra.so", NULL), 0); /* what failed left no trace */
    expect_unchanged(3);
}

TEST(swaps_that_are_refused)
{
    start();
    EXPECT_EQ(swap("ultra", "nobody"), -ENOENT);
    EXPECT_EQ(swap("nobody", "ultra"), -ENOENT);
    EXPECT_EQ(swap("ultra", "ultra"), -EINVAL);
    EXPECT_GE(drain("second"), 0);
    EXPECT_EQ(swap("second", "ultra"), -EBUSY);
    EXPECT_EQ(back("nobody"), -ENOENT);
}

/* ---- keys ---------------------------------------------------------------- */

TEST(keys_that_may_change)
{
    start();
    EXPECT_EQ(set("core", "purge_delay_ms", "7"), 0);
    EXPECT_EQ(hak_space_purge_delay_ms(), 7);
    EXPECT_EQ(hak_conf.purge_delay_ms, 7);
    EXPECT_EQ(set("core", "purge_delay_ms", "1h"), -EINVAL);
    EXPECT(why[0] != 0);
    EXPECT_EQ(hak_space_purge_delay_ms(), 7);
    hak_space_limit_purge_delay(5);
    EXPECT_EQ(hak_space_purge_delay_ms(), 5);
    EXPECT_EQ(set("core", "purge_delay_ms", "9"), 0);
    EXPECT_EQ(hak_space_purge_delay_ms(), 5);
    hak_space_limit_purge_delay(UINT64_MAX);
    EXPECT_EQ(hak_space_purge_delay_ms(), 9);
    EXPECT_EQ(set("core", "verify", "yes"), -EPERM);
    EXPECT_EQ(set("core", "nonsense", "yes"), -ENOENT);
    EXPECT_EQ(set("core", "sample_every", "100"), -ENOTSUP);
    EXPECT_EQ(hak_conf.sample_every, 5000);
    EXPECT_EQ(set("stats", "format", "json"), 0);
    EXPECT(hak_conf.stats_json);
    EXPECT_EQ(set("stats", "at_exit", "/no/such/dir/file"), -EINVAL);
    EXPECT_STR(hak_conf.stats_at_exit, "none");
}

TEST(parameters_that_may_change)
{
    start();
    EXPECT_EQ(load("big", "large.so", NULL), 0);
    struct hak_loaded *b = hak_box_named("big");
    EXPECT_EQ(set("box big", "cache_bytes", "1M"), 0);
    bool found = false;
    for (uint32_t i = 0; i < b->entry->nparams; i++)
        if (strcmp(b->entry->params[i].name, "cache_bytes") == 0)
            found = b->values[i].i == 1 << 20;
    EXPECT(found);
    EXPECT_EQ(set("box big", "shards", "2"), -EPERM);
    EXPECT_EQ(set("box big", "cache_bytes", "much"), -EINVAL);
    EXPECT_EQ(set("box big", "nothing", "1"), -ENOENT);
    EXPECT_EQ(set("box nobody", "warm", "1"), -ENOENT);
}

struct wanted {
    const char *section, *key;
    char value[128], layer[32];
};

static void look(void *context, const struct hak_key *k)
{
    struct wanted *w = context;
    if (strcmp(w->section, k->section) != 0 || strcmp(w->key, k->key) != 0)
        return;
    snprintf(w->value, sizeof w->value, "%s", k->value);
    snprintf(w->layer, sizeof w->layer, "%s", k->layer);
}

static const char *value_of(const char *section, const char *name,
                            const char *layer)
{
    static struct wanted w;
    w = (struct wanted){.section = section, .key = name};
    hak_changes.each_key(look, &w);
    EXPECT_STR(w.layer, layer);
    return w.value;
}

TEST(every_key_is_told_with_its_layer)
{
    start();
    EXPECT_STR(value_of("core", "strict", "built-in"), "no");
    EXPECT_STR(value_of("core", "purge_delay_ms", "file"), "20");
    EXPECT_EQ(set("core", "purge_delay_ms", "7"), 0);
    EXPECT_STR(value_of("core", "purge_delay_ms", "control"), "7");
    EXPECT_STR(value_of("box ultra", "path", "file"),
               "../../build/boxes/ultra.so");
    EXPECT_EQ(load("copy", "ultra.so", "warm=1M"), 0);
    EXPECT_STR(value_of("box copy", "warm", "control"), "1M");
    EXPECT_STR(value_of("box copy", "path", "control") +
                   strlen(value_of("box copy", "path", "control")) - 9,
               "/ultra.so");
    EXPECT_STR(value_of("policy", "C0-C6", "file"), "ultra");
    EXPECT_EQ(swap("ultra", "copy"), 0);
    EXPECT_EQ(drain("ultra"), 1);
    EXPECT_STR(value_of("policy", "0-512", "control"), "copy");
    EXPECT_STR(value_of("box ultra", "path", ""), "");
}

/* ---- beside running threads ---------------------------------------------- */

static bool stop;

static void *work(void *unused)
{
    enum { SLOTS = 300 };
    static __thread void *slot[SLOTS];
    uint64_t random = (uintptr_t)&random;
    (void)unused;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        void **at = &slot[random_below(&random, SLOTS)];
        if (*at != NULL)
            drop(*at);
        *at = take();
    }
    for (int i = 0; i < SLOTS; i++)
        if (slot[i] != NULL)
            drop(slot[i]);
    return NULL;
}

TEST(swaps_beside_running_threads)
{
    enum { SWAPS = 60 };
    pthread_t thread[THREADS];
    start();
    EXPECT_EQ(load("copy", "ultra.so", NULL), 0);
    EXPECT_EQ(load("tiny", "tiny.so", NULL), 0);
    for (int i = 0; i < THREADS; i++)
        EXPECT_EQ(pthread_create(&thread[i], NULL, work, NULL), 0);
    static const char *const order[] = {"ultra", "copy", "tiny"};
    for (int i = 0; i < SWAPS; i++) {
        EXPECT_EQ(swap(order[i % 3], order[(i + 1) % 3]), 0);
        usleep(2000);
        EXPECT_GE(drain(order[i % 3]), 0);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    EXPECT_EQ(drain("copy"), 1);
    EXPECT_EQ(drain("tiny"), 1);
}

TEST_MAIN()
