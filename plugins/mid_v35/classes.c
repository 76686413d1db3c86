/* SPDX-License-Identifier: MIT
 * classes.c - reads the list of slot sizes.
 */
#include "classes.h"

static const char *skip_blanks(const char *p)
{
    while (*p == ' ' || *p == '\t')
        p++;
    return p;
}

/* A decimal number; what is above any slot size is left at that. */
static const char *read_number(const char *p, uint32_t *number)
{
    uint32_t n = 0;
    for (; *p >= '0' && *p <= '9'; p++)
        if (n <= HAK_SMALL_MAX_BYTES)
            n = n * 10 + (uint32_t)(*p - '0');
    *number = n;
    return p;
}

static const char *add_class(struct classes *classes, uint32_t slot_bytes)
{
    if (slot_bytes > HAK_SMALL_MAX_BYTES)
        return "is above 1024";
    if (slot_bytes == 0 || slot_bytes % HAK_ALIGN_BYTES != 0)
        return "is not a multiple of 16";
    if (classes->n != 0 && slot_bytes <= classes->slot_bytes[classes->n - 1])
        return "is not above the size before it";
    classes->slot_bytes[classes->n++] = (uint16_t)slot_bytes;
    return NULL;
}

static void fill_index(struct classes *classes)
{
    uint32_t c = 0;
    for (uint32_t i = 0; i <= HAK_INDEX_SMALL_MAX; i++) {
        while (classes->slot_bytes[c] < hak_index_bytes(i))
            c++;
        classes->of_index[i] = (uint8_t)c;
    }
}

const char *classes_parse(const char *text, struct classes *out,
                          const char **at)
{
    struct classes classes = {0};
    const char *p = text;
    for (;; p++) {
        uint32_t slot_bytes;
        *at = p = skip_blanks(p);
        p = read_number(p, &slot_bytes);
        if (p == *at)
            return "is not a number of bytes";
        const char *wrong = add_class(&classes, slot_bytes);
        if (wrong != NULL)
            return wrong;
        p = skip_blanks(p);
        if (*p == '\0')
            break;
        if (*p != ',') {
            *at = p;
            return "is not a comma";
        }
    }
    if (classes.slot_bytes[classes.n - 1] != HAK_SMALL_MAX_BYTES)
        return "ends the list, which must end with 1024";
    fill_index(&classes);
    *out = classes;
    return NULL;
}
