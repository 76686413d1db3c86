/* SPDX-License-Identifier: MIT
 * socket.c - the control socket: its file, and who may connect.
 *
 * Two things keep others out: the mode of the socket's file (0600) and of the
 * directory for `auto` (0700, checked), and SO_PEERCRED of each connection.
 */
#include "control.h"

#include <base/text.h>
#include <base/why.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- the directory of `auto` --------------------------------------------- */

/* Is there a directory of that name that nobody else can enter? It is made if
 * it is not there. */
static int check_dir(const char *dir, char *why, size_t why_bytes)
{
    struct stat s;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return hak_refuse(-errno, why, why_bytes, "%s cannot be made: %s", dir,
                          strerrordesc_np(errno));
    if (lstat(dir, &s) != 0)
        return hak_refuse(-errno, why, why_bytes, "%s: %s", dir,
                          strerrordesc_np(errno));
    const char *bad = !S_ISDIR(s.st_mode)          ? "is no directory"
                      : s.st_uid != geteuid()      ? "belongs to another user"
                      : (s.st_mode & 077) != 0     ? "lets others in; chmod 700"
                      : (s.st_mode & 0700) != 0700 ? "has not mode 0700"
                                                   : NULL;
    if (bad == NULL)
        return 0;
    return hak_refuse(-EPERM, why, why_bytes, "%s %s", dir, bad);
}

/* A program may change its environment at any time, so the value of start
 * counts. "": there is none. */
static char runtime[CONTROL_PATH_BYTES];

void hak_control_read_environment(void)
{
    const char *value = getenv("XDG_RUNTIME_DIR");
    bool usable = value != NULL && value[0] == '/' &&
                  hak_text_join(runtime, sizeof runtime, value);
    if (!usable)
        runtime[0] = 0;
}

/* The first usable one of $XDG_RUNTIME_DIR/hakmem, for root /run/hakmem, and
 * /tmp/hakmem-UID. hakctl looks in the same places. */
static int find_dir(char dir[CONTROL_PATH_BYTES], char *why, size_t why_bytes)
{
    char uid[24];
    if (runtime[0] != 0 &&
        hak_text_join(dir, CONTROL_PATH_BYTES, runtime, "/hakmem") &&
        check_dir(dir, why, why_bytes) == 0)
        return 0;
    hak_text_join(dir, CONTROL_PATH_BYTES, "/run/hakmem");
    if (geteuid() == 0 && check_dir(dir, why, why_bytes) == 0)
        return 0;
    hak_text_join(dir, CONTROL_PATH_BYTES, "/tmp/hakmem-",
                  hak_text_number(uid, geteuid()));
    return check_dir(dir, why, why_bytes);
}

/* ---- the file ------------------------------------------------------------ */

static int socket_path(const char *where, char path[CONTROL_PATH_BYTES],
                       char *why, size_t why_bytes)
{
    char dir[CONTROL_PATH_BYTES], pid[24];
    hak_text_number(pid, (unsigned long)getpid());
    const char *number = hak_text_number(pid, (unsigned long)getpid());
    bool fits;
    if (strcmp(where, "auto") == 0) {
        int error = find_dir(dir, why, why_bytes);
        if (error != 0)
            return error;
        fits =
            hak_text_join(path, CONTROL_PATH_BYTES, dir, "/", number, ".sock");
    } else {
        fits = hak_text_replace(path, CONTROL_PATH_BYTES, where, "%p", number);
    }
    if (fits)
        return 0;
    return hak_refuse(-ENAMETOOLONG, why, why_bytes,
                      "%s is longer than the %d bytes that a socket's name may "
                      "have",
                      where, CONTROL_PATH_BYTES - 1);
}

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    hak_text_copy(a.sun_path, sizeof a.sun_path, path, strlen(path));
    return a;
}

/* Does a process listen at the path? */
static bool is_alive(const char *path)
{
    struct sockaddr_un a = address_of(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool alive = true;
    if (fd >= 0) {
        alive = connect(fd, (struct sockaddr *)&a, sizeof a) == 0 ||
                errno != ECONNREFUSED;
        close(fd);
    }
    return alive;
}

/* Remove what a process has left at the path. Only a socket of this user at
 * which nobody listens is removed. */
static int remove_stale(const char *path, char *why, size_t why_bytes)
{
    struct stat s;
    if (lstat(path, &s) != 0)
        return errno == ENOENT ? 0
                               : hak_refuse(-errno, why, why_bytes, "%s: %s",
                                            path, strerrordesc_np(errno));
    if (!S_ISSOCK(s.st_mode))
        return hak_refuse(-EEXIST, why, why_bytes,
                          "%s is there and is no socket; remove it or name "
                          "another path",
                          path);
    if (s.st_uid != geteuid())
        return hak_refuse(-EPERM, why, why_bytes,
                          "%s is a socket of another user", path);
    if (is_alive(path))
        return hak_refuse(-EADDRINUSE, why, why_bytes,
                          "another process listens at %s; auto, or %%p in the "
                          "path, gives each process its own",
                          path);
    if (unlink(path) != 0 && errno != ENOENT)
        return hak_refuse(-errno, why, why_bytes, "%s cannot be replaced: %s",
                          path, strerrordesc_np(errno));
    return 0;
}

/* Which file is at the path? Returns false, with errno: there is none. */
static bool identify(const char *path, struct hak_control_file *out)
{
    struct statx s;
    if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_BTIME,
              &s) != 0)
        return false;
    out->device = (uint64_t)s.stx_dev_major << 32 | s.stx_dev_minor;
    out->inode = s.stx_ino;
    out->born_ns = s.stx_btime.tv_sec * 1000000000 + s.stx_btime.tv_nsec;
    return true;
}

/*
 * bind gives the file the mode of the socket, less the umask. The umask belongs
 * to the whole process, so it is not changed here; chmod follows for the case
 * that it takes the user's own bits.
 */
static int bind_file(struct hak_control_socket *s)
{
    struct sockaddr_un a = address_of(s->path);
    struct stat file;
    if (fchmod(s->fd, 0600) != 0 ||
        bind(s->fd, (struct sockaddr *)&a, sizeof a) != 0 ||
        !identify(s->path, &s->file))
        return -errno;
    if (lstat(s->path, &file) != 0 ||
        ((file.st_mode & 0777) != 0600 && chmod(s->path, 0600) != 0) ||
        listen(s->fd, CONTROL_QUEUE) != 0)
        return -errno;
    return 0;
}

int hak_control_listen(const char *where, struct hak_control_socket *out,
                       char *why, size_t why_bytes)
{
    struct hak_control_socket s = {.fd = -1};
    int error = socket_path(where, s.path, why, why_bytes);
    if (error == 0)
        error = remove_stale(s.path, why, why_bytes);
    if (error != 0)
        return error;
    s.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    error = s.fd >= 0 ? bind_file(&s) : -errno;
    if (error == 0) {
        *out = s;
        return 0;
    }
    hak_control_remove(&s);
    if (s.fd >= 0)
        close(s.fd);
    return hak_refuse(error, why, why_bytes, "no socket at %s: %s", s.path,
                      strerrordesc_np(-error));
}

void hak_control_remove(const struct hak_control_socket *s)
{
    struct hak_control_file now;
    if (s->file.inode != 0 && identify(s->path, &now) &&
        now.device == s->file.device && now.inode == s->file.inode &&
        now.born_ns == s->file.born_ns)
        unlink(s->path);
}

/* ---- who may connect ----------------------------------------------------- */

bool hak_control_may(int fd, char *why, size_t why_bytes)
{
    struct ucred peer;
    socklen_t n = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0) {
        hak_refuse(0, why, why_bytes, "no credentials of yours: %s",
                   strerrordesc_np(errno));
        return false;
    }
    if (peer.uid == geteuid() || peer.uid == 0)
        return true;
    hak_refuse(0, why, why_bytes,
               "you are user %u; this process takes requests of user %u and of "
               "root only",
               peer.uid, geteuid());
    return false;
}
