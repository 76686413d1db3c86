/* SPDX-License-Identifier: MIT
 * test_live.c - the map of live slots of [core] verify: what overlaps is found,
 * and what is freed leaves exactly.
 */
#include "random.h"
#include "test.h"

#include <core/malloc/live.h>
#include <core/memory/directory.h>

#include <pthread.h>

/* The map never touches the window itself: it need not be mapped. */
static const uintptr_t base = (uintptr_t)20 << 40;
static const size_t window_bytes = (size_t)4 << 30;

static char *at(size_t offset)
{
    return (char *)base + offset;
}

static void start(void)
{
    EXPECT_EQ(hak_directory_start(base, window_bytes), 0);
    hak_live_start();
    EXPECT(hak_directory_ready(at(0), window_bytes));
}

static void enter(char *p, size_t n)
{
    EXPECT(hak_live_enter(p, n) == NULL);
}

TEST(a_slot_that_is_live_is_found)
{
    start();
    enter(at(160), 100); /* up to 272, as slots are multiples of 16 */
    EXPECT(hak_live_enter(at(160), 1) == at(160));
    EXPECT(hak_live_enter(at(256), 1) == at(160));
    EXPECT(hak_live_enter(at(144), 32) == at(160));
    EXPECT(hak_live_enter(at(0), 1 << 20) == at(160));
    enter(at(144), 16);
    enter(at(272), 16);
    EXPECT_EQ(hak_live_leave(at(160)), 112);
    enter(at(160), 112);
}

TEST(what_is_no_start_leaves_nothing)
{
    start();
    enter(at(160), 160);
    EXPECT_EQ(hak_live_leave(at(176)), 0);
    EXPECT_EQ(hak_live_leave(at(161)), 0);
    EXPECT_EQ(hak_live_leave(at(0)), 0);
    EXPECT_EQ(hak_live_leave((char *)base - 16), 0);
    EXPECT_EQ(hak_live_leave(at(window_bytes)), 0);
    EXPECT_EQ(hak_live_leave(at(160)), 160);
    EXPECT_EQ(hak_live_leave(at(160)), 0);
    EXPECT(hak_live_enter(at(window_bytes), 16) == NULL);
    EXPECT(hak_live_enter(at(160), 0) == NULL);
    EXPECT_EQ(hak_live_leave(at(160)), 0);
}

TEST(slots_over_granules)
{
    enum { G = HAK_GRANULE_BYTES };
    start();
    enter(at(G - 16), 5 * G + 32); /* whole granules in the middle */
    EXPECT(hak_live_enter(at(3 * G), 16) == at(G - 16));
    EXPECT(hak_live_enter(at(3 * G + 800), 2 * G) == at(G - 16));
    EXPECT(hak_live_enter(at(6 * G), 16) == at(G - 16));
    enter(at(6 * G + 16), 16);
    EXPECT_EQ(hak_live_leave(at(G - 16)), 5 * G + 32);
    for (size_t g = 1; g < 6; g++) /* each has a map of units from now on */
        enter(at(g * G), 16);
    for (size_t g = 1; g < 6; g++)
        EXPECT_EQ(hak_live_leave(at(g * G)), 16);
    enter(at(0), 6 * G + 16);
    EXPECT(hak_live_enter(at(4 * G + 160), 16) == at(0));
    EXPECT_EQ(hak_live_leave(at(0)), 6 * G + 16);
    EXPECT_EQ(hak_live_leave(at(6 * G + 16)), 16);
}

TEST(the_end_of_the_window)
{
    start();
    enter(at(window_bytes - 3 * HAK_GRANULE_BYTES), 3 * HAK_GRANULE_BYTES);
    EXPECT(hak_live_enter(at(window_bytes - 16), 16) != NULL);
    EXPECT_EQ(hak_live_leave(at(window_bytes - 3 * HAK_GRANULE_BYTES)),
              3 * HAK_GRANULE_BYTES);
}

/* Slots at random, beside a model: the owner of each unit. */
TEST(as_a_model_has_it)
{
    enum { UNITS = 8 * HAK_GRANULE_BYTES / 16, SLOTS = 300 };
    static uint16_t owner[UNITS]; /* slot + 1; 0: nobody's */
    static struct {
        size_t first, n;
    } slot[SLOTS];
    uint64_t seed = 7;
    start();
    for (int turn = 0; turn < TEST_TURNS(200000); turn++) {
        size_t k = random_below(&seed, SLOTS);
        if (slot[k].n != 0) {
            EXPECT_EQ(hak_live_leave(at(slot[k].first * 16)), slot[k].n * 16);
            memset(owner + slot[k].first, 0, slot[k].n * sizeof *owner);
            slot[k].n = 0;
            continue;
        }
        size_t first = random_below(&seed, UNITS);
        size_t most = random_below(&seed, 20) == 0 ? UNITS : 64;
        size_t n = 1 + random_below(&seed, most);
        n = n < UNITS - first ? n : UNITS - first;
        size_t u = first;
        while (u < first + n && owner[u] == 0)
            u++;
        const void *other = hak_live_enter(at(first * 16), n * 16);
        if (u < first + n) {
            EXPECT(other == at(slot[owner[u] - 1].first * 16));
            continue;
        }
        EXPECT(other == NULL);
        slot[k].first = first;
        slot[k].n = n;
        for (u = first; u < first + n; u++)
            owner[u] = (uint16_t)(k + 1);
    }
}

/* Each thread has every fourth slot, so all words are shared. */
static void *take_every_fourth(void *which)
{
    size_t me = (size_t)(uintptr_t)which;
    for (int turn = 0; turn < TEST_TURNS(400); turn++) {
        for (size_t i = me; i < 1000; i += 4)
            EXPECT(hak_live_enter(at(i * 80), 80) == NULL);
        for (size_t i = me; i < 1000; i += 4)
            EXPECT_EQ(hak_live_leave(at(i * 80)), 80);
    }
    return NULL;
}

TEST(neighbours_in_threads)
{
    pthread_t thread[4];
    start();
    for (uintptr_t i = 0; i < 4; i++)
        EXPECT_EQ(
            pthread_create(&thread[i], NULL, take_every_fourth, (void *)i), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    EXPECT(hak_live_enter(at(0), 80000) == NULL);
}

TEST_MAIN()
