/* SPDX-License-Identifier: MIT
 * tap.c - lets a module watch each call of the malloc family.
 *
 * The inline paths of malloc and free have no test for it. While calls are
 * watched these paths find nothing, so that each call takes its slow path,
 * which has the test (malloc/tapped.h):
 *
 *     malloc, calloc, memalign   every lane of every thread is empty; refills
 *                                set t->taps in place of t->lane
 *     free, realloc              hak_directory.limit is 0
 */
#include <core/route/tap.h>

#include <base/seal.h>
#include <core/route/lanes.h>
#include <core/state/build.h>
#include <core/state/directory.h>

#include <errno.h>

static void set_limit(size_t limit)
{
    __atomic_store_n(&hak_directory.limit, limit, __ATOMIC_RELAXED);
}

void hak_tap_free_inline(void)
{
    if (!hak_verifies() && hak_free_route() == HAK_FREE_DIRECTORY)
        hak_directory.limit_unwatched = hak_directory.limit_real;
    set_limit(hak_directory.limit_unwatched);
}

/* The seal is open. */
static int set(uint32_t module, const struct hak_call_ops *ops)
{
    if (hak_core.tap != NULL && hak_core.tap_module != module)
        return -EBUSY;
    hak_core.tap_module = module;
    __atomic_store_n(&hak_core.tap, ops, __ATOMIC_RELEASE);
    set_limit(ops != NULL ? 0 : hak_directory.limit_unwatched);
    return 0;
}

int hak_tap_set(uint32_t module, const struct hak_call_ops *ops)
{
    if (!hak_routes_may_change())
        return -ENOTSUP;
    if (!hak_seal_open())
        return -ENOMEM;
    int error = set(module, ops);
    hak_seal_close();
    /* Its barrier lets running threads see the change. A thread that is in the
     * middle of a refill sees it afterwards (refill_lanes in alloc.c). */
    if (error == 0)
        hak_lanes_reroute(0, HAK_LANES);
    return error;
}
