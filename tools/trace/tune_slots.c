/* SPDX-License-Identifier: MIT
 * tune_slots.c - which sizes a box is good for: what slots it gives.
 *
 * A box may take requests that are much smaller than its slots. To try it there
 * would waste time, and memory. The boxes tell their slots once they are
 * loaded, which a child does, since they stay loaded.
 */
#include "tune.h"

#include "../hakctl.h"

#include <core/box/find.h>

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* By box and size index; 0: not known. */
typedef size_t slot_table[HAK_MAX_BOXES][HAK_LANES];

/* Those of another library need more of the base than their section. */
static bool can_ask(const struct tune_box *box)
{
    return box->entry != NULL && box->keys;
}

static void write_box(int fd, const struct hak_conf *conf, const char *name)
{
    char section[HAK_CONF_NAME_BYTES + 8], path[PATH_MAX];
    snprintf(section, sizeof section, "box %s", name);
    dprintf(fd, "[%s]\n", section);
    for (uint32_t i = 0; i < conf->nentries; i++) {
        const struct hak_conf_entry *e = &conf->entry[i];
        if (strcmp(e->section, section) != 0)
            continue;
        if (strcmp(e->key, "path") == 0)
            hak_box_path(e->value, name, conf->file, path, sizeof path);
        dprintf(fd, "%s = %s\n", e->key,
                strcmp(e->key, "path") == 0 ? path : e->value);
    }
}

/* An INI with nothing but boxes, in a file that has no name. */
static int write_ini(const struct tune_boxes *boxes,
                     const struct hak_conf *conf)
{
    int fd = memfd_create("hakctl tune", 0);
    for (size_t i = 0; fd >= 0 && i < boxes->n; i++)
        if (can_ask(&boxes->at[i]))
            write_box(fd, conf, boxes->at[i].name);
    return fd;
}

static void ask_box(struct hak_loaded *b, size_t slots[HAK_LANES])
{
    for (uint32_t i = 1; b->ops.slot_size != NULL && i < HAK_LANES; i++)
        slots[i] = b->ops.slot_size(&b->box, hak_index_bytes(i));
}

static void ask_all(const struct tune_boxes *boxes, slot_table *slots, int fd)
{
    enum { SECONDS = 10 };
    char path[64];
    struct ctl_core core;
    alarm(SECONDS);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int error = ctl_load(&core, path, NULL, NULL, NULL, NULL);
    if (error != 0 && error != -EINVAL) /* it lacks a [policy] */
        return;
    for (size_t i = 0; i < HAK_MAX_BOXES; i++)
        for (size_t k = 0; core.box[i] != NULL && k < boxes->n; k++)
            if (strcmp(core.box[i]->box.name, boxes->at[k].name) == 0)
                ask_box(core.box[i], (*slots)[k]);
}

/* Does a slot waste more than a third of itself on a request? */
static bool is_wasteful(size_t slot, size_t request)
{
    return slot > request + request / 2;
}

/* Of a size class the box is good for all or nothing, so that [policy] has
 * classes in it: for nothing, if most of its slots are wasteful. */
static void judge_by_class(bool wasteful[HAK_LANES])
{
    for (uint32_t first = 1, i; first <= HAK_INDEX_SMALL_MAX; first = i) {
        uint32_t n = 0;
        for (i = first; hak_class_of_index(i) == hak_class_of_index(first); i++)
            n += wasteful[i];
        for (uint32_t k = first; k < i; k++)
            wasteful[k] = 2 * n > i - first;
    }
}

void tune_boxes_ask(struct tune_boxes *boxes, const struct hak_conf *conf)
{
    int ends[2], fd = write_ini(boxes, conf);
    slot_table *slots = mmap(NULL, sizeof *slots, PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (fd < 0 || slots == MAP_FAILED)
        ctl_die("no memory");
    pid_t pid = ctl_fork(ends);
    if (pid == 0) {
        ask_all(boxes, slots, fd);
        _exit(0);
    }
    close(ends[0]);
    close(ends[1]);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    close(fd);
    for (size_t i = 0; i < boxes->n; i++) {
        for (uint32_t k = 1; k < HAK_LANES; k++)
            boxes->at[i].wasteful[k] =
                is_wasteful((*slots)[i][k], hak_index_bytes(k));
        judge_by_class(boxes->at[i].wasteful);
    }
    munmap(slots, sizeof *slots);
}
