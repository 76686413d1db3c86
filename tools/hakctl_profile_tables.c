/* SPDX-License-Identifier: MIT
 * hakctl_profile_tables.c - the tables of a profile: ids become indexes, and
 * all indexes are checked.
 */
#include "hakctl_profile.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- ids ----------------------------------------------------------------- */

struct id {
    uint64_t id;
    uint32_t index;
};
struct ids {
    struct id *at;
    uint32_t n;
};

static int by_id(const void *a, const void *b)
{
    const struct id *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

/* The ids of an array; id is the first member of its elements. */
static struct ids ids_of(const void *array, uint32_t n, size_t element_bytes)
{
    struct ids out = {calloc((size_t)n + 1, sizeof *out.at), n};
    for (uint32_t i = 0; i < n && out.at != NULL; i++) {
        memcpy(&out.at[i].id, (const char *)array + i * element_bytes,
               sizeof out.at[i].id);
        out.at[i].index = i;
    }
    if (out.at == NULL)
        out.n = 0;
    else
        qsort(out.at, n, sizeof *out.at, by_id);
    return out;
}

static uint32_t index_of(const struct ids *ids, uint64_t id)
{
    const struct id key = {.id = id};
    const struct id *found =
        ids->n != 0 ? bsearch(&key, ids->at, ids->n, sizeof key, by_id) : NULL;
    return found != NULL ? found->index : PF_NONE;
}

/* ---- the check ----------------------------------------------------------- */

static bool bad(char why[PF_WHY_BYTES], const char *what, uint64_t number)
{
    snprintf(why, PF_WHY_BYTES,
             "is damaged or cut off: it has no %s %" PRIu64
             ", which it refers to",
             what, number);
    return false;
}

static bool has_string(const struct pf *p, uint32_t string,
                       char why[PF_WHY_BYTES])
{
    return string < p->nstrings || bad(why, "string", string);
}

static bool check_strings(const struct pf *p, char why[PF_WHY_BYTES])
{
    bool good = p->nstrings == 0 || has_string(p, p->default_type, why);
    for (uint32_t i = 0; i < p->ntypes && good; i++)
        good = has_string(p, p->type[i].type, why) &&
               has_string(p, p->type[i].unit, why);
    for (uint32_t i = 0; i < p->nmappings && good; i++)
        good = has_string(p, p->mapping[i].file, why) &&
               has_string(p, p->mapping[i].build_id, why);
    for (uint32_t i = 0; i < p->nfunctions && good; i++)
        good = has_string(p, p->function[i].name, why) &&
               has_string(p, p->function[i].system_name, why) &&
               has_string(p, p->function[i].file, why);
    for (uint32_t i = 0; i < p->nlabels && good; i++)
        good = has_string(p, p->label[i].key, why) &&
               has_string(p, p->label[i].text, why);
    for (uint32_t i = 0; i < p->ncomments && good; i++)
        good = p->comment[i] < p->nstrings || bad(why, "string", p->comment[i]);
    return good;
}

static bool link_locations(struct pf *p, char why[PF_WHY_BYTES])
{
    struct ids ids = ids_of(p->mapping, p->nmappings, sizeof *p->mapping);
    bool good = true;
    for (uint32_t i = 0; i < p->nlocations && good; i++) {
        struct pf_location *l = &p->location[i];
        l->mapping =
            l->mapping_id != 0 ? index_of(&ids, l->mapping_id) : PF_NONE;
        good = l->mapping_id == 0 || l->mapping != PF_NONE ||
               bad(why, "mapping", l->mapping_id);
    }
    free(ids.at);
    ids = ids_of(p->function, p->nfunctions, sizeof *p->function);
    for (uint32_t i = 0; i < p->nlines && good; i++) {
        p->line[i].function = index_of(&ids, p->line[i].function_id);
        good = p->line[i].function != PF_NONE ||
               bad(why, "function", p->line[i].function_id);
    }
    free(ids.at);
    return good;
}

static bool link_samples(struct pf *p, char why[PF_WHY_BYTES])
{
    struct ids ids = ids_of(p->location, p->nlocations, sizeof *p->location);
    bool good = true;
    for (size_t i = 0; i < p->nlocation_ats && good; i++) {
        uint32_t index = index_of(&ids, p->location_at[i]);
        good = index != PF_NONE || bad(why, "location", p->location_at[i]);
        p->location_at[i] = index;
    }
    free(ids.at);
    for (uint32_t i = 0; i < p->nsamples && good; i++) {
        good = p->sample[i].nvalues == p->ntypes;
        if (!good)
            snprintf(why, PF_WHY_BYTES,
                     "is damaged: sample %u has %u values for %u types", i,
                     p->sample[i].nvalues, p->ntypes);
    }
    return good;
}

bool pf_link(struct pf *p, char why[PF_WHY_BYTES])
{
    if (p->ntypes == 0 || p->nstrings == 0) {
        snprintf(why, PF_WHY_BYTES,
                 "is no profile, or is cut off: it has no %s",
                 p->ntypes == 0 ? "types of values" : "strings");
        return false;
    }
    return check_strings(p, why) && link_locations(p, why) &&
           link_samples(p, why);
}

/* ---- access -------------------------------------------------------------- */

const char *pf_text(const struct pf *p, uint32_t string)
{
    return string < p->nstrings ? p->string[string] : "";
}

const char *pf_comment(const struct pf *p, const char *key)
{
    size_t n = strlen(key);
    for (uint32_t i = 0; i < p->ncomments; i++) {
        const char *text = pf_text(p, (uint32_t)p->comment[i]);
        if (strncmp(text, key, n) == 0 && text[n] == '=')
            return text + n + 1;
    }
    return NULL;
}

void pf_free(struct pf *p)
{
    for (uint32_t i = 0; i < p->nstrings; i++)
        free(p->string[i]);
    free(p->string);
    free(p->type);
    free(p->mapping);
    free(p->function);
    free(p->line);
    free(p->location);
    free(p->label);
    free(p->sample);
    free(p->location_at);
    free(p->value);
    free(p->comment);
    *p = (struct pf){0};
}
