/* SPDX-License-Identifier: MIT
 * log.h - lines on stderr, and files that reports and logs are written to.
 */
#ifndef HAKMEM_BASE_LOG_H
#define HAKMEM_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

#pragma GCC visibility push(hidden)

/*
 * hak_say - write one line to stderr, with "hakmem: " in front of it.
 * Any thread. It allocates nothing, keeps errno, and makes one write(2), so
 * that lines of several threads do not mix. Lines are cut at 1024 bytes.
 */
void hak_say(const char *format, ...)
    __attribute__((format(printf, 1, 2), cold));
/* Like hak_say, to the descriptor fd. */
void hak_say_to(int fd, const char *format, ...)
    __attribute__((format(printf, 2, 3), cold));
/* Like hak_say, then abort. */
void hak_die(const char *format, ...)
    __attribute__((format(printf, 1, 2), noreturn, cold));
/* Is a thread in hak_die? Its abort() then needs no message. */
bool hak_is_dying(void);

/*
 * hak_log_open - open a file for appending, and make it if there is none.
 * name        a first %p in it becomes the process id
 * path        gets the name that was tried, with the process id
 * Returns     a descriptor, the caller's; -errno with the reason in why
 *
 * A new file has mode 0600. An existing one has to be a regular file of the
 * effective user with one name. No link is followed. In a program with raised
 * rights the file's directory has to be one that only root can change
 * (hak_trust_open). The file is in append mode, so each write(2) of the caller
 * stays in one piece.
 */
int hak_log_open(const char *name, char *path, size_t path_bytes, char *why,
                 size_t why_bytes) __attribute__((cold));

/*
 * A descriptor that is opened at start and used much later. By then a sandbox
 * may forbid open(2), and the rights, the root and the working directory may
 * have changed. Its number is high, away from the low ones that programs count
 * on, and exec closes it.
 *
 * A program may close descriptors that it does not know, and then get the same
 * number for a file of its own. The descriptor is therefore used only while it
 * leads to the file that was opened at start (device and inode).
 *
 * It is set once, at start; after that any thread may read it. A child of fork
 * shares it.
 */
struct hak_held {
    const char *name; /* of the file, as for hak_log_open; NULL: no file */
    int fd;           /* -1: it could not be opened, or not be duplicated */
    bool was_open;    /* hak_hold_file could open the file */
    pid_t pid;        /* the process id that %p became in the name */
    dev_t device;
    ino_t inode;
};

/*
 * hak_hold_file - open a file at start, and keep its descriptor in *h.
 * name, path, why  as for hak_log_open
 * Returns  false: it cannot be opened now. hak_held_open will try again.
 */
bool hak_hold_file(struct hak_held *h, const char *name, char *path,
                   size_t path_bytes, char *why, size_t why_bytes)
    __attribute__((cold));
/*
 * hak_held_open - get the file of hak_hold_file, open for appending.
 * path       gets the name that was tried
 * Returns    a descriptor for hak_held_done; -errno with the reason in why. It
 *            is h->fd where that is still good. Otherwise the file is opened
 *            again: h->fd was lost, its file was unlinked, or %p in the name
 *            stands for another process.
 * Cost       one fstat(2); to open it again, that of hak_log_open
 */
int hak_held_open(const struct hak_held *h, char *path, size_t path_bytes,
                  char *why, size_t why_bytes) __attribute__((cold));
/* Close the descriptor that hak_held_open returned, unless it is h->fd. */
void hak_held_done(const struct hak_held *h, int fd);

/* Keep a duplicate of stderr in *h. Some programs close stderr in their exit
 * handlers, and the report at exit comes after these. */
void hak_hold_stderr(struct hak_held *h) __attribute__((cold));
/* The duplicate of stderr; or 2, if descriptor 2 still leads to what it led to
 * at start; or -1. */
int hak_held_stderr(const struct hak_held *h) __attribute__((cold));

#pragma GCC visibility pop

#endif
