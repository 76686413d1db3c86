/* SPDX-License-Identifier: MIT
 * hakctl_profile_parse.c - reads profile.proto, the format of pprof.
 *
 * The wire format of protocol buffers is a list of fields; a field is its
 * number and type as one varint, then the value. Four types occur, and messages
 * are fields of bytes. So this reader is shorter than what protobuf-c would
 * take (a generated source, its library, and a copy of each message), and each
 * error has its place in the file. Fields that it does not know are passed
 * over.
 */
#include "hakctl_profile.h"

#include <stdlib.h>
#include <string.h>

/* ---- the wire format ----------------------------------------------------- */

struct parse {
    struct pf *out;
    const uint8_t *base;
    char *why; /* PF_WHY_BYTES; "" = all is well */
};

struct wire {
    const uint8_t *at, *end;
};

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct field {
    uint32_t number;
    enum wire_type type;
    uint64_t value;    /* of WIRE_VARINT */
    struct wire bytes; /* of WIRE_BYTES */
};

/* Note the first error. Returns false. */
static bool fail(struct parse *p, const uint8_t *at, const char *what)
{
    if (p->why[0] == 0)
        snprintf(p->why, PF_WHY_BYTES,
                 "is damaged at byte %zu of the unpacked profile: %s",
                 (size_t)(at - p->base), what);
    return false;
}

static bool varint(struct parse *p, struct wire *w, uint64_t *out)
{
    const uint8_t *start = w->at;
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (w->at == w->end)
            return fail(p, start, "a number is cut off");
        uint8_t byte = *w->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *out = value;
            return true;
        }
    }
    return fail(p, start, "a number is longer than ten bytes");
}

static bool skip(struct parse *p, struct wire *w, uint64_t n,
                 struct wire *skipped)
{
    if (n > (uint64_t)(w->end - w->at))
        return fail(p, w->at, "a field is longer than what contains it");
    *skipped = (struct wire){w->at, w->at + n};
    w->at += n;
    return true;
}

/* Read one field. Returns false: it is damaged. */
static bool next(struct parse *p, struct wire *w, struct field *f)
{
    const uint8_t *start = w->at;
    uint64_t key = 0, n = 0;
    if (!varint(p, w, &key))
        return false;
    *f = (struct field){.number = (uint32_t)(key >> 3),
                        .type = (enum wire_type)(key & 7)};
    if (key >> 3 == 0 || key >> 3 > UINT32_MAX)
        return fail(p, start, "a field has no valid number");
    switch (key & 7) {
    case WIRE_VARINT:
        return varint(p, w, &f->value);
    case WIRE_64:
        return skip(p, w, 8, &f->bytes);
    case WIRE_BYTES:
        return varint(p, w, &n) && skip(p, w, n, &f->bytes);
    case WIRE_32:
        return skip(p, w, 4, &f->bytes);
    default:
        return fail(p, start, "a field has an unknown type");
    }
}

/* Call take for each field of a message. */
static bool each(struct parse *p, struct wire w, void *context,
                 bool (*take)(struct parse *p, const struct field *f,
                              void *context))
{
    struct field f;
    while (w.at < w.end)
        if (!next(p, &w, &f) || !take(p, &f, context))
            return false;
    return true;
}

/* Add the numbers of a repeated field, which may be packed, to an array. */
static bool add_numbers(struct parse *p, const struct field *f,
                        uint64_t **array, size_t *n)
{
    struct wire w = f->bytes;
    uint64_t value = f->value;
    bool more = f->type == WIRE_VARINT || w.at < w.end;
    while (more) {
        if (f->type != WIRE_VARINT && !varint(p, &w, &value))
            return false;
        *array = pf_grow(*array, *n, sizeof **array);
        (*array)[(*n)++] = value;
        more = w.at < w.end;
    }
    return true;
}

/* An index of a string; what is too large stays so. */
static uint32_t string_of(const struct field *f)
{
    return f->value < PF_NONE ? (uint32_t)f->value : PF_NONE - 1;
}

/* ---- messages ------------------------------------------------------------ */

static bool take_type(struct parse *p, const struct field *f, void *context)
{
    struct pf_type *t = context;
    (void)p;
    if (f->number == 1)
        t->type = string_of(f);
    else if (f->number == 2)
        t->unit = string_of(f);
    return true;
}

static bool take_label(struct parse *p, const struct field *f, void *context)
{
    struct pf_label *l = context;
    (void)p;
    if (f->number == 1)
        l->key = string_of(f);
    else if (f->number == 2)
        l->text = string_of(f);
    else if (f->number == 3)
        l->number = (int64_t)f->value;
    return true;
}

static bool take_sample(struct parse *p, const struct field *f, void *context)
{
    struct pf_sample *s = context;
    struct pf *o = p->out;
    if (f->number == 1)
        return add_numbers(p, f, &o->location_at, &o->nlocation_ats);
    if (f->number == 2)
        return add_numbers(p, f, &o->value, &o->nvalues);
    if (f->number != 3)
        return true;
    o->label = pf_grow(o->label, o->nlabels, sizeof *o->label);
    struct pf_label *l = &o->label[o->nlabels++];
    *l = (struct pf_label){0};
    s->nlabels++;
    return each(p, f->bytes, l, take_label);
}

static bool take_mapping(struct parse *p, const struct field *f, void *context)
{
    struct pf_mapping *m = context;
    (void)p;
    switch (f->number) {
    case 1:
        m->id = f->value;
        break;
    case 2:
        m->start = f->value;
        break;
    case 3:
        m->limit = f->value;
        break;
    case 4:
        m->offset = f->value;
        break;
    case 5:
        m->file = string_of(f);
        break;
    case 6:
        m->build_id = string_of(f);
        break;
    default:
        break;
    }
    return true;
}

static bool take_line(struct parse *p, const struct field *f, void *context)
{
    struct pf_line *l = context;
    (void)p;
    if (f->number == 1)
        l->function_id = f->value;
    else if (f->number == 2)
        l->line = f->value;
    return true;
}

static bool take_location(struct parse *p, const struct field *f, void *context)
{
    struct pf_location *l = context;
    struct pf *o = p->out;
    if (f->number == 1)
        l->id = f->value;
    else if (f->number == 2)
        l->mapping_id = f->value;
    else if (f->number == 3)
        l->address = f->value;
    if (f->number != 4)
        return true;
    o->line = pf_grow(o->line, o->nlines, sizeof *o->line);
    struct pf_line *line = &o->line[o->nlines++];
    *line = (struct pf_line){0};
    l->nlines++;
    return each(p, f->bytes, line, take_line);
}

static bool take_function(struct parse *p, const struct field *f, void *context)
{
    struct pf_function *n = context;
    (void)p;
    switch (f->number) {
    case 1:
        n->id = f->value;
        break;
    case 2:
        n->name = string_of(f);
        break;
    case 3:
        n->system_name = string_of(f);
        break;
    case 4:
        n->file = string_of(f);
        break;
    default:
        break;
    }
    return true;
}

static bool add_sample(struct parse *p, const struct field *f)
{
    struct pf *o = p->out;
    struct pf_sample s = {.first_location = o->nlocation_ats,
                          .first_value = o->nvalues,
                          .first_label = o->nlabels};
    if (!each(p, f->bytes, &s, take_sample))
        return false;
    s.nlocations = (uint32_t)(o->nlocation_ats - s.first_location);
    s.nvalues = (uint32_t)(o->nvalues - s.first_value);
    o->sample = pf_grow(o->sample, o->nsamples, sizeof *o->sample);
    o->sample[o->nsamples++] = s;
    return true;
}

static bool add_string(struct parse *p, const struct field *f)
{
    struct pf *o = p->out;
    size_t n = (size_t)(f->bytes.end - f->bytes.at);
    o->string = pf_grow(o->string, o->nstrings, sizeof *o->string);
    char *text = n != 0 ? strndup((const char *)f->bytes.at, n) : strdup("");
    if (text == NULL)
        return fail(p, f->bytes.at, "no memory for a string");
    o->string[o->nstrings++] = text;
    return true;
}

/* Add an element to an array of the profile, and read it from a field. */
#define ADD(array, count, take)                                \
    (o->array = pf_grow(o->array, o->count, sizeof *o->array), \
     memset(&o->array[o->count], 0, sizeof *o->array),         \
     each(p, f->bytes, &o->array[o->count++], take))

static bool take_number(struct pf *o, const struct field *f)
{
    switch (f->number) {
    case 9:
        o->time_ns = f->value;
        break;
    case 10:
        o->duration_ns = f->value;
        break;
    case 12:
        o->period = f->value;
        break;
    case 14:
        o->default_type = string_of(f);
        break;
    default:
        break;
    }
    return true;
}

static bool take_comment(struct parse *p, const struct field *f)
{
    size_t n = p->out->ncomments;
    bool taken = add_numbers(p, f, &p->out->comment, &n);
    p->out->ncomments = (uint32_t)n;
    return taken;
}

static bool take_profile(struct parse *p, const struct field *f, void *context)
{
    struct pf *o = context;
    if (f->number == 13)
        return take_comment(p, f);
    if (f->type != WIRE_BYTES)
        return f->number > 6 ? take_number(o, f)
                             : fail(p, p->base, "it is no profile.proto");
    switch (f->number) {
    case 1:
        return ADD(type, ntypes, take_type);
    case 2:
        return add_sample(p, f);
    case 3:
        return ADD(mapping, nmappings, take_mapping);
    case 4:
        return ADD(location, nlocations, take_location);
    case 5:
        return ADD(function, nfunctions, take_function);
    case 6:
        return add_string(p, f);
    default:
        return true;
    }
}

bool pf_parse(struct pf *out, const uint8_t *bytes, size_t n,
              char why[PF_WHY_BYTES])
{
    struct parse p = {.out = out, .base = bytes, .why = why};
    *out = (struct pf){0};
    why[0] = 0;
    if (!each(&p, (struct wire){bytes, bytes + n}, out, take_profile))
        return false;
    /* The lines of a location lie one after the other. */
    uint32_t line = 0;
    for (uint32_t i = 0; i < out->nlocations; i++) {
        out->location[i].first_line = line;
        line += out->location[i].nlines;
    }
    return pf_link(out, why);
}
