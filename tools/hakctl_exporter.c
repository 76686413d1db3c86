/* SPDX-License-Identifier: MIT
 * hakctl_exporter.c - hakctl exporter: serves Prometheus the figures of all
 * processes of this user that have a control socket.
 *
 * One thread does everything. A scrape asks all processes at the same time and
 * waits for none longer than the timeout, so one that hangs does not hold it up
 * (hakctl_fleet.h).
 */
#include "hakctl.h"
#include "hakctl_fleet.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

enum {
    TIMEOUT_MS = 500,
    TIMEOUT_MOST_MS = 60000,
    CLIENTS_MOST = 32,
    CLIENT_SECONDS = 10, /* a connection that is idle for so long is closed */
};

/* Options. */
static unsigned timeout_ms = TIMEOUT_MS;
static bool with_classes = true;

/* ---- the page ------------------------------------------------------------ */

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The metrics as a text that the caller frees. NULL: no memory. */
static char *scrape(size_t *bytes)
{
    static struct fleet before; /* so that a silent process keeps its name */
    struct fleet fleet;
    char *text = NULL;
    double start_s = now_s();
    FILE *out = open_memstream(&text, bytes);
    if (out == NULL)
        return NULL;
    fleet_take(&fleet, 0, timeout_ms);
    fleet_rates(&fleet, &before);
    fleet_print_metrics(out, &fleet, with_classes);
    fleet_free(&before);
    before = fleet;
    fprintf(out,
            "# HELP hakmem_exporter_scrape_duration_seconds Time that it took "
            "to ask all processes.\n"
            "# TYPE hakmem_exporter_scrape_duration_seconds gauge\n"
            "hakmem_exporter_scrape_duration_seconds %.6f\n",
            now_s() - start_s);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

static enum MHD_Result reply(struct MHD_Connection *to, unsigned status,
                             const char *type, char *text, size_t bytes,
                             enum MHD_ResponseMemoryMode mode)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(bytes, text, mode);
    if (r == NULL)
        return MHD_NO;
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    enum MHD_Result result = MHD_queue_response(to, status, r);
    MHD_destroy_response(r);
    return result;
}

static enum MHD_Result reply_text(struct MHD_Connection *to, unsigned status,
                                  const char *text)
{
    return reply(to, status, "text/plain; charset=utf-8",
                 (char *)(uintptr_t)text, strlen(text), MHD_RESPMEM_PERSISTENT);
}

/* One request of a client. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *from,
                                  const char *url, const char *method,
                                  const char *version, const char *upload,
                                  size_t *upload_bytes, void **state)
{
    size_t bytes = 0;
    (void)context, (void)version, (void)upload, (void)upload_bytes, (void)state;
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return reply_text(from, MHD_HTTP_METHOD_NOT_ALLOWED,
                          "only GET is served here\n");
    if (strcmp(url, "/") == 0)
        return reply_text(from, MHD_HTTP_OK,
                          "hakctl exporter: the figures are at /metrics\n");
    if (strcmp(url, "/metrics") != 0)
        return reply_text(from, MHD_HTTP_NOT_FOUND,
                          "the figures are at /metrics\n");
    char *text = scrape(&bytes);
    if (text == NULL)
        return reply_text(from, MHD_HTTP_INTERNAL_SERVER_ERROR,
                          "no memory for the figures\n");
    return reply(from, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8",
                 text, bytes, MHD_RESPMEM_MUST_FREE);
}

/* ---- the socket ---------------------------------------------------------- */

/* Split ADDRESS:PORT or [ADDRESS]:PORT in place. False: it is none. */
static bool split(char *text, char **address, char **port)
{
    char *colon = strrchr(text, ':');
    if (colon == NULL || colon[1] == 0)
        return false;
    *colon = 0;
    *port = colon + 1;
    *address = text;
    size_t n = strlen(text);
    if (n > 1 && text[0] == '[' && text[n - 1] == ']') {
        text[n - 1] = 0;
        *address = text + 1;
    }
    return strchr(*address, ':') == NULL || text[0] == '[';
}

static int listen_at(const struct addrinfo *at)
{
    int on = 1, fd = socket(at->ai_family,
                            at->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 &&
        listen(fd, CLIENTS_MOST) == 0)
        return fd;
    int error = -errno;
    close(fd);
    return error;
}

/* A socket that listens at `where`, or a negative number after a message. */
static int open_socket(const char *where)
{
    const struct addrinfo hints = {
        .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
        .ai_socktype = SOCK_STREAM,
    };
    struct addrinfo *at;
    char *text = strdup(where), *address, *port;
    if (text == NULL)
        ctl_die("no memory");
    if (!split(text, &address, &port) ||
        getaddrinfo(address[0] != 0 ? address : NULL, port, &hints, &at) != 0) {
        ctl_say("exporter: \"%s\" is not ADDRESS:PORT with numbers, as in "
                "127.0.0.1:9464 or [::1]:9464",
                where);
        free(text);
        return -EINVAL;
    }
    int fd = listen_at(at);
    if (fd < 0)
        ctl_say("exporter: cannot listen at %s: %s; --listen ADDRESS:PORT "
                "takes another, port 0 any free one",
                where, strerror(-fd));
    freeaddrinfo(at);
    free(text);
    return fd;
}

/* Say where it listens: with port 0 nobody else could know. */
static void announce(int fd)
{
    struct sockaddr_storage at = {.ss_family = AF_UNSPEC};
    socklen_t bytes = sizeof at;
    char address[128] = "?", port[16] = "?";
    if (getsockname(fd, (struct sockaddr *)&at, &bytes) == 0)
        getnameinfo((struct sockaddr *)&at, bytes, address, sizeof address,
                    port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    printf(at.ss_family == AF_INET6 ? "listening on http://[%s]:%s/metrics\n"
                                    : "listening on http://%s:%s/metrics\n",
           address, port);
    fflush(stdout);
}

/* ---- the loop ------------------------------------------------------------ */

static volatile sig_atomic_t stopped;

static void on_stop(int signal)
{
    (void)signal;
    stopped = 1;
}

/* Serve until a signal stops it. The signals are blocked but in pselect, so
 * that none is missed. */
static void serve(struct MHD_Daemon *daemon, const sigset_t *unblocked)
{
    while (!stopped) {
        fd_set in, out, other;
        int most = -1;
        unsigned long long ms;
        struct timespec wait, *at = NULL;
        FD_ZERO(&in);
        FD_ZERO(&out);
        FD_ZERO(&other);
        MHD_get_fdset(daemon, &in, &out, &other, &most);
        if (MHD_get_timeout(daemon, &ms) == MHD_YES) {
            wait = (struct timespec){.tv_sec = (time_t)(ms / 1000),
                                     .tv_nsec = (long)(ms % 1000) * 1000000};
            at = &wait;
        }
        if (pselect(most + 1, &in, &out, &other, at, unblocked) >= 0)
            MHD_run(daemon);
    }
}

static int run(int fd)
{
    sigset_t stops, unblocked;
    const struct sigaction stop = {.sa_handler = on_stop};
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    sigprocmask(SIG_BLOCK, &stops, &unblocked);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    signal(SIGPIPE, SIG_IGN);
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_NO_FLAG, 0, NULL, NULL, on_request, NULL, MHD_OPTION_LISTEN_SOCKET,
        fd, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)CLIENT_SECONDS,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CLIENTS_MOST, MHD_OPTION_END);
    if (daemon == NULL) {
        ctl_say("exporter: libmicrohttpd does not start");
        return CTL_SOME;
    }
    announce(fd);
    serve(daemon, &unblocked);
    MHD_stop_daemon(daemon);
    return CTL_OK;
}

/* ---- arguments ----------------------------------------------------------- */

static bool read_timeout(const char *text)
{
    char *end;
    unsigned long ms = strtoul(text, &end, 10);
    if (end == text || *end != 0 || ms == 0 || ms > TIMEOUT_MOST_MS) {
        ctl_say("exporter: --timeout %s: a number of ms from 1 to %d is "
                "wanted",
                text, TIMEOUT_MOST_MS);
        return false;
    }
    timeout_ms = (unsigned)ms;
    return true;
}

int ctl_exporter(int argc, char **argv)
{
    static const struct option longs[] = {
        {"listen", required_argument, NULL, 'l'},
        {"timeout", required_argument, NULL, 't'},
        {"no-classes", no_argument, NULL, 'n'},
        {CTL_HELP},
        {0},
    };
    const char *where = "127.0.0.1:9464";
    int option;
    while ((option = ctl_option(argc, argv, ":hl:t:", longs)) != -1) {
        if (option == 'l')
            where = optarg;
        else if (option == 'n')
            with_classes = false;
        else if (option != 't' || !read_timeout(optarg))
            return CTL_BAD;
    }
    if (optind != argc) {
        ctl_say("exporter: \"%s\" is not wanted here; see hakctl help exporter",
                argv[optind]);
        return CTL_BAD;
    }
    int fd = open_socket(where);
    if (fd < 0)
        return fd == -EINVAL ? CTL_BAD : CTL_SOME;
    return run(fd);
}
