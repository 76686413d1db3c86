/* SPDX-License-Identifier: MIT
 * pressure.h - what the files of module "pressure" share.
 *
 *     pressure.c   the module: its thread, what it does under pressure, report
 *     files.c      the files of the kernel that tell of pressure
 *
 * docs/ini.md describes what users see.
 */
#ifndef HAKMEM_PRESSURE_PRESSURE_H
#define HAKMEM_PRESSURE_PRESSURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

/* The kernel's own window for stalls (PSI): while they go on, there is an event
 * once in so many milliseconds. Other windows than multiples of 2 s are for
 * processes with CAP_SYS_RESOURCE. */
enum { HAK_PRESSURE_WINDOW_MS = 2000 };

enum hak_pressure_kind {
    HAK_PRESSURE_PSI,    /* memory.pressure or the like, with a trigger */
    HAK_PRESSURE_EVENTS, /* memory.events of a cgroup */
    HAK_PRESSURE_FIFO,   /* each byte that comes is an event */
};

struct hak_pressure_file {
    int fd;
    enum hak_pressure_kind kind;
    uint64_t seen; /* of memory.events: high and max, when it was last read */
};

struct hak_pressure_files {
    struct hak_pressure_file file[2];
    uint32_t n;
};

/*
 * hak_pressure_open - open the files that tell of memory pressure.
 * instead  path of the one file to open; "none": those of this process's
 *          cgroup, or /proc/pressure/memory
 * Returns  0: out has one file or two; -errno, with the reason in why
 */
int hak_pressure_open(const char *instead, struct hak_pressure_files *out,
                      char *why, size_t why_bytes);
void hak_pressure_close(const struct hak_pressure_files *files);
/*
 * hak_pressure_wait - wait for an event.
 * timeout_ms  -1: for ever
 * Returns     1: there was one or more; 0: none in that time, or none that
 *             counts; -errno: a file is of no use any more, since its cgroup is
 *             gone
 */
int hak_pressure_wait(struct hak_pressure_files *files, int timeout_ms);

#pragma GCC visibility pop

#endif
