/* SPDX-License-Identifier: MIT
 * profile.c - any bytes as an unpacked heap profile: pf_parse takes them or
 * says why not, and what it takes has no index out of bounds.
 */
#include "fuzz.h"

#include "../../tools/hakctl_profile.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

FUZZ_SEEDS("tests/fuzz/seeds/profile");
FUZZ_WORDS("\x0a", "\x12", "\x1a", "\x22", "\x2a", "\x32", "\x70", "\x6a",
           "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x80", "\x08\x01",
           "inuse_space", "bytes", "lifetime", );

#define CHECK(what) ((what) ? (void)0 : abort())

/* hakctl.c has another; no input of a few bytes may exhaust memory. */
void ctl_die(const char *format, ...)
    __attribute__((format(printf, 1, 2), noreturn));
void ctl_die(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    abort();
}

static void check_text(const struct pf *p, uint32_t string)
{
    CHECK(string < p->nstrings && strlen(p->string[string]) < SIZE_MAX / 2);
}

static void check_sample(const struct pf *p, const struct pf_sample *s)
{
    CHECK(s->nvalues == p->ntypes);
    CHECK(s->first_value + s->nvalues <= p->nvalues);
    CHECK((uint64_t)s->first_label + s->nlabels <= p->nlabels);
    for (uint32_t i = 0; i < s->nlabels; i++) {
        check_text(p, p->label[s->first_label + i].key);
        check_text(p, p->label[s->first_label + i].text);
    }
    for (uint32_t i = 0; i < s->nlocations; i++) {
        CHECK(s->first_location + i < p->nlocation_ats);
        CHECK(p->location_at[s->first_location + i] < p->nlocations);
    }
}

static void check(const struct pf *p)
{
    for (uint32_t i = 0; i < p->nsamples; i++)
        check_sample(p, &p->sample[i]);
    for (uint32_t i = 0; i < p->nlocations; i++) {
        const struct pf_location *l = &p->location[i];
        CHECK(l->mapping == PF_NONE || l->mapping < p->nmappings);
        CHECK((uint64_t)l->first_line + l->nlines <= p->nlines);
        for (uint32_t k = 0; k < l->nlines; k++)
            CHECK(p->line[l->first_line + k].function < p->nfunctions);
    }
    for (uint32_t i = 0; i < p->nmappings; i++)
        check_text(p, p->mapping[i].file);
    for (uint32_t i = 0; i < p->nfunctions; i++)
        check_text(p, p->function[i].name);
    check_text(p, p->default_type);
    pf_comment(p, "pid");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char why[PF_WHY_BYTES];
    struct pf p;
    uint8_t *copy = malloc(n + 1); /* no byte more than the file has */
    CHECK(copy != NULL);
    if (n != 0)
        memcpy(copy, bytes, n);
    if (pf_parse(&p, copy, n, why))
        check(&p);
    else
        CHECK(why[0] != 0);
    free(copy);
    pf_free(&p);
    return 0;
}
