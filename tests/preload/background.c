/* SPDX-License-Identifier: MIT
 * background.c - [core] background: memory goes back while the program sleeps.
 */
#include "common.h"

#include <dirent.h>
#include <signal.h>

enum { BURST_BYTES = 64 * MIB };

static void burst(size_t size)
{
    size_t n = BURST_BYTES / size;
    char **block = malloc(n * sizeof *block);
    for (size_t i = 0; i < n; i++) {
        block[i] = malloc(size);
        memset(block[i], 1, size);
    }
    for (size_t i = 0; i < n; i++)
        free(block[i]);
    free(block);
}

/* Without a call of malloc's. */
static bool sinks_below(size_t bytes)
{
    for (int i = 0; i < 2000; i++) {
        if (rss_bytes() < bytes)
            return true;
        usleep(10000);
    }
    return false;
}

/* The number of threads of that name; *mask gets the last one's SigBlk. */
static int threads_named(const char *name, uint64_t *mask)
{
    int found = 0;
    DIR *tasks = opendir("/proc/self/task");
    const struct dirent *task;
    while ((task = readdir(tasks)) != NULL) {
        char path[300], line[200];
        bool it = false;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", task->d_name);
        FILE *f = fopen(path, "r");
        while (f != NULL && fgets(line, sizeof line, f) != NULL) {
            char value[64];
            if (sscanf(line, "Name: %63s", value) == 1)
                it = strcmp(value, name) == 0;
            if (it && sscanf(line, "SigBlk: %63s", value) == 1)
                *mask = strtoull(value, NULL, 16);
        }
        if (f != NULL)
            fclose(f);
        found += it;
    }
    closedir(tasks);
    return found;
}

TEST(what_is_free_goes_while_all_sleep)
{
    static const size_t sizes[] = {100, 900, 5000, 50000, 400000};
    if (!is_mode("background"))
        SKIP("[core] background = no: it waits for a call");
    size_t before = rss_bytes();
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        burst(sizes[i]);
        EXPECT(sinks_below(before + 24 * MIB));
    }
}

TEST(a_child_of_a_fork_has_its_own)
{
    if (!is_mode("background"))
        SKIP("[core] background = no");
    burst(300);
    pid_t pid = fork();
    if (pid == 0) {
        size_t before = rss_bytes();
        burst(700);
        _exit(sinks_below(before + 24 * MIB) ? 0 : 1);
    }
    expect_child_ok(pid, 60);
}

TEST(its_thread_takes_no_signals)
{
    uint64_t blocked = 0, catchable = 0;
    burst(100);
    for (int i = 0; i < 500 && threads_named("hakmem", &blocked) == 0; i++) {
        if (!is_mode("background"))
            break;
        usleep(10000);
    }
    EXPECT_EQ(threads_named("hakmem", &blocked), is_mode("background"));
    for (int s = 1; s < SIGRTMIN; s++)
        if (s != SIGKILL && s != SIGSTOP && s < 32)
            catchable |= 1ull << (s - 1);
    if (is_mode("background"))
        EXPECT_EQ(blocked & catchable, catchable);
}

TEST_MAIN()
