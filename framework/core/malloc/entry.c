/* SPDX-License-Identifier: MIT
 * entry.c - the exported functions of the malloc family.
 *
 * They behave like those of glibc 2.36. Where its manual says nothing, they
 * follow POSIX.1-2017.
 */
#include <base/export.h>
#include <core/malloc/fast.h>

#include <base/os.h>

#include <errno.h>
#include <malloc.h>
#include <string.h>

HAK_EXPORT void *malloc(size_t size)
{
    return hak_malloc(size);
}

HAK_EXPORT void free(void *p)
{
    hak_free(p);
}

HAK_EXPORT void *calloc(size_t n, size_t each)
{
    size_t size;
    if (unlikely(__builtin_mul_overflow(n, each, &size))) {
        errno = ENOMEM;
        return NULL;
    }
    struct hak_thread *t = hak_self;
    struct hak_span *span = hak_lane(t, hak_index_of(size));
    void *p = hak_span_try_pop(span);
    if (unlikely(p == NULL))
        return hak_alloc_slow(t, size, true);
    return memset(p, 0, span->slot_bytes); /* all usable bytes, as in glibc */
}

HAK_EXPORT void *realloc(void *p, size_t size)
{
    if (p == NULL)
        return malloc(size);
    if (size == 0) {
        free(p);
        return NULL;
    }
    const struct hak_span *span = hak_directory_get_inline(p);
    if (likely(span != NULL && hak_fits(span->slot_bytes, size) &&
               hak_span_looks_live(span, p)))
        return p;
    return hak_realloc_slow(p, size);
}

HAK_EXPORT void *reallocarray(void *p, size_t n, size_t each)
{
    size_t size;
    if (__builtin_mul_overflow(n, each, &size)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(p, size);
}

/* glibc's memalign rounds an alignment up to a power of two. */
HAK_EXPORT void *memalign(size_t align, size_t size)
{
    if (align <= HAK_ALIGN_BYTES)
        return malloc(size);
    if (align > SIZE_MAX / 2 + 1) {
        errno = EINVAL;
        return NULL;
    }
    if (!hak_is_power_of_two(align))
        align = (size_t)1 << (64 - __builtin_clzl(align));
    if (likely(size <= HAK_LANE_MAX_BYTES && align <= HAK_GRANULE_BYTES)) {
        struct hak_thread *t = hak_self;
        uint32_t index = hak_index_of(hak_round_up(size, align));
        if (hak_lane_may_align(hak_lane(t, index), align)) {
            void *p = hak_lane_pop(t, index);
            if (likely(((uintptr_t)p & (align - 1)) == 0 && p != NULL))
                return p;
            if (p != NULL)
                free(p);
        }
    }
    return hak_alloc_aligned(align, size);
}

HAK_EXPORT void *aligned_alloc(size_t align, size_t size)
{
    return memalign(align, size); /* the same, as in glibc before 2.38 */
}

HAK_EXPORT int posix_memalign(void **out, size_t align, size_t size)
{
    if (!hak_is_power_of_two(align) || align % sizeof(void *) != 0)
        return EINVAL;
    int kept = errno;
    void *p = memalign(align, size);
    errno = kept;
    if (p == NULL)
        return ENOMEM;
    *out = p;
    return 0;
}

HAK_EXPORT void *valloc(size_t size)
{
    return memalign(hak_os_page_bytes(), size);
}

HAK_EXPORT void *pvalloc(size_t size)
{
    size_t page = hak_os_page_bytes();
    if (size > PTRDIFF_MAX - page) {
        errno = ENOMEM;
        return NULL;
    }
    return memalign(page, hak_round_up(size, page));
}

HAK_EXPORT void free_sized(void *p, size_t size);
HAK_EXPORT void free_sized(void *p, size_t size)
{
    hak_expect_size("free_sized", p, HAK_ALIGN_BYTES, size);
    free(p);
}

HAK_EXPORT void free_aligned_sized(void *p, size_t align, size_t size);
HAK_EXPORT void free_aligned_sized(void *p, size_t align, size_t size)
{
    hak_expect_size("free_aligned_sized", p, align, size);
    free(p);
}

HAK_EXPORT void cfree(void *p);
HAK_EXPORT void cfree(void *p)
{
    free(p);
}

HAK_EXPORT size_t malloc_usable_size(void *p)
{
    return p == NULL ? 0 : hak_usable("malloc_usable_size", p);
}

/*
 * glibc's second names for these functions. Tracers and wrappers of malloc call
 * them to reach the real allocator. copy: the alias gets the attributes too.
 */
#define SECOND_NAME(second, name) \
    HAK_EXPORT extern __typeof__(name)(second) HAK_SECOND_NAME(name)

SECOND_NAME(__libc_malloc, malloc);
SECOND_NAME(__libc_calloc, calloc);
SECOND_NAME(__libc_realloc, realloc);
SECOND_NAME(__libc_memalign, memalign);
SECOND_NAME(__libc_valloc, valloc);
SECOND_NAME(__libc_pvalloc, pvalloc);
SECOND_NAME(__libc_free, free);
