/* SPDX-License-Identifier: MIT
 * double_free_trim.c - blocks a, b and again a are freed, so that the free list
 * is a circle. Then malloc_trim() walks the list.
 *
 * fault: double free, then malloc_trim
 * default: at reuse: freed twice
 * hardened: at once: freed twice
 * guard: by sampling
 * scudo: at once
 */
#include "pages.h"

static void misuse(void)
{
    fill_pages();
    char *page = block[300];
    int a = next_in_page(page, 0), b = next_in_page(page, a + 1);
    char *twice = block[a], *other = block[b];
    block[a] = block[b] = NULL;
    empty_page(page, 200);
    free(twice);
    free(other);
    step("now");
    free(twice);
    step("reuse");
    malloc_trim(0);
    take_many(PAGES_BYTES);
}
