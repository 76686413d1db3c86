/* SPDX-License-Identifier: MIT
 * dump.c - the file of a profile: its name, how it is written, its errors.
 *
 * The profile is written to FILE.tmp.PID beside FILE, and renamed when it is
 * whole. So FILE is never half a profile.
 */
#include "heap_profile.h"

#include <base/os.h>
#include <base/text.h>
#include <base/trust.h>
#include <base/why.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

/* One dump at a time. Guards all static variables of this file, which are
 * static as a program may exit on a small stack. */
static struct hak_lock dumping;

void hak_profile_dump_forked(void)
{
    dumping = (struct hak_lock){0};
}

/* ---- the name ------------------------------------------------------------ */

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), length = strlen(end);
    return n >= length && strcmp(text + n - length, end) == 0;
}

bool hak_profile_suffix_fits(const char *file, char *why, size_t why_bytes)
{
    const char *form = ends_with(file, ".folded") ? "--collapsed"
                       : ends_with(file, ".txt")  ? "--text"
                                                  : NULL;
    if (form == NULL)
        return true;
    hak_refuse(-EINVAL, why, why_bytes,
               "%s: the profile is written as .pb.gz; `hakctl profile FILE %s` "
               "makes a text of it",
               file, form);
    return false;
}

/* Where numbers go in a name without %n or %p: before its suffix. */
static size_t length_of_stem(const char *name)
{
    static const char suffix[] = ".pb.gz";
    size_t n = strlen(name);
    if (ends_with(name, suffix))
        return n - (sizeof suffix - 1);
    const char *slash = strrchr(name, '/'), *dot = strrchr(name, '.');
    return dot != NULL && dot > (slash != NULL ? slash + 1 : name)
               ? (size_t)(dot - name)
               : n;
}

/* Replace the first %p or %n of a name. Returns false: it has none. */
static bool replace(char name[PATH_MAX], const char *mark, const char *with)
{
    static char before[PATH_MAX];
    hak_text_copy(before, sizeof before, name, strlen(name));
    hak_text_replace(name, PATH_MAX, before, mark, with);
    return strstr(before, mark) != NULL;
}

static void insert_before_suffix(char name[PATH_MAX], const char *what)
{
    static char rest[PATH_MAX];
    size_t stem = length_of_stem(name);
    hak_text_join(rest, sizeof rest, name + stem);
    name[stem] = 0;
    hak_text_join(name, PATH_MAX, name, ".", what, rest);
}

/* Set path to the whole name of the file. False: it is too long. */
static bool make_path(const char *file, uint32_t number, char path[PATH_MAX])
{
    char digits[24], counted[16];
    const char *folder = file[0] == '/' ? "" : hak_profile_folder;
    bool fits = hak_text_join(path, PATH_MAX, folder, file);
    if (!replace(path, "%p",
                 hak_text_number(digits, (unsigned long)getpid())) &&
        hak_profile.is_child)
        insert_before_suffix(path,
                             hak_text_number(digits, (unsigned long)getpid()));
    snprintf(counted, sizeof counted, "%04u", number);
    if (!replace(path, "%n", number != 0 ? counted : "exit") && number != 0)
        insert_before_suffix(path, counted);
    return fits && strlen(path) < PATH_MAX - 32;
}

/* ---- the file ------------------------------------------------------------ */

/* The file while it is written. Its names are relative to dir. */
struct target {
    int dir; /* AT_FDCWD: the names are whole paths */
    int fd;
    const char *name;
    char temporary[PATH_MAX];
};

/* In a program with raised rights only root may be able to change the folder,
 * as for the reports of [stats]. */
static int open_folder(struct target *t, const char *path, char *why, size_t n)
{
    static char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    t->dir = AT_FDCWD;
    t->name = path;
    if (!hak_os_secure())
        return 0;
    hak_text_copy(folder, sizeof folder, path, (size_t)(slash + 1 - path));
    t->dir = hak_trust_open(folder, true, why, n);
    t->name = slash + 1;
    return t->dir < 0 ? t->dir : 0;
}

/* What is no regular file, as /dev/null, is not replaced. */
static int check_replaced(const struct target *t, char *why, size_t n)
{
    struct stat s;
    if (fstatat(t->dir, t->name, &s, AT_SYMLINK_NOFOLLOW) == 0 &&
        !S_ISREG(s.st_mode))
        return hak_refuse(-EINVAL, why, n, "is no regular file");
    return 0;
}

static int open_temporary(struct target *t, char *why, size_t n)
{
    char digits[24];
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    hak_text_join(t->temporary, sizeof t->temporary, t->name, ".tmp.",
                  hak_text_number(digits, (unsigned long)getpid()));
    t->fd = openat(t->dir, t->temporary, flags, 0600);
    if (t->fd < 0 && errno == EEXIST) { /* of a process that is no more */
        unlinkat(t->dir, t->temporary, 0);
        t->fd = openat(t->dir, t->temporary, flags, 0600);
    }
    return t->fd >= 0
               ? 0
               : hak_refuse(-errno, why, n, "%s", strerrordesc_np(errno));
}

/* Give the file its name if it is whole, else remove it. */
static int finish(const struct target *t, int error, char *why, size_t n)
{
    if (close(t->fd) != 0 && error == 0)
        error = -errno;
    if (error == 0 && renameat(t->dir, t->temporary, t->dir, t->name) != 0)
        error = -errno;
    if (error == 0)
        return 0;
    unlinkat(t->dir, t->temporary, 0);
    return hak_refuse(error, why, n, "%s", strerrordesc_np(-error));
}

static int write_to(const char *path, const char *reason, char *why, size_t n)
{
    static struct target t;
    t.fd = -1;
    int error = open_folder(&t, path, why, n);
    if (error == 0)
        error = check_replaced(&t, why, n);
    if (error == 0)
        error = open_temporary(&t, why, n);
    if (error == 0)
        error = finish(&t, hak_profile_profile(t.fd, reason), why, n);
    if (t.dir >= 0)
        close(t.dir);
    return error;
}

int hak_profile_dump(const char *file, const char *reason, uint32_t number,
                     char path[PATH_MAX], char *why, size_t why_bytes)
{
    char text[256] = "";
    path[0] = 0;
    if (!hak_profile_suffix_fits(file, why, why_bytes))
        return -EINVAL;
    /* A block that another thread has freed is in use until its free arrives.
     */
    hak_profile.host->receive_frees();
    hak_lock_take(&dumping);
    int error = make_path(file, number, path) ? 0 : -ENAMETOOLONG;
    if (error == 0)
        error = write_to(path, reason, text, sizeof text);
    else
        hak_text_join(text, sizeof text, strerrordesc_np(ENAMETOOLONG));
    hak_lock_drop(&dumping);
    if (error != 0)
        hak_refuse(error, why, why_bytes, "%s: %s", path, text);
    return error;
}
