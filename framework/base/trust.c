/* SPDX-License-Identifier: MIT
 * trust.c - paths that root alone can change, for programs with raised rights.
 *
 * A path is walked from the root on open directories, links followed by hand:
 * what lies in a directory that root alone can write to is what root put
 * there, so nobody can change a part that was looked at.
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

enum { LINKS_MOST = 40 }; /* as the kernel follows */

/*
 * dir        open, looked at; at is its name, for messages
 * rest       of the path, below dir
 * directory  the path is that of a directory
 */
struct walk {
    int dir;
    char at[PATH_MAX], rest[PATH_MAX];
    int links;
    bool directory;
    char *why;
    size_t why_bytes;
};

/* "is ...", said of the path that was asked for. */
static int refuse(const struct walk *w, const char *name, const char *what)
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

/* Links have no mode; whose they are counts. */
static int check_rights(const struct walk *w, const char *name,
                        const struct stat *s)
{
    if (s->st_uid != 0)
        return refuse(w, name, "is not owned by root");
    if (!S_ISLNK(s->st_mode) && (s->st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return refuse(w, name, "can be written by others; chmod go-w it");
    return 0;
}

/* The next name of rest; false: there is none. */
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

static int enter(struct walk *w, int fd, const char *name)
{
    close(w->dir);
    w->dir = fd;
    hak_text_join(w->at, sizeof w->at, w->at, name, "/");
    return 0;
}

static int to_root(struct walk *w)
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
static int follow(struct walk *w, int link)
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
    return text[0] == '/' ? to_root(w) : 0;
}

/*
 * One name further. *file gets the descriptor of what is no directory, which
 * ends the walk.
 */
static int step(struct walk *w, const char *name, int *file)
{
    struct stat s;
    int fd = openat(w->dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return refuse_error(w, errno);
    int error =
        fstat(fd, &s) == 0 ? check_rights(w, name, &s) : refuse_error(w, errno);
    if (error == 0 && S_ISLNK(s.st_mode))
        return follow(w, fd);
    if (error == 0 && S_ISDIR(s.st_mode))
        return enter(w, fd, name);
    if (error == 0 && (!S_ISREG(s.st_mode) || w->rest[0] != 0))
        error = refuse(w, name, "is no regular file");
    if (error == 0) /* the same: nobody else can put another there */
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
    int error = to_root(&w);
    while (error == 0 && w.dir >= 0 && file < 0 && next_name(&w, name))
        error = step(&w, name, &file);
    if (error == 0 && directory != (file < 0))
        error = refuse(&w, "",
                       directory ? "is no directory" : "is no regular file");
    if (error == 0 && directory)
        return w.dir;
    if (w.dir >= 0)
        close(w.dir);
    if (error != 0 && file >= 0)
        close(file);
    return error == 0 ? file : error;
}
