/* SPDX-License-Identifier: MIT
 * check_box.c - does a box keep the contract of hakmem/box.h?
 *
 *     check_box FILE.so [key=value...] [--may-decline] [PROPERTY...]
 *
 * key=value are the box's own parameters. --may-decline is for boxes that
 * refuse requests at will (sampling, a fixed number of slots); of others
 * every request in the range that their entry states must succeed.
 * TAP on stdout; exit status 0: all properties hold.
 */
#include "check.h"

struct test_case test_cases[TEST_MAX];
int test_ncases;
struct check ck;

/* ---- sizes ------------------------------------------------------------- */

static __thread uint64_t seed = 1;

void ck_seed(uint64_t value)
{
    seed = value;
}

/* splitmix64 */
uint64_t ck_random(void)
{
    uint64_t z = seed += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

bool ck_good(size_t size_bytes)
{
    size_t most = ck.entry->max_bytes ? ck.entry->max_bytes : SIZE_MAX;
    size_t need = size_bytes + (ck.box->ops->usable_size ? 0 : 16);
    if (ck.box->lanes && need <= HAK_LANE_MAX_BYTES)
        need = hak_index_bytes(hak_index_of(need));
    if (need < ck.entry->min_bytes || need > most)
        return false;
    return !ck.box->ops->slot_size || ck.box->ops->slot_size(ck.box, need);
}

size_t ck_size(size_t most)
{
    size_t low = ck.min_bytes, high = ck.max_bytes < most ? ck.max_bytes : most;
    high = high < low ? low : high;
    uint64_t doublings = 64 - (uint64_t)__builtin_clzll(high / low);
    for (int i = 0; i < 100; i++) {
        uint64_t top = low << (ck_random() % doublings + 1);
        top = top < high ? top : high;
        size_t size = low + (size_t)(ck_random() % (top - low + 1));
        if (ck_good(size))
            return size;
    }
    return low;
}

/* What to ask of this box: its stated range, as far as it is worth trying. */
static void find_range(void)
{
    size_t low = ck.entry->min_bytes ? ck.entry->min_bytes : 1;
    size_t high = low < 4096 ? 65536 : low * 32;
    if (ck.entry->max_bytes && ck.entry->max_bytes < high)
        high = ck.entry->max_bytes;
    while (low < high && !ck_good(low))
        low++;
    if (!ck_good(low))
        test_fail(__FILE__, __LINE__, "no request of %zu..%zu is served",
                  ck.entry->min_bytes, high);
    while (high > low && !ck_good(high))
        high--;
    ck.min_bytes = low;
    ck.max_bytes = high;
}

/* ---- a property's beginning and end ------------------------------------ */

struct hak_box *ck_open(const char *name)
{
    return th_open(ck.path, name, ck.params, ck.direct ? TH_NO_LANES : 0);
}

void ck_begin(bool direct)
{
    ck.direct = direct;
    ck.box = ck_open("checked");
    ck.entry = th_entry(ck.box);
    if (direct && !ck.box->ops->refill)
        SKIP("the box has no lanes to turn off");
    find_range();
}

void ck_end(void)
{
    th_detach();
    th_reap();
    EXPECT_EQ(th_live(ck.box, true), 0);
    if (ck.box->ops->stats) {
        struct hak_box_stats s = {.struct_bytes =
                                      sizeof s}; /* as the core passes it */
        ck.box->ops->stats(ck.box, &s);
        EXPECT_EQ(s.live_count, 0);
        EXPECT_EQ(s.live_bytes, 0);
    }
    if (ck.declined && !ck.may_decline)
        test_fail(__FILE__, __LINE__, "%zu requests in range were declined",
                  ck.declined);
}

/* ---- blocks ------------------------------------------------------------ */

struct block *ck_blocks(size_t n)
{
    void *p = mmap(NULL, n * sizeof(struct block), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(p != MAP_FAILED);
    return p;
}

bool ck_adopt(struct block *b, void *p, size_t size_bytes)
{
    *b = (struct block){p, size_bytes, (unsigned char)(ck_random() | 1)};
    if (!p) {
        __atomic_fetch_add(&ck.declined, 1, __ATOMIC_RELAXED);
        return false;
    }
    EXPECT_EQ((uintptr_t)p % HAK_ALIGN_BYTES, 0);
    memset(p, b->tag, size_bytes);
    return true;
}

bool ck_new(struct block *b, size_t size_bytes)
{
    return ck_adopt(b, th_malloc(ck.box, size_bytes), size_bytes);
}

void ck_check(const struct block *b)
{
    if (!b->p || !b->bytes)
        return;
    EXPECT_EQ(b->p[0], b->tag);
    if (memcmp(b->p, b->p + 1, b->bytes - 1) != 0)
        test_fail(__FILE__, __LINE__, "block %p of %zu bytes was written to",
                  (void *)b->p, b->bytes);
}

void ck_free(struct block *b)
{
    ck_check(b);
    th_free(b->p);
    b->p = NULL;
}

void ck_free_all(struct block *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ck_free(&b[i]);
}

size_t ck_fill(struct block *b, size_t n, size_t most, size_t total)
{
    size_t bytes = 0, i = 0;
    for (; i < n && bytes < total; i++)
        if (ck_new(&b[i], ck_size(most)))
            bytes += b[i].bytes;
    return i;
}

void ck_shuffle(struct block *b, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)(ck_random() % i);
        struct block t = b[i - 1];
        b[i - 1] = b[j];
        b[j] = t;
    }
}

/* ---- main -------------------------------------------------------------- */

int main(int argc, char **argv)
{
    const char *names[TEST_MAX + 2] = {argv[0]};
    int nnames = 1;
    size_t nparams = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--may-decline") == 0)
            ck.may_decline = true;
        else if (!ck.path)
            ck.path = argv[i];
        else if (!strchr(argv[i], '='))
            names[nnames++] = argv[i];
        else if (nparams + 1 < sizeof ck.params / sizeof ck.params[0])
            ck.params[nparams++] = argv[i];
    }
    if (!ck.path) {
        fputs("usage: check_box FILE.so [key=value...] [--may-decline] "
              "[PROPERTY...]\n",
              stderr);
        return 2;
    }
    char with_slash[4096]; /* dlopen searches for a name without one */
    snprintf(with_slash, sizeof with_slash, "./%s", ck.path);
    ck.path = strchr(ck.path, '/') ? ck.path : with_slash;
    return test_main(nnames, (char **)(uintptr_t)names);
}
