/* SPDX-License-Identifier: MIT
 * replay_run.c - plays a trace once: one process of hakctl-player.
 */
#include "replay_plan.h"

#include "../hakctl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* A run. */
struct run {
    struct replay_plan *plan;
    const struct replay_options *options;
    struct replay_compiler *compiler; /* NULL: all batches are in the file */
    struct compare_child child;
    int asks[2]; /* a pipe from the player; -1 */
    int said;    /* what the player writes on stderr: a file in memory */
    char *why;
    size_t why_bytes;
};

__attribute__((format(printf, 3, 4))) static int fail(struct run *r, int error,
                                                      const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(r->why, r->why_bytes, format, ap);
    va_end(ap);
    return error;
}

/* ---- batches ------------------------------------------------------------- */

/* Would all batches find room? An operation is a call, or what belongs to it.
 */
static bool fits(const struct replay_plan *plan)
{
    uint64_t each = sizeof(struct play_op) * 5 / 4;
    return plan->facts.ncalls <= plan->memory_bytes / each;
}

/* Tell the batch at `before` where the next one is. */
static bool link_batch(struct run *r, uint64_t before, uint64_t at,
                       uint64_t bytes)
{
    const uint64_t next[] = {at, bytes};
    uint64_t place = before + offsetof(struct play_batch, next);
    if (pwrite(r->plan->fd, next, sizeof next, (off_t)place) == sizeof next)
        return true;
    fail(r, -EIO, "the operations cannot be stored: %s", strerror(errno));
    return false;
}

/* Put all batches into the file, each with the place of the next. */
static int compile_all(struct run *r)
{
    struct replay_plan *plan = r->plan;
    uint64_t at = plan->control_bytes, bytes = 0, before = 0;
    int more;
    plan->has_batches = false;
    struct replay_compiler *c =
        replay_compile_begin(plan, r->options->exact, r->why, r->why_bytes);
    if (c == NULL)
        return -EIO;
    while ((more = replay_compile_next(c, at, &bytes, r->why, r->why_bytes)) >
           0) {
        if (before == 0)
            plan->first_bytes = bytes;
        else if (!link_batch(r, before, at, bytes)) {
            more = -EIO;
            break;
        }
        before = at;
        at += bytes;
    }
    replay_compile_end(c);
    plan->has_batches = more == 0;
    plan->is_exact = r->options->exact;
    return more;
}

/* Make ready what the player will ask for. */
static int prepare_batches(struct run *r)
{
    struct replay_plan *plan = r->plan;
    struct play_control *c = plan->control;
    c->batch_at = c->batch_bytes = 0;
    if (fits(plan)) {
        bool ready = plan->has_batches && plan->is_exact == r->options->exact;
        int error = ready ? 0 : compile_all(r);
        c->batch_at = plan->control_bytes;
        c->batch_bytes = plan->first_bytes;
        return error;
    }
    r->compiler =
        replay_compile_begin(plan, r->options->exact, r->why, r->why_bytes);
    return r->compiler != NULL ? 0 : -EIO;
}

/* Give the player the batch that it asks for. */
static int give_batch(struct run *r)
{
    struct play_control *c = r->plan->control;
    uint64_t bytes = 0;
    int more = replay_compile_next(r->compiler, r->plan->control_bytes, &bytes,
                                   r->why, r->why_bytes);
    if (more <= 0)
        return more < 0 ? more : fail(r, -EIO, "has no more calls");
    c->batch_at = r->plan->control_bytes;
    c->batch_bytes = bytes;
    atomic_fetch_add(&c->given, 1);
    syscall(SYS_futex, &c->given, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
    return 0;
}

/* ---- the process --------------------------------------------------------- */

static void clear_control(struct run *r)
{
    const struct replay_plan *plan = r->plan;
    const struct replay_options *o = r->options;
    struct play_control *c = plan->control;
    double all = (double)plan->facts.ncalls;
    memset(c, 0, plan->control_bytes);
    c->magic = PLAY_MAGIC;
    c->version = PLAY_VERSION;
    c->nseats = plan->nseats;
    c->bytes = plan->control_bytes;
    c->nslots = plan->nslots;
    c->from = (uint64_t)(o->from * all + 0.5);
    c->to = o->to >= 1 ? plan->facts.ncalls : (uint64_t)(o->to * all + 0.5);
    c->seed = o->seed;
    c->sample_every = 1 + (uint32_t)((o->to - o->from) * PLAY_SAMPLES / 1024);
    c->check = o->check;
    c->free_run = o->free_run;
    c->real_time = o->real_time || plan->facts.time_ns == 0;
}

static int start_player(struct run *r, char *const *environment)
{
    char *player = replay_player();
    char *argv[] = {player, NULL};
    const struct compare_start how = {argv, environment, r->plan->fd,
                                      r->asks[1], r->said};
    int error = player != NULL ? compare_start(&r->child, &how) : -ENOENT;
    if (error != 0)
        fail(r, error,
             "cannot be played: %s: %s; make builds it, make install puts it "
             "there",
             player != NULL ? player : "hakctl-player", strerror(-error));
    free(player);
    return error;
}

/* How many calls all threads have begun, to see whether it goes on. */
static uint64_t count_progress(const struct replay_plan *plan)
{
    uint64_t sum = plan->control->asked;
    for (uint32_t i = 0; i < plan->nseats; i++)
        sum += plan->seats[i].at;
    return sum;
}

/* Answer the player if it asks. Returns 0 or -errno. */
static int serve(struct run *r, int64_t until_ns)
{
    char byte;
    if (r->compiler == NULL) {
        compare_wait(&r->child, NULL, until_ns);
        return 0;
    }
    struct pollfd asks = {.fd = r->asks[0], .events = POLLIN};
    poll(&asks, 1, 100);
    compare_wait(&r->child, NULL, 0); /* has it ended, or a signal come? */
    if ((asks.revents & POLLIN) != 0 && read(r->asks[0], &byte, 1) == 1)
        return give_batch(r);
    if (asks.revents != 0)
        compare_wait(&r->child, NULL, compare_now_ns() + 100000000);
    return 0;
}

enum { STUCK_SECONDS = 60 };

/* Wait for the end. Returns 0 or -errno, after which the player is ended. */
static int wait_for_end(struct run *r)
{
    const int64_t second = 1000000000;
    int64_t changed_ns = compare_now_ns();
    uint64_t progress = 0;
    int error = 0;
    while (error == 0 && !r->child.ended) {
        error = serve(r, compare_now_ns() + second);
        uint64_t now = count_progress(r->plan);
        if (now != progress)
            changed_ns = compare_now_ns();
        progress = now;
        if (compare_interrupted())
            error = -EINTR;
        else if (compare_now_ns() - changed_ns > STUCK_SECONDS * second)
            error = -ETIMEDOUT;
    }
    if (!r->child.ended) {
        kill(-r->child.pid, SIGKILL);
        compare_end(&r->child);
    }
    return error;
}

/* What the process has said on stderr. */
static char *read_said(int fd)
{
    off_t end = lseek(fd, 0, SEEK_END);
    char *text = calloc(1, (size_t)end + 1);
    if (text == NULL || pread(fd, text, (size_t)end, 0) < 0)
        ctl_die("replay: no memory");
    return text;
}

/* ---- a run --------------------------------------------------------------- */

/* What of private memory is the player's own: that of one that runs on nothing,
 * and ends before its first call. */
static int measure_baseline(struct run *r)
{
    char *nothing[] = {NULL};
    if (r->plan->has_baseline)
        return 0;
    r->plan->control->baseline = 1;
    int error = start_player(r, nothing);
    if (error != 0)
        return error;
    compare_wait(&r->child, NULL, INT64_MAX);
    if (!r->child.ended)
        compare_end(&r->child);
    if (compare_interrupted())
        return -EINTR;
    r->plan->baseline_bytes = r->plan->control->private_bytes;
    r->plan->baseline_file_bytes = r->plan->control->file_bytes;
    r->plan->has_baseline = r->plan->baseline_bytes != 0;
    r->plan->control->baseline = 0;
    return r->plan->has_baseline
               ? 0
               : fail(r, -EIO, "cannot be played: hakctl-player does not run");
}

static int play(struct run *r, char *const *environment)
{
    int error = prepare_batches(r);
    if (error == 0)
        error = start_player(r, environment);
    if (error == 0)
        error = wait_for_end(r);
    if (error == 0 &&
        (r->child.status != 0 || r->plan->control->state != PLAY_DONE))
        error = -ECANCELED;
    char *said = read_said(r->said);
    if (r->options->show_output)
        fputs(said, stderr);
    if (error == -ECANCELED || error == -ETIMEDOUT)
        replay_say_fault(r->plan, error == -ETIMEDOUT ? -1 : r->child.status,
                         said, r->why, r->why_bytes);
    free(said);
    if (r->compiler != NULL)
        replay_compile_end(r->compiler);
    return error;
}

int replay_run(struct replay_plan *plan, const struct replay_options *options,
               char *const *environment, struct replay_figures *out, char *why,
               size_t n)
{
    struct run r = {
        .plan = plan, .options = options, .why = why, .why_bytes = n};
    if (pipe2(r.asks, O_CLOEXEC) != 0 ||
        (r.said = memfd_create("hakctl replay", MFD_CLOEXEC)) < 0)
        ctl_die("replay: cannot start a player: %s", strerror(errno));
    clear_control(&r);
    int error = plan->control->from >= plan->control->to
                    ? fail(&r, -EINVAL, "has no calls in that part")
                    : measure_baseline(&r);
    if (error == 0)
        error = play(&r, environment);
    if (error == 0)
        replay_take_figures(plan, out);
    close(r.asks[0]);
    close(r.asks[1]);
    close(r.said);
    return error;
}
