/* SPDX-License-Identifier: MIT
 * log.h - lines on stderr, and files that reports and logs go to.
 */
#ifndef HAKMEM_BASE_LOG_H
#define HAKMEM_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

#pragma GCC visibility push(hidden)

/* One line on stderr, "hakmem: " in front, one write(2). */
void hak_say(const char *format, ...)
    __attribute__((format(printf, 1, 2), cold));
/* The same on another descriptor. */
void hak_say_to(int fd, const char *format, ...)
    __attribute__((format(printf, 2, 3), cold));
/* The same, then abort. */
void hak_die(const char *format, ...)
    __attribute__((format(printf, 1, 2), noreturn, cold));

/*
 * A file to append lines to: %p in its name becomes the process id. Made with
 * mode 0600, or a regular file of ours that has one name; no link is followed.
 * With raised rights: in a directory that root alone can change, as
 * hak_trust_open has it.
 * Returns a descriptor, or -errno with the reason in why; path is the name as
 * it was tried. Writes of the caller's are in one piece.
 */
int hak_log_open(const char *name, char *path, size_t path_bytes, char *why,
                 size_t why_bytes) __attribute__((cold));

/*
 * A descriptor that is taken at start for what is written much later, when a
 * sandbox may let nothing be opened, and rights, root and working directory
 * may be others. Its number is far from those that programs count on, and it
 * is closed by exec. A program that closes descriptors it does not know may
 * have the number for a file of its own, so it counts only while it leads to
 * the file that it was taken for.
 *
 * Set once, at start; any thread may read it. A child of fork shares it.
 */
struct hak_held {
    const char *name; /* of a file, as hak_log_open has it; NULL: none */
    int fd;           /* -1: could not be opened, or not be held */
    bool was_open;    /* when it was taken */
    pid_t pid;        /* what %p stood for in the name */
    dev_t device;
    ino_t inode;
};

/* Takes a file. False: it cannot be opened now, path is the name as it was
 * tried and why the reason; it is tried again when it is needed. */
bool hak_hold_file(struct hak_held *h, const char *name, char *path,
                   size_t path_bytes, char *why, size_t why_bytes)
    __attribute__((cold));
/*
 * hak_held_open - the file to append to, open.
 * h          of hak_hold_file
 * Returns    h->fd, or another descriptor where that one is lost, was unlinked
 *            or is of another process's %p; -errno with the reason in why, path
 *            is the name as it was tried. For hak_held_done.
 * Cost       fstat(2); when it is lost, as hak_log_open
 */
int hak_held_open(const struct hak_held *h, char *path, size_t path_bytes,
                  char *why, size_t why_bytes) __attribute__((cold));
void hak_held_done(const struct hak_held *h, int fd);

/* Takes a copy of stderr: some programs close it in their exit handlers. */
void hak_hold_stderr(struct hak_held *h) __attribute__((cold));
/* That copy, or descriptor 2 if it still is what it was at start; else -1. */
int hak_held_stderr(const struct hak_held *h) __attribute__((cold));

#pragma GCC visibility pop

#endif
