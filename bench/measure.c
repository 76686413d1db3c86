/* SPDX-License-Identifier: MIT
 * measure.c - runs a program and measures its cost.
 *
 *     measure FD TIMES PRELOAD PROGRAM ARGS...
 *
 * It runs PROGRAM TIMES times, one after the other, with LD_PRELOAD=PRELOAD (""
 * for none), and writes one line to descriptor FD: seconds of a run, CPU
 * seconds in user mode and in the kernel, peak RSS in KiB, minor and major
 * faults. All figures but the peak are means of the runs. Children that the
 * program waits for count too. Exit status: that of the first run that fails;
 * 128 + the signal if a signal ended it.
 *
 * It is a small program of its own, because the peak RSS of a process is never
 * below the RSS of its parent at the fork.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec * 1e-6;
}

struct cost {
    double wall, user, kernel, minor, major;
    long peak_kib;
};

static int run(const char *preload, char **argv, struct cost *cost)
{
    struct rusage usage;
    int status = 0;
    double start = now_seconds();
    pid_t pid = fork();
    if (pid == 0) {
        if (*preload != 0)
            setenv("LD_PRELOAD", preload, 1);
        execvp(argv[0], argv);
        perror(argv[0]);
        _exit(127);
    }
    if (pid < 0 || wait4(pid, &status, 0, &usage) != pid)
        return 126;
    cost->wall += now_seconds() - start;
    cost->user += seconds_of(usage.ru_utime);
    cost->kernel += seconds_of(usage.ru_stime);
    cost->minor += (double)usage.ru_minflt;
    cost->major += (double)usage.ru_majflt;
    if (usage.ru_maxrss > cost->peak_kib)
        cost->peak_kib = usage.ru_maxrss;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fputs("usage: measure FD TIMES PRELOAD PROGRAM ARGS...\n", stderr);
        return 2;
    }
    struct cost cost = {0};
    int fd = atoi(argv[1]), times = atoi(argv[2]);
    for (int i = 0; i < times; i++) {
        int status = run(argv[3], argv + 4, &cost);
        if (status != 0)
            return status;
    }
    double n = times;
    return dprintf(fd, "%.9f %.6f %.6f %ld %.1f %.1f\n", cost.wall / n,
                   cost.user / n, cost.kernel / n, cost.peak_kib,
                   cost.minor / n, cost.major / n) < 0;
}
