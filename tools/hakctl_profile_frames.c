/* SPDX-License-Identifier: MIT
 * hakctl_profile_frames.c - a location of a profile as frames with names.
 *
 * Names come from the profile itself if it has them (Go writes such files),
 * else from the mapped file, else from the list that a JIT writes to
 * /tmp/perf-PID.map. What is found in none of them is shown by its address.
 */
#include "hakctl_profile.h"
#include "hakctl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- functions of a JIT -------------------------------------------------- */

struct pf_jit {
    uint64_t start, bytes;
    const char *name;
};

static int by_start(const void *a, const void *b)
{
    const struct pf_jit *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

/* Open the list of that process, if the user that reads it has written it;
 * anybody may make files in /tmp. */
static FILE *open_jit(const char *pid)
{
    char path[64];
    struct stat s;
    if (pid == NULL || strspn(pid, "0123456789") != strlen(pid))
        return NULL;
    snprintf(path, sizeof path, "/tmp/perf-%.16s.map", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return NULL;
    FILE *in = NULL;
    if (fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && s.st_uid == geteuid())
        in = fdopen(fd, "r");
    if (in == NULL)
        close(fd);
    return in;
}

static void read_jit(struct pf_names *names)
{
    FILE *in = open_jit(pf_comment(names->profile, "pid"));
    char *line = NULL;
    size_t size = 0;
    while (in != NULL && getline(&line, &size, in) > 0) {
        char *after_start, *after_bytes;
        line[strcspn(line, "\n")] = 0;
        struct pf_jit j = {.start = strtoull(line, &after_start, 16)};
        j.bytes = strtoull(after_start, &after_bytes, 16);
        if (after_start == line || after_bytes == after_start ||
            *after_bytes != ' ')
            continue;
        j.name = pf_demangle(after_bytes + 1);
        names->jit = pf_grow(names->jit, names->njit, sizeof *names->jit);
        names->jit[names->njit++] = j;
    }
    free(line);
    if (in != NULL)
        fclose(in);
    if (names->njit != 0)
        qsort(names->jit, names->njit, sizeof *names->jit, by_start);
}

static const char *find_jit(const struct pf_names *names, uint64_t address)
{
    size_t low = 0, high = names->njit;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (names->jit[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    const struct pf_jit *j = low != 0 ? &names->jit[low - 1] : NULL;
    return j != NULL && address - j->start < j->bytes ? j->name : NULL;
}

/* ---- frames -------------------------------------------------------------- */

/* Add a frame; texts that are not kept are copied. */
static void add_frame(struct pf_stack *s, const struct pf_frame *f)
{
    static struct pf_set set;
    struct pf_frame kept = {.function = pf_keep(f->function),
                            .file = pf_keep(f->file),
                            .library = pf_keep(f->library),
                            .line = f->line};
    uint32_t i = pf_set_add(&set, &kept, sizeof kept);
    s->at = pf_grow(s->at, s->n, sizeof(struct pf_frame *));
    s->at[s->n++] = set.entry[i].bytes;
}

static const char *base_name(const char *file)
{
    const char *slash = strrchr(file, '/');
    return slash != NULL ? slash + 1 : file;
}

static void add_given(const struct pf_names *names, const struct pf_location *l,
                      const char *library, struct pf_stack *out)
{
    const struct pf *p = names->profile;
    for (uint32_t i = 0; i < l->nlines; i++) {
        const struct pf_line *line = &p->line[l->first_line + i];
        const struct pf_function *f = &p->function[line->function];
        const char *name = pf_text(p, f->name);
        add_frame(
            out,
            &(struct pf_frame){
                pf_demangle(name[0] != 0 ? name : pf_text(p, f->system_name)),
                pf_text(p, f->file), library, line->line});
    }
}

/* Add what the mapped file tells. Returns false: nothing. *offset becomes the
 * address within the file, if that is known. */
static bool add_found(const struct pf_mapping *m, const struct pf *p,
                      const char *library, uint64_t address, uint64_t *offset,
                      struct pf_stack *out)
{
    struct pf_found found[PF_INLINED_MOST];
    struct pf_library *l =
        pf_library(pf_text(p, m->file), pf_text(p, m->build_id));
    if (l == NULL)
        return false;
    *offset = pf_library_address(l, address, *offset);
    size_t n = pf_library_find(l, *offset, found);
    for (size_t i = 0; i < n; i++) {
        char unknown[512];
        snprintf(unknown, sizeof unknown, "%s+0x%" PRIx64, library, *offset);
        const char *name =
            found[i].name != NULL ? pf_demangle(found[i].name) : unknown;
        add_frame(out, &(struct pf_frame){name, found[i].file, library,
                                          found[i].line});
    }
    return n != 0;
}

static void add_unknown(const struct pf_names *names, uint64_t address,
                        const char *library, uint64_t offset,
                        struct pf_stack *out)
{
    char text[512];
    const char *jit = find_jit(names, address);
    if (jit != NULL)
        snprintf(text, sizeof text, "%s", jit);
    else if (library[0] != 0)
        snprintf(text, sizeof text, "%s+0x%" PRIx64, library, offset);
    else
        snprintf(text, sizeof text, "[unknown] 0x%" PRIx64, address);
    add_frame(out,
              &(struct pf_frame){text, "", jit != NULL ? "[JIT]" : library, 0});
}

static void name_location(const struct pf_names *names, uint32_t index,
                          struct pf_stack *out)
{
    const struct pf *p = names->profile;
    const struct pf_location *l = &p->location[index];
    const struct pf_mapping *m =
        l->mapping != PF_NONE ? &p->mapping[l->mapping] : NULL;
    const char *file = m != NULL ? pf_text(p, m->file) : "";
    const char *library = base_name(file);
    if (strncmp(file, "//", 2) == 0 || strcmp(file, "[anonymous]") == 0)
        library = ""; /* //anon is pprof's word */
    if (l->nlines != 0) {
        add_given(names, l, library, out);
        return;
    }
    uint64_t offset = m != NULL ? l->address - m->start + m->offset : 0;
    if (m == NULL || !names->symbols ||
        !add_found(m, p, library, l->address, &offset, out))
        add_unknown(names, l->address, library, offset, out);
}

void pf_names(struct pf_names *out, const struct pf *p, bool symbols)
{
    *out = (struct pf_names){.profile = p, .symbols = symbols};
    if (symbols)
        read_jit(out);
    out->frames = calloc((size_t)p->nlocations + 1, sizeof *out->frames);
    if (out->frames == NULL)
        ctl_die("no memory for the profile");
    for (uint32_t i = 0; i < p->nlocations; i++)
        name_location(out, i, &out->frames[i]);
}

struct pf_stack pf_stack_of(const struct pf_names *names,
                            const struct pf_sample *sample)
{
    struct pf_stack out = {NULL, 0};
    for (uint32_t i = 0; i < sample->nlocations; i++) {
        uint64_t at = names->profile->location_at[sample->first_location + i];
        const struct pf_stack *frames = &names->frames[at];
        for (size_t k = 0; k < frames->n; k++) {
            out.at = pf_grow(out.at, out.n, sizeof(struct pf_frame *));
            out.at[out.n++] = frames->at[k];
        }
    }
    if (out.n == 0)
        add_frame(&out, &(struct pf_frame){"[no stack]", "", "", 0});
    return out;
}
