/* SPDX-License-Identifier: MIT
 * collect.c - reads the figures of the core and of the kernel into a point.
 *
 * The core counts since the start of the process. A point has what was counted
 * since the last one that was written, so the counts of that one are kept in
 * `before`. A point that could not be written is lost, and its counts are in
 * the next one.
 */
#include "timeline.h"

#include <base/os.h>
#include <base/text.h>
#include <kit/base.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* What counts since the start of the process, or of the core. */
struct counts {
    uint64_t of[TIMELINE_NUMBERS]; /* those that are counts */
    uint64_t allocs[TIMELINE_NAMES], frees[TIMELINE_NAMES];
};

/* Used by the module's thread. */
static struct {
    const struct hak_module_host *host;
    struct timeline_names *names;
    struct counts before, now;
    int statm; /* descriptor, -1: not open */
} self;

/* ---- names --------------------------------------------------------------- */

/* The place of a box among the names, where it is put if it is not there. */
static uint32_t place_of(const char *name)
{
    struct timeline_names *names = self.names;
    for (uint32_t i = 0; i < names->n; i++)
        if (strcmp(names->name[i], name) == 0)
            return i;
    if (names->n == TIMELINE_NAMES)
        return TIMELINE_NAMES - 1;
    if (names->n == TIMELINE_NAMES - 1)
        name = "(others)";
    hak_text_copy(names->name[names->n], TIMELINE_NAME_BYTES, name,
                  strlen(name));
    return names->n++;
}

/* ---- figures of the core ------------------------------------------------- */

static void add_classes(struct timeline_point *p, struct timeline_box *to,
                        uint32_t n)
{
    static struct hak_class class[HAK_CLASSES_ROOM];
    int got = self.host->classes(n, class);
    to->first_row = p->nrows;
    for (int i = 0; i < got; i++) {
        const struct hak_class *c = &class[i];
        if ((c->allocs == 0 && c->mapped_bytes == 0 && c->live_count == 0) ||
            p->nrows == TIMELINE_ROWS)
            continue;
        const uint64_t row[TIMELINE_ROW_NUMBERS] = {
            c->slot_bytes,   c->live_count, c->live_bytes, c->mapped_bytes,
            c->cached_bytes, c->allocs,     c->frees};
        memcpy(p->row[p->nrows++], row, sizeof row);
        to->nrows++;
    }
}

/* Returns 0 or -errno. */
static int read_boxes(struct timeline_point *p, bool classes)
{
    struct hak_box_now b;
    int error;
    for (uint32_t n = 0; (error = self.host->box(n, &b)) == 0; n++) {
        uint32_t at = place_of(b.name);
        struct timeline_box *to = &p->box[at];
        to->of[TIMELINE_live] += b.live_bytes;
        to->of[TIMELINE_live_count] += b.live_count;
        to->of[TIMELINE_mapped] += b.mapped_bytes;
        to->of[TIMELINE_cached] += b.cached_bytes;
        self.now.allocs[at] += b.allocs;
        self.now.frees[at] += b.frees;
        p->nboxes = self.names->n;
        if (classes && to->nrows == 0)
            add_classes(p, to, n);
    }
    return error == -ENOENT ? 0 : error;
}

static int read_space(struct timeline_point *p)
{
    struct hak_space_now s;
    int error = self.host->space(&s);
    if (error != 0)
        return error;
    p->of[TIMELINE_meta] = s.meta_bytes;
    p->of[TIMELINE_used] = s.used_bytes;
    p->of[TIMELINE_free] = s.free_bytes;
    p->of[TIMELINE_dirty] = s.dirty_bytes;
    p->of[TIMELINE_delay_ms] = s.purge_delay_ms;
    self.now.of[TIMELINE_purged] = s.purged_bytes;
    self.now.of[TIMELINE_purges] = s.purges;
    self.now.of[TIMELINE_maps] = s.maps;
    self.now.of[TIMELINE_unmaps] = s.unmaps;
    self.now.of[TIMELINE_libc_allocs] = s.libc_allocs;
    return 0;
}

/* ---- figures of the kernel ----------------------------------------------- */

/* The nth number of a line, from 0 on. */
static uint64_t nth_number(const char *line, uint32_t n)
{
    for (; n != 0 && *line != 0; n--) {
        line += hak_text_until(line, ' ');
        line += *line == ' ';
    }
    return strtoull(line, NULL, 10);
}

/* The resident set, and the pages of files in it. The descriptor stays open: it
 * is of this process, whatever becomes of its root and its rights. It is of
 * this thread, because that of the process is empty once the main thread has
 * ended by pthread_exit. */
static void read_resident_set(struct timeline_point *p)
{
    char line[256];
    if (self.statm < 0)
        self.statm = open("/proc/thread-self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n =
        self.statm < 0 ? -1 : pread(self.statm, line, sizeof line - 1, 0);
    if (n <= 0)
        return;
    line[n] = 0;
    p->of[TIMELINE_rss] = nth_number(line, 1) * hak_os_page_bytes();
    p->of[TIMELINE_file] = nth_number(line, 2) * hak_os_page_bytes();
}

static void read_faults(void)
{
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u) != 0)
        return;
    self.now.of[TIMELINE_minflt] = (uint64_t)u.ru_minflt;
    self.now.of[TIMELINE_majflt] = (uint64_t)u.ru_majflt;
}

/* ---- points -------------------------------------------------------------- */

/* What was counted between two points. Less than before: the box was replaced
 * by another one of its name, which counts from 0. */
static uint64_t since(uint64_t before, uint64_t now)
{
    return now >= before ? now - before : now;
}

static void set_changes(struct timeline_point *p)
{
    static const enum timeline_number counted[] = {
        TIMELINE_minflt, TIMELINE_majflt, TIMELINE_libc_allocs, TIMELINE_purged,
        TIMELINE_purges, TIMELINE_maps,   TIMELINE_unmaps};
    for (size_t i = 0; i < sizeof counted / sizeof counted[0]; i++) {
        enum timeline_number k = counted[i];
        p->of[k] = since(self.before.of[k], self.now.of[k]);
    }
    for (uint32_t i = 0; i < p->nboxes; i++) {
        uint64_t *of = p->box[i].of;
        of[TIMELINE_allocs] = since(self.before.allocs[i], self.now.allocs[i]);
        of[TIMELINE_frees] = since(self.before.frees[i], self.now.frees[i]);
    }
}

int timeline_collect(struct timeline_point *p, uint64_t now_ms,
                     uint64_t since_ms, bool classes)
{
    timeline_clear(p);
    memset(&self.now, 0, sizeof self.now);
    int error = read_space(p);
    if (error == 0)
        error = read_boxes(p, classes);
    if (error != 0)
        return error;
    read_resident_set(p);
    read_faults();
    p->of[TIMELINE_t] = now_ms;
    p->of[TIMELINE_span_ms] = now_ms - since_ms;
    set_changes(p);
    return 0;
}

bool timeline_collect_resident(struct timeline_point *p)
{
    int64_t bytes = self.host->resident();
    if (bytes < 0)
        return false;
    p->of[TIMELINE_resident] = (uint64_t)bytes;
    return true;
}

void timeline_collected(void)
{
    self.before = self.now;
}

void timeline_collect_start(const struct hak_module_host *host,
                            struct timeline_names *names)
{
    self.host = host;
    self.names = names;
    self.statm = -1;
    names->n = 0;
    memset(&self.before, 0, sizeof self.before);
}
