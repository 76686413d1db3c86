/* SPDX-License-Identifier: MIT
 * hakctl_control.c - speaks to the control sockets of processes.
 */
#include "hakctl_control.h"
#include "hakctl.h"

#include <base/text.h>
#include <base/why.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

/* ---- where sockets are --------------------------------------------------- */

enum { DIRS = 4 };

/* The directories that `auto` takes in a process of that user. */
static size_t dirs_of(uid_t uid, char dir[DIRS][PATH_MAX])
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    size_t n = 0;
    if (runtime != NULL && runtime[0] == '/' && uid == geteuid())
        snprintf(dir[n++], PATH_MAX, "%s/hakmem", runtime);
    snprintf(dir[n], PATH_MAX, "/run/user/%u/hakmem", uid);
    if (n == 0 || strcmp(dir[0], dir[n]) != 0)
        n++;
    if (uid == 0)
        snprintf(dir[n++], PATH_MAX, "/run/hakmem");
    snprintf(dir[n++], PATH_MAX, "/tmp/hakmem-%u", uid);
    return n;
}

/* Does the directory belong to that user, and lets nobody else in? Otherwise
 * somebody else could answer. */
static bool is_trusted(const char *dir, uid_t uid)
{
    struct stat s;
    return lstat(dir, &s) == 0 && S_ISDIR(s.st_mode) && s.st_uid == uid &&
           (s.st_mode & 077) == 0;
}

static bool address_of(const char *path, struct sockaddr_un *out)
{
    size_t n = strlen(path);
    if (n >= sizeof out->sun_path)
        return false;
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(out->sun_path, path, n);
    return true;
}

/* How many seconds a process may take to answer. */
static int limit_s(void)
{
    const char *given = getenv("HAKCTL_WAIT_S");
    long s = given != NULL ? strtol(given, NULL, 10) : 0;
    return s > 0 && s <= 86400 ? (int)s : CTL_ASK_S;
}

/* How a connection is made while the process has no place for it in its queue:
 * wait, or fail with -EAGAIN. */
enum patience { WAIT, DO_NOT_WAIT };

/* Connect to a socket. Returns a descriptor or -errno. */
static int connect_to(const char *path, enum patience patience)
{
    const struct timeval limit = {.tv_sec = limit_s()};
    const int type = patience == WAIT ? 0 : SOCK_NONBLOCK;
    struct sockaddr_un a;
    if (!address_of(path, &a))
        return -ENAMETOOLONG;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | type, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    int error = -errno;
    close(fd);
    return error;
}

/* ---- the list ------------------------------------------------------------ */

struct list {
    struct ctl_process *at;
    size_t n;
};

static void add_process(struct list *l, pid_t pid, const char *path)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->at[i].pid == pid)
            return;
    l->at = reallocarray(l->at, l->n + 1, sizeof *l->at);
    if (l->at == NULL)
        ctl_die("no memory");
    l->at[l->n].pid = pid;
    hak_text_copy(l->at[l->n++].path, CTL_SOCKET_BYTES, path, strlen(path));
}

/* The pid in a name "PID.sock", or 0. */
static pid_t pid_of_name(const char *name)
{
    char *end;
    errno = 0;
    long pid = strtol(name, &end, 10);
    bool good = errno == 0 && name[0] >= '1' && name[0] <= '9' &&
                pid <= INT_MAX && strcmp(end, ".sock") == 0;
    return good ? (pid_t)pid : 0;
}

/* Add the process of one socket if it listens. If nobody does, remove the file.
 */
static void add_socket(struct list *l, const char *dir, const char *name)
{
    char path[2 * PATH_MAX];
    pid_t pid = pid_of_name(name);
    if (pid == 0)
        return;
    int length = snprintf(path, sizeof path, "%s/%s", dir, name);
    if (length < 0 || (size_t)length >= sizeof path)
        return;
    int fd = connect_to(path, DO_NOT_WAIT);
    if (fd == -ECONNREFUSED)
        unlink(path);
    if (fd == -EAGAIN || fd >= 0)
        add_process(l, pid, path);
    if (fd >= 0)
        close(fd);
}

static int by_pid(const void *a, const void *b)
{
    const struct ctl_process *x = a, *y = b;
    return (x->pid > y->pid) - (x->pid < y->pid);
}

size_t ctl_processes(struct ctl_process **out)
{
    char dir[DIRS][PATH_MAX];
    struct list l = {NULL, 0};
    size_t n = dirs_of(geteuid(), dir);
    for (size_t i = 0; i < n; i++) {
        DIR *d = is_trusted(dir[i], geteuid()) ? opendir(dir[i]) : NULL;
        const struct dirent *e;
        while (d != NULL && (e = readdir(d)) != NULL)
            add_socket(&l, dir[i], e->d_name);
        if (d != NULL)
            closedir(d);
    }
    if (l.n != 0)
        qsort(l.at, l.n, sizeof *l.at, by_pid);
    *out = l.at;
    return l.n;
}

/* ---- one process --------------------------------------------------------- */

/* A socket that was named by its path, and the process that listens there. */
static struct ctl_process named;

/* The user that a process runs as. False: there is no such process. */
static bool owner_of(pid_t pid, uid_t *uid)
{
    char proc[32];
    struct stat s;
    snprintf(proc, sizeof proc, "/proc/%d", (int)pid);
    if (stat(proc, &s) != 0)
        return false;
    *uid = s.st_uid;
    return true;
}

/* Say why there is no socket for that process. */
static void explain_none(pid_t pid, char *why, size_t why_bytes)
{
    uid_t uid;
    if (!owner_of(pid, &uid)) {
        hak_refuse(0, why, why_bytes,
                   "there is no process %d; hakctl ps lists those that can be "
                   "asked",
                   (int)pid);
        return;
    }
    if (uid != geteuid() && geteuid() != 0) {
        const struct passwd *user = getpwuid(uid);
        hak_refuse(0, why, why_bytes,
                   "process %d belongs to user %s (%u); ask as that user or as "
                   "root",
                   (int)pid, user != NULL ? user->pw_name : "?", uid);
        return;
    }
    hak_refuse(0, why, why_bytes,
               "process %d has no control socket; start it by hakctl run "
               "--control, or name the socket's path in place of the pid",
               (int)pid);
}

/* Connect to the socket of a process. Returns a descriptor; -1, with the reason
 * in why. */
static int connect_to_process(pid_t pid, enum patience patience, char *why,
                              size_t why_bytes)
{
    char dir[DIRS][PATH_MAX], path[PATH_MAX + 32];
    uid_t uid = geteuid();
    int fd = -ENOENT;
    if (geteuid() == 0)
        owner_of(pid, &uid);
    size_t n = dirs_of(uid, dir);
    snprintf(path, sizeof path, "%s", named.path);
    if (named.pid == pid)
        fd = connect_to(path, patience);
    for (size_t i = 0; i < n && fd == -ENOENT; i++) {
        snprintf(path, sizeof path, "%s/%d.sock", dir[i], (int)pid);
        if (is_trusted(dir[i], uid))
            fd = connect_to(path, patience);
    }
    /* A process of root may have become that of another user since. */
    if (fd == -ENOENT && geteuid() == 0) {
        snprintf(path, sizeof path, "/run/hakmem/%d.sock", (int)pid);
        fd = connect_to(path, patience);
    }
    if (fd == -ENOENT)
        explain_none(pid, why, why_bytes);
    else if (fd == -ECONNREFUSED)
        hak_refuse(0, why, why_bytes,
                   "nobody listens at %s any more; hakctl ps lists those who "
                   "do",
                   path);
    else if (fd < 0)
        hak_refuse(0, why, why_bytes, "cannot connect to %s: %s", path,
                   strerror(-fd));
    return fd < 0 ? -1 : fd;
}

static int left_ms(const struct timespec *end)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long ms = (end->tv_sec - now.tv_sec) * 1000 +
              (end->tv_nsec - now.tv_nsec) / 1000000;
    return ms > 0 ? (int)ms : 0;
}

/* ---- requests and replies ------------------------------------------------ */

/* What is on its way to and from one process. */
struct exchange {
    struct ctl_answer *answer;
    size_t sent, used, size;
    unsigned nlines; /* that are still to come */
};

static void end_exchange(struct exchange *x, struct pollfd *p)
{
    close(p->fd);
    p->fd = -1; /* poll(2) leaves it out */
    char *text = x->answer->text;
    char *newline = text != NULL ? strrchr(text, '\n') : NULL;
    x->answer->whole = x->nlines == 0;
    if (newline != NULL) {
        newline[1] = 0;
        return;
    }
    free(text);
    x->answer->text = NULL;
}

/* Send what the process takes. Returns false: it takes no more. */
static bool send_some(struct exchange *x, struct pollfd *p, const char *request,
                      size_t n)
{
    ssize_t done = send(p->fd, request + x->sent, n - x->sent,
                        MSG_NOSIGNAL | MSG_DONTWAIT);
    if (done < 0)
        return errno == EAGAIN || errno == EINTR;
    x->sent += (size_t)done;
    if (x->sent == n)
        p->events = POLLIN;
    return true;
}

/* Read what there is. Returns false: all lines have come, or no more will. */
static bool read_some(struct exchange *x, struct pollfd *p)
{
    enum { STEP = 64 << 10 };
    if (x->size - x->used < STEP)
        x->answer->text = realloc(x->answer->text, x->size += STEP);
    char *text = x->answer->text;
    if (text == NULL)
        ctl_die("no memory");
    ssize_t n =
        recv(p->fd, text + x->used, x->size - x->used - 1, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    for (ssize_t i = 0; i < n && x->nlines != 0; i++)
        x->nlines -= text[x->used + (size_t)i] == '\n';
    x->used += (size_t)n;
    text[x->used] = 0;
    return n != 0 && x->nlines != 0;
}

/* Move each exchange on until all have ended or it is time to stop. */
static void exchange_all(struct exchange *x, struct pollfd *p, size_t n,
                         const char *request, const struct timespec *end)
{
    const size_t bytes = strlen(request);
    for (size_t open = n; open != 0;) {
        open = 0;
        for (size_t i = 0; i < n; i++) {
            short ready = p[i].fd < 0 ? 0 : p[i].revents;
            p[i].revents = 0;
            if ((ready & POLLOUT) != 0 &&
                !send_some(&x[i], &p[i], request, bytes))
                p[i].events = POLLIN; /* it may have sent an error */
            else if ((ready & (POLLIN | POLLHUP | POLLERR)) != 0 &&
                     !read_some(&x[i], &p[i]))
                end_exchange(&x[i], &p[i]);
            open += p[i].fd >= 0;
        }
        if (open != 0 && poll(p, n, left_ms(end)) == 0)
            return;
    }
}

void ctl_ask_all(struct ctl_answer *answer, size_t n, const char *request,
                 unsigned nlines, unsigned timeout_ms)
{
    struct exchange *x = calloc(n + 1, sizeof *x);
    struct pollfd *p = calloc(n + 1, sizeof *p);
    char *line = NULL;
    struct timespec end;
    if (x == NULL || p == NULL || asprintf(&line, "%s\n", request) < 0)
        ctl_die("no memory");
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += timeout_ms / 1000;
    end.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    for (size_t i = 0; i < n; i++) {
        answer[i].text = NULL;
        x[i] = (struct exchange){.answer = &answer[i], .nlines = nlines};
        p[i].fd = connect_to_process(answer[i].pid, DO_NOT_WAIT, answer[i].why,
                                     sizeof answer[i].why);
        p[i].events = POLLOUT;
        if (p[i].fd >= 0)
            hak_refuse(0, answer[i].why, sizeof answer[i].why,
                       "process %d closed the connection without an answer",
                       (int)answer[i].pid);
    }
    exchange_all(x, p, n, line, &end);
    for (size_t i = 0; i < n; i++) {
        if (p[i].fd < 0)
            continue;
        end_exchange(&x[i], &p[i]);
        hak_refuse(0, answer[i].why, sizeof answer[i].why,
                   "process %d has not answered for %u ms; is it stopped?",
                   (int)answer[i].pid, timeout_ms);
    }
    free(line);
    free(p);
    free(x);
}

/* ---- one request --------------------------------------------------------- */

/* A process that refuses a client sends an error and closes the connection, so
 * a reply is read even if the request could not be sent. */
char *ctl_ask(pid_t pid, const char *request, char *why, size_t why_bytes)
{
    struct ctl_answer answer = {.pid = pid};
    struct exchange x = {.answer = &answer, .nlines = 1};
    struct pollfd p = {.events = POLLOUT};
    struct timespec end;
    char *line = NULL;
    p.fd = connect_to_process(pid, WAIT, why, why_bytes);
    if (p.fd < 0)
        return NULL;
    if (asprintf(&line, "%s\n", request) < 0)
        ctl_die("no memory");
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += limit_s();
    exchange_all(&x, &p, 1, line, &end);
    bool late = p.fd >= 0;
    if (late)
        end_exchange(&x, &p);
    free(line);
    if (answer.text != NULL)
        *strchr(answer.text, '\n') = 0;
    else if (late)
        hak_refuse(0, why, why_bytes,
                   "process %d has not answered for %d s; is it stopped?",
                   (int)pid, limit_s());
    else
        hak_refuse(0, why, why_bytes,
                   "process %d closed the connection without an answer; has "
                   "it ended?",
                   (int)pid);
    return answer.text;
}

/* ---- by name ------------------------------------------------------------- */

static pid_t find_by_path(const char *path)
{
    struct ucred peer;
    socklen_t n = sizeof peer;
    int fd = connect_to(path, WAIT);
    if (fd < 0) {
        ctl_say("cannot connect to %s: %s", path, strerror(-fd));
        return 0;
    }
    bool known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0;
    close(fd);
    /* A process of another pid namespace has pid 0 here. */
    named.pid = known && peer.pid != 0 ? peer.pid : INT_MAX;
    hak_text_copy(named.path, sizeof named.path, path, strlen(path));
    return named.pid;
}

static bool runs(pid_t pid, const char *program)
{
    char why[512];
    json_t *info = ctl_ask_ok(pid, "info", why, sizeof why);
    bool same = info != NULL && strcmp(ctl_text(info, "program"), program) == 0;
    json_decref(info);
    return same;
}

static pid_t find_by_name(const char *name)
{
    struct ctl_process *all;
    size_t n = ctl_processes(&all), found = 0;
    char list[512] = "";
    pid_t pid = 0;
    for (size_t i = 0; i < n; i++) {
        size_t used = strlen(list);
        if (!runs(all[i].pid, name))
            continue;
        pid = all[i].pid;
        snprintf(list + used, sizeof list - used, "%s%d", found++ ? ", " : "",
                 (int)pid);
    }
    free(all);
    if (found == 1)
        return pid;
    if (found == 0)
        ctl_say("no process of this user with a control socket runs \"%s\"; "
                "hakctl ps lists them",
                name);
    else
        ctl_say("%zu processes run \"%s\": %s; name one of them by its pid",
                found, name, list);
    return 0;
}

pid_t ctl_find(const char *pid_or_name)
{
    char *end;
    errno = 0;
    long pid = strtol(pid_or_name, &end, 10);
    if (errno == 0 && *end == 0 && pid > 0 && pid <= INT_MAX)
        return (pid_t)pid;
    return strchr(pid_or_name, '/') != NULL ? find_by_path(pid_or_name)
                                            : find_by_name(pid_or_name);
}

/* ---- JSON ---------------------------------------------------------------- */

json_t *ctl_ask_ok(pid_t pid, const char *request, char *why, size_t why_bytes)
{
    json_error_t error;
    char *line = ctl_ask(pid, request, why, why_bytes);
    if (line == NULL)
        return NULL;
    json_t *reply = json_loads(line, 0, &error);
    free(line);
    json_t *ok = json_incref(json_object_get(reply, "ok"));
    const char *said = json_string_value(json_object_get(reply, "error"));
    if (ok == NULL && said != NULL)
        hak_refuse(0, why, why_bytes, "%s", said);
    else if (ok == NULL)
        hak_refuse(0, why, why_bytes,
                   "process %d gave no reply of this protocol: %s", (int)pid,
                   reply == NULL ? error.text : "neither ok nor error");
    json_decref(reply);
    return ok;
}

void ctl_word(char **request, const char *word)
{
    char *text = NULL;
    size_t n = 0;
    bool quoted = word[0] == 0 || strpbrk(word, " \t\"") != NULL;
    FILE *out = open_memstream(&text, &n);
    if (out == NULL)
        ctl_die("no memory");
    if (strpbrk(word, "\r\n") != NULL)
        ctl_die("\"%s\": a request is one line, so no word of it may have a "
                "line break",
                word);
    if (*request != NULL)
        fprintf(out, "%s ", *request);
    if (quoted)
        fputc('"', out);
    for (; *word != 0; word++) {
        if (quoted && (*word == '"' || *word == '\\'))
            fputc('\\', out);
        fputc(*word, out);
    }
    if (quoted)
        fputc('"', out);
    if (fclose(out) != 0)
        ctl_die("no memory");
    free(*request);
    *request = text;
}

double ctl_number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

const char *ctl_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

json_t *ctl_json_string(const char *text)
{
    if (text == NULL)
        return json_null();
    json_t *string = json_string(text);
    if (string != NULL)
        return string;
    char *copy = strdup(text);
    for (char *at = copy; at != NULL && *at != 0; at++)
        if ((unsigned char)*at >= 0x80)
            *at = '?';
    string = copy != NULL ? json_string(copy) : NULL;
    free(copy);
    if (string == NULL)
        ctl_die("no memory");
    return string;
}
