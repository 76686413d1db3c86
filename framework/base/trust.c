/* SPDX-License-Identifier: MIT
 * trust.c - opens paths that only root can change, for programs with raised
 * rights.
 *
 * A path is walked name by name from the root, by openat on open directories,
 * and links are followed here instead of in the kernel. Only root can write to
 * the directories on the way, so nobody else can exchange a part of the path
 * after its check.
 */
#include <base/trust.h>
#include <base/text.h>
#include <base/why.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <string.h>

enum { LINKS_MOST = 40 }; /* the kernel's own limit */

/*
 * dir        an open descriptor of the directory reached so far, checked
 * at         its name, for messages
 * rest       the part of the path that is below dir
 * directory  the path has to name a directory
 */
struct walk {
    int dir;
    char at[PATH_MAX], rest[PATH_MAX];
    int links;
    bool directory;
    char *why;
    size_t why_bytes;
};

/* Refuse the path because of name, which is in w->at. what: the fault, a text
 * that begins with "is " or "can ". */
static int refuse_name(const struct walk *w, const char *name, const char *what)
{
    bool itself = w->rest[0] == 0 && !w->directory;
    return hak_refuse(
        -EPERM, w->why, w->why_bytes,
        "%s%s%s%s%s, and this program runs with raised rights (AT_SECURE)",
        itself ? "" : "lies in ", itself ? "" : w->at, itself ? "" : name,
        itself ? "" : ", which ", what);
}

static int refuse_error(const struct walk *w, int error)
{
    const char *text = strerrordesc_np(error);
    return hak_refuse(-error, w->why, w->why_bytes, "cannot be opened: %s",
                      text != NULL ? text : "unknown error");
}

/* Does root own the entry, and may nobody else write to it? The mode of a link
 * means nothing, so only its owner is checked. */
static int check_rights(const struct walk *w, const char *name,
                        const struct stat *s)
{
    if (s->st_uid != 0)
        return refuse_name(w, name, "is not owned by root");
    if (!S_ISLNK(s->st_mode) && (s->st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return refuse_name(w, name, "can be written by others; chmod go-w it");
    return 0;
}

/* Cut the next name off rest. False: there is none, or it is too long. */
static bool next_name(struct walk *w, char name[NAME_MAX + 1])
{
    size_t skip = 0;
    while (w->rest[skip] == '/')
        skip++;
    size_t n = hak_text_until(w->rest + skip, '/');
    bool fits = n <= NAME_MAX;
    hak_text_copy(name, NAME_MAX + 1, w->rest + skip, fits ? n : 0);
    memmove(w->rest, w->rest + skip + n, strlen(w->rest + skip + n) + 1);
    return fits && n != 0;
}

static int enter_directory(struct walk *w, int fd, const char *name)
{
    close(w->dir);
    w->dir = fd;
    hak_text_join(w->at, sizeof w->at, w->at, name, "/");
    return 0;
}

static int restart_at_root(struct walk *w)
{
    struct stat s;
    if (w->dir >= 0)
        close(w->dir);
    strcpy(w->at, "/");
    w->dir = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return w->dir >= 0 && fstat(w->dir, &s) == 0 ? check_rights(w, "", &s)
                                                 : refuse_error(w, errno);
}

/* Put the link's text in front of rest. */
static int follow_link(struct walk *w, int link)
{
    char text[PATH_MAX], all[PATH_MAX];
    ssize_t n = readlinkat(link, "", text, sizeof text);
    close(link);
    if (n < 0)
        return refuse_error(w, errno);
    if (++w->links > LINKS_MOST)
        return refuse_error(w, ELOOP);
    if (snprintf(all, sizeof all, "%.*s%s", (int)n, text, w->rest) >=
        (int)sizeof all)
        return refuse_error(w, ENAMETOOLONG);
    strcpy(w->rest, all);
    return text[0] == '/' ? restart_at_root(w) : 0;
}

/*
 * Walk on by one name: into a directory, or along a link. A regular file ends
 * the walk, and *file gets its descriptor, open for reading. 0 or -errno.
 */
static int walk_one_name(struct walk *w, const char *name, int *file)
{
    struct stat s;
    int fd = openat(w->dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return refuse_error(w, errno);
    int error =
        fstat(fd, &s) == 0 ? check_rights(w, name, &s) : refuse_error(w, errno);
    if (error == 0 && S_ISLNK(s.st_mode))
        return follow_link(w, fd);
    if (error == 0 && S_ISDIR(s.st_mode))
        return enter_directory(w, fd, name);
    if (error == 0 && (!S_ISREG(s.st_mode) || w->rest[0] != 0))
        error = refuse_name(w, name, "is no regular file");
    if (error == 0) /* it is the file just checked: only root can replace it */
        *file = openat(w->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (error == 0 && *file < 0)
        error = refuse_error(w, errno);
    close(fd);
    return error;
}

int hak_trust_open(const char *path, bool directory, char *why,
                   size_t why_bytes)
{
    char name[NAME_MAX + 1];
    struct walk w = {
        .dir = -1, .directory = directory, .why = why, .why_bytes = why_bytes};
    int file = -1;
    if (path[0] != '/' || strlen(path) >= sizeof w.rest)
        return hak_refuse(-EPERM, why, why_bytes,
                          "is no whole path, and this program runs with "
                          "raised rights (AT_SECURE)");
    strcpy(w.rest, path);
    int error = restart_at_root(&w);
    while (error == 0 && w.dir >= 0 && file < 0 && next_name(&w, name))
        error = walk_one_name(&w, name, &file);
    if (error == 0 && directory != (file < 0))
        error = refuse_name(
            &w, "", directory ? "is no directory" : "is no regular file");
    if (error == 0 && directory)
        return w.dir;
    if (w.dir >= 0)
        close(w.dir);
    if (error != 0 && file >= 0)
        close(file);
    return error == 0 ? file : error;
}
