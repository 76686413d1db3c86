/* SPDX-License-Identifier: MIT
 * hakctl_compare_run.c - one run of hakctl compare, and its cost.
 *
 * Without --load, the run is the program. With it, the program is a server that
 * runs while the load does: the load's time and output count, and the server's
 * CPU time, memory and faults.
 */
#include "hakctl_compare.h"
#include "hakctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { READY_SECONDS = 30 };

/* ---- how runs end -------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void fail(struct compare_run *run,
                                                       const char *format, ...)
{
    va_list ap;
    if (run->state == COMPARE_FAILED)
        return;
    va_start(ap, format);
    if (vasprintf(&run->why, format, ap) < 0)
        ctl_die("no memory");
    va_end(ap);
    run->state = COMPARE_FAILED;
}

/* Fail unless the child has ended with status 0. */
static void check_status(struct compare_run *run, const char *name, int status)
{
    if (WIFSIGNALED(status))
        fail(run, "%s was ended by signal %d (%s)", name, WTERMSIG(status),
             strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) != 0)
        fail(run, "%s ended with status %d", name, WEXITSTATUS(status));
}

/* How a server has ended that was told to: any status will do, but no crash.
 */
static void check_server_end(struct compare_run *run, const char *name,
                             int status, bool killed)
{
    if (killed)
        ctl_say("compare: %s did not end on SIGTERM within 10 s and was killed",
                name);
    else if (WIFSIGNALED(status) && WTERMSIG(status) != SIGTERM)
        check_status(run, name, status);
}

static double micro(struct timeval t)
{
    return (double)t.tv_sec * 1e6 + (double)t.tv_usec;
}

/* The figures of a run that has not failed. */
static void take_cost(struct compare_run *run,
                      const struct compare_child *timed,
                      const struct compare_child *program)
{
    if (run->state == COMPARE_FAILED)
        return;
    run->state = COMPARE_DONE;
    run->user_us = micro(program->usage.ru_utime);
    run->system_us = micro(program->usage.ru_stime);
    run->value[COMPARE_WALL] = (double)(timed->ended_ns - timed->started_ns);
    run->value[COMPARE_CPU] = run->user_us + run->system_us;
    run->value[COMPARE_RSS] = (double)program->usage.ru_maxrss;
    run->value[COMPARE_FAULTS] = (double)program->usage.ru_minflt;
}

/* ---- output -------------------------------------------------------------- */

/* Where the output goes whose figure is wanted: a file in memory, stderr or
 * /dev/null. */
static int open_output(const struct compare *c)
{
    if (c->metric == NULL)
        return c->show_output ? STDERR_FILENO : -1;
    int fd = memfd_create("hakctl compare", MFD_CLOEXEC);
    if (fd < 0)
        ctl_die("memfd_create: %s", strerror(errno));
    return fd;
}

static void show(int fd)
{
    char part[65536];
    ssize_t n;
    lseek(fd, 0, SEEK_SET);
    while ((n = read(fd, part, sizeof part)) > 0)
        if (write(STDERR_FILENO, part, (size_t)n) < 0)
            return;
}

static void close_output(const struct compare *c, struct compare_run *run,
                         int fd)
{
    if (c->metric == NULL)
        return;
    if (c->show_output)
        show(fd);
    if (run->state == COMPARE_DONE) {
        char *why = compare_metric_find(c, fd, &run->value[COMPARE_FIGURE]);
        if (why != NULL) {
            run->state = COMPARE_FAILED;
            run->why = why;
        }
    }
    close(fd);
}

/* ---- starting ------------------------------------------------------------ */

/* Returns the exit status for a program that cannot be started, after a
 * message. */
static int cannot_start(const char *name, int error)
{
    ctl_say("compare: cannot run %s: %s", name, strerror(-error));
    return error == -ENOENT ? CTL_NOT_FOUND : CTL_CANNOT_RUN;
}

static int open_input(const struct compare *c)
{
    int fd = c->input != NULL ? open(c->input, O_RDONLY | O_CLOEXEC) : -1;
    if (c->input != NULL && fd < 0)
        ctl_die("compare: %s: %s", c->input, strerror(errno));
    return fd;
}

static int start_program(const struct compare *c,
                         const struct compare_contender *contender, int output,
                         struct compare_child *child)
{
    int input = open_input(c);
    const struct compare_start how = {c->program, contender->environment, input,
                                      output, output};
    int error = compare_start(child, &how);
    if (input >= 0)
        close(input);
    return error != 0 ? cannot_start(c->program[0], error) : CTL_OK;
}

/* Start a command by sh, which runs on libc. */
static void start_command(const char *command, int output,
                          struct compare_child *child)
{
    char *argv[] = {"sh", "-c", (char *)(uintptr_t)command, NULL};
    const struct compare_start how = {argv, environ, -1, output, output};
    int error = compare_start(child, &how);
    if (error != 0)
        ctl_die("compare: cannot run sh: %s", strerror(-error));
}

/* ---- with a load --------------------------------------------------------- */

/* Run --ready until it succeeds. Without one, wait for a second. Returns false
 * if the server has ended, the time is over or a signal came. */
static bool wait_ready(const struct compare *c, struct compare_child *server)
{
    const int64_t second = 1000000000;
    int64_t until = compare_now_ns() + READY_SECONDS * second;
    if (c->ready == NULL) {
        compare_wait(server, NULL, compare_now_ns() + second);
        return !server->ended && !compare_interrupted();
    }
    while (compare_now_ns() < until) {
        struct compare_child ready;
        start_command(c->ready, -1, &ready);
        compare_wait(&ready, server, until);
        bool is = ready.ended && ready.status == 0;
        compare_end(&ready);
        if (is || server->ended || compare_interrupted())
            return is && !server->ended;
        compare_wait(server, NULL, compare_now_ns() + second / 50);
    }
    return false;
}

/* Run the load beside the server, and then end both. */
static void run_load(const struct compare *c, struct compare_child *server,
                     int output, struct compare_child *load,
                     struct compare_run *run)
{
    const char *name = c->program[0];
    if (!wait_ready(c, server)) {
        if (!server->ended && !compare_interrupted())
            fail(run, "--ready did not succeed within %d s", READY_SECONDS);
    } else {
        start_command(c->load, output, load);
        compare_wait(load, server, INT64_MAX);
        compare_wait(load, NULL, compare_now_ns()); /* both may have ended */
    }
    if (server->ended && !load->ended && WIFEXITED(server->status))
        fail(run, "%s ended with status %d before the load had ended", name,
             WEXITSTATUS(server->status));
    else if (server->ended && !load->ended)
        check_status(run, name, server->status);
    else if (load->ended)
        check_status(run, "the load", load->status);
    if (load->pid != 0)
        compare_end(load);
    bool killed = compare_end(server);
    if (run->state != COMPARE_FAILED)
        check_server_end(run, name, server->status, killed);
}

/* ---- a run --------------------------------------------------------------- */

int compare_run_once(const struct compare *c,
                     const struct compare_contender *contender,
                     struct compare_run *run)
{
    struct compare_child program, load = {0};
    bool beside = c->load != NULL;
    int output = open_output(c);
    *run = (struct compare_run){0};
    int status = start_program(c, contender,
                               beside && !c->show_output ? -1
                               : beside                  ? STDERR_FILENO
                                                         : output,
                               &program);
    if (status == CTL_OK && beside) {
        run_load(c, &program, output, &load, run);
    } else if (status == CTL_OK) {
        compare_wait(&program, NULL, INT64_MAX);
        if (compare_interrupted())
            compare_end(&program);
        else
            check_status(run, c->program[0], program.status);
    }
    if (status == CTL_OK && !compare_interrupted())
        take_cost(run, beside ? &load : &program, &program);
    close_output(c, run, output);
    return status;
}
