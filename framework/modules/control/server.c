/* SPDX-License-Identifier: MIT
 * server.c - serves the clients of the control socket.
 *
 * One thread, poll(2), no blocking call. A client is in one of two states:
 *
 *     reading   its reply is empty; its line grows until a newline comes
 *     writing   its reply waits until the client reads it; nothing is read from
 *               the client meanwhile, so it cannot pile up work
 *
 * A reply that waits for CONTROL_WAIT_MS ends its client. Nothing else has a
 * time limit, so the thread sleeps while nobody asks anything.
 */
#include "control.h"

#include <base/os.h>
#include <kit/base.h>

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct client {
    int fd;
    bool last;       /* close it when its reply has gone */
    size_t used;     /* of its line */
    size_t sent;     /* of its reply */
    uint64_t end_ms; /* when its reply has waited long enough */
    struct hak_control_reply reply;
};

/* Used by the one thread. A line is room for a request, its newline and a 0. */
static struct client client[CONTROL_CLIENTS];
static uint32_t nclients;
static char line[CONTROL_CLIENTS][CONTROL_LINE_BYTES + 2];

static bool is_writing(const struct client *c)
{
    return c->reply.used != 0;
}

static char *line_of(const struct client *c)
{
    return line[c - client];
}

/* ---- one client ---------------------------------------------------------- */

/* Close the connection and put the last client in its place. */
static void forget(struct client *c)
{
    struct client *moved = &client[nclients - 1];
    close(c->fd);
    hak_control_free(&c->reply);
    if (c != moved) {
        memcpy(line_of(c), line_of(moved), moved->used);
        *c = *moved;
    }
    *moved = (struct client){0};
    nclients--;
}

/* Send as much of the reply as the client takes. Returns false: the client is
 * gone, or this was its last reply. */
static bool send_reply(struct client *c)
{
    while (c->sent < c->reply.used) {
        ssize_t n = send(c->fd, c->reply.bytes + c->sent,
                         c->reply.used - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return (errno == EAGAIN || errno == EWOULDBLOCK) &&
                   hak_os_now_ms() < c->end_ms;
        c->sent += (size_t)n;
    }
    hak_control_free(&c->reply);
    return !c->last;
}

static bool start_reply(struct client *c)
{
    c->sent = 0;
    c->end_ms = hak_os_now_ms() + CONTROL_WAIT_MS;
    return send_reply(c);
}

/* Answer the first n bytes of the line, and drop them and the newline. */
static bool answer(const struct hak_control_self *self, struct client *c,
                   size_t n)
{
    char request[CONTROL_LINE_BYTES + 2];
    size_t whole = hak_min(n + 1, c->used);
    memcpy(request, line_of(c), n);
    c->used -= whole;
    memmove(line_of(c), line_of(c) + whole, c->used);
    hak_control_answer(self, request, n, &c->reply);
    return start_reply(c);
}

static bool refuse_long_line(struct client *c)
{
    hak_control_error(&c->reply,
                      "a request of more than %d bytes; the connection is "
                      "closed",
                      CONTROL_LINE_BYTES);
    hak_control_end(&c->reply);
    c->last = true;
    return start_reply(c);
}

static bool has_line(const struct client *c)
{
    return memchr(line_of(c), '\n', c->used) != NULL;
}

/* Answer one request if a whole one is there. A client that ends without a
 * newline has sent a request too. */
static bool serve_line(const struct hak_control_self *self, struct client *c,
                       bool ended)
{
    const char *newline = memchr(line_of(c), '\n', c->used);
    if (newline != NULL)
        return answer(self, c, (size_t)(newline - line_of(c)));
    if (c->used > CONTROL_LINE_BYTES)
        return refuse_long_line(c);
    if (!ended)
        return true;
    c->last = true;
    return c->used != 0 && answer(self, c, c->used);
}

/* Read from a client and answer its next request. Returns false: it is to be
 * forgotten. */
static bool read_client(const struct hak_control_self *self, struct client *c)
{
    bool ended = false;
    if (!has_line(c)) {
        ssize_t n = recv(c->fd, line_of(c) + c->used,
                         CONTROL_LINE_BYTES + 1 - c->used, MSG_DONTWAIT);
        if (n < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
        ended = n == 0;
        c->used += (size_t)n;
    }
    return serve_line(self, c, ended);
}

/* ---- connections --------------------------------------------------------- */

/* Send one error and close the connection. The socket's buffer has room, since
 * it is new. */
static void turn_away(int fd, const char *why)
{
    struct hak_control_reply r = {0};
    hak_control_error(&r, "%s", why);
    hak_control_end(&r);
    if (!r.failed)
        (void)!send(fd, r.bytes, r.used, MSG_NOSIGNAL | MSG_DONTWAIT);
    hak_control_free(&r);
    close(fd);
}

/* Forget the clients that have closed their end, without carrying out what they
 * may still have asked. */
static void forget_gone(void)
{
    struct pollfd p[CONTROL_CLIENTS];
    for (uint32_t i = 0; i < nclients; i++)
        p[i] = (struct pollfd){.fd = client[i].fd};
    if (poll(p, nclients, 0) <= 0)
        return;
    for (uint32_t i = nclients; i-- > 0;)
        if ((p[i].revents & POLLHUP) != 0)
            forget(&client[i]);
}

/* Accept one connection. Returns 0; -errno of accept. */
static int accept_one(int fd)
{
    char why[256];
    int new = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (new < 0)
        return -errno;
    if (nclients == CONTROL_CLIENTS)
        forget_gone();
    if (!hak_control_may(new, why, sizeof why))
        turn_away(new, why);
    else if (nclients == CONTROL_CLIENTS)
        turn_away(new, "too many clients: 32 are connected; try again later");
    else
        client[nclients++] = (struct client){.fd = new};
    return 0;
}

/* Returns 0; -errno: the socket is of no use any more. A lack of descriptors or
 * memory passes, so the thread waits a little. */
static int accept_all(int fd)
{
    static const struct timespec pause = {.tv_nsec = 100000000};
    int error;
    do
        error = accept_one(fd);
    while (error == 0);
    switch (-error) {
    case EAGAIN:
    case EINTR:
    case ECONNABORTED:
        return 0;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        nanosleep(&pause, NULL);
        return 0;
    default:
        return error;
    }
}

/* ---- the loop ------------------------------------------------------------ */

/* Fill in what to wait for. Returns poll's timeout. */
static int prepare(struct pollfd *p, int fd)
{
    uint64_t now = hak_os_now_ms();
    int timeout = -1;
    p[0] = (struct pollfd){.fd = fd, .events = POLLIN};
    for (uint32_t i = 0; i < nclients; i++) {
        const struct client *c = &client[i];
        int wait = -1;
        p[i + 1] = (struct pollfd){.fd = c->fd,
                                   .events = is_writing(c) ? POLLOUT : POLLIN};
        if (is_writing(c))
            wait = c->end_ms > now ? (int)(c->end_ms - now) + 1 : 0;
        else if (has_line(c))
            wait = 0;
        if (wait >= 0 && (timeout < 0 || wait < timeout))
            timeout = wait;
    }
    return timeout;
}

static bool serve_client(const struct hak_control_self *self, struct client *c,
                         short revents)
{
    if (is_writing(c))
        return (revents == 0 && hak_os_now_ms() < c->end_ms) || send_reply(c);
    return (revents == 0 && !has_line(c)) || read_client(self, c);
}

int hak_control_serve(const struct hak_control_self *self, int fd)
{
    struct pollfd p[CONTROL_CLIENTS + 1];
    nclients = 0;
    memset(client, 0, sizeof client);
    for (;;) {
        int n = poll(p, nclients + 1, prepare(p, fd));
        if (n < 0 && errno != EINTR)
            return -errno;
        /* From the last to the first, since forget() moves the last one. */
        for (uint32_t i = nclients; n >= 0 && i-- > 0;)
            if (!serve_client(self, &client[i], p[i + 1].revents))
                forget(&client[i]);
        int error = n > 0 && p[0].revents != 0 ? accept_all(fd) : 0;
        if (error != 0)
            return error;
    }
}
